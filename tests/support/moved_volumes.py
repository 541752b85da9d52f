"""Known moves of volumes: what was scanned once, as if the head had lain elsewhere, on another grid, with other noise.

Brightness is resampled here by SimpleITK alone, and the moved volume gets noise and coil shading of its own, so that
a registration never sees the same interpolated numbers twice.
"""

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from conversion.simpleitk_bridge import grid_from_simpleitk, like_grid, to_simpleitk
from conversion.volume import Grid, ImageVolume

__all__ = [
    "cut",
    "degraded",
    "errors_mm",
    "mirrored",
    "move",
    "random_move",
    "scanned",
    "sharing_frame",
    "shifted_grid",
    "tissue_mm",
]

Matrix = NDArray[np.float64]

TILT_DEG = 8.0
ROOM_MM = 20.0


def move(turn_deg: tuple[float, float, float], shift_mm: tuple[float, float, float], pivot_mm: Matrix) -> Matrix:
    """Return shape (4, 4): turns about the axes x, y, z through a pivot, then a shift."""
    matrix = np.eye(4)
    for axis, angle in enumerate(np.radians(turn_deg)):
        first, second = (axis + 1) % 3, (axis + 2) % 3
        turn = np.eye(3)
        turn[first, first] = turn[second, second] = np.cos(angle)
        turn[first, second], turn[second, first] = -np.sin(angle), np.sin(angle)
        matrix[:3, :3] = turn @ matrix[:3, :3]
    matrix[:3, 3] = pivot_mm + np.array(shift_mm) - matrix[:3, :3] @ pivot_mm
    return matrix


def random_move(rng: np.random.Generator, pivot_mm: Matrix) -> Matrix:
    """Return a move of up to 20° about each axis and 25 mm along each."""
    turn, shift = rng.uniform(-20.0, 20.0, 3), rng.uniform(-25.0, 25.0, 3)
    return move((turn[0], turn[1], turn[2]), (shift[0], shift[1], shift[2]), pivot_mm)


def tissue_mm(volume: ImageVolume, count: int = 2000) -> Matrix:
    """Return shape (n, 3): points in mm drawn evenly from the brighter voxels."""
    bright = np.argwhere(volume.voxels > 0.1 * np.percentile(volume.voxels, 99))
    return volume.grid.position_mm(bright[np.linspace(0, len(bright) - 1, min(count, len(bright))).astype(int)])


def errors_mm(found: Matrix, wanted: Matrix, points_mm: Matrix) -> Matrix:
    """Return the target registration error at points: how far apart two moves carry each."""
    difference = found - wanted
    return np.asarray(np.linalg.norm(points_mm @ difference[:3, :3].T + difference[:3, 3], axis=1))


def degraded(volume: ImageVolume, rng: np.random.Generator, noise: float = 0.04, shading: float = 0.3) -> ImageVolume:
    """Return a volume with Rician noise (of its 99th percentile) and smooth shading (natural logarithm, end to end)."""
    z, y, x = np.meshgrid(*[np.linspace(-1, 1, n) for n in volume.grid.shape], indexing="ij", sparse=True)
    slope, bend = rng.normal(size=3), rng.normal(size=3)
    slope /= np.linalg.norm(slope)
    plane = slope[0] * z + slope[1] * y + slope[2] * x
    factor = np.exp(shading * (plane + 0.3 * (bend[0] * z * y + bend[1] * x * z + bend[2] * y * y)))
    sigma = noise * np.percentile(volume.voxels, 99)
    real = volume.voxels * factor + rng.normal(0, 1, volume.grid.shape) * sigma
    imaginary = rng.normal(0, 1, volume.grid.shape) * sigma
    return ImageVolume(grid=volume.grid, voxels=np.hypot(real, imaginary).astype(np.float32))


