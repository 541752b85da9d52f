"""How bright the network for brains is shown a volume."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from inference.brightness import BRIGHTEST
from inference.brightness import relative_brightness as brightness_of_tensor


def relative_brightness(voxels: NDArray[np.floating]) -> NDArray[np.float32]:
    found: NDArray[np.float32] = brightness_of_tensor(torch.from_numpy(voxels)).numpy()
    return found


def test_the_99th_percentile_of_what_shows_anything_is_one() -> None:
    voxels = np.concatenate([np.zeros(5000), np.arange(1.0, 1001.0)]).reshape(10, 20, 30)
    found = relative_brightness(voxels)
    assert found.dtype == np.float32
    assert found.ravel()[5000 + 989] == pytest.approx(1.0, abs=1e-3)
    assert np.allclose(relative_brightness(37 * voxels), found)


def test_it_ends_at_a_ceiling_and_negative_values_are_air() -> None:
    found = relative_brightness(np.array([-3.0, 0.0, *[1.0] * 999, 50.0]))
    assert found[:2].tolist() == [0.0, 0.0]
    assert found[-1] == pytest.approx(BRIGHTEST)


def test_darkness_stays_dark() -> None:
    assert not relative_brightness(np.full((3, 3, 3), -1.0)).any()
