"""A head of 70 to 90 mm made of formulas: no plane of symmetry, sharp bodies, and any grid may look at it."""

import numpy as np
from numpy.typing import NDArray

from conversion.volume import Grid, ImageVolume
from tests.support.dicom_series import axis_aligned

__all__ = ["CENTRE_MM", "FRAME", "head_volume", "points_of"]

FRAME = "1.2.3"
CENTRE_MM = np.array([-25.0, 38.0, 40.0])
"""Middle of the head in its own coordinates."""

_BODIES = (((12, 15, 8), 10, 220), ((-15, -12, -10), 13, 40), ((8, -24, 16), 7, 300))
"""Centre from the middle (LPS mm), radius and brightness."""


def points_of(grid: Grid) -> NDArray[np.float64]:
    """Return the position of every voxel, shape (slice, row, column, 3) in LPS mm."""
    index = np.stack(np.meshgrid(*(np.arange(float(n)) for n in grid.shape), indexing="ij"), axis=-1)
    return grid.position_mm(index)


def head_volume(
    plane: str, spacing_mm: tuple[float, float, float], matrix: NDArray[np.float64] | None = None, frame: str = FRAME
) -> ImageVolume:
    """Return the head on a grid around its middle; `matrix` takes LPS mm of the grid to the head's own."""
    affine = axis_aligned(plane, spacing_mm)
    shape = tuple(int(np.ceil(100.0 / step)) for step in spacing_mm)
    affine[:3, 3] = CENTRE_MM - affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    grid = Grid(shape=(shape[0], shape[1], shape[2]), affine=affine, frame_of_reference_uid=frame)
    points = points_of(grid)
    if matrix is not None:
        points = points @ matrix[:3, :3].T + matrix[:3, 3]
    return ImageVolume(grid=grid, voxels=_brightness(points))


def _brightness(points: NDArray[np.float64]) -> NDArray[np.float32]:
    x, y, z = np.moveaxis(points - CENTRE_MM, -1, 0)
    tissue = 110 + 25 * np.sin(x / 6 + y / 11) + 20 * np.cos(y / 7 - z / 13) + 15 * np.sin(z / 8 + x / 15)
    brightness = np.where((x / 34) ** 2 + (y / 44) ** 2 + (z / 38) ** 2 < 1, tissue, 0.0)
    for centre, radius, value in _BODIES:
        distance = np.sqrt((x - centre[0]) ** 2 + (y - centre[1]) ** 2 + (z - centre[2]) ** 2)
        brightness = np.where(distance < radius, float(value), brightness)
    return brightness.astype(np.float32)
