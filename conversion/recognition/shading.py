"""Remove the slow change of brightness (shading) that receive coils cause across a head."""

import numpy as np
import scipy
from numpy.typing import NDArray

__all__ = ["without_shading"]

ORDINARY = (0.5, 1.6)
"""Tissue used for the average, as shares of the region's median: no fluid, no fat."""

DEEPEST = 0.3
"""Lowest shading that is believed, as a share of the region's median."""

THINNING = 4
"""Every fourth row and column is used: the averages extend over centimetres."""


def without_shading(
    values: NDArray[np.float32], region: NDArray[np.bool_], sigmas: tuple[float, float, float]
) -> NDArray[np.float32]:
    """Divide by the local average of ordinary tissue over a wide area; the result's median in the region is 1.

    Parameters
    ----------
    values, region
        Shape (slice, row, column); the region's median is above 0.
    sigmas
        Widths of the average in voxels along each axis.
    """
    middle = float(np.median(values[region]))
    ordinary = region & (values > ORDINARY[0] * middle) & (values < ORDINARY[1] * middle)
    thin = (slice(None), slice(None, None, THINNING), slice(None, None, THINNING))
    narrow = (sigmas[0], sigmas[1] / THINNING, sigmas[2] / THINNING)
    totals, shares = (
        scipy.ndimage.gaussian_filter(np.asarray(part[thin], np.float32), narrow, truncate=3.0)
        for part in (np.where(ordinary, values, 0), ordinary)
    )
    shading = (totals / np.maximum(shares, 1e-3)).repeat(THINNING, 1).repeat(THINNING, 2)
    flat = values / np.maximum(shading[:, : values.shape[1], : values.shape[2]], DEEPEST * middle)
    return np.asarray(flat / max(float(np.median(flat[region])), 1e-3), np.float32)
