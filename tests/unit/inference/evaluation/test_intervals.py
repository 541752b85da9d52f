"""The bootstrap draws patients, and its interval is the percentiles of what it drew."""

import numpy as np
import pytest
from numpy.typing import NDArray

from inference.evaluation.intervals import COVERAGE, REPLICATES, Estimate, estimate, estimate_from, resample_patients


def _mean(values: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(weights @ values / weights.sum(axis=1))


def test_cases_of_a_patient_are_drawn_together() -> None:
    drawn = resample_patients(["a", "b", "a", "c"], replicates=200)
    assert drawn.shape == (200, 4)
    assert np.array_equal(drawn[:, 0], drawn[:, 2])
    assert (drawn[:, [0, 1, 3]].sum(axis=1) == 3).all()
    assert drawn.max() > 1


def test_a_seed_gives_the_same_draw() -> None:
    assert np.array_equal(resample_patients(["a", "b", "c"], seed=5), resample_patients(["a", "b", "c"], seed=5))
    assert not np.array_equal(resample_patients(["a", "b", "c"], seed=5), resample_patients(["a", "b", "c"], seed=6))


def test_interval_of_a_mean_is_as_wide_as_theory_says() -> None:
    values = np.random.default_rng(0).normal(10.0, 2.0, 400)
    found = estimate(lambda w: _mean(values, w), resample_patients([str(n) for n in range(400)], 4000))
    assert found is not None
    half = 1.96 * values.std() / np.sqrt(400)
    assert found.value == pytest.approx(values.mean())
    assert (found.low, found.high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.02)


def test_repeated_cases_of_a_patient_do_not_make_it_narrower() -> None:
    values = np.random.default_rng(1).normal(size=30)
    once = estimate(lambda w: _mean(values, w), resample_patients([str(n) for n in range(30)]))
    thrice = estimate(lambda w: _mean(np.tile(values, 3), w), resample_patients([str(n) for n in range(30)] * 3))
    assert once is not None
    assert thrice is not None
    assert (thrice.value, thrice.low, thrice.high) == pytest.approx((once.value, once.low, once.high))


def test_a_single_patient_has_no_interval() -> None:
    found = estimate(lambda w: _mean(np.array([0.4, 0.6]), w), resample_patients(["a", "a"]))
    assert found is not None
    assert found == Estimate(value=0.5, low=None, high=None)


def test_an_undefined_statistic_has_no_estimate_and_undefined_resamples_are_left_out() -> None:
    resamples = resample_patients(["a", "b", "c"], 500)
    assert estimate(lambda w: np.full(len(w), np.nan), resamples) is None
    values = np.array([1.0, 2.0, 3.0])
    found = estimate(lambda w: np.where(w[:, 0] > 2, np.nan, _mean(values, w)), resamples)
    assert found is not None
    assert found.low is not None
    assert 1.0 < found.low < 2.0


def test_an_interval_leaves_out_a_fortieth_on_each_side() -> None:
    drawn = np.random.default_rng(2).permutation(np.arange(201.0))
    assert COVERAGE == 0.95
    for values in (drawn, np.concatenate([drawn, [np.nan, np.inf, -np.inf]])):
        found = estimate_from(77.0, values)
        assert found is not None
        assert (found.value, found.low, found.high) == pytest.approx((77.0, 5.0, 195.0))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_figure_that_is_no_number_is_no_estimate(value: float) -> None:
    assert estimate_from(value, np.arange(10.0)) is None


@pytest.mark.parametrize("drawn", [[], [np.nan, np.nan]])
def test_a_figure_without_a_defined_resample_has_no_interval(drawn: list[float]) -> None:
    assert estimate_from(0.5, np.array(drawn, np.float64)) == Estimate(value=0.5, low=None, high=None)


def test_each_patient_is_drawn_once_on_average() -> None:
    drawn = resample_patients([str(number) for number in range(8)])
    assert drawn.shape == (REPLICATES, 8)
    assert (drawn.sum(axis=1) == 8).all()
    assert drawn.mean(axis=0) == pytest.approx(np.ones(8), abs=0.1)
    assert (drawn == 0).mean() == pytest.approx((7 / 8) ** 8, abs=0.02)


def test_the_same_cases_in_another_order_have_the_same_interval() -> None:
    values, patients = np.array([0.9, 0.2, 0.7, 0.4, 0.8]), ["d", "a", "c", "a", "b"]
    order = np.array([3, 0, 4, 1, 2])
    found = estimate(lambda w: _mean(values, w), resample_patients(patients))
    again = estimate(lambda w: _mean(values[order], w), resample_patients([patients[k] for k in order]))
    assert found is not None
    assert again is not None
    assert (again.value, again.low, again.high) == pytest.approx((found.value, found.low, found.high))
