"""The bootstrap draws patients, and its interval is the percentiles of what it drew."""

import numpy as np
import pytest
from numpy.typing import NDArray

from inference.evaluation.intervals import estimate, resample_patients


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
    assert (found.value, found.low, found.high) == (pytest.approx(0.5), None, None)


def test_an_undefined_statistic_has_no_estimate_and_undefined_resamples_are_left_out() -> None:
    resamples = resample_patients(["a", "b", "c"], 500)
    assert estimate(lambda w: np.full(len(w), np.nan), resamples) is None
    values = np.array([1.0, 2.0, 3.0])
    found = estimate(lambda w: np.where(w[:, 0] > 2, np.nan, _mean(values, w)), resamples)
    assert found is not None
    assert found.low is not None
    assert 1.0 < found.low < 2.0
