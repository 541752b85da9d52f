"""Volumes on other grids: what SimpleITK gives, for axes exchanged, turned, coarser, finer or beyond the edge."""

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from conversion.alignment import labels_on, resample
from conversion.simpleitk_bridge import grid_from_simpleitk, to_simpleitk
from conversion.volume import Grid, ImageVolume, LabelVolume
from inference.resampling import binned, sampled, sampled_mask
from tests.support.strategies import directions

SHAPE = (7, 11, 13)
SPACING_MM = (4.0, 0.9, 1.1)


def _grid(linear: NDArray[np.float64], start_mm: tuple[float, float, float] = (3.0, -4.0, 5.0)) -> Grid:
    affine = np.eye(4)
    affine[:3, :3] = linear
    affine[:3, 3] = start_mm
    return Grid(shape=SHAPE, affine=affine, frame_of_reference_uid="1.2.3")


SOURCE = _grid(np.fliplr(np.eye(3)) * SPACING_MM)
TARGETS = {
    "cubes": SOURCE.resampled((1.0, 1.0, 1.0)),
    "coarse": SOURCE.resampled((6.0, 2.5, 3.0)),
    "other axes, reversed": SOURCE.permuted((2, 0, 1), (True, False, True)),
    "other axes, other voxels": SOURCE.permuted((1, 2, 0), (False, True, False)).resampled((0.7, 2.0, 1.3)),
    "partly outside": _grid(np.fliplr(np.eye(3)) * (3.0, 1.5, 1.5), (-2.0, -7.0, 1.0)),
    "far away": _grid(np.fliplr(np.eye(3)) * SPACING_MM, (500.0, 0.0, 0.0)),
    "the same": SOURCE,
}
VOXELS = np.random.default_rng(2).uniform(-5, 50, SHAPE).astype(np.float32)


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_samples_are_those_of_simpleitk(target: Grid) -> None:
    expected = resample(ImageVolume(grid=SOURCE, voxels=VOXELS), target).voxels
    found = sampled(torch.from_numpy(VOXELS), SOURCE, target)
    assert found.dtype == torch.float32
    assert np.allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_a_mask_lies_where_simpleitk_puts_it(target: Grid) -> None:
    mask = VOXELS > 20
    expected = labels_on(LabelVolume(grid=SOURCE, labels=mask.astype(np.uint8)), target).labels > 0
    assert np.array_equal(sampled_mask(torch.from_numpy(mask), SOURCE, target), expected)


@given(directions(tilt_deg=40.0), st.floats(0.5, 3.0))
@settings(max_examples=25, deadline=None, derandomize=True)
def test_samples_along_other_axes_are_those_of_simpleitk(matrix: NDArray[np.float64], spacing_mm: float) -> None:
    source = _grid(matrix * SPACING_MM)
    rotation = np.array([[0.96, -0.28, 0.0], [0.28, 0.96, 0.0], [0.0, 0.0, 1.0]])
    target = source.turned(rotation, spacing_mm)
    expected = resample(ImageVolume(grid=source, voxels=VOXELS), target).voxels
    found = np.asarray(sampled(torch.from_numpy(VOXELS), source, target))
    apart = np.abs(found - expected) > 1e-2
    assert apart.mean() < 0.01, "but for voxels that lie on the very edge, inside or outside by rounding"


def test_several_volumes_are_sampled_together() -> None:
    both = torch.stack([torch.from_numpy(VOXELS), torch.from_numpy(VOXELS * 2)])
    for target in TARGETS.values():
        found = sampled(both, SOURCE, target)
        assert torch.equal(found[0], sampled(both[0], SOURCE, target))
        assert torch.allclose(found[1], 2 * found[0])


def test_the_nearest_voxel_may_stand_for_what_lies_outside() -> None:
    shown = torch.ones(SHAPE)
    assert (sampled(shown, SOURCE, TARGETS["far away"], outside=None) == 1).all()
    assert (sampled(shown, SOURCE, TARGETS["far away"]) == 0).all()
    assert (sampled(shown, SOURCE, TARGETS["partly outside"]) == 0).any()
    assert (sampled(shown, SOURCE, TARGETS["partly outside"], outside=None) == 1).all()


@given(directions(tilt_deg=20.0), st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(1, 5)))
@settings(max_examples=25, deadline=None, derandomize=True)
def test_blocks_are_averaged_as_simpleitk_does(matrix: NDArray[np.float64], factors: tuple[int, int, int]) -> None:
    source = _grid(matrix * SPACING_MM)
    image = sitk.BinShrink(to_simpleitk(ImageVolume(grid=source, voxels=VOXELS)), factors[::-1])
    found, grid = binned(torch.from_numpy(VOXELS), source, factors)
    assert np.allclose(found, sitk.GetArrayFromImage(image), atol=1e-4)
    assert grid.equals(grid_from_simpleitk(image, "1.2.3"))
