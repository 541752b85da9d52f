"""Real heads: averaged to the size that is learned at, scaled to their own brightness, inverted at times."""

import numpy as np
import pytest

from inference.brightness import BRIGHTEST
from inference.training.heads.real_head import RealHead, inverted


def _filled(shape: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    image = np.random.default_rng(1).uniform(100, 200, shape)
    brain = np.zeros(shape, bool)
    brain[tuple(slice(n // 4, 3 * n // 4) for n in shape)] = True
    return image, brain


def test_voxels_are_averaged_up_to_the_size_that_is_aimed_at() -> None:
    image, brain = _filled((10, 24, 24))
    head = RealHead.of("one", image, brain, (3.0, 0.7, 1.0), 2.0)
    assert head.spacing_mm == (3.0, 1.4, 2.0)
    assert head.image.shape == head.brain.shape == (10, 12, 12)
    wanted = image.reshape(10, 12, 2, 12, 2).mean(axis=(2, 4))
    assert np.allclose(head.image, wanted / np.percentile(wanted, 99), atol=1e-2)
    assert np.array_equal(head.brain, brain.reshape(10, 12, 2, 12, 2).mean(axis=(2, 4)) >= 0.5)


def test_what_fills_no_block_is_left_out() -> None:
    image, brain = _filled((9, 9, 9))
    assert RealHead.of("odd", image, brain, (1.0, 1.0, 1.0), 2.0).image.shape == (4, 4, 4)
    assert RealHead.of("odd", image, brain, (2.0, 2.0, 2.0), 2.0).image.shape == (9, 9, 9)


def test_brightness_is_in_units_of_the_head_itself() -> None:
    image, brain = _filled((12, 12, 12))
    one, ten = (RealHead.of("one", factor * image, brain, (2.0, 2.0, 2.0), 2.0).image for factor in (1, 10))
    assert np.allclose(one, ten)
    assert 0.9 < one.max() <= BRIGHTEST


def test_a_bare_head_is_the_brain_it_shows_with_its_holes_filled() -> None:
    image = np.zeros((20, 20, 20))
    image[4:16, 4:16, 4:16] = 80.0
    image[8:12, 8:12, 8:12] = 0.0
    head = RealHead.of_bare("bare", image, (2.0, 2.0, 2.0), 2.0)
    assert head.bare
    assert head.image.shape == (12, 12, 12)
    assert head.brain.all()
    assert head.middle.tolist() == [5.5, 5.5, 5.5]


def test_an_image_without_a_brain_is_refused() -> None:
    image, brain = _filled((8, 8, 8))
    with pytest.raises(ValueError, match="a brain of the same shape"):
        RealHead.of("none", image, np.zeros_like(brain), (2.0, 2.0, 2.0), 2.0)


def test_inverted_bright_is_dark_and_air_stays_dark() -> None:
    image = np.array([0.0, 0.01, 0.2, 0.6, 1.0, 1.3], np.float32)
    assert np.allclose(inverted(image), [0.0, 0.01, 0.9, 0.5, 0.1, 0.0], atol=1e-6)
