"""Agreement of two measurements of the same volumes: Bland-Altman limits and Lin's concordance."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["BlandAltman", "bland_altman", "concordance"]

_NORMAL_95 = 1.959964
"""Standard deviations to each side of the mean that cover 95 % of a normal distribution."""


@dataclass(frozen=True, kw_only=True)
class BlandAltman:
    """Differences, measured minus reference (Bland and Altman, Lancet 1986;327:307-310).

    Attributes
    ----------
    bias
        Mean difference, in the unit of the volumes.
    lower, upper
        Limits of agreement: 95 % of the differences lie between them if normally distributed. None for a single case.
    """

    bias: float
    lower: float | None
    upper: float | None


def bland_altman(measured: NDArray[np.float64], reference: NDArray[np.float64]) -> BlandAltman:
    """Return bias and limits of agreement.

    Parameters
    ----------
    measured, reference
        Shape (cases,), at least one.
    """
    differences = measured - reference
    bias = float(differences.mean())
    if len(differences) < 2:
        return BlandAltman(bias=bias, lower=None, upper=None)
    half = _NORMAL_95 * float(differences.std(ddof=1))
    return BlandAltman(bias=bias, lower=bias - half, upper=bias + half)


def concordance(
    measured: NDArray[np.float64], reference: NDArray[np.float64], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return Lin's concordance correlation coefficient (Biometrics 1989;45:255-268), with moments divided by n.

    Parameters
    ----------
    measured, reference
        Shape (cases,).
    weights
        Shape (resamples, cases): how often each case counts.

    Returns
    -------
    numpy.ndarray
        Shape (resamples,); NaN where all volumes of a resample are equal.
    """
    total = weights.sum(axis=1)
    mean_x, mean_y = weights @ measured / total, weights @ reference / total
    away_x, away_y = measured - mean_x[:, None], reference - mean_y[:, None]
    covariance = (weights * away_x * away_y).sum(axis=1) / total
    spread = (weights * (away_x**2 + away_y**2)).sum(axis=1) / total + (mean_x - mean_y) ** 2
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(spread > 0, 2 * covariance / np.where(spread > 0, spread, 1.0), np.nan))
