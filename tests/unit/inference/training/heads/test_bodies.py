"""What is no brain: noise without a shape, and bodies of the layers, number and place that were asked for."""

import numpy as np
from scipy import ndimage

from inference.training.heads.bodies import BodyChances, drawn_body
from inference.training.heads.sample_grid import SampleGrid

GRID = SampleGrid(shape=(32, 48, 48), spacing_mm=4.0)
ONE = BodyChances(noise=0, long=0, aside=0, bodies=1, layers=1, uneven=0)


def _bodies(chances: BodyChances, count: int = 12) -> list[np.ndarray]:
    return [drawn_body(np.random.default_rng(seed), GRID, chances) for seed in range(count)]


def test_a_body_is_drawn_again_from_the_same_numbers() -> None:
    for first, second in zip(_bodies(BodyChances()), _bodies(BodyChances()), strict=True):
        assert first.dtype == np.float32
        assert first.shape == GRID.shape
        assert np.isfinite(first).all()
        assert np.array_equal(first, second)


def test_noise_has_no_inside() -> None:
    for image in _bodies(BodyChances(noise=1)):
        smooth = ndimage.gaussian_filter(image, 4)
        assert smooth.max() - smooth.min() < 0.5


def _inside(image: np.ndarray) -> np.ndarray:
    smooth = ndimage.gaussian_filter(image, 1)
    return np.asarray(smooth > (smooth.min() + smooth.max()) / 2)


def test_a_single_body_lies_in_the_middle_and_ends() -> None:
    seen = 0
    for image in _bodies(ONE, 20):
        if image.std() < 0.15:  # nearly as dark as what is around it
            continue
        seen += 1
        inside = _inside(image)
        assert inside[16, 24, 24]
        assert np.abs(np.argwhere(inside).mean(axis=0) - [15.5, 23.5, 23.5]).max() < 2
    assert seen > 5


def test_a_limb_goes_on_from_slice_to_slice() -> None:
    straight = BodyChances(noise=0, long=1, aside=1, shift_mm=0, bodies=1, layers=1, uneven=0)
    for image in _bodies(straight, 20):
        if image.std() >= 0.15:
            assert _inside(image).any(axis=(1, 2)).all()
