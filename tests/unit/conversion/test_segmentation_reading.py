"""A SEG is found where its positions say: of our own form and of others', whatever plane and order its frames have."""

import io
from collections.abc import Iterator
from contextlib import suppress
from itertools import permutations
from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydicom import Dataset

from conversion.errors import BrokenGeometry, ConversionError, ConversionReason, UnreadableSeries
from conversion.segmentation_reading import CodedValue, SegmentDescription, segment_masks, segmentation_header
from conversion.volume import Grid
from tests.support.dicom_series import axis_aligned, mr_slices, uid_of
from tests.support.foreign_seg import ForeignSegment, foreign_seg
from tests.support.hand_made_run import make_run
from tests.support.raw_values import put_raw, reread
from tests.support.strategies import affines

Masks = NDArray[np.bool_]
Matrix = NDArray[np.float64]
SHAPE = (5, 7, 6)
FRAME = uid_of("frame of reference")


def _grid(affine: Matrix, shape: tuple[int, int, int] = SHAPE) -> Grid:
    return Grid(shape=shape, affine=affine, frame_of_reference_uid=FRAME)


def _series(affine: Matrix, shape: tuple[int, int, int] = SHAPE) -> list[Dataset]:
    return mr_slices(np.zeros(shape, np.uint16), affine)


def _body(seed: int = 3) -> Masks:
    """Return a scattered mask without any symmetry, with an empty plane in between."""
    mask = np.random.default_rng(seed).random(SHAPE) > 0.6
    mask[2] = False
    mask[0, 0, 0] = mask[-1, -1, 2] = True
    return mask


def _turned(
    mask: NDArray[np.generic], affine: Matrix, axes: tuple[int, ...], flips: tuple[bool, ...]
) -> tuple[NDArray[np.generic], Matrix]:
    """Return the same voxels of the patient with other axes: what another program may store them as."""
    turned, moved = mask.transpose(axes), affine[:, [*axes, 3]].copy()
    for axis, flip in enumerate(flips):
        if flip:
            turned = np.flip(turned, axis)
            moved[:3, 3] += moved[:3, axis] * (turned.shape[axis] - 1)
            moved[:3, axis] *= -1
    return turned, moved


@given(affines(), st.sampled_from(list(permutations(range(3)))), st.tuples(*[st.booleans()] * 3), st.integers(0, 10**6))
@settings(max_examples=25, deadline=None, derandomize=True)
def test_a_mask_of_any_plane_and_frame_order_is_found_again_on_the_images(
    affine: Matrix, axes: tuple[int, ...], flips: tuple[bool, ...], seed: int
) -> None:
    first, second = _body(seed), _body(seed + 1)
    turned, moved = _turned(first, affine, axes, flips)
    overlapping, _ = _turned(second, affine, axes, flips)
    segments = [ForeignSegment(label="A", mask=turned), ForeignSegment(label="B", mask=overlapping)]
    found = segment_masks(foreign_seg(_series(affine), segments, moved, seed=seed), _grid(affine))
    assert (first & second).any()
    assert np.array_equal(found.masks[1], first)
    assert np.array_equal(found.masks[2], second)
    assert found.grid.equals(_grid(affine))


def test_our_own_seg_gives_back_its_labels_codes_and_source(tmp_path: Path) -> None:
    affine = axis_aligned("coronal")
    labels = np.random.default_rng(5).choice([0, 1, 2, 3], SHAPE).astype(np.uint8)
    run = make_run(tmp_path, labels, affine, order=[3, 1, 4, 0, 2])
    (content,) = [each.content for each in run.encode().objects if each.kind == "SEG"]
    ds = pydicom.dcmread(io.BytesIO(content))
    header, grid = segmentation_header(ds), run.segmentation.label_volume.grid
    masks = segment_masks(ds, grid).masks
    assert [segment.label for segment in header.segments] == ["Necrotic core", "Edema", "Enhancing tumor"]
    for number in (1, 2, 3):
        assert np.array_equal(masks[number], run.segmentation.label_volume.labels == number)
    assert header.segments[2].property_type == CodedValue(value="C113842", scheme="NCIt", meaning="Enhancing Lesion")
    assert {segment.algorithm_type for segment in header.segments} == {"AUTOMATIC"}
    assert header.referenced_series_uids == (uid_of("source"),)
    assert header.source_instance_uids == {str(instance.SOPInstanceUID) for instance in run.source.instances}
    assert (header.kind, header.manufacturer, header.content_at) == ("BINARY", "GlioNode", "20240305142536")


