"""The picture of a case in the report: one slice, the outlines by experts and model, and the model's confidence."""

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
"""Margin of air around the head, in voxels."""

_AIR = 0.05
"""A voxel up to this share of the brightest one is air. Used only to choose the window and the frame."""


@dataclass(frozen=True, kw_only=True, eq=False)
class CasePicture:
    """One axial slice in radiological convention: anterior at the top, the patient's left on the right side.

    Attributes
    ----------
    slice_number
        Counted from the inferior end, starting at 1.
    grey
        By sequence, uint8, shape (rows, columns), cropped to the head.
    shown_on
        The available sequence that shows each region best.
    pixel_aspect
        Height of a pixel divided by its width.
    reference, predicted
        By region, bool, shape of the slice.
    confidence
        Probability of the whole tumour, float16, shape of the slice; None where the model returned none.
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
    """Return the slice with the most tumour in the reference, or in the prediction where the reference is empty.

    Parameters
    ----------
    volumes
        The whole tumour is shown on FLAIR and its core on T1 after contrast, or on another sequence if that is missing.
    reference, predicted
        By region, on the grid of the volumes; the first region determines the slice.
    """
    first = next(iter(reference))
    chosen = _slice(
        _axial(reference[first], volumes.grid), _axial(predicted.get(first, reference[first]), volumes.grid)
    )
    roles = {region: _best_sequence(region, volumes) for region in reference}
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


def _best_sequence(region: Region, volumes: AlignedVolumes) -> Role:
    best = Role.FLAIR if region is Region.WT else Role.T1CE
    return next(role for role in (best, Role.FLAIR, volumes.reference) if role in volumes.volumes)


def _scaled(plane: NDArray[np.float32]) -> NDArray[np.float32]:
    """Scale to 0 to 1. White is set by the tissue of this slice, so that a bright tumour keeps its texture."""
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
