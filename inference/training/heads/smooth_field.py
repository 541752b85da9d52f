"""Random fields that vary slowly over a volume, for coil shading, deformations and uneven tissue."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["interpolated", "smooth_field"]

MARGIN = 2
"""Additional nodes: the field begins and ends half a cell inside the outermost ones."""


def smooth_field(rng: np.random.Generator, shape: tuple[int, ...], nodes: int, deviation: float) -> NDArray[np.float32]:
    """Return a field of mean zero: normal at nodes, trilinear between them (Billot 2023, section 3.2).

    Parameters
    ----------
    shape
        (slice, row, column).
    nodes
        Number of cells along each axis. More cells give a rougher field.
    deviation
        Standard deviation at the nodes. Between them it is smaller.
    """
    return interpolated(deviation * rng.standard_normal((nodes + MARGIN,) * 3, np.float32), shape)


def interpolated(nodes: NDArray[np.float32], shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Return the values at the nodes, interpolated trilinearly over a volume of another shape."""
    first, second, third = (_weights(n, size) for n, size in zip(nodes.shape, shape, strict=True))
    slices = np.tensordot(first, nodes, 1)
    return np.asarray(second @ slices @ third.T, np.float32)


def _weights(nodes: int, size: int) -> NDArray[np.float32]:
    """Return the weight of each node at each position along one axis, shape (size, nodes)."""
    places = np.linspace(0.5, nodes - 1.5, size)
    return np.maximum(0.0, 1.0 - np.abs(places[:, None] - np.arange(nodes))).astype(np.float32)
