"""Where the head and the brain lie in voxels: drawn heads of known size, and the small tools that find them."""

import functools
from itertools import product

import numpy as np
import pytest
from numpy.typing import NDArray

from conversion.recognition.head_region import (
    SLABS,
    Surroundings,
    axial_voxels,
    brain_region,
    coarsened,
    distance_mm,
    enlarged,
    head_slabs,
    largest_part,
    level_of_air,
    shrunk,
)
from conversion.volume import Grid, ImageVolume
from tests.support.dicom_series import axis_aligned

MM = (4.0, 4.0, 4.0)
SHAPE = (28, 54, 44)
BRAIN, SKULL = 0.8, 0.92
"""Where the brain and the skull end, as shares of the way from the middle of the head to its skin."""

Floats = NDArray[np.float32]


@functools.cache
def _depth() -> NDArray[np.float64]:
    """Return the share of the way to the skin of a half head: 72 mm to each side, 90 mm to front and back, 100 high."""
    z, y, x = np.indices(SHAPE, np.float64) * MM[0]
    y, x = y - y.mean(), x - x.mean()
    share: NDArray[np.float64] = np.sqrt((x / 72) ** 2 + (y / 90) ** 2 + (z / 100) ** 2)
    return share


def _drawn(brain: float, skull: float, scalp: float, air: float) -> Floats:
    depth = _depth()
    inside = np.where(depth < BRAIN, brain + 5 * np.sign(depth - 0.5), np.where(depth < SKULL, skull, scalp))
    return np.where(depth < 1, inside, air).astype(np.float32)


def _speckled(voxels: Floats) -> Floats:
    return voxels + np.random.default_rng(2).normal(0, 2, SHAPE).astype(np.float32)


