"""What a reader of the report sees of a case: one slice, the experts' outline, the model's, and its confidence."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from conversion.alignment import AlignedVolumes
from conversion.sequences import Role
from conversion.volume import Grid
from inference.regions import Region

__all__ = ["CasePicture", "take_picture"]

_MARGIN = 6
"""Voxels of air that are left around the head."""

_AIR = 0.05
"""Share of the brightest voxel up to which a voxel is air, for the choice of window and frame only."""


@dataclass(frozen=True, kw_only=True, eq=False)
class CasePicture:
    """One axial slice as radiologists look at it: the front above, the patient's left on the right side.

    Attributes
    ----------
    slice_number
        Counted from the feet, from 1.
    grey
        By sequence, uint8, shape (rows, columns), cropped to the head.
    shown_on
        The sequence on which each region is seen best, of those that there are.
    pixel_aspect
        Height of a pixel over its width.
    reference, predicted
        By region, bool, shape of the slice.
    confidence
        Probability of the whole tumour, float16, shape of the slice; None where the model gave none.
    """

    slice_number: int
    grey: Mapping[str, NDArray[np.uint8]]
    shown_on: Mapping[Region, str]
    pixel_aspect: float
    reference: Mapping[Region, NDArray[np.bool_]]
    predicted: Mapping[Region, NDArray[np.bool_]]
    confidence: NDArray[np.float16] | None


def take_picture(
    volumes: AlignedVolumes,
    reference: Mapping[Region, NDArray[np.bool_]],
    predicted: Mapping[Region, NDArray[np.bool_]],
    confidence: NDArray[np.float16] | None,
) -> CasePicture:
    """Take the slice with most tumour of the reference, or of the prediction where the reference is empty.

    Parameters
    ----------
    volumes
        Of them FLAIR is shown for the whole tumour and T1 after contrast for its core, or else what there is.
    reference, predicted
        By region, on the grid of the volumes; the first one given decides on the slice.
    """
    first = next(iter(reference))
    chosen = _slice(
        _axial(reference[first], volumes.grid), _axial(predicted.get(first, reference[first]), volumes.grid)
    )
    roles = {region: _seen_on(region, volumes) for region in reference}
    planes = {role: _scaled(_axial(volumes.volumes[role].voxels, volumes.grid)[chosen]) for role in roles.values()}
    box = _box(np.any([plane > _AIR for plane in planes.values()], axis=0))
    spacing = volumes.grid.permuted(*volumes.grid.axial_order()).spacing_mm

    def cut(masks: Mapping[Region, NDArray[np.bool_]]) -> dict[Region, NDArray[np.bool_]]:
        return {region: _axial(mask, volumes.grid)[chosen][box].copy() for region, mask in masks.items()}

    return CasePicture(
        slice_number=chosen + 1,
        grey={str(role): (255 * plane[box]).astype(np.uint8) for role, plane in planes.items()},
        shown_on={region: str(role) for region, role in roles.items()},
        pixel_aspect=float(spacing[1] / spacing[2]),
        reference=cut(reference),
        predicted=cut(predicted),
        confidence=None if confidence is None else _axial(confidence, volumes.grid)[chosen][box].copy(),
    )


def _seen_on(region: Region, volumes: AlignedVolumes) -> Role:
    best = Role.FLAIR if region is Region.WT else Role.T1CE
    return next(role for role in (best, Role.FLAIR, volumes.reference) if role in volumes.volumes)


def _scaled(plane: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return 0 to 1; white is chosen of the slice's tissue, so that a bright tumour keeps its texture."""
    tissue = plane[plane > _AIR * plane.max()]
    white = float(np.percentile(tissue, 99.8)) if tissue.size else 1.0
    return np.asarray(np.clip(plane / white, 0.0, 1.0))


def _axial(array: NDArray[Any], grid: Grid) -> NDArray[Any]:
    axes, flips = grid.axial_order()
    return array.transpose(axes)[tuple(slice(None, None, -1 if flip else 1) for flip in flips)]


def _slice(reference: NDArray[np.bool_], predicted: NDArray[np.bool_]) -> int:
    for mask in (reference, predicted):
        area = np.count_nonzero(mask, axis=(1, 2))
        if area.any():
            return int(area.argmax())
    return len(reference) // 2


def _box(inside: NDArray[np.bool_]) -> tuple[slice, slice]:
    if not inside.any():
        return slice(None), slice(None)
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    return (
        slice(max(0, int(rows[0]) - _MARGIN), int(rows[-1]) + 1 + _MARGIN),
        slice(max(0, int(columns[0]) - _MARGIN), int(columns[-1]) + 1 + _MARGIN),
    )
