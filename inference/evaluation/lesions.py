"""Lesion-wise Dice and HD95 by the rule of BraTS 2023 (Saluja, rachitsaluja/BraTS-2023-Metrics, challenge "BraTS-GLI").

1. The reference is dilated. What then touches (26 neighbours) is one lesion; its voxels stay those of the reference.
2. Components of the prediction (26 neighbours) that touch a dilated lesion all belong to it.
3. Dice and HD95 of a lesion compare its voxels with all of its components. A missed lesion has 0 and 374 mm.
4. A component that touches no dilated lesion is a false positive. It counts as one more lesion with 0 and 374 mm.
5. Lesions up to `LEAST_LESION_MM3` are left out. A component that touches one of them is not a false positive.

The figures of a case are means over lesions and false positives; where there are none, 1 and 0 mm. Two points differ
from the challenge's program. HD95 is MONAI's, which does not weight surface elements by their area. The dilation has
the same size in mm on every grid; the challenge counts voxels, because all of its images have 1 mm voxels.
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
"""Three dilations with 18 neighbours at 1 mm: up to 3 mm along each axis and 6 mm summed over the axes."""

LEAST_LESION_MM3 = 50.0

_TOUCHING = np.ones((3, 3, 3), bool)


@dataclass(frozen=True, kw_only=True)
class LesionScore:
    """The lesions of one region of one case.

    Attributes
    ----------
    found, missed
        Lesions of the reference above the size limit, with and without a component of the prediction.
    false
        Components of the prediction that touch no lesion.
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
        Along each axis. Ones where it is unknown: the rule then counts voxels, and HD95 is meaningless.
    """
    if not (predicted.any() or reference.any()):
        return LesionScore(dice=1.0, hd95_mm=0.0, found=0, missed=0, false=0)
    prediction, truth = _cropped(predicted, reference, spacing_mm)
    lesions, lesion_count = ndimage.label(_dilated(truth, spacing_mm), _TOUCHING)
    components, component_count = ndimage.label(prediction, _TOUCHING)
    touching = _touching_pairs(lesions, components)
    least_voxels = LEAST_LESION_MM3 / float(np.prod(spacing_mm))
    scores: list[tuple[float, float]] = []
    missed = 0
    for lesion in range(1, lesion_count + 1):
        drawn = truth & (lesions == lesion)
        if np.count_nonzero(drawn) <= least_voxels:
            continue
        matched = np.isin(components, touching[touching[:, 0] == lesion, 1]) & prediction
        missed += not matched.any()
        scores.append((overlap(count(matched, drawn)).dice, hd95(matched, drawn, spacing_mm)))
    false = component_count - len(np.unique(touching[:, 1]))
    found = len(scores) - missed
    scores += [(0.0, NO_SURFACE_MM)] * false
    dice, distance = np.mean(scores, axis=0) if scores else (1.0, 0.0)
    return LesionScore(dice=float(dice), hd95_mm=float(distance), found=found, missed=missed, false=false)


def _touching_pairs(lesions: NDArray[np.int32], components: NDArray[np.int32]) -> NDArray[np.int32]:
    """Return the pairs of a dilated lesion and a component of the prediction that touch, shape (pairs, 2)."""
    touching = (lesions > 0) & (components > 0)
    return np.unique(np.stack([lesions[touching], components[touching]], axis=1), axis=0)


def _cropped(
    predicted: NDArray[np.bool_], reference: NDArray[np.bool_], spacing_mm: NDArray[np.float64]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return both masks cropped to their common box, with a margin for the dilation."""
    box = union_box(predicted, reference)
    margin = [(int(step), int(step)) for step in _reach(spacing_mm)]
    return np.pad(predicted[box], margin), np.pad(reference[box], margin)


def _reach(spacing_mm: NDArray[np.float64]) -> NDArray[np.int64]:
    return np.floor(DILATION_MM / spacing_mm + 1e-6).astype(np.int64)


def _dilated(mask: NDArray[np.bool_], spacing_mm: NDArray[np.float64]) -> NDArray[np.bool_]:
    reach = _reach(spacing_mm)
    steps = [np.abs(np.arange(-far, far + 1)) * step for far, step in zip(reach, spacing_mm, strict=True)]
    total_mm = steps[0][:, None, None] + steps[1][None, :, None] + steps[2][None, None, :]
    kernel = total_mm <= 2 * DILATION_MM + 1e-6
    hits = fftconvolve(mask.astype(np.float32), kernel.astype(np.float32), mode="same")  # equally fast at any spacing
    return np.asarray(hits > 0.5)
