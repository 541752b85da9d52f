"""A drawn brain of two equal halves that leans, with a ball of tumour at a chosen distance from its midplane."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

__all__ = ["BRAIN_SHAPE", "MIDDLE", "NORMAL", "leaning_brain", "sides"]

BRAIN_SHAPE = (60, 84, 78)
MIDDLE = np.array([29.0, 41.0, 40.0])
_TILT = np.array([0.05, -0.08, 1.0])
NORMAL = _TILT / np.linalg.norm(_TILT)
"""Of the midplane along (slice, row, column), to the left; cubes of a millimetre."""


def sides() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return how far each voxel lies to the left of the midplane, and from the middle along it, by axis."""
    places = np.stack(np.meshgrid(*(np.arange(size, dtype=float) for size in BRAIN_SHAPE), indexing="ij"))
    away = places - MIDDLE[:, None, None, None]
    left = np.tensordot(NORMAL, away, 1)
    return left, away - NORMAL[:, None, None, None] * left


def leaning_brain(tumour_at_mm: float = -16.0, texture: int = 1) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return the image, about 1 in tissue and 0 in air, and the tumour, 1.5 brighter."""
    left, along = sides()
    brain = (left / 34) ** 2 + (along[0] / 26) ** 2 + (along[1] / 38) ** 2 < 1
    cloud = ndimage.gaussian_filter(np.random.default_rng(texture).normal(size=(80, 100, 60)), 3) * 8
    half = ndimage.map_coordinates(cloud, [along[0] + 40, along[1] + 50, np.abs(left)], order=1, mode="nearest")
    image = np.where(brain, np.clip(1 + half, 0.3, 2), 0)
    tumour = ((left - tumour_at_mm) ** 2 + along[0] ** 2 + (along[1] - 4) ** 2 < 9**2) & brain
    image[tumour] += 1.5
    return image, tumour
