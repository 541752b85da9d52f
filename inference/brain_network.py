"""The network that finds the brain in any volume of a head, whatever its contrast, plane or slice thickness.

A small U-Net over 2 mm cubes. It learned from images that were synthesised from label maps (Billot 2023, Hoopes 2022):
random contrasts, slices of 1 to 7 mm, partial fields of view, tumours, cavities, opened skulls, coil shading.
"""

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
import torch
from numpy.typing import NDArray

from conversion.alignment import resample
from conversion.simpleitk_bridge import from_simpleitk, grid_from_simpleitk, to_simpleitk
from conversion.volume import Grid, ImageVolume
from inference.arithmetic import answer_of
from inference.brightness import relative_brightness
from inference.manifest import BrainManifest
from inference.preprocessing import box_around
from inference.unet import TumourUNet

__all__ = ["BrainNetwork", "brain_on_cubes"]

SHOWN = 0.02
"""Relative brightness from which a voxel shows something."""

VIEW = (96, 112, 96)
"""Cubes that are looked at once the brain's middle is known, as in training: more would be neck and shoulders, which
training never showed."""

AIR_CUBES = 8
"""Air that is laid around a whole volume, for in training hardly a head touched the upper border of its image."""

LOOKS = 3
"""Most views around a middle that moves from one to the next."""

SETTLED = 4.0
"""Cubes that the middle may still move by; training shifts heads by up to ten."""


@dataclass(frozen=True, kw_only=True, eq=False)
class BrainNetwork:
    """The network of a model, in evaluation mode on its device."""

    manifest: BrainManifest
    module: TumourUNet


@torch.inference_mode()
def brain_on_cubes(network: BrainNetwork, volume: ImageVolume) -> tuple[Grid, NDArray[np.float32], NDArray[np.bool_]]:
    """Return what the network says of a volume, on cubes along the volume's axes.

    It looks at the whole volume first and then at the surroundings of what it took for the brain.

    Returns
    -------
    tuple
        Their grid, an axial stack; the probability of the brain; and where the volume shows anything. The arrays have
        the grid's shape.
    """
    axial = volume.grid.permuted(*volume.grid.axial_order())
    cubes = axial.resampled((network.manifest.spacing_mm,) * 3)
    values = relative_brightness(resample(_shrunk(volume, network.manifest.spacing_mm), cubes).voxels)
    shown = np.asarray(values > SHOWN)
    box = box_around(shown)
    if box is None:
        return cubes, np.zeros(cubes.shape, np.float32), shown
    found = np.zeros(cubes.shape, np.float32)
    found[box] = _whole(network.module, values[box])
    middle = _middle(found, network.manifest.threshold)
    for _ in range(LOOKS):
        if middle is None:
            break
        before, found = middle, _around(network.module, values, middle)
        middle = _middle(found, network.manifest.threshold)
        if middle is None or np.abs(middle - before).max() <= SETTLED:
            break
    return cubes, found, shown


def _shrunk(volume: ImageVolume, spacing_mm: float) -> ImageVolume:
    """Average voxels that are smaller than half a cube, whose noise would be sampled otherwise."""
    image = to_simpleitk(volume)
    factors = [max(1, int(spacing_mm / spacing + 1e-6)) for spacing in image.GetSpacing()]
    if max(factors) == 1:
        return volume
    small = sitk.BinShrink(sitk.Cast(image, sitk.sitkFloat32), factors)
    return from_simpleitk(small, grid_from_simpleitk(small, volume.grid.frame_of_reference_uid))


def _whole(module: TumourUNet, values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Look at everything, air laid around it and as much more as halves often enough."""
    air = [(AIR_CUBES, AIR_CUBES + -(size + 2 * AIR_CUBES) % module.multiple) for size in values.shape]
    inner = tuple(slice(AIR_CUBES, AIR_CUBES + size) for size in values.shape)
    return _answer(module, np.pad(values, air))[inner]


def _around(module: TumourUNet, values: NDArray[np.float32], middle: NDArray[np.float64]) -> NDArray[np.float32]:
    """Look at a view around a middle; beyond the volume is air, and outside the view no brain."""
    starts = [round(place - size / 2) for place, size in zip(middle, VIEW, strict=True)]
    into, out_of = [], []
    for start, size, length in zip(starts, VIEW, values.shape, strict=True):
        out_of.append(slice(max(0, start), min(length, start + size)))
        into.append(slice(max(0, -start), max(0, -start) + out_of[-1].stop - out_of[-1].start))
    view = np.zeros(VIEW, np.float32)
    view[tuple(into)] = values[tuple(out_of)]
    found = np.zeros(values.shape, np.float32)
    found[tuple(out_of)] = _answer(module, view)[tuple(into)]
    return found


def _middle(found: NDArray[np.float32], threshold: float) -> NDArray[np.float64] | None:
    """Return the middle of what was found, shape (3,), or None where nothing was."""
    places = np.argwhere(found >= threshold)
    return np.asarray(places.mean(axis=0), np.float64) if len(places) else None


def _answer(module: TumourUNet, view: NDArray[np.float32]) -> NDArray[np.float32]:
    device = next(module.parameters()).device
    answer = answer_of(module, torch.from_numpy(np.ascontiguousarray(view))[None, None].to(device))
    found: NDArray[np.float32] = answer[0, 0].sigmoid().cpu().numpy()
    return found
