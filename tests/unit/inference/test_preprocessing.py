"""Intensities before a network: free of the scanner's scale, air at 0, tissue at 1."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from inference.preprocessing import CHANNELS, MAXIMUM_INTENSITY, percentile
from inference.preprocessing import normalise_intensity as normalised_tensor

FEW = settings(max_examples=20, deadline=None, derandomize=True)


def normalise_intensity(voxels: NDArray[np.floating]) -> NDArray[np.float32]:
    found: NDArray[np.float32] = normalised_tensor(torch.from_numpy(voxels)).numpy()
    return found


def _head() -> NDArray[np.float32]:
    """Return half air with a little noise, half tissue around 200, and a few bright vessels."""
    rng = np.random.default_rng(3)
    head = np.concatenate([rng.uniform(0, 10, 2000), rng.normal(200, 20, 2000), np.full(10, 5000.0)])
    return head.reshape(2, 5, 401).astype(np.float32)


def test_the_channel_order_is_that_of_the_shipped_weights() -> None:
    assert CHANNELS == ("T1", "T1CE", "T2", "FLAIR")


@given(st.floats(1e-3, 1e4))
@FEW
def test_the_scale_of_the_scanner_makes_no_difference(scale: float) -> None:
    assert np.allclose(normalise_intensity(_head() * np.float32(scale)), normalise_intensity(_head()), rtol=1e-4)


def test_the_median_of_the_tissue_is_one_and_air_does_not_count() -> None:
    normalised = normalise_intensity(_head())
    tissue = normalised[_head() > 100]
    assert float(np.median(tissue)) == pytest.approx(1.0, abs=0.005)
    assert normalised.dtype == np.float32
    assert normalised.shape == _head().shape


def test_more_air_around_the_head_changes_nothing() -> None:
    padded = np.pad(_head(), ((0, 0), (3, 3), (0, 0)))
    assert np.allclose(normalise_intensity(padded)[:, 3:-3], normalise_intensity(_head()), rtol=0.01)


def test_vessels_stop_at_the_ceiling_and_negative_values_are_air() -> None:
    head = _head()
    head[0, 0, 0] = -300.0
    normalised = normalise_intensity(head)
    assert normalised.max() == MAXIMUM_INTENSITY
    assert normalised[0, 0, 0] == 0.0
    assert normalised.min() == 0.0


def test_order_of_intensities_is_kept() -> None:
    head = _head().ravel()
    order = np.argsort(head)
    assert np.all(np.diff(normalise_intensity(head)[order]) >= 0)


@pytest.mark.parametrize("value", [0.0, -5.0])
def test_a_volume_without_signal_is_all_zero(value: float) -> None:
    normalised = normalise_intensity(np.full((3, 4, 5), value))
    assert normalised.shape == (3, 4, 5)
    assert not normalised.any()


def test_integers_are_taken_and_the_input_is_left_alone() -> None:
    voxels = np.array([[0, 100, 200, -7]], np.int16)
    assert np.allclose(normalise_intensity(voxels.astype(np.float64)), [[0, 2 / 3, 4 / 3, 0]])
    voxels_float = voxels.astype(np.float32)
    normalise_intensity(voxels_float)
    assert np.array_equal(voxels_float, voxels)


@given(st.lists(st.floats(-5, 5, width=16), min_size=1, max_size=30), st.floats(0, 100))
@FEW
def test_a_percentile_is_that_of_numpy(values: list[float], percent: float) -> None:
    found = percentile(torch.tensor(values), percent)
    assert float(found) == pytest.approx(float(np.percentile(values, percent)), abs=1e-5)