def scanned(
    volume: ImageVolume,
    matrix: Matrix,
    rng: np.random.Generator,
    spacing_mm: tuple[float, float, float] = (1.1, 0.95, 1.05),
    *,
    axial: bool = False,
) -> ImageVolume:
    """Return a volume whose head was moved by `matrix` (LPS mm to LPS mm), on a tilted grid in any order of axes.

    Slices thicker than 1.5 mm are averages of 1 mm layers, as a scanner makes them.
    """
    points = tissue_mm(volume) @ matrix[:3, :3].T + matrix[:3, 3]
    layers = max(1, round(spacing_mm[0])) if spacing_mm[0] > 1.5 else 1
    grid = _grid_around(points, (spacing_mm[0] / layers, *spacing_mm[1:]), layers, rng, axial=axial)
    target = sitk.Image([int(n) for n in grid.shape[::-1]], sitk.sitkUInt8)
    like_grid(target, grid)
    back = np.linalg.inv(matrix)
    transform = sitk.AffineTransform(back[:3, :3].ravel().tolist(), back[:3, 3].tolist())
    image = sitk.BinShrink(sitk.Resample(to_simpleitk(volume), target, transform, sitk.sitkLinear), [1, 1, layers])
    made = grid_from_simpleitk(image, volume.grid.frame_of_reference_uid)
    return ImageVolume(grid=made, voxels=sitk.GetArrayFromImage(image))


def _grid_around(
    points_mm: Matrix, spacing_mm: tuple[float, float, float], layers: int, rng: np.random.Generator, *, axial: bool
) -> Grid:
    low, high = points_mm.min(axis=0), points_mm.max(axis=0)
    shape = np.ceil(((high - low).max() + ROOM_MM) / np.array(spacing_mm)).astype(int)
    shape[0] = shape[0] // layers * layers
    axes = np.fliplr(np.eye(3)) if axial else np.eye(3)[:, rng.permutation(3)] * rng.choice([-1.0, 1.0], 3)
    tilt = rng.uniform(-TILT_DEG, TILT_DEG, 3)
    affine = np.eye(4)
    affine[:3, :3] = move((tilt[0], tilt[1], tilt[2]), (0, 0, 0), np.zeros(3))[:3, :3] @ axes * spacing_mm
    affine[:3, 3] = (low + high) / 2 + rng.uniform(-5, 5, 3) - affine[:3, :3] @ ((shape - 1) / 2)
    return Grid(shape=(int(shape[0]), int(shape[1]), int(shape[2])), affine=affine, frame_of_reference_uid="1.2.3")


def shifted_grid(volume: ImageVolume, matrix: Matrix) -> ImageVolume:
    """Return the same voxels with their grid moved: an exact move, without any interpolation."""
    return _placed(volume, matrix @ volume.grid.affine, volume.voxels)


def mirrored(volume: ImageVolume) -> ImageVolume:
    """Return the mirror image, left for right: what a broken converter would make."""
    return _placed(volume, np.diag([-1.0, 1.0, 1.0, 1.0]) @ volume.grid.affine, volume.voxels)


def cut(volume: ImageVolume, first: float, last: float) -> ImageVolume:
    """Return the slices between two shares of the stack."""
    start, stop = (int(volume.grid.shape[0] * share) for share in (first, last))
    affine = np.array(volume.grid.affine)
    affine[:3, 3] += start * affine[:3, 0]
    return _placed(volume, affine, volume.voxels[start:stop])


def sharing_frame(volume: ImageVolume, frame_of_reference_uid: str) -> ImageVolume:
    """Return the same volume in a named frame of reference."""
    grid = Grid(shape=volume.grid.shape, affine=volume.grid.affine, frame_of_reference_uid=frame_of_reference_uid)
    return ImageVolume(grid=grid, voxels=volume.voxels)


def _placed(volume: ImageVolume, affine: Matrix, voxels: NDArray[np.float32]) -> ImageVolume:
    shape = (int(voxels.shape[0]), int(voxels.shape[1]), int(voxels.shape[2]))
    grid = Grid(shape=shape, affine=affine, frame_of_reference_uid=volume.grid.frame_of_reference_uid)
    return ImageVolume(grid=grid, voxels=voxels)
