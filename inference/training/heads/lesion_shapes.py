"""Shapes of lesions in small boxes, and the position of such a box in a sample."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from inference.training.heads.deformation import labels_at, turned
from inference.training.heads.label_map import box_of, read_only
from inference.training.heads.smooth_field import smooth_field

__all__ = ["Overlap", "TumourShape", "blob", "overlap", "placed_shape"]

AXES = (0.6, 1.3)
"""Semi-axes of a blob in units of its radius: egg-shaped, not spindle-shaped."""

ROUGHNESS = 0.12
"""Standard deviation of a blob's surface in units of its radius. It varies over a quarter of its box."""

ROUGH_NODES = 4

REACH = 1.8
"""Half edge of a blob's box in radii. The box also contains the opened skull around it."""

ZOOM = (0.6, 1.3)
"""Scales of the shapes drawn by experts, so that the 58 of them give small tumours as well."""

ALL_AROUND_DEG = 180.0


@dataclass(frozen=True, kw_only=True, eq=False)
class TumourShape:
    """A tumour as an expert drew it.

    Attributes
    ----------
    labels
        Shape (slice, row, column): 0 none, 1 necrosis, 2 oedema, 3 enhancing tumour.
    spacing_mm
        Of slices, rows and columns.
    """

    labels: NDArray[np.int16]
    spacing_mm: tuple[float, float, float]

    def __post_init__(self) -> None:
        """Make the array read-only."""
        object.__setattr__(self, "labels", read_only(self.labels))

    @classmethod
    def of_brats(cls, labels: NDArray[np.integer], spacing_mm: tuple[float, float, float]) -> "TumourShape | None":
        """Return the shape in a BraTS label map (enhancing tumour is 4, or 3 since 2023), or None if it is empty."""
        if not (labels > 0).any():
            return None
        kept = labels[box_of(labels > 0)]
        return cls(labels=np.where(kept >= 3, 3, kept).astype(np.int16), spacing_mm=spacing_mm)


@dataclass(frozen=True, kw_only=True)
class Overlap:
    """The overlap of a box and a volume, in indices of each."""

    volume: tuple[slice, ...]
    box: tuple[slice, ...]


def overlap(reach: int, centre: tuple[int, ...], shape: tuple[int, ...]) -> Overlap:
    """Return the overlap of a volume and a box with `reach` voxels on each side of its centre."""
    low = [middle - reach for middle in centre]
    volume = tuple(slice(max(0, a), min(size, a + 2 * reach + 1)) for a, size in zip(low, shape, strict=True))
    box = tuple(slice(part.start - a, part.stop - a) for part, a in zip(volume, low, strict=True))
    return Overlap(volume=volume, box=box)


def blob(rng: np.random.Generator, radius_mm: float, spacing_mm: float) -> NDArray[np.float32]:
    """Return the distance from the centre of a rough ellipsoid, in units of its radius in that direction.

    Values below 1 are inside.

    Returns
    -------
    numpy.ndarray
        A cube with an odd number of voxels along each edge.
    """
    reach = int(np.ceil(radius_mm * REACH / spacing_mm))
    stretch = turned(rng, ALL_AROUND_DEG) / (radius_mm * rng.uniform(*AXES, 3))[:, None]
    away = np.sqrt(np.sum(_around(stretch, reach, spacing_mm) ** 2, axis=0))
    return np.asarray(away + smooth_field(rng, away.shape, ROUGH_NODES, ROUGHNESS), np.float32)


def placed_shape(rng: np.random.Generator, shape: TumourShape, spacing_mm: float) -> NDArray[np.int16]:
    """Return a shape rotated, mirrored and scaled at random, in a cube with an odd number of voxels along each edge."""
    zoom = rng.uniform(*ZOOM)
    side = 1.0 if rng.random() < 0.5 else -1.0
    size_mm = np.array(shape.labels.shape) * shape.spacing_mm
    reach = int(np.ceil(np.linalg.norm(size_mm) / 2 * zoom / spacing_mm))
    back = turned(rng, ALL_AROUND_DEG) @ np.diag([1.0, 1.0, side]) / zoom
    middle = (np.array(shape.labels.shape) - 1) / 2
    places = _around(back / np.array(shape.spacing_mm)[:, None], reach, spacing_mm)
    return np.asarray(labels_at(shape.labels, places + middle[:, None, None, None]), np.int16)


def _around(matrix: NDArray[np.float64], reach: int, spacing_mm: float) -> NDArray[np.float64]:
    """Return the offsets in mm from the centre of a cube, multiplied by a matrix, shape (3, n, n, n)."""
    along = np.arange(-reach, reach + 1) * spacing_mm
    return np.tensordot(matrix, np.stack(np.meshgrid(along, along, along, indexing="ij")), 1)
