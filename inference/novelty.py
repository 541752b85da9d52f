"""How far a study is from anything that the model was trained on, by an autoencoder's failure to give it back.

The score is the largest of several errors, each in units of what 95 of 100 held-out patients stay below: that of the
whole study, and that of each sequence when it is made up from the others. The first sees noise, missing halves and
other parts of the body; the second sees a sequence that is not the one it is said to be.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from inference.autoencoder import HeadAutoencoder

__all__ = ["GRID_MM", "GRID_SHAPE", "NoveltyScale", "novelty", "overview", "reconstruction_errors"]

GRID_MM = 4.0
"""Voxel size the autoencoder looks at: what a contrast is and what is missing shows at any size."""

GRID_SHAPE = (40, 48, 40)
"""160 x 192 x 160 mm around the middle of what shows signal; the 41 BraTS brains at hand take 145 x 185 x 147 mm."""

SIGNAL = 0.2
"""Normalised intensity above which a voxel shows something."""

WHOLE = "whole"
"""Name of the error over all sequences at once."""


@dataclass(frozen=True, kw_only=True)
class NoveltyScale:
    """What the errors are held against.

    Attributes
    ----------
    whole
        Error of the whole that 95 % of held-out patients stay below, by the number of sequences, one to four.
    channels
        The same for each sequence made up from one, two or three others.
    """

    whole: tuple[float, ...]
    channels: Mapping[str, tuple[float, ...]]


def overview(channels: Tensor, spacing_mm: Sequence[float]) -> Tensor:
    """Return a study at `GRID_MM`, shape (channel, *`GRID_SHAPE`), its signal in the middle.

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
    """Return a stack cut or padded with zeros to a shape, the box of its signal in the middle."""
    shown = (stack > SIGNAL).any(dim=0)
    pads: list[int] = []
    for axis in range(3):
        places = shown.any(dim=[other for other in range(3) if other != axis]).nonzero()
        middle = int(places.min() + places.max() + 1) // 2 if len(places) else shown.shape[axis] // 2
        before = shape[axis] // 2 - middle
        pads = [before, shape[axis] - shown.shape[axis] - before, *pads]
    return F.pad(stack, pads)


@torch.inference_mode()
def reconstruction_errors(
    network: HeadAutoencoder, seen: Tensor, names: Sequence[str], present: Sequence[str]
) -> dict[str, float]:
    """Return the mean absolute error of the whole, and of each present sequence when it is made up from the others.

    Parameters
    ----------
    seen
        As `overview` returns it, on the network's device.
    names
        Of the channels.
    present
        Those that were in the study.
    """
    places = [names.index(name) for name in present]
    inputs = [seen]
    if len(places) > 1:
        for place in places:
            without = seen.clone()
            without[place] = 0
            inputs.append(without)
    found = network(torch.stack(inputs)).float()
    errors = {WHOLE: _error(found[0, places], seen[places])}
    for place, made_up in zip(places, found[1:], strict=False):
        errors[names[place]] = _error(made_up[[place]], seen[[place]])
    return errors


def _error(made: Tensor, seen: Tensor) -> float:
    """Return the mean absolute difference where either shows signal; nothing at all is as strange as can be."""
    somewhere = (seen > SIGNAL) | (made > SIGNAL)
    return float((made - seen).abs()[somewhere].mean()) if bool(somewhere.any()) else float("inf")


def novelty(errors: Mapping[str, float], scale: NoveltyScale) -> float:
    """Return the score: 1 is what 95 of 100 patients stay below in each of its parts."""
    count = max(1, len(errors) - 1)
    parts = [errors[WHOLE] / scale.whole[count - 1]]
    parts += [value / scale.channels[name][count - 2] for name, value in errors.items() if name != WHOLE]
    return max(parts)
