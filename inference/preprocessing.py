"""Prepares intensities for the networks; training and the node use the same code."""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["CHANNELS", "MAXIMUM_INTENSITY", "normalise_intensity", "percentile", "signal_box", "tissue_level"]

CHANNELS = ("T1", "T1CE", "T2", "FLAIR")
"""Channel order of every shipped network; a missing sequence is a channel of zeros."""

FOREGROUND_FRACTION, FOREGROUND_PERCENT = 0.1, 99.5
"""A voxel below this share of this percentile counts as air. It separates air from tissue in whole heads and in
skull-stripped volumes alike (checked by eye on both training sets)."""

MAXIMUM_INTENSITY = 4.0
"""Upper limit in units of the tissue median; only fat, vessels and artefacts exceed it."""


HEAD_LEVEL = 0.2
"""Share of the tissue's median above which a voxel counts as signal. Normalised air is below it, even noisy air."""

HEAD_SHARE = 0.01
"""A plane with a smaller share of signal lies outside the head: noise, ghosts, wrapped-in ears. In LGG, 0.002 leaves a
median of 245 by 255 of 256 by 256 pixels, 0.01 leaves 238 by 238, and 0.03 begins to cut the vertex."""

MARGIN_VOXELS = 2


def tissue_level(voxels: NDArray[np.floating]) -> float:
    """Return the intensity below which a voxel counts as air; negative values count as air too."""
    return FOREGROUND_FRACTION * float(np.percentile(np.maximum(voxels, 0), FOREGROUND_PERCENT))


def percentile(values: Tensor, percent: float) -> Tensor:
    """Return a percentile as `numpy.percentile` does, of any number of values, without copying them to the CPU.

    Parameters
    ----------
    values
        Of any shape, at least one.

    Returns
    -------
    torch.Tensor
        Without axes, on the same device.
    """
    flat = values.flatten()
    place = (flat.numel() - 1) * percent / 100
    below = math.floor(place)
    found = flat.kthvalue(below + 1).values
    if place == below or int((flat <= found).count_nonzero()) > below + 1:
        return found  # the next one is the same
    return torch.lerp(found, flat[flat > found].min(), place - below)


def normalise_intensity(voxels: Tensor) -> Tensor:
    """Scale one volume so that air is 0 and the median of the tissue is 1.

    Parameters
    ----------
    voxels
        Intensities of one sequence, any shape; negative values and NaN count as air.

    Returns
    -------
    torch.Tensor
        float32, same shape and device, from 0 to `MAXIMUM_INTENSITY`; all zeros if the volume contains no tissue.
    """
    positive = voxels.float().nan_to_num(0.0, math.inf, 0.0).clamp(min=0)
    tissue = positive[positive > FOREGROUND_FRACTION * percentile(positive, FOREGROUND_PERCENT)]
    if not tissue.numel():
        return torch.zeros_like(positive)
    return (positive / percentile(tissue, 50)).clamp(max=MAXIMUM_INTENSITY)


def signal_box(images: Tensor, keep: Tensor | None = None, share: float = HEAD_SHARE) -> tuple[slice, slice, slice]:
    """Return the smallest box that contains the head in every sequence.

    Parameters
    ----------
    images
        Normalised intensities, shape (channel, slice, row, column).
    keep
        Voxels that must be inside, bool, shape (slice, row, column).
    share
        A plane with no more than this share of signal lies outside.
    """
    signal = (images > HEAD_LEVEL).any(dim=0)
    box = []
    for axis in range(3):
        others = tuple(other for other in range(3) if other != axis)
        inside = signal.sum(dim=others) > share * (signal.numel() // signal.shape[axis])
        if keep is not None:
            inside |= keep.sum(dim=others) > 0
        kept = inside.nonzero().flatten()
        first, last = (int(kept[0]), int(kept[-1])) if len(kept) else (0, signal.shape[axis] - 1)
        box.append(slice(max(0, first - MARGIN_VOXELS), min(signal.shape[axis], last + 1 + MARGIN_VOXELS)))
    return box[0], box[1], box[2]
