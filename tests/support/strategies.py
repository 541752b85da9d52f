"""Hypothesis strategies for geometry: every way a stack of slices can lie in a scanner."""

from collections.abc import Sequence
from itertools import permutations, product

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from conversion.volume import Grid

__all__ = ["SIGNED_PERMUTATIONS", "affines", "directions", "grids", "shapes", "slice_orders", "tilted"]

SIGNED_PERMUTATIONS = [
    np.eye(3)[:, list(axes)] * np.array(signs)
    for axes in permutations(range(3))
    for signs in product((1.0, -1.0), repeat=3)
]
"""The 48 ways to name and reverse three axes."""


@st.composite
def directions(draw: st.DrawFn, tilt_deg: float = 45.0) -> NDArray[np.float64]:
    """Draw an orthonormal matrix, left- or right-handed: axes permuted, reversed, then tilted about x, y and z."""
    angles = [draw(st.floats(-tilt_deg, tilt_deg)) for _ in range(3)]
    return np.asarray(tilted(angles) @ draw(st.sampled_from(SIGNED_PERMUTATIONS)))


def tilted(angles_deg: Sequence[float]) -> NDArray[np.float64]:
    """Return the rotation by an angle about each of x, y and z, one after the other."""
    tilt = np.eye(3)
    for axis, angle in enumerate(np.radians(angles_deg)):
        first, second = (axis + 1) % 3, (axis + 2) % 3
        turn = np.eye(3)
        turn[first, first] = turn[second, second] = np.cos(angle)
        turn[first, second], turn[second, first] = -np.sin(angle), np.sin(angle)
        tilt = turn @ tilt
    return tilt


@st.composite
def affines(draw: st.DrawFn, tilt_deg: float = 45.0) -> NDArray[np.float64]:
    """Draw an affine (slice, row, column, 1) to LPS mm with a voxel size of its own along each axis."""
    affine = np.eye(4)
    spacing = [draw(st.integers(8, 120)) / 20 for _ in range(3)]
    affine[:3, :3] = draw(directions(tilt_deg)) * spacing
    affine[:3, 3] = [draw(st.integers(-3000, 3000)) / 20 for _ in range(3)]
    return affine


def shapes(smallest: int = 2, largest: int = 7) -> st.SearchStrategy[tuple[int, int, int]]:
    """Return a strategy for (slices, rows, columns)."""
    size = st.integers(smallest, largest)
    return st.tuples(size, size, size)


@st.composite
def grids(draw: st.DrawFn, tilt_deg: float = 45.0) -> Grid:
    """Draw a grid of any orientation, handedness, voxel size, place and small shape."""
    return Grid(shape=draw(shapes()), affine=draw(affines(tilt_deg)), frame_of_reference_uid="1.2.3")


def slice_orders(slices: int) -> st.SearchStrategy[list[int]]:
    """Return a strategy for the order in which the slices of a series arrive."""
    return st.permutations(range(slices)).map(list)
