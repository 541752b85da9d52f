"""Pictures of heads with an outline of the brain. Keep them out of any repository: they show patients."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy import ndimage

__all__ = ["write_pictures"]

PIXEL_MM = 1.0
HEIGHTS = (0.2, 0.35, 0.5, 0.65, 0.8)
"""Positions of the axial slices, as shares of the stack."""

Head = tuple[str, NDArray[np.float32], Sequence[float], NDArray[np.bool_]]


def write_pictures(heads: Iterable[Head], folder: Path) -> None:
    """Write a PNG for each head: five axial slices, a sagittal and a coronal one, with the brain's edge in red.

    Parameters
    ----------
    heads
        Name, voxels (slice, row, column) with axes running up, to the back and to the left, spacing, and brain mask.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name, image, spacing_mm, brain in heads:
        shown = image[image > 0]
        grey = np.clip(image / (np.percentile(shown, 99.5) if shown.size else 1), 0, 1)
        cuts = [_cut(grey, brain, 0, round(height * (len(grey) - 1)), spacing_mm) for height in HEIGHTS]
        cuts += [_cut(grey, brain, axis, grey.shape[axis] // 2, spacing_mm) for axis in (2, 1)]
        height = max(cut.shape[0] for cut in cuts)
        padded = [np.pad(cut, ((0, height - cut.shape[0]), (0, 4), (0, 0))) for cut in cuts]
        sitk.WriteImage(sitk.GetImageFromArray(np.concatenate(padded, axis=1), isVector=True), folder / f"{name}.png")


def _cut(
    grey: NDArray[np.floating], brain: NDArray[np.bool_], axis: int, place: int, spacing_mm: Sequence[float]
) -> NDArray[np.uint8]:
    factors = [step / PIXEL_MM for kept, step in enumerate(spacing_mm) if kept != axis]
    plane = ndimage.zoom(np.take(grey, place, axis), factors, order=1)
    inside = ndimage.zoom(np.take(brain, place, axis).astype(np.float32), factors, order=1) > 0.5
    if axis:  # the head on top
        plane, inside = plane[::-1], inside[::-1]
    colours = np.repeat((255 * np.clip(plane, 0, 1)).astype(np.uint8)[..., None], 3, axis=2)
    colours[inside & ~ndimage.binary_erosion(inside)] = (255, 0, 0)
    return colours
