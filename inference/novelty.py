"""Measures how far a study differs from the model's training data, by the reconstruction error of an autoencoder.

The score is the largest of several errors: that of the whole study, and that of each sequence when it is reconstructed
from the others. The unit of each is the error that 95 of 100 held-out patients stay below. The first kind detects
noise, missing halves and other parts of the body. The second detects a sequence with a wrong role.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from inference.autoencoder import HeadAutoencoder

__all__ = ["GRID_MM", "GRID_SHAPE", "NoveltyScale", "novelty", "overview", "reconstruction_errors"]

GRID_MM = 4.0
"""Voxel size of the autoencoder's input. Contrasts and missing parts show at any size."""

GRID_SHAPE = (40, 48, 40)
"""160 x 192 x 160 mm around the centre of the signal; the 41 available BraTS brains need 145 x 185 x 147 mm."""

SIGNAL = 0.2
"""Normalised intensity above which a voxel counts as signal."""

WHOLE = "whole"
"""Name of the error over all sequences at once."""


@dataclass(frozen=True, kw_only=True)
class NoveltyScale:
    """The limits that the errors are divided by.

    Attributes
    ----------
    whole
        Error of the whole study that 95 % of held-out patients stay below, by the number of sequences, one to four.
    channels
        The same for each sequence when it is reconstructed from one, two or three others.
    """

    whole: tuple[float, ...]
    channels: Mapping[str, tuple[float, ...]]


def overview(channels: Tensor, spacing_mm: Sequence[float]) -> Tensor:
    """Return a study at `GRID_MM`, shape (channel, *`GRID_SHAPE`), with its signal in the centre.

    Parameters
    ----------
    channels
        Normalised intensities of the brain alone, shape (channel, slice, row, column), axial.
    spacing_mm
        Of (slice, row, column).
    """
    shape = channels.shape[1:]
    slices, rows, columns = (
        max(1, round(count * step / GRID_MM)) for count, step in zip(shape, spacing_mm, strict=True)
    )
    return centred(F.adaptive_avg_pool3d(channels, (slices, rows, columns)), GRID_SHAPE)


def centred(stack: Tensor, shape: Sequence[int]) -> Tensor:
    """Return a stack cropped or padded with zeros to a shape, with the box of its signal in the centre."""
    signal = (stack > SIGNAL).any(dim=0)
    pads: list[int] = []
    for axis in range(3):
        places = signal.any(dim=[other for other in range(3) if other != axis]).nonzero()
        centre = int(places.min() + places.max() + 1) // 2 if len(places) else signal.shape[axis] // 2
        before = shape[axis] // 2 - centre
        pads = [before, shape[axis] - signal.shape[axis] - before, *pads]
    return F.pad(stack, pads)


@torch.inference_mode()
def reconstruction_errors(
    network: HeadAutoencoder, study: Tensor, names: Sequence[str], present: Sequence[str]
) -> dict[str, float]:
    """Return the mean absolute error of the whole study, and of each sequence when reconstructed from the others.

    Parameters
    ----------
    study
        As returned by `overview`, on the network's device.
    names
        Of the channels.
    present
        The sequences of the study.
    """
    places = [names.index(name) for name in present]
    inputs = [study]
    if len(places) > 1:
        for place in places:
            without = study.clone()
            without[place] = 0
            inputs.append(without)
    outputs = network(torch.stack(inputs)).float()
    errors = {WHOLE: _error(outputs[0, places], study[places])}
    for place, reconstructed in zip(places, outputs[1:], strict=False):
        errors[names[place]] = _error(reconstructed[[place]], study[[place]])
    return errors


def _error(reconstructed: Tensor, original: Tensor) -> float:
    """Return the mean absolute difference where either shows signal; infinite where neither shows any."""
    signal = (original > SIGNAL) | (reconstructed > SIGNAL)
    return float((reconstructed - original).abs()[signal].mean()) if bool(signal.any()) else float("inf")


def novelty(errors: Mapping[str, float], scale: NoveltyScale) -> float:
    """Return the score, of which 95 of 100 patients stay below 1 in each part."""
    count = max(1, len(errors) - 1)
    parts = [errors[WHOLE] / scale.whole[count - 1]]
    parts += [value / scale.channels[name][count - 2] for name, value in errors.items() if name != WHOLE]
    return max(parts)