def test_the_header_tells_what_each_segment_is() -> None:
    code = ("79654002", "SCT", "Edema")
    ds = foreign_seg(
        _series(axis_aligned("axial")), [ForeignSegment(label="oedema", mask=_body(), code=code)], np.eye(4)
    )
    header = segmentation_header(ds)
    assert header.segments == (
        SegmentDescription(
            number=1,
            label="oedema",
            category=CodedValue(value="85756007", scheme="SCT", meaning="Tissue"),
            property_type=CodedValue(value="79654002", scheme="SCT", meaning="Edema"),
            algorithm_type="MANUAL",
            tracking_id="lesion 1",
            tracking_uid=uid_of("lesion", "1"),
        ),
    )
    assert len(header.source_instance_uids) == SHAPE[0]
    assert (header.series_number, header.frame_of_reference_uid) == (300, FRAME)


def test_on_its_own_planes_a_seg_reaches_from_its_first_to_its_last_frame() -> None:
    affine = axis_aligned("coronal")
    mask = np.zeros(SHAPE, bool)
    mask[1, 2:4, 3], mask[3, 5, 1:3] = True, True
    found = segment_masks(foreign_seg(_series(affine), [ForeignSegment(label="A", mask=mask)], affine))
    assert found.grid.shape == (3, *SHAPE[1:])
    assert np.array_equal(found.masks[1], mask[1:4])
    assert np.allclose(found.grid.position_mm(np.zeros(3)), affine[:3, 3] + affine[:3, 0])
    assert not found.masks[1].flags.writeable


def test_a_fractional_seg_is_cut_at_the_threshold() -> None:
    affine = axis_aligned("axial")
    probability = np.random.default_rng(2).integers(0, 201, SHAPE) / 200
    ds = foreign_seg(_series(affine), [ForeignSegment(label="A", mask=probability)], affine, kind="FRACTIONAL")
    assert np.array_equal(segment_masks(ds, _grid(affine)).masks[1], probability >= 0.5)
    assert np.array_equal(segment_masks(ds, _grid(affine), threshold=0.8).masks[1], probability >= 0.8)


def test_a_label_map_is_read_by_its_values() -> None:
    affine = axis_aligned("coronal")
    labels = np.random.default_rng(4).integers(0, 3, SHAPE)
    segments = [ForeignSegment(label="A", mask=labels == 1), ForeignSegment(label="B", mask=labels == 2)]
    masks = segment_masks(foreign_seg(_series(affine), segments, affine, kind="LABELMAP", seed=9), _grid(affine)).masks
    assert np.array_equal(masks[1], labels == 1)
    assert np.array_equal(masks[2], labels == 2)


@pytest.mark.parametrize("stated", [True, False])
def test_planes_that_were_left_out_stay_empty(*, stated: bool) -> None:
    affine = axis_aligned("axial", (3.0, 1.0, 1.0))
    mask = np.zeros(SHAPE, bool)
    mask[0, 2:5, 2:4] = mask[4, 2:5, 2:4] = True
    ds = foreign_seg(_series(affine), [ForeignSegment(label="A", mask=mask)], affine)
    if not stated:
        measures = ds.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
        del measures.SpacingBetweenSlices, measures.SliceThickness
    assert np.array_equal(segment_masks(ds, _grid(affine)).masks[1], mask)


