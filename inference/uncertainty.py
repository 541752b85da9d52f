"""How far a volume may be off: an interval around it that nine in ten experts' volumes fall into.

Split conformal prediction with a scale (Lei et al., JASA 2018, section 5.2): the errors on held-out patients, each
divided by how doubtful that answer looked, give two factors; times the doubt of a new answer they give its interval.
Nothing is assumed about how errors are distributed; that new patients are like the held-out ones is.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["COVERAGE", "doubt_ml", "interval_factors", "volume_interval"]

COVERAGE = 0.9
"""Share of the intervals that are to hold the truth, half of the rest on each side."""

DOUBT_SHARE, DOUBT_FLOOR_ML = 0.05, 0.1
"""Added to the doubt, so that a network that is sure of itself still has an interval; chosen, not tuned. The factors
make up for a wrong choice: it costs width, never coverage."""


def doubt_ml(probabilities: Tensor, inside: Tensor | None, voxel_volume_ml: float) -> float:
    """Return the volume that may lie on the wrong side: the sum of every voxel's smaller probability.

    Parameters
    ----------
    inside
        Where a tumour can be at all; None for everywhere.
    """
    smaller = torch.minimum(probabilities, 1 - probabilities)
    return float((smaller if inside is None else smaller * inside).sum(dtype=torch.float64)) * voxel_volume_ml


def _scale(volume_ml: float, doubtful_ml: float) -> float:
    return doubtful_ml + DOUBT_SHARE * volume_ml + DOUBT_FLOOR_ML


def interval_factors(
    volumes_ml: Sequence[float], doubts_ml: Sequence[float], references_ml: Sequence[float]
) -> tuple[float, float]:
    """Return by how many doubts the truth lies below and above the volumes of held-out patients, at most.

    Raises
    ------
    ValueError
        When there are too few patients for `COVERAGE`.
    """
    scores = sorted(
        (truth - found) / _scale(found, doubt)
        for found, doubt, truth in zip(volumes_ml, doubts_ml, references_ml, strict=True)
    )
    outside = math.floor((len(scores) + 1) * (1 - COVERAGE) / 2 + 1e-9)  # 20 x 0.05 is 1, not 0.99999
    if outside < 1:
        message = f"{len(scores)} patients are too few for intervals that hold {COVERAGE:.0%}"
        raise ValueError(message)
    return scores[outside - 1], scores[-outside]


def volume_interval(volume_ml: float, doubtful_ml: float, factors: tuple[float, float]) -> tuple[float, float]:
    """Return the lowest and the highest volume to be expected; the volume itself always lies between."""
    scale = _scale(volume_ml, doubtful_ml)
    low, high = (volume_ml + factor * scale for factor in factors)
    return max(0.0, min(low, volume_ml)), max(high, volume_ml)
