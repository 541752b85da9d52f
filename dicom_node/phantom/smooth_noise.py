"""Random fields that vary over a chosen length; the same seed gives the same field."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["smooth_noise"]


def smooth_noise(seed: tuple[int, ...], shape: tuple[int, ...], scale_mm: float) -> NDArray[np.float32]:
    """Return a Gaussian random field on a grid of 1 mm.

    Parameters
    ----------
    seed
        Any integers; equal ones give equal fields.
    shape
        Voxels along each axis.
    scale_mm
        Distance over which values become independent.

    Returns
    -------
    numpy.ndarray
        float32 of that shape, mean about 0, standard deviation 1.
    """
    kernels = [_interpolation(length, scale_mm) for length in shape]
    nodes = tuple(kernel.shape[1] for kernel in kernels)
    field = np.random.default_rng(seed).standard_normal(nodes, np.float32)
    for axis in (2, 1, 0):
        field = np.moveaxis(np.tensordot(kernels[axis], field, axes=(1, axis)), 0, axis)
    return np.ascontiguousarray(field, np.float32)


def _interpolation(length: int, scale_mm: float) -> NDArray[np.float32]:
    """Return Gaussian weights of coarse nodes for each voxel of an axis; rows have unit length, so variance stays 1."""
    nodes = np.arange(-1.5 * scale_mm, length + 1.5 * scale_mm, scale_mm)
    distance = (np.arange(length)[:, None] - nodes[None, :]) / (0.7 * scale_mm)
    weights = np.exp(-0.5 * distance**2)
    return np.asarray(weights / np.linalg.norm(weights, axis=1, keepdims=True), np.float32)
