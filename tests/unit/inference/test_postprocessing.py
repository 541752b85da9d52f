"""From masks to labels: the regions stay nested, and only small islands go."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from inference.postprocessing import label_regions, largest_component, without_islands
from inference.regions import REGION_LABELS, Label, Region

FEW = settings(max_examples=25, deadline=None, derandomize=True)
MASKS = arrays(np.bool_, (3, 4, 5))
Mask = NDArray[np.bool_]


def _region(labels: NDArray[np.uint8], region: Region) -> Mask:
    return np.isin(labels, list(REGION_LABELS[region]))


@given(MASKS, MASKS, MASKS)
@FEW
def test_every_voxel_gets_the_innermost_region_within_the_whole_tumour(wt: Mask, tc: Mask, et: Mask) -> None:
    labels = label_regions(wt, tc, et)
    assert np.array_equal(_region(labels, Region.WT), wt)
    assert np.array_equal(_region(labels, Region.ET), wt & et)
    assert np.array_equal(_region(labels, Region.TC), wt & (tc | et))
    assert np.array_equal(_region(labels, Region.ED), wt & ~tc & ~et)
    assert Label.WHOLE_TUMOUR not in labels


@given(MASKS, st.sampled_from(["tc", "et", "both"]))
@FEW
def test_without_core_and_enhancement_the_whole_tumour_is_of_unknown_kind(wt: Mask, missing: str) -> None:
    tc = None if missing in ("tc", "both") else wt
    et = None if missing in ("et", "both") else wt
    assert np.array_equal(label_regions(wt, tc, et), np.where(wt, 5, 0))


def test_labels_of_a_hand_made_row() -> None:
    wt, tc, et = (np.array([[values]], bool) for values in ([0, 1, 1, 1, 0], [0, 0, 1, 1, 1], [0, 0, 0, 1, 1]))
    labels = label_regions(wt, tc, et)
    assert labels.tolist() == [[[0, 2, 1, 3, 0]]]
    assert labels.dtype == np.uint8


def _islands() -> Mask:
    """Return a bar of 5 voxels, a pair that touches at a corner only, and a single voxel."""
    mask = np.zeros((5, 8, 9), bool)
    mask[0, 0, 0:5] = True
    mask[2, 4, 4] = mask[3, 5, 5] = True
    mask[4, 0, 8] = True
    return mask


@pytest.mark.parametrize(("minimum", "kept"), [(0, 8), (1, 8), (2, 7), (3, 5), (5, 5), (6, 0)])
def test_islands_below_the_minimum_go_and_corners_connect(minimum: int, kept: int) -> None:
    assert int(without_islands(_islands(), minimum).sum()) == kept


def test_what_is_kept_stays_where_it_is() -> None:
    expected = np.zeros((5, 8, 9), bool)
    expected[0, 0, 0:5] = True
    mask = _islands()
    assert np.array_equal(without_islands(mask, 3), expected)
    assert np.array_equal(mask, _islands())


def test_an_empty_mask_stays_empty() -> None:
    assert not without_islands(np.zeros((2, 3, 4), bool), 10).any()


def test_the_largest_component_is_counted() -> None:
    mask = _islands()
    assert largest_component(mask) == 5
    mask[0, 0, 0:4] = False
    assert largest_component(mask) == 2
    assert largest_component(np.zeros((2, 3, 4), bool)) == 0


@given(MASKS, st.integers(0, 12))
@FEW
def test_nothing_is_added_and_twice_is_once(mask: Mask, minimum: int) -> None:
    once = without_islands(mask, minimum)
    assert not np.any(once & ~mask)
    assert np.array_equal(without_islands(once, minimum), once)
