"""How far a volume may be off: an interval that contains the experts' volume in nine of ten patients.

The method is split conformal prediction with a scale (Lei et al., JASA 2018, section 5.2). The errors on held-out
patients, each divided by how doubtful that result was, give two factors. The factors times the doubt of a new result
give its interval.

An error is the ratio of the true volume to the measured one, in logarithms: a network that misses a part misses as
large a share of large tumours as of small ones. The method assumes nothing about the distribution of errors. It does
assume that new patients are like the held-out ones.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["COVERAGE", "doubt_ml", "interval_factors", "volume_interval"]

COVERAGE = 0.9
"""Share of the intervals that should contain the true volume."""

BELOW_SHARE = 0.3
"""Of the other intervals, the share whose true volume lies below. Networks miss far more tumour than they make up.
With equal shares, one in twenty would exceed the upper end, and the one tumour that is hardly detected would set it.
Chosen on the folds of `glioma` 1.4.0, as are the values that follow."""

DOUBT_SHARE, FLOOR_ML = 0.05, 0.1
"""Added to the doubt, so that even a confident network gives an interval."""

NO_DOUBT = 0.02
"""Probability below which a voxel is background; over a whole head such traces add up to millilitres."""

AGREEMENT_ROOM = 0.05
"""Added to the disagreement of the predictions, for the same reason."""

STEEPNESS = 1.5
"""Power of the doubt's share of the volume. Powers of 0 to 1.5 were tried on the folds of `glioma` 1.4.0, together
with powers of 0 to 2 of the disagreement; this one gives the narrowest intervals of TC and ET that hold. The factors
compensate a wrong choice: it costs width, never coverage."""

MOST_TIMES = 100.0
"""Largest ratio between a volume and an end of its interval. Beside a volume of nearly zero, the doubt is any number of
times as large."""


def doubt_ml(probabilities: Tensor, inside: Tensor | None, voxel_volume_ml: float) -> float:
    """Return the volume that may be classified wrongly: the sum of min(p, 1 - p) over the voxels, without traces.

    Parameters
    ----------
    inside
        Where a tumour is possible; None for everywhere.
    """
    smaller = torch.where(probabilities < NO_DOUBT, 0.0, torch.minimum(probabilities, 1 - probabilities))
    return float((smaller if inside is None else smaller * inside).sum(dtype=torch.float64)) * voxel_volume_ml


def _scale(volume_ml: float, doubtful_ml: float, agreement: float) -> float:
    """Return the relative width of an interval."""
    share = (doubtful_ml + DOUBT_SHARE * volume_ml + FLOOR_ML) / max(volume_ml, FLOOR_ML)
    return float(share**STEEPNESS * (1 - agreement + AGREEMENT_ROOM))


def _error(volume_ml: float, truth_ml: float) -> float:
    return math.log((truth_ml + FLOOR_ML) / (volume_ml + FLOOR_ML))


def interval_factors(
    volumes_ml: Sequence[float], doubts_ml: Sequence[float], agreements: Sequence[float], references_ml: Sequence[float]
) -> tuple[float, float]:
    """Return the factors for intervals: how many doubts the true volumes of held-out patients lie below and above.

    Parameters
    ----------
    agreements
        Mean Dice between the single predictions and all together for each patient, on the whole tumour.

    Raises
    ------
    ValueError
        If there are too few patients for `COVERAGE`.
    """
    scores = sorted(
        _error(volume, truth) / _scale(volume, doubt, agreement)
        for volume, doubt, agreement, truth in zip(volumes_ml, doubts_ml, agreements, references_ml, strict=True)
    )
    # A new score exceeds the k-th of n ordered ones with a probability of 1 - k / (n + 1).
    outside = math.floor((len(scores) + 1) * (1 - COVERAGE) + 1e-9)  # 20 x 0.1 is 2, not 1.99999
    if outside < 2:
        message = f"{len(scores)} patients are too few for intervals with a coverage of {COVERAGE:.0%}"
        raise ValueError(message)
    below = max(1, math.floor(outside * BELOW_SHARE))
    return scores[below - 1], scores[below - outside]


def volume_interval(
    volume_ml: float, doubtful_ml: float, agreement: float, factors: tuple[float, float]
) -> tuple[float, float]:
    """Return the lowest and the highest volume to be expected; the volume itself always lies between them."""
    scale = _scale(volume_ml, doubtful_ml, agreement)
    most = math.log(MOST_TIMES)
    times = [math.exp(min(max(factor * scale, -most), most)) for factor in factors]
    low, high = ((volume_ml + FLOOR_ML) * one - FLOOR_ML for one in times)
    return max(0.0, min(low, volume_ml)), max(high, volume_ml)
