"""Lesion-wise Dice and HD95 by the rule of BraTS 2023 (Saluja, rachitsaluja/BraTS-2023-Metrics, challenge "BraTS-GLI").

1. The reference is dilated; what then touches (26 neighbours) is one lesion, whose voxels stay those of the reference.
2. Components of the prediction (26 neighbours) that touch a dilated lesion belong to it, together.
3. Each lesion has the Dice and HD95 of its voxels against all of its components; a missed one has 0 and 374 mm.
4. A component that touches no dilated lesion is a false positive, and counts as one more lesion with 0 and 374 mm.
5. Lesions up to `LEAST_LESION_MM3` are left out, and what touches them is no false positive.

The case's figures are means over lesions and false positives; where there are none, 1 and 0 mm. Two points differ from
the challenge's program: HD95 is MONAI's, which does not weigh surface elements by their area; and the dilation is the
same body in mm on every grid, while the challenge, which knows 1 mm alone, counts voxels.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.signal import fftconvolve

from inference.evaluation.overlap import count, overlap
from inference.evaluation.surface import NO_SURFACE_MM, hd95, union_box

__all__ = ["DILATION_MM", "LEAST_LESION_MM3", "LesionScore", "score_lesions"]

DILATION_MM = 3.0
"""Three dilations with 18 neighbours at 1 mm: 3 mm along each axis, 6 mm along all together."""

LEAST_LESION_MM3 = 50.0

_TOUCHING = np.ones((3, 3, 3), bool)


@dataclass(frozen=True, kw_only=True)
class LesionScore:
    """The lesions of one region of one case.

    Attributes
    ----------
    found, missed
        Lesions of the reference above the limit of size.
    false
        Components of the prediction that belong to no lesion.
    """

    dice: float
    hd95_mm: float
    found: int
    missed: int
    false: int


def score_lesions(
    predicted: NDArray[np.bool_], reference: NDArray[np.bool_], spacing_mm: NDArray[np.float64]
) -> LesionScore:
    """Score one region lesion by lesion.

    Parameters
    ----------
    predicted, reference
        Three axes, of equal shape.
    spacing_mm
        Along each axis; ones where it is unknown, so that the rule's numbers are voxels, and HD95 means nothing.
    """
    if not (predicted.any() or reference.any()):
        return LesionScore(dice=1.0, hd95_mm=0.0, found=0, missed=0, false=0)
    said, true = _cropped(predicted, reference, spacing_mm)
    lesions, number = ndimage.label(_dilated(true, spacing_mm), _TOUCHING)
    components, said_number = ndimage.label(said, _TOUCHING)
    owners = _owners(lesions, components)
    least_voxels = LEAST_LESION_MM3 / float(np.prod(spacing_mm))
    scores: list[tuple[float, float]] = []
    missed = 0
    for lesion in range(1, number + 1):
        truth = true & (lesions == lesion)
        if np.count_nonzero(truth) <= least_voxels:
            continue
        mine = np.isin(components, owners[owners[:, 0] == lesion, 1]) & said
        missed += not mine.any()
        scores.append((overlap(count(mine, truth)).dice, hd95(mine, truth, spacing_mm)))
    false = said_number - len(np.unique(owners[:, 1]))
    found = len(scores) - missed
    scores += [(0.0, NO_SURFACE_MM)] * false
    dice, distance = np.mean(scores, axis=0) if scores else (1.0, 0.0)
    return LesionScore(dice=float(dice), hd95_mm=float(distance), found=found, missed=missed, false=false)


def _owners(lesions: NDArray[np.int32], components: NDArray[np.int32]) -> NDArray[np.int32]:
    """Return each pair of a dilated lesion and a component of the prediction that touch, shape (pairs, 2)."""
    touching = (lesions > 0) & (components > 0)
    return np.unique(np.stack([lesions[touching], components[touching]], axis=1), axis=0)


def _cropped(
    predicted: NDArray[np.bool_], reference: NDArray[np.bool_], spacing_mm: NDArray[np.float64]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return both masks within their box, with room for the dilation."""
    box = union_box(predicted, reference)
    room = [(int(step), int(step)) for step in _reach(spacing_mm)]
    return np.pad(predicted[box], room), np.pad(reference[box], room)


def _reach(spacing_mm: NDArray[np.float64]) -> NDArray[np.int64]:
    return np.floor(DILATION_MM / spacing_mm + 1e-6).astype(np.int64)


def _dilated(mask: NDArray[np.bool_], spacing_mm: NDArray[np.float64]) -> NDArray[np.bool_]:
    reach = _reach(spacing_mm)
    steps = [np.abs(np.arange(-far, far + 1)) * step for far, step in zip(reach, spacing_mm, strict=True)]
    total_mm = steps[0][:, None, None] + steps[1][None, :, None] + steps[2][None, None, :]
    body = total_mm <= 2 * DILATION_MM + 1e-6
    hits = fftconvolve(mask.astype(np.float32), body.astype(np.float32), mode="same")  # as fast on every spacing
    return np.asarray(hits > 0.5)
