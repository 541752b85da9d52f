"""Surface distances against hand-made examples, brute force, and SimpleITK."""

import numpy as np
import pytest
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial.distance import cdist

from inference.evaluation.surface import hd95, surface_dice, union_box

SPACING_MM = np.array([5.0, 0.5, 1.25])
EMPTY = np.zeros((4, 6, 8), bool)


def _voxel(*index: int) -> NDArray[np.bool_]:
    mask = EMPTY.copy()
    mask[index] = True
    return mask


def _blobs(seed: int) -> NDArray[np.bool_]:
    noise = np.random.default_rng(seed).normal(size=(9, 24, 20))
    return np.asarray(ndimage.gaussian_filter(noise, (1, 3, 3)) > 0.02)


def _surface_mm(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    return np.argwhere(mask & ~ndimage.binary_erosion(mask)) * SPACING_MM


def test_two_empty_masks_have_no_distance() -> None:
    assert hd95(EMPTY, EMPTY, SPACING_MM) == 0
    assert surface_dice(EMPTY, EMPTY, SPACING_MM) == 1


def test_one_empty_mask_is_as_far_as_brats_says() -> None:
    for pair in ((EMPTY, _voxel(0, 0, 0)), (_voxel(0, 0, 0), EMPTY)):
        assert hd95(*pair, SPACING_MM) == 374
        assert surface_dice(*pair, SPACING_MM) == 0


@pytest.mark.parametrize(
    ("to", "away_mm"), [((3, 2, 2), 10.0), ((1, 5, 2), 1.5), ((1, 2, 6), 5.0), ((2, 4, 2), np.hypot(5.0, 1.0))]
)
def test_distance_is_in_mm_along_each_axis(to: tuple[int, int, int], away_mm: float) -> None:
    assert hd95(_voxel(1, 2, 2), _voxel(*to), SPACING_MM) == pytest.approx(away_mm)


def test_the_tolerance_is_in_mm() -> None:
    first, second = _voxel(1, 2, 2), _voxel(1, 4, 2)
    assert surface_dice(first, second, SPACING_MM, tolerance_mm=1.0) == 1
    assert surface_dice(first, second, SPACING_MM, tolerance_mm=0.9) == 0
    assert surface_dice(first | second, second, SPACING_MM, tolerance_mm=0.9) == pytest.approx(2 / 3)


def test_masks_at_the_border_have_a_surface_there() -> None:
    assert hd95(~EMPTY, ~EMPTY, SPACING_MM) == 0
    assert surface_dice(~EMPTY, ~EMPTY, SPACING_MM) == 1


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_agrees_with_brute_force(seed: int) -> None:
    predicted, reference = _blobs(seed), _blobs(seed + 100)
    away = cdist(_surface_mm(predicted), _surface_mm(reference))
    directed = away.min(axis=1), away.min(axis=0)
    assert hd95(predicted, reference, SPACING_MM) == pytest.approx(max(np.percentile(d, 95) for d in directed))
    near = np.concatenate(directed) <= 1.0
    assert surface_dice(predicted, reference, SPACING_MM) == pytest.approx(near.mean())


def test_stays_below_the_whole_hausdorff_distance_of_simpleitk() -> None:
    predicted, reference = _blobs(5), _blobs(6)
    images = [sitk.GetImageFromArray(mask.astype(np.uint8)) for mask in (predicted, reference)]
    for image in images:
        image.SetSpacing(SPACING_MM[::-1].tolist())
    peer = sitk.HausdorffDistanceImageFilter()
    peer.Execute(*images)
    assert 0 < hd95(predicted, reference, SPACING_MM) <= peer.GetHausdorffDistance()


def test_the_box_holds_both_masks_and_no_more() -> None:
    assert union_box(_voxel(1, 2, 2), _voxel(3, 0, 5)) == (slice(1, 4), slice(0, 3), slice(2, 6))