def test_one_plane_covers_its_thickness_and_no_more() -> None:
    coarse = axis_aligned("axial", (4.0, 1.0, 1.0))
    mask = np.zeros((3, 6, 6), bool)
    mask[1, 2:4, 1:5] = True
    fine = axis_aligned("axial", (1.0, 1.0, 1.0))
    ds = foreign_seg(_series(coarse, (3, 6, 6)), [ForeignSegment(label="A", mask=mask)], coarse)
    found = segment_masks(ds, _grid(fine, (12, 6, 6))).masks[1]
    assert found.sum() * 1.0 == mask.sum() * 4.0
    assert np.array_equal(np.flatnonzero(found.any(axis=(1, 2))), [2, 3, 4, 5])


def test_a_seg_without_frames_is_empty_on_the_images_and_placeless_without_them() -> None:
    affine = axis_aligned("axial")
    ds = foreign_seg(_series(affine), [ForeignSegment(label="A", mask=np.zeros(SHAPE, bool))], affine)
    del ds.PerFrameFunctionalGroupsSequence
    assert segment_masks(ds, _grid(affine)).masks[1].sum() == 0
    with pytest.raises(BrokenGeometry, match="no frame"):
        segment_masks(ds)


def _shift(ds: Dataset, frame: int, by: tuple[float, float, float]) -> None:
    place = ds.PerFrameFunctionalGroupsSequence[frame].PlanePositionSequence[0]
    place.ImagePositionPatient = [float(old) + new for old, new in zip(place.ImagePositionPatient, by, strict=True)]


def _spoil(ds: Dataset, how: str) -> None:
    first = ds.PerFrameFunctionalGroupsSequence[0]
    if how == "frame of reference":
        ds.FrameOfReferenceUID = "1.2.3"
    elif how == "no position":
        del first.PlanePositionSequence
    elif how == "sheared":
        _shift(ds, 1, (2.0, 0.0, 0.0))
    elif how == "uneven":
        _shift(ds, 0, (0.0, 0.0, 1.3))
    elif how == "orientation":
        turned = Dataset()
        turned.ImageOrientationPatient = [1, 0, 0, 0, 0, -1]
        first.PlaneOrientationSequence = [turned]
        del ds.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence
        for frame in ds.PerFrameFunctionalGroupsSequence[1:]:
            other = Dataset()
            other.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
            frame.PlaneOrientationSequence = [other]
    else:
        ds.NumberOfFrames = int(ds.NumberOfFrames) + 1


@pytest.mark.parametrize(
    ("how", "sentence"),
    [
        ("frame of reference", "another frame of reference"),
        ("no position", "frame 1 of the segmentation has no position"),
        ("sheared", "shifted sideways"),
        ("uneven", "unevenly spaced"),
        ("orientation", "differ in orientation"),
        ("count", "positions for"),
    ],
)
def test_frames_that_make_no_stack_in_the_images_space_are_refused(how: str, sentence: str) -> None:
    affine = axis_aligned("axial")
    ds = foreign_seg(_series(affine), [ForeignSegment(label="A", mask=_body())], affine)
    _spoil(ds, how)
    with pytest.raises(BrokenGeometry, match=sentence) as refused:
        segment_masks(ds, _grid(affine))
    assert refused.value.reason is ConversionReason.MIXED_GEOMETRY


def test_truncated_pixels_and_other_objects_are_refused() -> None:
    affine = axis_aligned("axial")
    ds = foreign_seg(_series(affine), [ForeignSegment(label="A", mask=_body())], affine)
    ds.PixelData = ds.PixelData[:4]
    with pytest.raises(UnreadableSeries, match="pixels of the segmentation cannot be read"):
        segment_masks(ds, _grid(affine))
    with pytest.raises(UnreadableSeries, match="not a segmentation"):
        segmentation_header(_series(affine)[0])


def test_a_frame_of_a_segment_that_is_not_described_is_refused() -> None:
    affine = axis_aligned("axial")
    ds = foreign_seg(_series(affine), [ForeignSegment(label="A", mask=_body())], affine)
    ds.PerFrameFunctionalGroupsSequence[1].SegmentIdentificationSequence[0].ReferencedSegmentNumber = 7
    with pytest.raises(UnreadableSeries, match="segment 7"):
        segment_masks(ds, _grid(affine))


