"""Coverage of a head: partial field of view, defacing, skull-stripping. Image and brain mask change together."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

__all__ = ["CoverageChances", "View", "covered", "defaced", "stripped", "within_field"]

FACE_GAP_MM = 4.0
"""Defacing leaves at least this margin around the brain."""

FACE_DEPTH_MM = (-4.0, 16.0)
"""How far the removed box extends back beyond the front of the brain. A negative value ends in front of it."""

FACE_HEIGHT_MM = (10.0, 60.0)
"""How far the box extends up from the lowest slice of the brain."""


@dataclass(frozen=True, kw_only=True)
class CoverageChances:
    """Probabilities and limits of incomplete heads.

    Attributes
    ----------
    partial, each_side
        Share of images with a partial field of view, and the probability that each of its two ends is cut.
    brain_lost
        Largest share of the brain's extent that is lost at one end.
    margin_mm
        Largest margin beyond the brain that is left at an end that is cut.
    defaced
        Share of images without a face.
    stripped
        Share of skull-stripped images.
    strip_margin
        Largest margin in voxels that skull-stripping leaves around the brain. It then counts as brain.
    """

    partial: float = 0.4
    each_side: float = 0.6
    brain_lost: float = 0.3
    margin_mm: float = 20.0
    defaced: float = 0.12
    stripped: float = 0.1
    strip_margin: int = 2


@dataclass(frozen=True, kw_only=True, eq=False)
class View:
    """An image and its brain mask, shapes (slice, row, column)."""

    image: NDArray[np.float32]
    brain: NDArray[np.bool_]


def covered(
    rng: np.random.Generator,
    view: View,
    slice_axis: int,
    spacing_mm: float,
    chances: CoverageChances,
    *,
    bare: bool = False,
) -> View:
    """Return the part of a head that a tool or a protocol might leave.

    Parameters
    ----------
    bare
        Whether the image is skull-stripped already. It is then neither stripped nor defaced.
    """
    if not bare and rng.random() < chances.stripped:
        view = stripped(view, int(rng.integers(chances.strip_margin + 1)))
    if not bare and rng.random() < chances.defaced:
        view = defaced(view, rng.uniform(*FACE_DEPTH_MM), rng.uniform(*FACE_HEIGHT_MM), spacing_mm)
    if rng.random() < chances.partial:
        view = _partial(rng, view, slice_axis, spacing_mm, chances)
    return view


def within_field(view: View, axis: int, first: int, last: int) -> View:
    """Return a view that is empty before the first and after the last plane."""
    outside = np.ones(view.image.shape[axis], bool)
    outside[max(0, first) : max(0, last + 1)] = False
    planes = tuple(outside if k == axis else slice(None) for k in range(3))
    image, brain = view.image.copy(), view.brain.copy()
    image[planes], brain[planes] = 0, False
    return View(image=image, brain=brain)


def defaced(view: View, depth_mm: float, height_mm: float, spacing_mm: float) -> View:
    """Return a view with the region in front of and below the brain removed, but none of the brain."""
    rows, slices = np.flatnonzero(view.brain.any(axis=(0, 2))), np.flatnonzero(view.brain.any(axis=(1, 2)))
    if not len(rows):
        return view
    gap = round(FACE_GAP_MM / spacing_mm)
    removed = np.zeros(view.brain.shape, bool)
    removed[: slices[0] + round(height_mm / spacing_mm), : max(0, rows[0] + round(depth_mm / spacing_mm))] = True
    removed &= ~ndimage.binary_dilation(view.brain, iterations=max(1, gap))
    return View(image=np.where(removed, np.float32(0), view.image), brain=view.brain)


def stripped(view: View, margin: int) -> View:
    """Return a skull-stripped view with a margin in voxels around the brain. The margin then counts as brain."""
    kept = ndimage.binary_dilation(view.brain, iterations=margin) if margin else view.brain
    return View(image=np.where(kept, view.image, np.float32(0)), brain=kept)


def _partial(rng: np.random.Generator, view: View, axis: int, spacing_mm: float, chances: CoverageChances) -> View:
    planes = np.flatnonzero(view.brain.any(axis=tuple(k for k in range(3) if k != axis)))
    if not len(planes):
        return view
    first, last = 0, view.brain.shape[axis] - 1
    margin, lost = chances.margin_mm / spacing_mm, chances.brain_lost * len(planes)
    if rng.random() < chances.each_side:
        first = int(planes[0]) + int(rng.uniform(-margin, lost))
    if rng.random() < chances.each_side:
        last = int(planes[-1]) - int(rng.uniform(-margin, lost))
    return within_field(view, axis, first, last)
