"""How far a volume may be off: an interval around it that nine in ten experts' volumes fall into.

Split conformal prediction with a scale (Lei et al., JASA 2018, section 5.2): the errors on held-out patients, each
divided by how doubtful that answer looked, give two factors; times the doubt of a new answer they give its interval.
An error is how many times the volume the truth is, in logarithms: a network that misses a part misses as large a share
of large tumours as of small ones. Nothing is assumed about how errors are distributed; that new patients are like the
held-out ones is.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["COVERAGE", "doubt_ml", "interval_factors", "volume_interval"]

COVERAGE = 0.9
"""Share of the intervals that are to hold the truth."""

BELOW_SHARE = 0.3
"""Of the others, those whose truth lies below: networks miss far more of a tumour than they make up, so that an end
above that only one in twenty exceeds is set by the one tumour that is hardly seen. Chosen on the folds of `glioma`
1.4.0, as is what follows."""

DOUBT_SHARE, FLOOR_ML = 0.05, 0.1
"""Added to the doubt, so that a network that is sure of itself still has an interval."""

NO_DOUBT = 0.02
"""Probability below which a voxel is background: over a whole head such traces add up to millilitres."""

AGREEMENT_ROOM = 0.05
"""Added to what looks disagree by, for the same reason."""

STEEPNESS = 1.5
"""Power of the doubt's share of the volume. Of 0 to 1.5, with powers of 0 to 2 of the disagreement, by the folds of
`glioma` 1.4.0: this leaves the narrowest intervals of TC and ET that hold. The factors make up for a wrong choice: it
costs width, never coverage."""

MOST_TIMES = 100.0
"""No end of an interval is further from its volume: of a volume of nearly nothing the doubt is any number of times."""


def doubt_ml(probabilities: Tensor, inside: Tensor | None, voxel_volume_ml: float) -> float:
    """Return the volume that may lie on the wrong side: the sum of every voxel's smaller probability, traces aside.

    Parameters
    ----------
    inside
        Where a tumour can be at all; None for everywhere.
    """
    smaller = torch.where(probabilities < NO_DOUBT, 0.0, torch.minimum(probabilities, 1 - probabilities))
    return float((smaller if inside is None else smaller * inside).sum(dtype=torch.float64)) * voxel_volume_ml


def _scale(volume_ml: float, doubtful_ml: float, agreement: float) -> float:
    """Return how wide an interval has to be against others."""
    share = (doubtful_ml + DOUBT_SHARE * volume_ml + FLOOR_ML) / max(volume_ml, FLOOR_ML)
    return float(share**STEEPNESS * (1 - agreement + AGREEMENT_ROOM))


def _error(volume_ml: float, truth_ml: float) -> float:
    return math.log((truth_ml + FLOOR_ML) / (volume_ml + FLOOR_ML))


def interval_factors(
    volumes_ml: Sequence[float], doubts_ml: Sequence[float], agreements: Sequence[float], references_ml: Sequence[float]
) -> tuple[float, float]:
    """Return by how many doubts the truth lies below and above the volumes of held-out patients, at most.

    Parameters
    ----------
    agreements
        Mean Dice of each answer's looks with all together, of the whole tumour.

    Raises
    ------
    ValueError
        When there are too few patients for `COVERAGE`.
    """
    scores = sorted(
        _error(found, truth) / _scale(found, doubt, agreement)
        for found, doubt, agreement, truth in zip(volumes_ml, doubts_ml, agreements, references_ml, strict=True)
    )
    # The k-th of n ordered scores is exceeded by a new one with a chance of 1 - k / (n + 1).
    outside = math.floor((len(scores) + 1) * (1 - COVERAGE) + 1e-9)  # 20 x 0.1 is 2, not 1.99999
    if outside < 2:
        message = f"{len(scores)} patients are too few for intervals that hold {COVERAGE:.0%}"
        raise ValueError(message)
    below = max(1, math.floor(outside * BELOW_SHARE))
    return scores[below - 1], scores[below - outside]


def volume_interval(
    volume_ml: float, doubtful_ml: float, agreement: float, factors: tuple[float, float]
) -> tuple[float, float]:
    """Return the lowest and the highest volume to be expected; the volume itself always lies between."""
    scale = _scale(volume_ml, doubtful_ml, agreement)
    most = math.log(MOST_TIMES)
    times = [math.exp(min(max(factor * scale, -most), most)) for factor in factors]
    low, high = ((volume_ml + FLOOR_ML) * one - FLOOR_ML for one in times)
    return max(0.0, min(low, volume_ml)), max(high, volume_ml)
