"""From evidence to probabilities: log-odds are added, then normalised over the kinds that a series can be."""

import math
from collections.abc import Iterable, Mapping

from conversion.decision import Evidence
from conversion.sequences import PRIORS

__all__ = ["kind_probabilities", "log_odds", "probability"]

UNLISTED = -4.0
"""Prior of a kind that only a site rule names."""


def kind_probabilities(evidence: Iterable[Evidence]) -> Mapping[str, float]:
    """Return the probability of each kind; T1-weighted before and after contrast agent count as one kind.

    The weights of the evidence for a kind are added to its prior. A softmax over all kinds turns these scores into
    probabilities.
    """
    scores = dict(PRIORS)
    for item in sorted(evidence, key=lambda item: (item.kind, item.weight, item.says)):
        scores[item.kind] = scores.get(item.kind, UNLISTED) + item.weight
    highest = max(scores.values())
    shares = {kind: math.exp(score - highest) for kind, score in scores.items()}
    total = math.fsum(shares.values())
    return {kind: share / total for kind, share in shares.items()}


def probability(prior: float, evidence: Iterable[Evidence]) -> float:
    """Return the probability of a statement from its prior and all evidence, both as log-odds."""
    return 1.0 / (1.0 + math.exp(-prior - math.fsum(item.weight for item in evidence)))


def log_odds(share: float, limit: float) -> float:
    """Return the log-odds of a probability, clipped to plus or minus a limit."""
    if not 0.0 < share < 1.0:
        return math.copysign(limit, share - 0.5)
    return max(-limit, min(limit, math.log(share / (1.0 - share))))
