"""How bright a volume is shown to the network that finds brains, in training and afterwards alike."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["BRIGHTEST", "relative_brightness"]

REFERENCE_PERCENT = 99.0
"""Percentile of all that is not air which counts as 1: fat and vessels beyond it do not darken the rest."""

BRIGHTEST = 1.3
"""Ceiling in those units."""


def relative_brightness(voxels: NDArray[np.floating]) -> NDArray[np.float32]:
    """Return a volume in units of its own brightness, from 0 to `BRIGHTEST`; negative values count as air."""
    shown = voxels[voxels > 0]
    if not shown.size:
        return np.zeros(voxels.shape, np.float32)
    return np.asarray(np.clip(voxels / np.percentile(shown, REFERENCE_PERCENT), 0.0, BRIGHTEST), np.float32)
