"""Confidence intervals by bootstrap over patients, the unit that was sampled (not cases or voxels)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["COVERAGE", "REPLICATES", "Estimate", "estimate", "estimate_from", "resample_patients"]

REPLICATES = 2000
"""With this many, another seed moves the limits of an interval by 0.001 Dice (41 cases, standard deviation 0.1)."""

COVERAGE = 0.95

Statistic = Callable[[NDArray[np.float64]], NDArray[np.float64]]
"""Takes how often each case counts, shape (resamples, cases). Returns one figure per resample, NaN where undefined."""


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A figure with its interval.

    Attributes
    ----------
    low, high
        Limits of the percentile interval with `COVERAGE`; None for a single patient.
    """

    value: float
    low: float | None
    high: float | None


def resample_patients(patients: Sequence[str], replicates: int = REPLICATES, seed: int = 0) -> NDArray[np.float64]:
    """Draw bootstrap samples: each draws as many patients as there are, with replacement.

    Parameters
    ----------
    patients
        The patient of each case; all cases of a patient are drawn together.

    Returns
    -------
    numpy.ndarray
        Shape (replicates, cases): how often each case counts. Without replicates for a single patient.
    """
    names, of_case = np.unique(np.asarray(list(patients), dtype=str), return_inverse=True)
    if len(names) == 1:
        return np.empty((0, len(patients)))
    draws = np.random.default_rng(seed).multinomial(len(names), np.full(len(names), 1 / len(names)), replicates)
    return np.asarray(draws[:, of_case], np.float64)


def estimate(statistic: Statistic, resamples: NDArray[np.float64]) -> Estimate | None:
    """Return a statistic of all cases with the interval over its resamples.

    Parameters
    ----------
    resamples
        Result of `resample_patients`, for the same cases in the same order.

    Returns
    -------
    Estimate or None
        None where the statistic of all cases is undefined.
    """
    return estimate_from(float(statistic(np.ones((1, resamples.shape[1])))[0]), statistic(resamples))


def estimate_from(value: float, drawn: NDArray[np.float64]) -> Estimate | None:
    """Return a figure with the percentile interval of its resamples, shape (resamples,), ignoring undefined ones."""
    if not np.isfinite(value):
        return None
    defined = drawn[np.isfinite(drawn)]
    if not defined.size:
        return Estimate(value=value, low=None, high=None)
    low, high = np.percentile(defined, (50 * (1 - COVERAGE), 50 * (1 + COVERAGE)))
    return Estimate(value=value, low=float(low), high=float(high))
