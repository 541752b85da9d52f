"""The 1 mm grid of head and tumour."""

import numpy as np
from numpy.typing import NDArray

from dicom_node.phantom.plan import Vector

__all__ = ["HEAD_ORIGIN_MM", "HEAD_SHAPE", "axis_coordinates_mm", "head_affine", "rigid_affine"]

HEAD_ORIGIN_MM: Vector = (-92.0, -112.0, -115.0)
"""LPS coordinates (x, y, z) of the first voxel; MNI152 with x and y reversed."""

HEAD_SHAPE = (218, 240, 186)
"""Voxels along (slice: to the head, row: to the back, column: to the left), all even."""


def head_affine() -> NDArray[np.float64]:
    """Return the matrix from index (slice, row, column, 1) to the head's LPS mm."""
    affine = np.zeros((4, 4))
    affine[[2, 1, 0, 3], [0, 1, 2, 3]] = 1.0
    affine[:3, 3] = HEAD_ORIGIN_MM
    return affine


def axis_coordinates_mm() -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Return LPS x, y and z of every voxel, each of a shape that broadcasts to `HEAD_SHAPE`."""
    z, y, x = (
        np.arange(length, dtype=np.float32) + np.float32(start)
        for length, start in zip(HEAD_SHAPE, reversed(HEAD_ORIGIN_MM), strict=True)
    )
    return x[None, None, :], y[None, :, None], z[:, None, None]


def rigid_affine(rotation_deg: Vector, shift_mm: Vector) -> NDArray[np.float64]:
    """Return the rigid transform that rotates about x, then y, then z, and then translates; LPS, right-handed."""
    affine = np.eye(4)
    for axis, angle in enumerate(np.radians(rotation_deg)):
        rotation = np.eye(4)
        i, j = (axis + 1) % 3, (axis + 2) % 3
        rotation[[i, i, j, j], [i, j, i, j]] = np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle)
        affine = rotation @ affine
    affine[:3, 3] = shift_mm
    return affine