def test_two_frames_of_one_segment_and_plane_are_united() -> None:
    """Other programs write each lesion into frames of its own, all of one segment."""
    affine = axis_aligned("axial")
    first, second = _body(3), _body(4)
    segments = [ForeignSegment(label="A", mask=first), ForeignSegment(label="B", mask=second)]
    ds = foreign_seg(_series(affine), segments, affine)
    for frame in ds.PerFrameFunctionalGroupsSequence:
        frame.SegmentIdentificationSequence[0].ReferencedSegmentNumber = 1
    masks = segment_masks(ds, _grid(affine)).masks
    assert np.array_equal(masks[1], first | second)
    assert not masks[2].any()


def test_a_bomb_is_neither_decoded_nor_laid_out() -> None:
    affine = axis_aligned("axial")
    ds = foreign_seg(_series(affine), [ForeignSegment(label="A", mask=_body())], affine)
    ds.Rows = ds.Columns = 60000
    with pytest.raises(UnreadableSeries, match="has 4 frames of 60000 x 60000 pixels"):
        segment_masks(ds, _grid(affine))
    ds = foreign_seg(_series(affine), [ForeignSegment(label="A", mask=_body())], affine)
    ds.PerFrameFunctionalGroupsSequence[0].PlanePositionSequence[0].ImagePositionPatient[2] = 3e9
    with pytest.raises(BrokenGeometry, match=r"too far apart|unevenly spaced"):
        segment_masks(ds)


HOSTILE = {
    "texts for sequences": ("PerFrameFunctionalGroupsSequence", "LO", b"frames"),
    "segments that are a text": ("SegmentSequence", "LO", b"segment "),
    "series that are a text": ("ReferencedSeriesSequence", "ST", b"series"),
    "shared groups that are a number": ("SharedFunctionalGroupsSequence", "US", b"\1\0"),
    "a maximum of one byte": ("MaximumFractionalValue", "US", b"\xff"),
    "a class of three bytes": ("SOPClassUID", "US", b"\1\2\3"),
    "frames without number": ("NumberOfFrames", "IS", b"many"),
    "rows of three bytes": ("Rows", "US", b"\1\2\3"),
    "bits of one byte": ("BitsAllocated", "US", b"\1"),
    "pixels of another kind": ("PixelData", "LO", b"none"),
}
"""Attribute, representation and bytes."""

HARMLESS = ("series that are a text", "a maximum of one byte")
"""Nothing that the voxels need; the maximum does count for a FRACTIONAL one."""


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("kind", ["BINARY", "FRACTIONAL"])
def test_a_hostile_segmentation_ends_in_this_rooms_own_errors(name: str, kind: str) -> None:
    affine = axis_aligned("axial")
    ds = reread(foreign_seg(_series(affine), [ForeignSegment(label="A", mask=_body())], affine, kind=kind))
    put_raw(ds, *HOSTILE[name])
    if name in HARMLESS and (kind, name) != ("FRACTIONAL", "a maximum of one byte"):
        assert np.array_equal(segment_masks(ds, _grid(affine)).masks[1], _body())
    else:
        with pytest.raises(ConversionError):
            segment_masks(ds, _grid(affine))
    with suppress(ConversionError):
        segmentation_header(ds)


@pytest.mark.parametrize("keyword", ["ReferencedSOPInstanceUID", "SegmentNumber", "SeriesInstanceUID"])
def test_broken_identifiers_within_a_segmentation_name_nothing(keyword: str) -> None:
    affine = axis_aligned("axial")
    ds = foreign_seg(_series(affine), [ForeignSegment(label="A", mask=_body())], affine)
    for item in list(_every_item(ds)):
        if keyword in item:
            put_raw(item, keyword, "US", b"\1\2\3")
    header = segmentation_header(ds)
    assert "1" not in "".join(header.source_instance_uids) or keyword != "ReferencedSOPInstanceUID"
    assert header.segments == () or keyword != "SegmentNumber"


def _every_item(ds: Dataset) -> Iterator[Dataset]:
    for element in ds:
        if element.VR == "SQ":
            for item in element.value:
                yield item
                yield from _every_item(item)
