"""A head of ellipsoids as a label map: scalp, bone, fluid, two halves of a brain, ventricles, one eye on the left."""

from functools import cache

import numpy as np
from numpy.typing import NDArray

from inference.training.heads.anatomy import FLUID
from inference.training.heads.label_map import LabelMap
from inference.training.heads.lesion_shapes import TumourShape
from inference.training.heads.real_head import RealHead
from inference.training.heads.sample_grid import SampleGrid
from inference.training.heads.sampler import Heads

__all__ = ["SMALL_GRID", "small_heads", "small_labels", "small_map", "small_real", "small_shape"]

SPACING_MM = (3.0, 2.5, 2.5)
SIZE = (36, 42, 42)
SMALL_GRID = SampleGrid(shape=(40, 48, 40), spacing_mm=2.5)

_LAYERS = ((507, 48), (511, 45), (FLUID, 42), (42, 37), (41, 28))
"""Labels of the right half, or of no half, and the radii in mm within which they lie."""


def small_labels() -> NDArray[np.int16]:
    """Return the labels, axes running up, to the back and to the left."""
    z, y, x = (
        (np.arange(n) - (n - 1) / 2).reshape([-1 if k == axis else 1 for k in range(3)]) * spacing
        for axis, (n, spacing) in enumerate(zip(SIZE, SPACING_MM, strict=True))
    )
    away = np.sqrt(z**2 + (0.9 * y) ** 2 + x**2)
    labels = np.zeros(SIZE, np.int16)
    for label, radius in _LAYERS:
        labels[away < radius] = label
    left = np.broadcast_to(x > 0, SIZE)
    for right_label, left_label in ((42, 3), (41, 2)):
        labels[(labels == right_label) & left] = left_label
    for label, side in ((4, 1), (43, -1)):
        labels[np.sqrt(z**2 + (y / 2) ** 2 + (x - side * 9) ** 2) < 6] = label
    labels[np.sqrt((z + 10) ** 2 + (y + 46) ** 2 + (x - 14) ** 2) < 7] = 516
    return labels


@cache
def small_map(name: str = "small") -> LabelMap:
    """Return the head with its brain."""
    return LabelMap.of(name, small_labels(), SPACING_MM)


@cache
def small_shape() -> TumourShape:
    """Return a tumour of three shells, 8, 12 and 16 mm from its middle, twice as long as wide."""
    z, y, x = np.ix_(*(np.arange(-n, n + 1.0) for n in (16, 16, 32)))
    away = np.sqrt(z**2 + y**2 + (x / 2) ** 2)
    labels = np.select([away < 8, away < 12, away < 16], [1, 4, 2], 0)
    shape = TumourShape.of_brats(labels, (1.0, 1.0, 1.0))
    assert shape is not None
    return shape


def small_real(name: str = "real", *, bare: bool = False) -> RealHead:
    """Return an image of the head whose grey levels rise with its labels' order."""
    head = small_map()
    values = np.array([0, 60, 20, 10, 40, 90, 120, 35], np.float32)
    order = np.searchsorted([0, 4, FLUID, 43, 100, 507, 511, 530], head.labels)
    image = values[order]
    if bare:
        return RealHead.of_bare(name, np.where(head.brain, image + 5, 0), head.spacing_mm, SMALL_GRID.spacing_mm)
    return RealHead.of(name, image, head.brain, head.spacing_mm, SMALL_GRID.spacing_mm)


def small_heads() -> Heads:
    """Return two label maps, a shape and two real images, one of them stripped."""
    maps = [small_map("one"), small_map("two")]
    return Heads(maps=maps, shapes=[small_shape()], real=[small_real(), small_real("bare", bare=True)])
