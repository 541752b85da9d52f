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


@pytest.mark.parametrize(
    ("patients", "below", "above"), [(19, 1, 1), (29, 1, 2), (59, 1, 5), (69, 2, 5), (79, 2, 6), (99, 3, 7)]
)
def test_of_patients_alike_an_interval_leaves_out_a_tenth_three_in_ten_of_them_below(
    patients: int, below: int, above: int
) -> None:
    """The k-th of n true volumes is exceeded by a new one with a probability of 1 - k / (n + 1)."""
    truths = np.random.default_rng(patients).permutation(np.linspace(5.0, 80.0, patients))
    factors = interval_factors([30.0] * patients, [4.0] * patients, [0.9] * patients, truths.tolist())
    low, high = volume_interval(30.0, 4.0, 0.9, factors)
    ordered = np.sort(truths)
    assert below + above == (patients + 1) // 10
    assert (low, high) == pytest.approx((ordered[below - 1], ordered[-above]))


def test_an_interval_holds_its_volume_even_where_every_patient_was_underestimated() -> None:
    truths = np.linspace(40.0, 80.0, 19).tolist()
    factors = interval_factors([30.0] * 19, [4.0] * 19, [0.9] * 19, truths)
    assert volume_interval(30.0, 4.0, 0.9, factors) == pytest.approx((30.0, 80.0))
    factors = interval_factors([90.0] * 19, [4.0] * 19, [0.9] * 19, truths)
    assert volume_interval(90.0, 4.0, 0.9, factors) == pytest.approx((40.0, 90.0))


def test_the_same_share_of_doubt_gives_the_same_share_of_volume() -> None:
    """But for the tenth of a millilitre that even a certain result may be off by."""
    ends = [volume_interval(size, 0.1 * size, 0.8, (-1.0, 3.0)) for size in (100.0, 1000.0)]
    assert np.array(ends[1]) == pytest.approx(10 * np.array(ends[0]), rel=0.01)


def test_no_volume_at_all_has_an_interval_from_zero() -> None:
    low, high = volume_interval(0.0, 0.0, 1.0, (-1.0, 1.0))
    assert low == 0.0
    assert 0.0 < high < 0.1
    assert volume_interval(0.0, 50.0, 0.0, (-9.0, 9.0)) == pytest.approx((0.0, 100 * 0.1 - 0.1))


def test_lists_of_unequal_length_are_refused() -> None:
    with pytest.raises(ValueError, match="shorter"):
        interval_factors([1.0] * 20, [1.0] * 20, [0.9] * 20, [1.0] * 19)


@pytest.mark.parametrize(("probability", "doubt"), [(0.0199, 0.0), (0.02, 0.02), (0.5, 0.5), (0.97, 0.03), (1.0, 0.0)])
def test_a_trace_is_background_and_a_certain_voxel_is_in_no_doubt(probability: float, doubt: float) -> None:
    assert doubt_ml(torch.full((2, 3, 4), probability), None, 0.5) == pytest.approx(12 * doubt, abs=1e-5)
