"""Degrades images of heads as scanners do: shading, blur, thick slices, ghosts and noise. The brain does not move."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from inference.training.heads.smooth_field import smooth_field

__all__ = ["DegradationLimits", "degraded", "ghosted", "noisy", "shaded", "thick_slices"]

Image = NDArray[np.float32]

SHADING_NODES = (2, 4)
"""Smallest and largest number of cells of a coil's shading over the head."""

GAP = 1.15
"""Largest distance between slices in units of their thickness."""

GHOSTS = (2, 4)
"""A ghost is displaced by half to a quarter of the field of view (N/2 ghosts and breathing)."""


@dataclass(frozen=True, kw_only=True)
class DegradationLimits:
    """Probabilities and limits of degradation.

    Attributes
    ----------
    curved, gamma
        Share of images with a gamma correction, and the range of exponents.
    shaded, shading
        Share with coil shading, and the largest standard deviation of its logarithm. 0.45 is a factor of about 2.5
        either way.
    blur_mm
        Largest standard deviation of the blur along each axis.
    thick, thickness_mm
        Share with thick slices, and the range of their thickness.
    ghosted, ghost
        Share with a ghost, and the range of its intensity relative to the image.
    noisy, noise
        Share with noise, and its largest standard deviation in units of common brightness.
    rician
        Share of the noisy images with the Rician noise of magnitude images (Gudbjartsson 1995), which brightens the
        air. The others have normal noise.
    """

    curved: float = 0.3
    gamma: tuple[float, float] = (0.6, 1.6)
    shaded: float = 0.85
    shading: float = 0.45
    blur_mm: float = 1.6
    thick: float = 0.65
    thickness_mm: tuple[float, float] = (2.0, 7.5)
    ghosted: float = 0.12
    ghost: tuple[float, float] = (0.02, 0.15)
    noisy: float = 0.9
    noise: float = 0.08
    rician: float = 0.5


def degraded(
    rng: np.random.Generator, image: Image, slice_axis: int, spacing_mm: float, limits: DegradationLimits
) -> Image:
    """Return an image as a scanner might have acquired it, without negative values.

    Parameters
    ----------
    image
        Shape (slice, row, column), not negative.
    slice_axis
        Axis along which thick slices are stacked.
    """
    if rng.random() < limits.curved:
        image = image ** np.float32(rng.uniform(*limits.gamma))
    if rng.random() < limits.shaded:
        image = shaded(rng, image, limits.shading * rng.uniform())
    image = ndimage.gaussian_filter(image, rng.uniform(0, limits.blur_mm, 3) / spacing_mm)
    if rng.random() < limits.thick:
        thickness_mm = rng.uniform(*limits.thickness_mm)
        image = thick_slices(rng, image, slice_axis, thickness_mm / spacing_mm)
    if rng.random() < limits.ghosted:
        image = ghosted(rng, image, rng.uniform(*limits.ghost))
    if rng.random() < limits.noisy:
        image = noisy(rng, image, limits.noise * rng.uniform(), rician=rng.random() < limits.rician)
    return np.maximum(image, 0)


def shaded(rng: np.random.Generator, image: Image, deviation: float) -> Image:
    """Return an image multiplied by a smooth field whose logarithm has this standard deviation at its nodes."""
    nodes = int(rng.integers(SHADING_NODES[0], SHADING_NODES[1] + 1))
    return np.asarray(image * np.exp(smooth_field(rng, image.shape, nodes, deviation)))


def thick_slices(rng: np.random.Generator, image: Image, axis: int, thickness: float) -> Image:
    """Return an image made of slices of a thickness in voxels, interpolated linearly between their centres.

    The position of the first slice is random, with a gap of up to 15 % of the thickness between slices.
    """
    size = image.shape[axis]
    flat = ndimage.uniform_filter1d(image, max(1, round(thickness)), axis=axis)
    step = max(1.0, thickness) * rng.uniform(1, GAP)
    middles = np.arange(rng.uniform(0, min(step, size - 1)), size, step)
    slices = np.take(flat, np.rint(middles).astype(int).clip(0, size - 1), axis)
    between = np.interp(np.arange(size), middles, np.arange(len(middles)))
    below = np.floor(between).astype(int)
    above = np.minimum(below + 1, len(middles) - 1)
    share = (between - below).astype(np.float32).reshape([-1 if k == axis else 1 for k in range(3)])
    return np.asarray(np.take(slices, below, axis) * (1 - share) + np.take(slices, above, axis) * share)


def ghosted(rng: np.random.Generator, image: Image, strength: float) -> Image:
    """Return an image with a fainter copy of itself, shifted along rows or columns as phase encoding does."""
    axis = int(rng.integers(1, 3))
    shift = image.shape[axis] // int(rng.integers(GHOSTS[0], GHOSTS[1] + 1))
    return np.asarray(image + np.float32(strength) * np.roll(image, shift, axis))


def noisy(rng: np.random.Generator, image: Image, deviation: float, *, rician: bool) -> Image:
    """Return an image with normal or Rician noise."""
    real = image + np.float32(deviation) * rng.standard_normal(image.shape, np.float32)
    if not rician:
        return np.asarray(real)
    return np.asarray(np.hypot(real, np.float32(deviation) * rng.standard_normal(image.shape, np.float32)))
