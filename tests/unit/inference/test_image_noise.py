"""Noise is measured as it was added, whatever the anatomy; usual studies are quiet, drowned ones are not."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from conversion.sequences import Role
from conversion.volume import ImageVolume
from inference.image_noise import noise_level, noise_novelty
from inference.preprocessing import tissue_level
from tests.support.phantom_volumes import phantom_volume


@pytest.fixture(scope="module")
def head() -> ImageVolume:
    return phantom_volume(Role.T1)


def _noisy(head: ImageVolume, share: float, seed: int = 1) -> NDArray[np.float32]:
    shown = head.voxels > tissue_level(head.voxels)
    noise = np.random.default_rng(seed).normal(0, share * np.median(head.voxels[shown]), head.voxels.shape)
    return np.where(shown, np.abs(head.voxels + noise), 0).astype(np.float32)


@pytest.mark.parametrize("share", [0.1, 0.2, 0.3])
def test_added_noise_is_measured(head: ImageVolume, share: float) -> None:
    own = noise_level(head.voxels)
    assert own is not None
    assert noise_level(_noisy(head, share)) == pytest.approx(math.hypot(share, own), rel=0.1)


def test_it_does_not_depend_on_the_scale(head: ImageVolume) -> None:
    noisy = _noisy(head, 0.2)
    assert noise_level(noisy * 250) == pytest.approx(noise_level(noisy), rel=1e-4)


def test_thick_slices_are_not_taken_for_noise(head: ImageVolume) -> None:
    assert noise_level(head.voxels[::4]) == pytest.approx(noise_level(head.voxels), abs=0.03)


def test_the_noisiest_sequence_decides(head: ImageVolume) -> None:
    quiet = {Role.FLAIR: head, Role.T1: head}
    drowned = ImageVolume(grid=head.grid, voxels=_noisy(head, 0.7))
    assert noise_novelty(quiet) < 0.6
    assert noise_novelty({**quiet, Role.T1: drowned}) > 3


def test_nothing_but_noise_is_noise(head: ImageVolume) -> None:
    values = np.random.default_rng(2).uniform(0, 300, head.voxels.shape).astype(np.float32)
    assert noise_novelty({Role.T1: ImageVolume(grid=head.grid, voxels=values)}) > 3


def test_an_empty_volume_says_nothing(head: ImageVolume) -> None:
    empty = ImageVolume(grid=head.grid, voxels=np.zeros_like(head.voxels))
    assert noise_level(empty.voxels) is None
    assert noise_novelty({Role.T1: empty}) == 0
