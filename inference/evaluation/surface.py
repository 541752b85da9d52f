"""Surface distances between two masks in mm, computed by MONAI with the true voxel spacing."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray

__all__ = ["NO_SURFACE_MM", "SURFACE_TOLERANCE_MM", "hd95", "surface_dice", "union_box"]

NO_SURFACE_MM = 374.0
"""HD95 where one mask is empty: about the diagonal of 240 x 240 x 155 mm, as BraTS counts it."""

SURFACE_TOLERANCE_MM = 1.0
"""Surfaces agree up to this distance: one voxel of the grid on which the experts of BraTS drew."""


def hd95(predicted: NDArray[np.bool_], reference: NDArray[np.bool_], spacing_mm: NDArray[np.float64]) -> float:
    """Return the larger of the two directed 95th percentiles of the surface distance, in mm.

    Parameters
    ----------
    predicted, reference
        Of equal shape. A surface consists of the voxels of a mask that have one of six neighbours outside it.
    spacing_mm
        Along each axis.

    Returns
    -------
    float
        0 where both masks are empty, `NO_SURFACE_MM` where one is.
    """
    if not (predicted.any() and reference.any()):
        return NO_SURFACE_MM if predicted.any() or reference.any() else 0.0
    from monai.metrics.hausdorff_distance import compute_hausdorff_distance  # noqa: PLC0415 - MONAI takes long to load

    pair = _tensors(predicted, reference)
    with _quiet_monai():
        found = compute_hausdorff_distance(
            *pair, include_background=True, percentile=95, spacing=[float(step) for step in spacing_mm]
        )
    return float(found.item())


def surface_dice(
    predicted: NDArray[np.bool_],
    reference: NDArray[np.bool_],
    spacing_mm: NDArray[np.float64],
    tolerance_mm: float = SURFACE_TOLERANCE_MM,
) -> float:
    """Return the share of both surfaces that lies within the tolerance of the other.

    Returns
    -------
    float
        1 where both masks are empty, 0 where one is.
    """
    if not (predicted.any() and reference.any()):
        return 0.0 if predicted.any() or reference.any() else 1.0
    from monai.metrics.surface_dice import compute_surface_dice  # noqa: PLC0415 - as above

    pair = _tensors(predicted, reference)
    with _quiet_monai():
        found = compute_surface_dice(
            *pair,
            class_thresholds=[tolerance_mm],
            include_background=True,
            spacing=[float(step) for step in spacing_mm],
        )
    return float(found.item())


def union_box(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> tuple[slice, ...]:
    """Return the smallest box around both masks, at least one of which must not be empty."""
    either = first | second
    box = []
    for axis in range(either.ndim):
        found = np.flatnonzero(either.any(axis=tuple(other for other in range(either.ndim) if other != axis)))
        box.append(slice(int(found[0]), int(found[-1]) + 1))
    return tuple(box)


def _tensors(predicted: NDArray[np.bool_], reference: NDArray[np.bool_]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return both masks cropped to their common box, with MONAI's batch and channel axes."""
    box = union_box(predicted, reference)
    first, second = (torch.from_numpy(mask[box].astype(np.float32))[None, None] for mask in (predicted, reference))
    return first, second


@contextmanager
def _quiet_monai() -> Iterator[None]:
    """Silence MONAI 1.6's warning about an argument that it passes to itself."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*always_return_as_numpy", category=FutureWarning)
        yield
