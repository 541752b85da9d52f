"""Bland-Altman and Lin against figures worked out by hand."""

import numpy as np
import pytest

from inference.evaluation.agreement import bland_altman, concordance

MEASURED, REFERENCE = np.array([12.0, 19.0, 31.0, 44.0]), np.array([10.0, 20.0, 30.0, 40.0])
ONCE = np.ones((1, 4))


def test_bias_and_limits() -> None:
    found = bland_altman(MEASURED, REFERENCE)  # differences 2, -1, 1, 4: mean 1.5, sum of squares 13 around it
    half = 1.959964 * np.sqrt(13 / 3)
    assert (found.bias, found.lower, found.upper) == pytest.approx((1.5, 1.5 - half, 1.5 + half))


def test_a_single_case_has_no_limits() -> None:
    found = bland_altman(np.array([3.0]), np.array([5.0]))
    assert (found.bias, found.lower, found.upper) == (-2.0, None, None)


def test_concordance_is_lins() -> None:
    # means 26.5 and 25, variances over n 145.25 and 125, covariance 133.75 + ... worked out: sum xy / 4 - 26.5 * 25
    covariance = (120 + 380 + 930 + 1760) / 4 - 26.5 * 25
    expected = 2 * covariance / (np.var(MEASURED) + np.var(REFERENCE) + 1.5**2)
    assert concordance(MEASURED, REFERENCE, ONCE)[0] == pytest.approx(expected)
    assert concordance(REFERENCE, REFERENCE, ONCE)[0] == pytest.approx(1.0)


def test_concordance_sees_a_shift_and_a_scale_that_correlation_does_not() -> None:
    assert concordance(REFERENCE + 10, REFERENCE, ONCE)[0] == pytest.approx(250 / 350)
    assert concordance(2 * REFERENCE, REFERENCE, ONCE)[0] == pytest.approx(500 / (500 + 125 + 625))
    assert concordance(50 - REFERENCE, REFERENCE, ONCE)[0] == pytest.approx(-1.0)


def test_weights_are_repeated_cases() -> None:
    weights = np.array([[2.0, 0.0, 1.0, 3.0], [1.0, 1.0, 1.0, 1.0]])
    rows = np.repeat(np.arange(4), [2, 0, 1, 3])
    expected = concordance(MEASURED[rows], REFERENCE[rows], np.ones((1, 6)))[0]
    assert concordance(MEASURED, REFERENCE, weights)[0] == pytest.approx(expected)


def test_concordance_of_one_and_the_same_volume_is_undefined() -> None:
    assert np.isnan(concordance(np.array([3.0, 3.0]), np.array([3.0, 3.0]), np.ones((1, 2)))[0])
