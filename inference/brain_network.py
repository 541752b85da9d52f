"""The network that finds the brain in any volume of a head, whatever its contrast, plane or slice thickness.

A small U-Net over 2 mm cubes. It learned from images that were synthesised from label maps (Billot 2023, Hoopes 2022):
random contrasts, slices of 1 to 7 mm, partial fields of view, tumours, cavities, opened skulls, coil shading.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from conversion.volume import Grid
from inference.arithmetic import answer_of
from inference.brightness import relative_brightness
from inference.components import box_around
from inference.manifest import BrainManifest
from inference.resampling import binned, sampled
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
def brain_on_cubes(network: BrainNetwork, voxels: Tensor, grid: Grid) -> tuple[Grid, Tensor, Tensor]:
    """Return what the network says of a volume, on cubes along the volume's axes.

    It looks at the whole volume first and then at the surroundings of what it took for the brain.

    Parameters
    ----------
    voxels
        float32, shape of the grid, on the network's device.

    Returns
    -------
    tuple
        The cubes' grid, an axial stack; the probability of the brain, float32; and where the volume shows anything,
        bool. The tensors have that grid's shape.
    """
    axial = grid.permuted(*grid.axial_order())
    cubes = axial.resampled((network.manifest.spacing_mm,) * 3)
    values = relative_brightness(sampled(*_shrunk(voxels, grid, network.manifest.spacing_mm), cubes))
    shown = values > SHOWN
    box = box_around(shown)
    found = torch.zeros_like(values)
    if box is None:
        return cubes, found, shown
    found[box] = _whole(network.module, values[box])
    middle = _middle(found, network.manifest.threshold)
    for _ in range(LOOKS):
        if middle is None:
            break
        before, found = middle, _around(network.module, values, middle)
        middle = _middle(found, network.manifest.threshold)
        if middle is None or max(abs(new - old) for new, old in zip(middle, before, strict=True)) <= SETTLED:
            break
    return cubes, found, shown


def _shrunk(voxels: Tensor, grid: Grid, spacing_mm: float) -> tuple[Tensor, Grid]:
    """Average voxels that are smaller than half a cube, whose noise would be sampled otherwise."""
    slices, rows, columns = (max(1, int(spacing_mm / spacing + 1e-6)) for spacing in grid.spacing_mm)
    fewest = tuple(min(factor, size) for factor, size in zip((slices, rows, columns), grid.shape, strict=True))
    return binned(voxels, grid, (fewest[0], fewest[1], fewest[2])) if max(fewest) > 1 else (voxels, grid)


def _whole(module: TumourUNet, values: Tensor) -> Tensor:
    """Look at everything, air laid around it and as much more as halves often enough."""
    air = [(AIR_CUBES, AIR_CUBES + -(size + 2 * AIR_CUBES) % module.multiple) for size in values.shape]
    inner = tuple(slice(AIR_CUBES, AIR_CUBES + size) for size in values.shape)
    return _answer(module, F.pad(values, [side for pair in reversed(air) for side in pair]))[inner]


def _around(module: TumourUNet, values: Tensor, middle: tuple[float, float, float]) -> Tensor:
    """Look at a view around a middle; beyond the volume is air, and outside the view no brain."""
    starts = [round(place - size / 2) for place, size in zip(middle, VIEW, strict=True)]
    into, out_of = [], []
    for start, size, length in zip(starts, VIEW, values.shape, strict=True):
        out_of.append(slice(max(0, start), min(length, start + size)))
        into.append(slice(max(0, -start), max(0, -start) + out_of[-1].stop - out_of[-1].start))
    view = values.new_zeros(VIEW)
    view[tuple(into)] = values[tuple(out_of)]
    found = torch.zeros_like(values)
    found[tuple(out_of)] = _answer(module, view)[tuple(into)]
    return found


def _middle(found: Tensor, threshold: float) -> tuple[float, float, float] | None:
    """Return the middle of what was found, in cubes, or None where nothing was."""
    places = (found >= threshold).nonzero()
    if not len(places):
        return None
    middle = places.double().mean(dim=0)
    return float(middle[0]), float(middle[1]), float(middle[2])


def _answer(module: TumourUNet, view: Tensor) -> Tensor:
    return answer_of(module, view[None, None])[0, 0].sigmoid()
