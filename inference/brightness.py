"""How bright a volume is shown to the network that finds brains, in training and afterwards alike."""

import torch
from torch import Tensor

from inference.preprocessing import percentile

__all__ = ["BRIGHTEST", "relative_brightness"]

REFERENCE_PERCENT = 99.0
"""Percentile of all that is not air which counts as 1: fat and vessels beyond it do not darken the rest."""

BRIGHTEST = 1.3
"""Ceiling in those units."""


def relative_brightness(voxels: Tensor) -> Tensor:
    """Return a volume in units of its own brightness, from 0 to `BRIGHTEST`; negative values count as air."""
    shown = voxels[voxels > 0]
    if not shown.numel():
        return torch.zeros_like(voxels, dtype=torch.float32)
    return (voxels.float() / percentile(shown.float(), REFERENCE_PERCENT)).clamp(0.0, BRIGHTEST)
