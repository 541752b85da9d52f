"""Voxels on a grid in patient space; the only module where axes are permuted or flipped.

Arrays are indexed (slice, row, column). A grid's affine maps (slice, row, column, 1) to
LPS patient coordinates in mm (PS3.3 C.7.6.2.1.1: x to the left, y to the back, z to the head).
"""

from dataclasses import dataclass
from itertools import product
from typing import Self

import numpy as np
from numpy.typing import NDArray

from conversion.errors import BrokenGeometry, ConversionReason

__all__ = ["Grid", "ImageVolume", "LabelVolume"]

_AXIAL = np.array([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0]])
"""Columns: the LPS directions of (slice, row, column) in a canonical axial stack: head, back, left."""


SAME_PLACE_MM = 0.005
"""Ten times the rounding error of float32 NIfTI headers at the far corner of a head."""

_NOTHING = 1e-12
"""Smaller entries of an affine are rounding noise; with much smaller ones, ITK's matrix inverse overflows."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Grid:
    """The positions of voxels in patient space.

    Attributes
    ----------
    shape
        Numbers of (slices, rows, columns).
    affine
        Shape (4, 4), float64: index (slice, row, column, 1) to LPS in mm.
    frame_of_reference_uid
        The coordinate system that the LPS values belong to.
    """

    shape: tuple[int, int, int]
    affine: NDArray[np.float64]
    frame_of_reference_uid: str

    def __post_init__(self) -> None:
        """Check that the affine is orthogonal and not degenerate, and store a read-only copy of it."""
        affine = np.array(self.affine, np.float64)
        affine[np.abs(affine) < _NOTHING] = 0.0
        if affine.shape != (4, 4) or not np.all(np.isfinite(affine)) or not np.array_equal(affine[3], [0, 0, 0, 1]):
            raise BrokenGeometry(ConversionReason.MIXED_GEOMETRY, "the affine of a grid is not a finite 4 by 4 matrix")
        spacing = np.linalg.norm(affine[:3, :3], axis=0)
        if np.any(spacing <= 0) or any(n < 1 for n in self.shape):
            raise BrokenGeometry(ConversionReason.MIXED_GEOMETRY, "the voxels of a grid need a size above zero")
        directions = affine[:3, :3] / spacing
        if not np.allclose(directions.T @ directions, np.eye(3), atol=1e-3):
            raise BrokenGeometry(ConversionReason.SHEARED_STACK, "the axes of a grid are not at right angles")
        affine.setflags(write=False)
        object.__setattr__(self, "affine", affine)

    @property
    def spacing_mm(self) -> NDArray[np.float64]:
        """Distance between neighbours along (slice, row, column)."""
        return np.asarray(np.linalg.norm(self.affine[:3, :3], axis=0), np.float64)

    @property
    def directions(self) -> NDArray[np.float64]:
        """Unit vectors along (slice, row, column) as the columns of a (3, 3) matrix."""
        return np.asarray(self.affine[:3, :3] / self.spacing_mm)

    @property
    def voxel_volume_ml(self) -> float:
        """Volume of one voxel."""
        return float(np.prod(self.spacing_mm)) / 1000.0

    def position_mm(self, index: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return the LPS coordinates of indices, shape (..., 3) to (..., 3)."""
        return np.asarray(index @ self.affine[:3, :3].T + self.affine[:3, 3])

    def equals(self, other: Self) -> bool:
        """Return whether two grids share a frame of reference and all voxels agree within `SAME_PLACE_MM`."""
        if self.shape != other.shape or self.frame_of_reference_uid != other.frame_of_reference_uid:
            return False
        corners = np.array(list(product(*((0, size - 1) for size in self.shape))), np.float64)
        apart = np.linalg.norm(self.position_mm(corners) - other.position_mm(corners), axis=1)
        return bool(apart.max() <= SAME_PLACE_MM)

    def axial_order(self) -> tuple[tuple[int, int, int], tuple[bool, bool, bool]]:
        """Return the order of axes, reversed or not, that is closest to an axial stack (slices towards the head).

        Returns
        -------
        tuple
            For each canonical axis (head, back, left): the axis of this grid, and whether it is reversed.
        """
        score = _AXIAL.T @ self.directions
        best = max(_PERMUTATIONS, key=lambda p: sum(abs(score[k, p[k]]) for k in range(3)))
        flips = tuple(bool(score[k, best[k]] < 0) for k in range(3))
        return best, (flips[0], flips[1], flips[2])

    def permuted(self, axes: tuple[int, int, int], flips: tuple[bool, bool, bool]) -> Self:
        """Return the grid of the same voxels with axes reordered, and then reversed where `flips` is true."""
        shape = (self.shape[axes[0]], self.shape[axes[1]], self.shape[axes[2]])
        affine = self.affine[:, [*axes, 3]].copy()
        for axis, flip in enumerate(flips):
            if flip:
                affine[:3, 3] += affine[:3, axis] * (shape[axis] - 1)
                affine[:3, axis] *= -1
        return type(self)(shape=shape, affine=affine, frame_of_reference_uid=self.frame_of_reference_uid)

    def resampled(self, spacing_mm: tuple[float, float, float]) -> Self:
        """Return a grid with another spacing that covers the same box and has the same centre."""
        target = np.asarray(spacing_mm, np.float64)
        extent = np.array(self.shape) * self.spacing_mm
        shape = np.maximum(1, np.ceil(extent / target - 1e-6)).astype(int)
        linear = self.directions * target
        centre = self.position_mm((np.array(self.shape) - 1) / 2)
        affine = np.eye(4)
        affine[:3, :3] = linear
        affine[:3, 3] = centre - linear @ ((shape - 1) / 2)
        return type(self)(
            shape=(int(shape[0]), int(shape[1]), int(shape[2])),
            affine=affine,
            frame_of_reference_uid=self.frame_of_reference_uid,
        )

    def turned(self, rotation: NDArray[np.float64], spacing_mm: float) -> Self:
        """Return the smallest grid of cubes that covers this one, with axial slices in another coordinate system.

        Parameters
        ----------
        rotation
            Shape (3, 3): columns are the LPS directions of left, back and head in that system.
        """
        directions = rotation @ _AXIAL
        corners = self.position_mm(np.array(list(product(*((-0.5, size - 0.5) for size in self.shape)))))
        along = corners @ directions
        shape = np.ceil(np.ptp(along, axis=0) / spacing_mm - 1e-6).astype(int)
        affine = np.eye(4)
        affine[:3, :3] = directions * spacing_mm
        middle = directions @ ((along.min(axis=0) + along.max(axis=0)) / 2)
        affine[:3, 3] = middle - affine[:3, :3] @ ((shape - 1) / 2)
        return type(self)(
            shape=(int(shape[0]), int(shape[1]), int(shape[2])),
            affine=affine,
            frame_of_reference_uid=self.frame_of_reference_uid,
        )


