"""Calibration of probabilities: of the voxels predicted at 0.7, seven in ten should be tumour."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from conversion.alignment import AlignedVolumes
from inference.preprocessing import tissue_level

__all__ = ["BINS", "Calibration", "calibrate", "expected_error", "head_mask"]

BINS = 15
"""Bins of equal width from 0 to 1, as in Guo et al., "On calibration of modern neural networks", ICML 2017."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Calibration:
    """Sums over the voxels of each probability bin.

    Attributes
    ----------
    voxels
        Number of voxels, shape (BINS,), float64.
    probability
        Sum of their probabilities.
    tumour
        Number of tumour voxels.
    """

    voxels: NDArray[np.float64]
    probability: NDArray[np.float64]
    tumour: NDArray[np.float64]


def calibrate(
    probabilities: NDArray[np.float16], reference: NDArray[np.bool_], inside: NDArray[np.bool_]
) -> Calibration:
    """Sort the voxels inside the head into bins.

    Parameters
    ----------
    probabilities, reference, inside
        Of equal shape. Voxels outside the head are certain and would make the calibration look better.
    """
    values = probabilities[inside].astype(np.float64)
    bins = np.clip((values * BINS).astype(np.int64), 0, BINS - 1)
    return Calibration(
        voxels=np.bincount(bins, minlength=BINS).astype(np.float64),
        probability=np.bincount(bins, values, BINS).astype(np.float64),
        tumour=np.bincount(bins, reference[inside], BINS).astype(np.float64),
    )


def expected_error(
    voxels: NDArray[np.float64], probability: NDArray[np.float64], tumour: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the expected calibration error: the mean gap between probability and truth over bins, weighted by voxels.

    Parameters
    ----------
    voxels, probability, tumour
        As in `Calibration`, shape (..., BINS).

    Returns
    -------
    numpy.ndarray
        Shape (...); NaN where there are no voxels.
    """
    total = voxels.sum(axis=-1)
    gaps = np.abs(probability - tumour).sum(axis=-1)
    return np.asarray(np.where(total > 0, gaps / np.where(total > 0, total, 1.0), np.nan))


def head_mask(volumes: AlignedVolumes) -> NDArray[np.bool_]:
    """Return the voxels that are tissue on any sequence, with holes filled slice by slice."""
    tissue = np.zeros(volumes.grid.shape, bool)
    for volume in volumes.volumes.values():
        tissue |= volume.voxels > tissue_level(volume.voxels)
    return np.stack([ndimage.binary_fill_holes(plane) for plane in tissue])
