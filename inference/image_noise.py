"""Measures the noise of a study from second differences of voxels; where noise hides the tissue, networks fail."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from conversion.sequences import Role
from conversion.volume import ImageVolume
from inference.preprocessing import tissue_level

__all__ = ["noise_level", "noise_novelty"]

STRONG_NOISE = 0.12
"""Noise at which the score is 1, in units of the tissue's median: one and a half times the strongest noise in training
(0.08). The noisiest of the available volumes (BraTS, Philips 1.5 T, brainix, TCGA-DU-7294) has 0.055."""

FEWEST_VALUES = 1000
ENOUGH_PLANES = 64
"""Planes that are evaluated across each axis; more do not change the second digit."""

NORMAL = 1.4826
"""Standard deviation of a normal distribution, in units of its median absolute deviation."""


def noise_novelty(volumes: Mapping[Role, ImageVolume]) -> float:
    """Return how noisy the noisiest sequence is: 1 for `STRONG_NOISE`, 0 where no sequence can be judged."""
    levels = [noise_level(volume.voxels) for volume in volumes.values()]
    return max((level / STRONG_NOISE for level in levels if level is not None), default=0.0)


def noise_level(voxels: NDArray[np.floating]) -> float | None:
    """Return the standard deviation of the noise in tissue, in units of the tissue's median.

    Along a straight line anatomy changes evenly and noise does not. The difference between a voxel and the mean of its
    two neighbours is therefore noise, except at edges, which the median ignores (Immerkaer 1996 uses a Laplacian in the
    same way). Thick slices differ by more than noise, so the axis with the least noise counts.

    Parameters
    ----------
    voxels
        Of one sequence, three axes.

    Returns
    -------
    float or None
        None where there is too little tissue.
    """
    tissue = voxels > tissue_level(voxels)
    if not tissue.any():
        return None
    median = float(np.median(voxels[tissue]))
    levels = []
    for axis in range(3):
        line, inside = np.moveaxis(voxels, axis, 0), np.moveaxis(tissue, axis, 0)
        step = max(1, line.shape[1] // ENOUGH_PLANES)
        line, inside = line[:, ::step].astype(np.float32), inside[:, ::step]
        residual = (line[:-2] - 2 * line[1:-1] + line[2:])[inside[:-2] & inside[1:-1] & inside[2:]]
        if residual.size >= FEWEST_VALUES:
            levels.append(NORMAL * float(np.median(np.abs(residual))) / 6**0.5 / median)  # variances 1, 4 and 1
    return min(levels, default=None)
