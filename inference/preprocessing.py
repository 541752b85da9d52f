"""What happens to intensities before a network sees them; the same code serves training and the node."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["CHANNELS", "MAXIMUM_INTENSITY", "normalise_intensity", "tissue_level"]

CHANNELS = ("T1", "T1CE", "T2", "FLAIR")
"""Channel order of every shipped network; a missing sequence is a channel of zeros."""

FOREGROUND_FRACTION = 0.1
"""Share of the 99.5th percentile under which a voxel counts as air: separates air from tissue in whole heads
and in skull-stripped volumes alike (checked by eye on both training sets)."""

MAXIMUM_INTENSITY = 4.0
"""Ceiling in units of the tissue median; only fat, vessels and artefacts lie above."""


def tissue_level(voxels: NDArray[np.floating]) -> float:
    """Return the intensity under which a voxel counts as air; negative values count as air too."""
    return FOREGROUND_FRACTION * float(np.percentile(np.maximum(voxels, 0), 99.5))


def normalise_intensity(voxels: NDArray[np.floating] | NDArray[np.uint8]) -> NDArray[np.float32]:
    """Scale one volume so that air is 0 and the median of the tissue is 1.

    Parameters
    ----------
    voxels
        Intensities of one sequence, any shape; negative values count as air.

    Returns
    -------
    numpy.ndarray
        Same shape, within 0 to `MAXIMUM_INTENSITY`; all zeros when the volume holds no tissue.
    """
    positive = np.maximum(voxels, 0).astype(np.float32)
    tissue = positive[positive > tissue_level(positive)]
    if tissue.size == 0:
        return np.zeros_like(positive)
    return np.asarray(np.clip(positive / float(np.median(tissue)), 0.0, MAXIMUM_INTENSITY), np.float32)
