"""From masks to labels and back: the regions stay nested."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from inference.postprocessing import label_regions as labels_of_tensors
from inference.postprocessing import region_of
from inference.regions import REGION_LABELS, Label, Region

FEW = settings(max_examples=25, deadline=None, derandomize=True)
MASKS = arrays(np.bool_, (3, 4, 5))
Mask = NDArray[np.bool_]


def label_regions(wt: Mask, tc: Mask | None, et: Mask | None) -> NDArray[np.uint8]:
    tensors = (None if mask is None else torch.from_numpy(mask) for mask in (wt, tc, et))
    found: NDArray[np.uint8] = labels_of_tensors(*tensors).numpy()
    return found


def _region(labels: NDArray[np.uint8], region: Region) -> Mask:
    found = region_of(torch.from_numpy(labels), region)
    assert np.array_equal(found, np.isin(labels, list(REGION_LABELS[region])))
    return np.asarray(found)


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
