"""The slice in which a tumour is largest, found in the SEG alone."""

from copy import deepcopy

import numpy as np
import pytest
from pydicom import Dataset

from tests.support.viewer_study import COLUMNS, SEGMENTS, UNALIGNED_COLUMNS, ViewerStudy, make_study
from viewer_integration.largest_slice import largest_slice


def _with(study: ViewerStudy, bits: bytes) -> Dataset:
    seg = deepcopy(study.seg)
    seg.PixelData = bits
    return seg


@pytest.mark.parametrize("columns", [COLUMNS, UNALIGNED_COLUMNS])
@pytest.mark.parametrize("tumour_slice", [2, 3, 8])
def test_it_is_that_of_the_whole_tumour(columns: int, tumour_slice: int) -> None:
    study = make_study(columns=columns, tumour_slice=tumour_slice)
    found = largest_slice(study.seg)
    assert found is not None
    assert found.sop_instance_uid == study.mr[tumour_slice].SOPInstanceUID
    assert found.series_uid == study.mr[0].SeriesInstanceUID
    assert found.frame_of_reference_uid == study.mr[0].FrameOfReferenceUID
    rows, columns_of = np.nonzero(study.masks[tumour_slice].any(axis=-1))
    expected = (-90 + 3 * columns_of.mean(), -90 + 3 * rows.mean(), 4 * tumour_slice)
    assert found.centre_mm == pytest.approx(expected)


def test_areas_of_segments_count_together() -> None:
    """Edema covers 30 pixels of slice 2 and no core; of slice 4 it covers 20, as many as the core."""
    study = make_study()
    frames = np.zeros((len(study.seg.PerFrameFunctionalGroupsSequence), *study.masks.shape[1:3]), np.uint8)
    edema = [n for n, frame in enumerate(study.seg.PerFrameFunctionalGroupsSequence) if _segment(frame) == 1]
    core = [n for n, frame in enumerate(study.seg.PerFrameFunctionalGroupsSequence) if _segment(frame) == len(SEGMENTS)]
    shared = [(a, b) for a in edema for b in core if _height(study.seg, a) == _height(study.seg, b)]
    alone, (first, second) = edema[0], shared[-1]
    frames[alone, 10, :30] = frames[first, 20, :20] = frames[second, 21, :20] = 1
    found = largest_slice(_with(study, np.packbits(frames, bitorder="little").tobytes()))
    assert found is not None
    assert found.centre_mm == pytest.approx((-90 + 3 * 9.5, -90 + 3 * 20.5, _height(study.seg, first)))


def test_axes_of_a_tilted_slice_are_kept_apart() -> None:
    study = make_study(tumour_slice=3)
    seg = deepcopy(study.seg)
    shared = seg.SharedFunctionalGroupsSequence[0]
    shared.PlaneOrientationSequence[0].ImageOrientationPatient = [0.0, 0.8, 0.6, 0.0, -0.6, 0.8]
    shared.PixelMeasuresSequence[0].PixelSpacing = [2.0, 0.5]  # between rows, between columns
    found = largest_slice(seg)
    rows, columns = np.nonzero(study.masks[3].any(axis=-1))
    across, down = 0.5 * columns.mean(), 2 * rows.mean()
    assert found is not None
    assert found.centre_mm == pytest.approx((-90, -90 + 0.8 * across - 0.6 * down, 12 + 0.6 * across + 0.8 * down))


def test_an_empty_segmentation_has_none() -> None:
    study = make_study()
    assert largest_slice(_with(study, bytes(len(study.seg.PixelData)))) is None


def _segment(frame: Dataset) -> int:
    return int(frame.SegmentIdentificationSequence[0].ReferencedSegmentNumber)


def _height(seg: Dataset, number: int) -> float:
    return float(seg.PerFrameFunctionalGroupsSequence[number].PlanePositionSequence[0].ImagePositionPatient[2])
