"""The network that finds the brain in any volume of a head, whatever its contrast, plane or slice thickness.

It is a small U-Net over 2 mm cubes. It was trained on images synthesised from label maps (Billot 2023, Hoopes 2022):
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

SIGNAL = 0.02
"""Relative brightness from which a voxel counts as signal."""

VIEW = (96, 112, 96)
"""Size of the input, in cubes, once the brain's centre is known; the same as in training. More would include neck and
shoulders, which the training data did not contain."""

AIR_CUBES = 8
"""Padding of a whole volume with air: in training hardly any head touched the upper border of its image."""

MOST_VIEWS = 3
"""Largest number of views around the brain's centre; each view corrects the centre for the next."""

SETTLED = 4.0
"""Shift of the centre, in cubes, at which the search stops. Training shifts heads by up to ten."""


@dataclass(frozen=True, kw_only=True, eq=False)
class BrainNetwork:
    """A model's network for the brain, in evaluation mode on its device."""

    manifest: BrainManifest
    module: TumourUNet


@torch.inference_mode()
def brain_on_cubes(network: BrainNetwork, voxels: Tensor, grid: Grid) -> tuple[Grid, Tensor, Tensor]:
    """Return the network's prediction for a volume, on cubes along the volume's axes.

    The network runs on the whole volume first, and then on the surroundings of the brain found there.

    Parameters
    ----------
    voxels
        float32, shape of the grid, on the network's device.

    Returns
    -------
    tuple
        The cubes' grid, an axial stack; the probability of the brain, float32; and a mask of the voxels with signal,
        bool. The tensors have that grid's shape.
    """
    axial = grid.permuted(*grid.axial_order())
    cubes = axial.resampled((network.manifest.spacing_mm,) * 3)
    values = relative_brightness(sampled(*_shrunk(voxels, grid, network.manifest.spacing_mm), cubes))
    signal = values > SIGNAL
    box = box_around(signal)
    probability = torch.zeros_like(values)
    if box is None:
        return cubes, probability, signal
    probability[box] = _whole(network.module, values[box])
    centre = _centre(probability, network.manifest.threshold)
    for _ in range(MOST_VIEWS):
        if centre is None:
            break
        before, probability = centre, _around(network.module, values, centre)
        centre = _centre(probability, network.manifest.threshold)
        if centre is None or max(abs(new - old) for new, old in zip(centre, before, strict=True)) <= SETTLED:
            break
    return cubes, probability, signal


def _shrunk(voxels: Tensor, grid: Grid, spacing_mm: float) -> tuple[Tensor, Grid]:
    """Average voxels that are smaller than half a cube; otherwise their noise would be sampled."""
    slices, rows, columns = (max(1, int(spacing_mm / spacing + 1e-6)) for spacing in grid.spacing_mm)
    fewest = tuple(min(factor, size) for factor, size in zip((slices, rows, columns), grid.shape, strict=True))
    return binned(voxels, grid, (fewest[0], fewest[1], fewest[2])) if max(fewest) > 1 else (voxels, grid)


def _whole(module: TumourUNet, values: Tensor) -> Tensor:
    """Return the probability in the whole volume, padded with air to a size that can be halved often enough."""
    air = [(AIR_CUBES, AIR_CUBES + -(size + 2 * AIR_CUBES) % module.multiple) for size in values.shape]
    inner = tuple(slice(AIR_CUBES, AIR_CUBES + size) for size in values.shape)
    return _predicted(module, F.pad(values, [side for pair in reversed(air) for side in pair]))[inner]


def _around(module: TumourUNet, values: Tensor, centre: tuple[float, float, float]) -> Tensor:
    """Return the probability in a view around a centre. Beyond the volume is air, and outside the view no brain."""
    starts = [round(place - size / 2) for place, size in zip(centre, VIEW, strict=True)]
    into, out_of = [], []
    for start, size, length in zip(starts, VIEW, values.shape, strict=True):
        out_of.append(slice(max(0, start), min(length, start + size)))
        into.append(slice(max(0, -start), max(0, -start) + out_of[-1].stop - out_of[-1].start))
    view = values.new_zeros(VIEW)
    view[tuple(into)] = values[tuple(out_of)]
    probability = torch.zeros_like(values)
    probability[tuple(out_of)] = _predicted(module, view)[tuple(into)]
    return probability


def _centre(probability: Tensor, threshold: float) -> tuple[float, float, float] | None:
    """Return the centre of the brain, in cubes, or None where none was found."""
    places = (probability >= threshold).nonzero()
    if not len(places):
        return None
    centre = places.double().mean(dim=0)
    return float(centre[0]), float(centre[1]), float(centre[2])


def _predicted(module: TumourUNet, view: Tensor) -> Tensor:
    return answer_of(module, view[None, None])[0, 0].sigmoid()
