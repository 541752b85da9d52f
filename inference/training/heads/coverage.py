"""What of a head an image shows: partial fields of view, faces removed, brains cut out; image and brain as one."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

__all__ = ["CoverageChances", "View", "covered", "defaced", "stripped", "within_field"]

FACE_GAP_MM = 4.0
"""Removing a face leaves at least so much around the brain."""

FACE_DEPTH_MM = (-4.0, 16.0)
"""How far the removed box reaches back beyond the brain's front; negative ends before it."""

FACE_HEIGHT_MM = (10.0, 60.0)
"""How far it reaches up from the brain's lowest slice."""


@dataclass(frozen=True, kw_only=True)
class CoverageChances:
    """How often, and how much at most.

    Attributes
    ----------
    partial, each_side
        Share of images with a partial field of view, and the chance of each of its two ends to be cut.
    brain_lost
        Largest share of the brain's extent that is lost at one end.
    margin_mm
        Most that is left beyond the brain at an end that is cut.
    defaced
        Share of images without a face.
    stripped
        Share of which nothing but the brain is left.
    strip_margin
        Most voxels that are left around it; the brain is then what is left.
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
    """An image and the brain in it, shapes (slice, row, column)."""

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
    """Return what a tool or a protocol might have left of a head.

    Parameters
    ----------
    bare
        Whether the image shows the brain alone already; no tool is used on it then.
    """
    if not bare and rng.random() < chances.stripped:
        view = stripped(view, int(rng.integers(chances.strip_margin + 1)))
    if not bare and rng.random() < chances.defaced:
        view = defaced(view, rng.uniform(*FACE_DEPTH_MM), rng.uniform(*FACE_HEIGHT_MM), spacing_mm)
    if rng.random() < chances.partial:
        view = _partial(rng, view, slice_axis, spacing_mm, chances)
    return view


def within_field(view: View, axis: int, first: int, last: int) -> View:
    """Return a view in which nothing before the first and after the last plane is shown."""
    outside = np.ones(view.image.shape[axis], bool)
    outside[max(0, first) : max(0, last + 1)] = False
    planes = tuple(outside if k == axis else slice(None) for k in range(3))
    image, brain = view.image.copy(), view.brain.copy()
    image[planes], brain[planes] = 0, False
    return View(image=image, brain=brain)


def defaced(view: View, depth_mm: float, height_mm: float, spacing_mm: float) -> View:
    """Return a view without what lies in front and below, none of it brain."""
    rows, slices = np.flatnonzero(view.brain.any(axis=(0, 2))), np.flatnonzero(view.brain.any(axis=(1, 2)))
    if not len(rows):
        return view
    gap = round(FACE_GAP_MM / spacing_mm)
    removed = np.zeros(view.brain.shape, bool)
    removed[: slices[0] + round(height_mm / spacing_mm), : max(0, rows[0] + round(depth_mm / spacing_mm))] = True
    removed &= ~ndimage.binary_dilation(view.brain, iterations=max(1, gap))
    return View(image=np.where(removed, np.float32(0), view.image), brain=view.brain)


def stripped(view: View, margin: int) -> View:
    """Return a view of the brain alone and of so many voxels around it, all of which count as brain then."""
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
