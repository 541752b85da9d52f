"""Intensities before a network: free of the scanner's scale, air at 0, tissue at 1."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from inference.preprocessing import CHANNELS, MAXIMUM_INTENSITY, percentile, signal_box, tissue_level
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


def test_tissue_begins_at_a_tenth_of_the_brightest_and_negative_values_count_as_air() -> None:
    ramp = np.arange(1001, dtype=np.float32)
    assert tissue_level(ramp) == pytest.approx(99.5)
    assert tissue_level(np.concatenate([ramp, np.full(1001, -1e6, np.float32)])) == pytest.approx(99.0, abs=0.01)
    assert tissue_level(np.full((2, 3), -5.0)) == 0.0


def test_what_is_no_number_is_air_and_what_is_endless_is_the_ceiling() -> None:
    normalised = normalise_intensity(np.array([np.nan, -np.inf, 0.0, *[100.0] * 995, np.inf], np.float32))
    assert normalised[:3].tolist() == [0, 0, 0]
    assert set(normalised[3:-1].tolist()) == {1.0}
    assert normalised[-1] == MAXIMUM_INTENSITY


SHAPE = (20, 30, 40)
HEAD = (slice(5, 12), slice(8, 20), slice(10, 33))
WIDENED = (slice(3, 14), slice(6, 22), slice(8, 35))


def _images(*boxes: tuple[slice, slice, slice]) -> torch.Tensor:
    """Return one sequence for each box, which alone is bright."""
    images = torch.zeros((len(boxes), *SHAPE))
    for image, box in zip(images, boxes, strict=True):
        image[box] = 1.0
    return images


def test_the_box_holds_the_head_with_two_voxels_around_it() -> None:
    assert signal_box(_images(HEAD)) == WIDENED


def test_the_box_ends_where_the_image_does() -> None:
    assert signal_box(_images((slice(1, 19), slice(0, 29), slice(2, 40)))) == (slice(0, 20), slice(0, 30), slice(0, 40))


def test_a_head_that_one_sequence_shows_further_is_held_whole() -> None:
    low, high = (slice(5, 9), *HEAD[1:]), (slice(7, 12), *HEAD[1:])
    assert signal_box(_images(low, high)) == WIDENED


@pytest.mark.parametrize(("level", "seen"), [(0.2, False), (0.21, True)])
def test_noise_up_to_a_fifth_of_the_tissue_is_no_signal(level: float, *, seen: bool) -> None:
    images = _images(HEAD)
    images[0, 15:] = level
    assert signal_box(images)[0] == (slice(3, 20) if seen else WIDENED[0])


@pytest.mark.parametrize(("axis", "plane_voxels"), [(0, 1200), (1, 800), (2, 600)])
def test_a_plane_needs_more_than_its_share_of_signal(axis: int, plane_voxels: int) -> None:
    """A bright line of as many voxels as the share allows is outside; one voxel more makes it part of the head."""
    for more in (0, 1):
        images = _images(HEAD)
        plane = torch.zeros(plane_voxels)
        plane[plane_voxels // 2 : plane_voxels // 2 + plane_voxels // 100 + more] = 1.0
        images[0].select(axis, 1).copy_(plane.reshape([size for place, size in enumerate(SHAPE) if place != axis]))
        assert signal_box(images)[axis].start == (0 if more else WIDENED[axis].start)
    assert signal_box(images, share=0.1)[axis] == WIDENED[axis]


def test_what_must_be_kept_is_inside_however_dark() -> None:
    keep = torch.zeros(SHAPE, dtype=torch.bool)
    keep[16, 4, 36] = True
    assert signal_box(_images(HEAD), keep) == (slice(3, 19), slice(2, 22), slice(8, 39))
    assert signal_box(torch.zeros((4, *SHAPE)), keep) == (slice(14, 19), slice(2, 7), slice(34, 39))


def test_images_that_show_nothing_are_kept_whole() -> None:
    assert signal_box(torch.zeros((2, *SHAPE))) == tuple(slice(0, size) for size in SHAPE)
