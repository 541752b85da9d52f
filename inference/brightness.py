"""Scales the brightness of a volume for the network that finds the brain, in training and in use alike."""

import torch
from torch import Tensor

from inference.preprocessing import percentile

__all__ = ["BRIGHTEST", "relative_brightness"]

REFERENCE_PERCENT = 99.0
"""Percentile of everything but air that becomes 1. Fat and vessels above it do not darken the rest."""

BRIGHTEST = 1.3
"""Upper limit in those units."""


def relative_brightness(voxels: Tensor) -> Tensor:
    """Return a volume in units of its own brightness, from 0 to `BRIGHTEST`; negative values count as air."""
    shown = voxels[voxels > 0]
    if not shown.numel():
        return torch.zeros_like(voxels, dtype=torch.float32)
    return (voxels.float() / percentile(shown.float(), REFERENCE_PERCENT)).clamp(0.0, BRIGHTEST)