def _overlap(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> float:
    """Return the Dice coefficient."""
    return 2.0 * float((first & second).sum()) / float(first.sum() + second.sum())


def _volume(voxels: Floats, plane: str = "axial", mm: tuple[float, float, float] = MM) -> ImageVolume:
    shape = (voxels.shape[0], voxels.shape[1], voxels.shape[2])
    grid = Grid(shape=shape, affine=axis_aligned(plane, mm), frame_of_reference_uid="1.2")
    return ImageVolume(grid=grid, voxels=voxels)


def test_a_brain_inside_a_skull_is_parted_from_the_scalp() -> None:
    found = brain_region(_speckled(_drawn(100, 12, 160, 0)), MM)
    assert found is not None
    assert found.surroundings is Surroundings.SKULL
    assert _overlap(found.head, (_depth() < 1)[found.slices]) > 0.98
    assert _overlap(found.brain, (_depth() < BRAIN)[found.slices]) > 0.9
    assert abs(found.air) < 1
    assert found.zero == found.air


def test_slices_are_used_from_22_to_95_mm_below_the_top() -> None:
    """The top of this head is slice 23: at 92 mm of 100 its area is just above 0.15 of the largest, 1 - 0.92²."""
    found = brain_region(_drawn(100, 12, 160, 0), MM)
    assert found is not None
    assert found.slices.tolist() == list(range(18))


def test_a_brain_in_a_masked_background_is_what_is_left() -> None:
    """The top of this brain is slice 18: at 72 mm of 80 its area is 1 - 0.9² = 0.19 of the largest."""
    voxels = np.where(_depth() < BRAIN, _speckled(_drawn(100, 12, 160, 0)), 0).astype(np.float32)
    found = brain_region(voxels, MM)
    assert found is not None
    assert found.surroundings is Surroundings.MASKED
    assert found.slices.tolist() == list(range(16))
    assert np.array_equal(found.brain, found.head)
    assert _overlap(found.brain, (_depth() < BRAIN)[found.slices]) > 0.99


def test_a_head_that_is_darker_than_grey_air_is_signed_and_its_zero_the_darkest_tissue() -> None:
    found = brain_region(_drawn(30, 60, 100, 50), MM)
    assert found is not None
    assert found.surroundings is Surroundings.SIGNED
    assert found.air == 50.0
    assert found.zero == 25.0


def test_noise_around_a_brain_without_a_skull_leaves_its_surroundings_unclear() -> None:
    found = brain_region(_speckled(_drawn(100, 100, 100, 0)), MM)
    assert found is not None
    assert found.surroundings is Surroundings.UNCLEAR
    assert found.brain.any()
    assert not (found.brain & ~found.head).any()


@pytest.mark.parametrize("value", [0.0, 7.0, -3.0])
def test_voxels_of_one_value_are_no_head(value: float) -> None:
    voxels = np.full(SHAPE, value, np.float32)
    assert brain_region(voxels, MM) is None
    assert head_slabs(_volume(voxels)) is None


def test_a_volume_with_a_voxel_that_is_no_number_has_no_slabs() -> None:
    voxels = _drawn(100, 12, 160, 0)
    voxels[3, 3, 3] = np.nan
    assert head_slabs(_volume(voxels)) is None


def test_slabs_count_from_the_air_and_tell_what_lies_beside_the_head() -> None:
    voxels = np.where(_depth() < BRAIN, np.float32(100), np.float32(40))
    strays = [(k, 2, column) for k, column in ((1, 2), (5, 20), (9, 40), (13, 30))]
    for place in strays:
        voxels[place] = 90
    found = head_slabs(_volume(voxels))
    assert found is not None
    assert found.values.shape == found.head.shape == found.brain.shape == (SLABS, 54, 44)
    assert found.spacing_mm == (4.0, 4.0)
    assert found.surroundings is Surroundings.MASKED
    assert set(np.unique(found.values)) == {0.0, 50.0, 60.0}
    assert (found.values[found.brain] == 60).mean() > 0.98
    brain = np.count_nonzero(_depth() < BRAIN)
    assert found.stray_share == pytest.approx(len(strays) / (brain + len(strays)))


@pytest.mark.parametrize("plane", ["axial", "coronal", "sagittal"])
def test_voxels_of_every_plane_are_ordered_to_the_head_the_back_and_the_left(plane: str) -> None:
    mm = (5.0, 2.0, 1.0)
    shape = (3, 4, 5)
    grid = Grid(shape=shape, affine=axis_aligned(plane, mm), frame_of_reference_uid="1.2")
    for axis, direction in enumerate(((0, 0, 1), (0, 1, 0), (1, 0, 0))):
        places = grid.position_mm(np.moveaxis(np.indices(shape, np.float64), 0, -1))
        voxels, spacing = axial_voxels(ImageVolume(grid=grid, voxels=(places @ direction).astype(np.float32)))
        assert np.allclose(np.diff(voxels, axis=axis), spacing[axis])
        assert all(np.allclose(np.diff(voxels, axis=other), 0) for other in range(3) if other != axis)


def test_blocks_are_averaged_and_an_incomplete_one_is_left_out() -> None:
    voxels = np.random.default_rng(0).normal(size=(5, 7, 6)).astype(np.float32)
    means = voxels[:4, :6].reshape(2, 2, 2, 3, 6, 1).mean((1, 3, 5))
    assert np.allclose(shrunk(voxels, (2, 3, 1)), means, atol=1e-6)
    assert np.array_equal(shrunk(voxels, (1, 1, 1)), voxels)
    assert shrunk(np.full((4, 4, 4), 60000, np.uint16), (2, 2, 2)).tolist() == np.full((2, 2, 2), 60000).tolist()


@pytest.mark.parametrize(
    ("spacing", "factors"),
    [
        ((4.0, 2.5, 2.5), (1, 1, 1)),
        ((1.0, 1.0, 1.0), (4, 2, 2)),
        ((6.0, 0.5, 0.5), (1, 5, 5)),
        ((2.0, 0.8, 0.4), (2, 3, 6)),
        ((8.0, 5.0, 5.0), (1, 1, 1)),
    ],
)
def test_thin_slices_and_small_pixels_become_coarse(
    spacing: tuple[float, float, float], factors: tuple[int, int, int]
) -> None:
    voxels = np.arange(12 * 30 * 30, dtype=np.float32).reshape(12, 30, 30)
    coarse, size = coarsened(voxels, np.array(spacing))
    assert size.tolist() == [mm * factor for mm, factor in zip(spacing, factors, strict=True)]
    assert coarse.shape == tuple(n // factor for n, factor in zip(voxels.shape, factors, strict=True))
    middle = factors[0] // 2
    assert coarse[0, 0, 0] == pytest.approx(voxels[middle, : factors[1], : factors[2]].mean())


def test_a_distance_is_that_to_the_nearest_voxel_outside_in_the_slice() -> None:
    mask = np.random.default_rng(1).random((3, 7, 9)) < 0.8
    found = distance_mm(mask, (2.0, 0.5))
    for k, row, column in product(range(3), range(7), range(9)):
        away = (np.argwhere(~mask[k]) - (row, column)) * (2.0, 0.5)
        assert found[k, row, column] == pytest.approx(np.linalg.norm(away, axis=1).min())


def test_a_slice_without_outside_is_further_from_it_than_any_two_of_its_voxels() -> None:
    assert distance_mm(np.ones((1, 3, 4), bool), (2.0, 2.0)).tolist() == np.full((1, 3, 4), 10.0).tolist()


def test_air_is_measured_in_corners_and_one_bright_corner_is_none() -> None:
    voxels = np.full((4, 32, 48), 500, np.float32)
    voxels[:, :2, :3] = voxels[:, -2:, :3] = voxels[:, :2, -3:] = 7
    voxels[:, -2:, -3:] = 900
    assert level_of_air(voxels) == 7.0


def test_the_largest_part_is_connected_by_faces() -> None:
    mask = np.zeros((3, 5, 5), bool)
    mask[0, 0, :3] = mask[1, 1, 3] = mask[2, 3:, 3:] = True
    largest = np.zeros_like(mask)
    largest[2, 3:, 3:] = True
    assert np.array_equal(largest_part(mask), largest)
    assert not largest_part(np.zeros_like(mask)).any()


def test_a_coarse_mask_is_sampled_at_the_centres_of_finer_voxels() -> None:
    mask = np.random.default_rng(4).random((2, 6, 5)) < 0.5
    found = enlarged(mask, (2, 12, 15), (3.0, 3.0), (1.5, 1.0))
    assert np.array_equal(found, mask.repeat(2, axis=1).repeat(3, axis=2))
    between = enlarged(mask, (2, 6, 8), (3.0, 2.0), (2.0, 1.25))
    assert np.array_equal(between, mask[:, [0, 1, 1, 2, 3, 3]][:, :, [0, 0, 1, 2, 2, 3, 4, 4]])
    beyond = enlarged(mask, (2, 13, 16), (3.0, 3.0), (1.5, 1.0))
    assert np.array_equal(beyond[:, -1, :15], found[:, -1])
    assert np.array_equal(beyond[:, :12, -1], found[:, :, -1])
