"""Intervals around volumes: that they hold the truth as often as they say, on data they were not made from."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from inference.uncertainty import COVERAGE, doubt_ml, interval_factors, volume_interval

POSITIVE = st.floats(0.0, 500.0)


def _patients(rng: np.random.Generator, count: int) -> tuple[list[float], list[float], list[float]]:
    """Return volumes, doubts and true volumes whose errors grow with the doubt and are lopsided."""
    found = rng.uniform(1, 150, count)
    doubts = found * rng.uniform(0.02, 0.5, count)
    truths = np.maximum(0, found + doubts * (rng.gamma(2.0, 0.5, count) - 0.7))
    return found.tolist(), doubts.tolist(), truths.tolist()


def test_intervals_hold_the_truth_of_other_patients_as_often_as_stated() -> None:
    rng = np.random.default_rng(3)
    held = []
    for _ in range(60):
        factors = interval_factors(*_patients(rng, 60))
        for found, doubt, truth in zip(*_patients(rng, 60), strict=True):
            low, high = volume_interval(found, doubt, factors)
            held.append(low <= truth <= high)
    assert COVERAGE - 0.02 < np.mean(held) < 0.96


def test_the_more_doubt_the_wider() -> None:
    (low, high), (lowest, highest) = (volume_interval(40.0, doubt, (-1.0, 2.0)) for doubt in (2.0, 10.0))
    assert (low, high) == (pytest.approx(40 - 4.1), pytest.approx(40 + 2 * 4.1))
    assert (lowest, highest) == (pytest.approx(40 - 12.1), pytest.approx(40 + 2 * 12.1))


@given(POSITIVE, POSITIVE, st.floats(-5, 5), st.floats(-5, 5))
def test_no_interval_is_negative_or_without_its_volume(found: float, doubt: float, below: float, above: float) -> None:
    low, high = volume_interval(found, doubt, (below, above))
    assert 0 <= low <= found <= high


def test_too_few_patients_give_no_interval() -> None:
    with pytest.raises(ValueError, match="18 patients are too few"):
        interval_factors(*_patients(np.random.default_rng(1), 18))
    assert interval_factors(*_patients(np.random.default_rng(1), 19))


def test_doubt_is_the_volume_that_may_lie_on_the_wrong_side() -> None:
    probabilities = torch.tensor([[[0.0, 1.0, 0.5, 0.9, 0.2]]])
    assert doubt_ml(probabilities, None, 2.0) == pytest.approx(2 * (0.5 + 0.1 + 0.2))
    assert doubt_ml(probabilities, torch.tensor([[[1, 1, 0, 1, 1]]]).bool(), 2.0) == pytest.approx(2 * 0.3)