_PERMUTATIONS = ((0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0))


@dataclass(frozen=True, kw_only=True, eq=False)
class ImageVolume:
    """Intensities on a grid; interpolated linearly.

    Attributes
    ----------
    voxels
        float32, shape of the grid, read-only.
    """

    grid: Grid
    voxels: NDArray[np.float32]

    def __post_init__(self) -> None:
        """Check the shape and make the array read-only."""
        object.__setattr__(self, "voxels", _read_only(self.voxels, np.float32, self.grid))


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelVolume:
    """Label values on a grid; only interpolated by nearest neighbour.

    Attributes
    ----------
    labels
        uint8, shape of the grid, read-only.
    """

    grid: Grid
    labels: NDArray[np.uint8]

    def __post_init__(self) -> None:
        """Check the shape and make the array read-only."""
        object.__setattr__(self, "labels", _read_only(self.labels, np.uint8, self.grid))


def _read_only(array: NDArray[np.generic], kind: type, grid: Grid) -> NDArray[np.generic]:
    if array.shape != grid.shape:
        sentence = f"voxels of shape {array.shape} do not fit a grid of shape {grid.shape}"
        raise BrokenGeometry(ConversionReason.MIXED_GEOMETRY, sentence)
    view: NDArray[np.generic] = np.ascontiguousarray(array, kind).view()
    view.setflags(write=False)
    return view
