"""Images without a brain, to train a network to find none there: noise, and layered bodies like bottles or limbs."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from inference.training.heads.deformation import turned
from inference.training.heads.sample_grid import SampleGrid
from inference.training.heads.smooth_field import smooth_field

__all__ = ["BodyChances", "drawn_body"]

RADII_MM = (25.0, 100.0)
"""Radius of a body: from a wrist to a trunk."""

THINNER = (0.5, 0.95)
"""Radius of each layer relative to the layer around it."""

TILT_DEG, ANY_DEG = 25.0, 180.0
DENTS = (3, 9)
"""Cells along each axis of the random field that makes a surface uneven."""

GRAIN_CELLS = 24


@dataclass(frozen=True, kw_only=True)
class BodyChances:
    """Probabilities and limits of images without a brain.

    Attributes
    ----------
    noise
        Share of images that are noise alone, like a scan with an empty coil.
    long
        Share of bodies that extend through the field of view, as limbs do.
    aside
        Share of bodies that are off-centre, by up to `shift_mm`.
    bodies, layers
        Largest number of bodies in an image, and of layers in a body.
    uneven
        Largest unevenness of a surface, in radii.
    """

    noise: float = 0.15
    long: float = 0.6
    aside: float = 0.7
    shift_mm: float = 50.0
    bodies: int = 3
    layers: int = 5
    uneven: float = 0.08


def drawn_body(rng: np.random.Generator, grid: SampleGrid, chances: BodyChances) -> NDArray[np.float32]:
    """Return an image without a brain, in the shape of the grid, with a brightness of about 0 to 1."""
    if rng.random() < chances.noise:
        return np.asarray(
            np.maximum(_grain(rng, grid.shape, rng.uniform(0.2, 0.6), rng.uniform(0.05, 0.2)), 0), np.float32
        )
    image = np.zeros(grid.shape, np.float32)
    for _ in range(int(rng.integers(1, chances.bodies + 1))):
        radius = _radius(rng, grid, chances)
        edge = 1.0
        for _ in range(int(rng.integers(1, chances.layers + 1))):
            image = np.where(radius < edge, np.float32(rng.uniform(0, 1)), image)
            edge *= rng.uniform(*THINNER)
    return np.asarray(np.maximum(image + _grain(rng, grid.shape, 0.0, rng.uniform(0.01, 0.1)), 0), np.float32)


def _radius(rng: np.random.Generator, grid: SampleGrid, chances: BodyChances) -> NDArray[np.float32]:
    """Return the distance of each voxel from the body's axis or centre, in radii of its surface."""
    turn = turned(rng, TILT_DEG if rng.random() < chances.aside else ANY_DEG)
    aside = rng.uniform(-chances.shift_mm, chances.shift_mm, 3) * (rng.random() < chances.aside)
    sizes = rng.uniform(*RADII_MM, 3)
    if rng.random() < chances.long:
        sizes[0] = np.inf
    offsets = grid.offsets_mm()
    parts = [sum(factor * part for factor, part in zip(row, offsets, strict=True)) for row in turn]
    squares = sum(((part + shift) / size) ** 2 for part, shift, size in zip(parts, aside, sizes, strict=True))
    dents = smooth_field(rng, grid.shape, int(rng.integers(*DENTS)), rng.uniform(0, chances.uneven))
    return np.asarray(np.sqrt(squares) + dents, np.float32)


def _grain(rng: np.random.Generator, shape: tuple[int, ...], middle: float, deviation: float) -> NDArray[np.float32]:
    fine = rng.standard_normal(shape, np.float32) * np.float32(rng.uniform(0.2, 1))
    coarse = smooth_field(rng, shape, GRAIN_CELLS, rng.uniform(0, 1.5))
    return np.asarray(middle + deviation * (fine + coarse), np.float32)
