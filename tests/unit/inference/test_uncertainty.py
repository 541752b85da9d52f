"""Intervals around volumes: that they hold the truth as often as they say, on data they were not made from."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from inference.uncertainty import COVERAGE, doubt_ml, interval_factors, volume_interval

POSITIVE = st.floats(0.0, 500.0)


def _patients(rng: np.random.Generator, count: int) -> tuple[list[float], ...]:
    """Return volumes, doubts, agreements and true volumes, whose errors grow with the doubt and are lopsided."""
    found = rng.uniform(1, 150, count)
    doubts = found * rng.uniform(0.02, 0.5, count)
    truths = np.maximum(0, found + doubts * (rng.gamma(2.0, 0.5, count) - 0.7))
    return found.tolist(), doubts.tolist(), rng.uniform(0.6, 0.95, count).tolist(), truths.tolist()


def test_intervals_hold_the_truth_of_other_patients_as_often_as_stated() -> None:
    rng = np.random.default_rng(3)
    held = []
    for _ in range(60):
        factors = interval_factors(*_patients(rng, 60))
        for found, doubt, agreement, truth in zip(*_patients(rng, 60), strict=True):
            low, high = volume_interval(found, doubt, agreement, factors)
            held.append(low <= truth <= high)
    assert COVERAGE - 0.02 < np.mean(held) < 0.96


def test_of_the_truths_that_an_interval_misses_most_lie_above() -> None:
    rng = np.random.default_rng(4)
    factors = interval_factors(*_patients(rng, 199))
    below, above = 0, 0
    for found, doubt, agreement, truth in zip(*_patients(rng, 4000), strict=True):
        low, high = volume_interval(found, doubt, agreement, factors)
        below, above = below + (truth < low), above + (truth > high)
    assert below < 0.6 * above


def test_the_more_doubt_and_the_less_agreement_the_wider() -> None:
    told = [(2.0, 0.9), (10.0, 0.9), (10.0, 0.6)]
    intervals = [volume_interval(40.0, doubt, agreement, (-3.0, 6.0)) for doubt, agreement in told]
    lows, highs = zip(*intervals, strict=True)
    assert list(lows) == sorted(lows, reverse=True)
    assert list(highs) == sorted(highs)
    assert all(high - 40 > 40 - low for low, high in intervals)
    scale = ((2.0 + 0.05 * 40 + 0.1) / 40) ** 1.5 * 0.15
    assert intervals[0] == pytest.approx((40.1 * math.exp(-3 * scale) - 0.1, 40.1 * math.exp(6 * scale) - 0.1))


@given(POSITIVE, POSITIVE, st.floats(0, 1), st.floats(-50, 50), st.floats(-50, 50))
def test_no_interval_is_negative_endless_or_without_its_volume(
    found: float, doubt: float, agreement: float, below: float, above: float
) -> None:
    low, high = volume_interval(found, doubt, agreement, (below, above))
    assert 0 <= low <= found <= high <= 100 * (found + 0.1)


def test_too_few_patients_give_no_interval() -> None:
    with pytest.raises(ValueError, match="18 patients are too few"):
        interval_factors(*_patients(np.random.default_rng(1), 18))
    assert interval_factors(*_patients(np.random.default_rng(1), 19))


def test_doubt_is_the_volume_that_may_lie_on_the_wrong_side() -> None:
    probabilities = torch.tensor([[[0.0, 1.0, 0.5, 0.9, 0.2]]])
    traces = torch.full((100, 100, 100), 0.01)
    assert doubt_ml(traces, None, 0.001) == 0
    assert doubt_ml(probabilities, None, 2.0) == pytest.approx(2 * (0.5 + 0.1 + 0.2))
    assert doubt_ml(probabilities, torch.tensor([[[1, 1, 0, 1, 1]]]).bool(), 2.0) == pytest.approx(2 * 0.3)
