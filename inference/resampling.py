"""Resamples volumes on other grids, on the device of the volume, in the same way as `conversion.alignment.resample`."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from conversion.volume import Grid

__all__ = ["binned", "moved", "sampled", "sampled_mask", "working_grid"]

_AXES_APART = 1e-6
"""Voxels by which an index may change along another axis per step while two grids still count as parallel."""

_EDGE = 1e-6
"""Tolerance in voxels for rounding, beyond the half voxel around a volume that counts as inside."""


def sampled(values: Tensor, source: Grid, target: Grid, *, outside: float | None = 0.0) -> Tensor:
    """Sample intensities on another grid by linear interpolation.

    Parameters
    ----------
    values
        float32, shape (..., *source.shape).
    outside
        Value for points further than half a voxel outside; None for the value of the nearest voxel.

    Returns
    -------
    torch.Tensor
        Shape (..., *target.shape), on the same device.
    """
    if source.equals(target):
        return values
    matrix = _indices(source, target)
    places = _along_axes(matrix, source, target)
    if places is None:
        return _sampled_anywhere(values, matrix, target, outside)
    found, order = values, [places_of[0] for places_of in places]
    lead = list(range(values.dim() - 3))
    found = found.permute(*lead, *(len(lead) + axis for axis in order))
    for axis, (_, positions) in enumerate(places):
        found = _interpolated(found, len(lead) + axis, positions, outside)
    return found


def sampled_mask(mask: Tensor, source: Grid, target: Grid) -> Tensor:
    """Resample a mask on a grid of any orientation by nearest neighbour; it is empty outside the source.

    Parameters
    ----------
    mask
        bool, shape of the source.
    """
    if source.equals(target):
        return mask
    matrix = _indices(source, target)
    places = _along_axes(matrix, source, target)
    if places is None:
        grid = _sampling_grid(matrix, source.shape, target, mask.device)
        nearest = F.grid_sample(mask[None, None].float(), grid, "nearest", "zeros", align_corners=False)
        return nearest[0, 0] > 0.5
    found = mask.permute([source_axis for source_axis, _ in places])
    for axis, (_, positions) in enumerate(places):
        index = torch.from_numpy(np.floor(positions + 0.5).astype(np.int64)).to(mask.device)
        inside = (index >= 0) & (index < found.shape[axis])
        found = found.index_select(axis, index.clamp(0, found.shape[axis] - 1))
        found = found & inside.reshape([-1 if axis == other else 1 for other in range(3)])
    return found


def moved(values: Tensor, grid: Grid, transform: NDArray[np.float64]) -> Tensor:
    """Return for each voxel the value at its transformed position, by linear interpolation; zeros outside.

    Parameters
    ----------
    values
        float32, shape (..., *grid.shape).
    transform
        From millimetres to millimetres along LPS, shape (4, 4).
    """
    return _sampled_anywhere(values, np.asarray(np.linalg.solve(grid.affine, transform @ grid.affine)), grid, 0.0)


def binned(values: Tensor, grid: Grid, factors: tuple[int, int, int]) -> tuple[Tensor, Grid]:
    """Average blocks of voxels, without the remaining voxels at the far ends that fill no block.

    Parameters
    ----------
    values
        float32, shape of the grid.
    factors
        Size of a block along (slice, row, column).
    """
    counts = [size // factor for size, factor in zip(values.shape, factors, strict=True)]
    cut = values[tuple(slice(0, count * factor) for count, factor in zip(counts, factors, strict=True))]
    blocks = cut.reshape(counts[0], factors[0], counts[1], factors[1], counts[2], factors[2])
    affine = grid.affine.copy()
    affine[:3, :3] *= factors
    affine[:3, 3] = grid.position_mm((np.array(factors, np.float64) - 1) / 2)
    shape = (counts[0], counts[1], counts[2])
    made = Grid(shape=shape, affine=affine, frame_of_reference_uid=grid.frame_of_reference_uid)
    return blocks.mean(dim=(1, 3, 5)), made


def working_grid(reference: Grid, in_plane_mm: float, *, cubes: bool = False) -> Grid:
    """Return the grid of a network's input: axial slices along the axes of the reference.

    Slices keep their native distance where it is larger than the in-plane spacing, so a thick stack is never resampled
    to slices that were not acquired. Volume networks get `cubes` all the same.
    """
    axial = reference.permuted(*reference.axial_order())
    slice_mm = in_plane_mm if cubes else max(float(axial.spacing_mm[0]), in_plane_mm)
    return axial.resampled((slice_mm, in_plane_mm, in_plane_mm))


def _indices(source: Grid, target: Grid) -> NDArray[np.float64]:
    """Return the matrix from target indices to source indices, shape (4, 4)."""
    return np.asarray(np.linalg.solve(source.affine, target.affine))


def _along_axes(
    matrix: NDArray[np.float64], source: Grid, target: Grid
) -> list[tuple[int, NDArray[np.float64]]] | None:
    """Return for each target axis the parallel source axis and the positions along it; None where none is parallel."""
    steps = np.abs(matrix[:3, :3])
    order = steps.argmax(axis=0)
    main = np.zeros((3, 3), bool)
    main[order, range(3)] = True
    lengths = np.array(target.shape)
    if sorted(order) != [0, 1, 2] or (np.where(main, 0.0, steps) * lengths).max() > _AXES_APART * max(source.shape):
        return None
    return [
        (int(axis), matrix[axis, target_axis] * np.arange(lengths[target_axis]) + matrix[axis, 3])
        for target_axis, axis in enumerate(order)
    ]


def _interpolated(values: Tensor, axis: int, positions: NDArray[np.float64], outside: float | None) -> Tensor:
    last = values.shape[axis] - 1
    near = np.clip(positions, 0, last)
    whole = np.round(near)
    exact = bool(np.abs(near - whole).max() < _EDGE)
    low = whole if exact else np.floor(near)
    found = values.index_select(axis, torch.from_numpy(low.astype(np.int64)).to(values.device))
    shape = [-1 if axis == other else 1 for other in range(values.dim())]
    if not exact:
        above = torch.from_numpy(np.minimum(low + 1, last).astype(np.int64)).to(values.device)
        weight = torch.from_numpy((near - low).astype(np.float32)).to(values.device).reshape(shape)
        found = torch.lerp(found, values.index_select(axis, above), weight)
    inside = (positions >= -0.5 - _EDGE) & (positions <= last + 0.5 + _EDGE)
    if outside is not None and not inside.all():
        found = found.masked_fill(~torch.from_numpy(inside).to(values.device).reshape(shape), outside)
    return found


def _sampled_anywhere(values: Tensor, matrix: NDArray[np.float64], target: Grid, outside: float | None) -> Tensor:
    size = values.shape[-3:]
    grid = _sampling_grid(matrix, size, target, values.device)
    found = F.grid_sample(values.reshape(1, -1, *size), grid, "bilinear", "border", align_corners=False)
    if outside is not None:
        found = found.masked_fill(~(grid.abs() <= 1 + _EDGE).all(dim=-1)[:, None], outside)
    return found.reshape(*values.shape[:-3], *target.shape)


def _sampling_grid(
    matrix: NDArray[np.float64], size: tuple[int, ...] | torch.Size, target: Grid, device: torch.device
) -> Tensor:
    """Return each target voxel's position as `grid_sample` takes it: (x, y, z), from -1 to 1 within the source."""
    scale = 2.0 / np.array(size, np.float64)
    linear = torch.from_numpy((matrix[:3, :3] * scale[:, None]).astype(np.float32)).to(device)
    start = torch.from_numpy(((matrix[:3, 3] + 0.5) * scale - 1).astype(np.float32)).to(device)
    steps = [torch.arange(length, device=device, dtype=torch.float32) for length in target.shape]
    places = start.reshape(1, 1, 1, 3)
    for axis, along in enumerate(steps):
        shape = [-1 if axis == other else 1 for other in range(3)]
        places = places + along.reshape(*shape, 1) * linear[:, axis]
    return places.flip(-1)[None]
