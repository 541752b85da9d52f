"""Headers as they are found: any value in any attribute is read, or said, and none ends the reading of a study."""

from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset

from conversion.errors import BrokenGeometry, ConversionReason, UnusableStudy
from conversion.headers import acquisition_header, image_headers, stated_instances
from conversion.reading import read_series, read_studies, read_study
from conversion.recognition.recognise import recognise
from conversion.selection import select_series
from conversion.stack import stack_slices
from conversion.study import ImageHeader
from tests.support.dicom_series import axis_aligned, mr_slices, write_slices
from tests.support.enhanced_series import enhanced_instance
from tests.support.raw_values import put_raw, reread

_VOXELS = np.arange(6 * 8 * 10, dtype=np.uint16).reshape(6, 8, 10)


def _slices(keyword: str, vr: str, value: bytes) -> list[Dataset]:
    slices = mr_slices(_VOXELS, axis_aligned("axial", (3.0, 0.75, 0.75)))
    for ds in slices:
        put_raw(ds, keyword, vr, value)
    return slices


def _image(ds: Dataset) -> ImageHeader:
    return image_headers(Path("in memory"), ds)[0]


@pytest.mark.parametrize(
    ("vr", "value"),
    [("DS", b"0,75\\0,75 "), ("DS", b"0.75"), ("DS", b"0,75"), ("UT", b"0.75\\0.75 "), ("UN", b"0.75\\0.75 ")],
)
def test_pixel_spacing_is_read_as_it_is_found(tmp_path: Path, vr: str, value: bytes) -> None:
    paths = write_slices(tmp_path, _slices("PixelSpacing", vr, value))
    (series,) = read_study(paths).series
    assert read_series(series).grid.spacing_mm == pytest.approx([3.0, 0.75, 0.75])


@pytest.mark.parametrize(
    ("keyword", "value", "said", "reason"),
    [
        ("PixelSpacing", b"thin\\thin", r"PixelSpacing 'thin\\thin', which cannot be read", "missing_spacing"),
        ("PixelSpacing", b"0\\0 ", r"PixelSpacing '0\\0', which cannot be read", "missing_spacing"),
        ("PixelSpacing", b"", "no PixelSpacing", "missing_spacing"),
        ("ImagePositionPatient", b"1\\2 ", r"ImagePositionPatient '1\\2', which", "missing_position"),
        (
            "ImageOrientationPatient",
            b"0\\0\\0\\0\\0\\0 ",
            r"ImageOrientationPatient '0\\0\\0\\0\\0\\0'",
            "missing_position",
        ),
        ("ImageOrientationPatient", b"", "no position or orientation", "missing_position"),
    ],
)
def test_a_refusal_quotes_what_stands_in_the_file(
    tmp_path: Path, keyword: str, value: bytes, said: str, reason: str
) -> None:
    paths = write_slices(tmp_path, _slices(keyword, "DS", value))
    (series,) = read_study(paths).series
    with pytest.raises(BrokenGeometry, match=said) as caught:
        stack_slices(series)
    assert caught.value.reason is ConversionReason(reason)


@pytest.mark.parametrize(
    ("keyword", "vr", "value"),
    [
        ("Rows", "US", b"\1\0\0"),
        ("Rows", "FD", b"\1\0\0"),
        ("Columns", "SS", b"\1"),
        ("ImageType", "US", b"\1\0\2\0"),
        ("EchoTime", "FD", b"\0" * 7),
        ("InstanceNumber", "IS", b"1.5e"),
        ("AcquisitionNumber", "IS", b"1\\2 "),
        ("NumberOfFrames", "IS", b"many"),
        ("PerFrameFunctionalGroupsSequence", "LO", b"text"),
        ("PerFrameFunctionalGroupsSequence", "UN", b"text"),
        ("PerFrameFunctionalGroupsSequence", "SQ", b""),
        ("SharedFunctionalGroupsSequence", "SQ", b"none"),
        ("AcquisitionTime", "TM", b"14:16:45 PM "),
        ("AcquisitionDate", "DA", b"2024.1.2"),
        ("ContrastBolusAgentSequence", "LO", b"Gd"),
        ("SpecificCharacterSet", "CS", b"KLINGON "),
        ("DiffusionBValue", "FD", b"1"),
    ],
)
def test_no_value_ends_the_reading(keyword: str, vr: str, value: bytes) -> None:
    slices = _slices(keyword, vr, value)
    images = [image for ds in slices for image in image_headers(Path("in memory"), ds)]
    assert len(images) == len(slices)
    assert acquisition_header(slices[0], images).repetition_time_ms == 600.0
    assert stated_instances(slices) == 0


@pytest.mark.parametrize(
    "keyword", ["PlanePositionSequence", "PerFrameFunctionalGroupsSequence", "SharedFunctionalGroupsSequence"]
)
@pytest.mark.parametrize("vr", ["LO", "UN", "SQ", "US"])
def test_functional_groups_that_are_none_leave_an_image_without_a_place(keyword: str, vr: str) -> None:
    ds = enhanced_instance(_VOXELS, axis_aligned("axial"))
    holder = ds.PerFrameFunctionalGroupsSequence[0] if keyword == "PlanePositionSequence" else ds
    put_raw(holder, keyword, vr, b"text")
    images = image_headers(Path("in memory"), ds)
    assert images
    assert images[0].position_mm is None


def test_times_are_read_with_colons_and_dates_with_dots() -> None:
    plain, written = (reread(ds) for ds in mr_slices(_VOXELS[:2], axis_aligned("axial"), AcquisitionDate="20240102"))
    put_raw(written, "AcquisitionDate", "DA", b"2024.01.02")
    put_raw(written, "AcquisitionTime", "TM", b"10:16:00")
    assert _image(written).traits.acquired_at == _image(plain).traits.acquired_at


@pytest.mark.parametrize("value", [b"1.2.3\\1.2.4", b"study", b""])
def test_an_image_of_no_study_is_left_out_and_said(tmp_path: Path, value: bytes) -> None:
    slices = [reread(ds) for ds in mr_slices(_VOXELS, axis_aligned("axial"))]
    put_raw(slices[2], "StudyInstanceUID", "UI", value)
    study = read_study(write_slices(tmp_path, slices))
    assert [decision.code for decision in study.decisions] == ["unreadable_file"]
    assert "StudyInstanceUID is missing or not a valid UID" in study.decisions[0].reason


def test_a_sop_class_that_is_no_uid_is_quoted(tmp_path: Path) -> None:
    paths = write_slices(tmp_path, mr_slices(_VOXELS, axis_aligned("axial")))
    for path in paths:
        content, (known, words) = path.read_bytes(), (b"1.2.840.10008.5.1.4.1.1.4\0", b"MR Image Storage".ljust(26))
        at = content.index(b"\x08\x00\x16\x00UI")
        path.write_bytes(content[:at] + content[at:].replace(known, words, 1))
    (study,) = read_studies(paths)
    (decision,) = study.decisions
    assert decision.code == "not_mr"
    assert "have 'MR Image Storage' as SOP Class UID, which is not a UID" in decision.reason


def test_a_frame_of_reference_for_each_image_makes_one_volume_and_is_said(tmp_path: Path) -> None:
    slices = mr_slices(_VOXELS, axis_aligned("axial"))
    for k, ds in enumerate(slices):
        ds.FrameOfReferenceUID = f"1.2.{k + 1}"
    for order in (None, [5, 2, 0, 1, 4, 3]):
        study = read_study(write_slices(tmp_path, slices, order))
        (series,) = study.series
        assert series.frame_of_reference_uid == "1.2.1"
        assert len(stack_slices(series).images) == 6
        assert [decision.code for decision in study.decisions] == ["frame_of_reference"]
        assert "6 different Frame of Reference UIDs" in study.decisions[0].reason


def test_series_of_a_study_without_frames_of_reference_share_a_made_one(tmp_path: Path) -> None:
    slices = [ds for name in ("a", "b") for ds in mr_slices(_VOXELS, axis_aligned("axial"), name)]
    for number, ds in enumerate(slices):
        ds.SeriesNumber = 1 + number // 6
        del ds.FrameOfReferenceUID
    study = read_study(write_slices(tmp_path, slices))
    (uid,) = {series.frame_of_reference_uid for series in study.series}
    assert uid.startswith("2.25.")
    assert [decision.code for decision in study.decisions] == ["frame_of_reference"] * 2


def test_a_series_whose_images_have_a_series_uid_each_is_named(tmp_path: Path) -> None:
    voxels = np.zeros((10, 8, 10), np.uint16)
    slices = mr_slices(voxels, axis_aligned("axial"))
    for k, ds in enumerate(slices):
        ds.SeriesInstanceUID = f"1.2.{k + 1}"
    study = read_study(write_slices(tmp_path, slices))
    assert "series_apart" in [decision.code for decision in study.decisions]
    with pytest.raises(UnusableStudy, match="10 images with series number 1 each have their own Series Instance UID"):
        select_series(study, recognise(study, read_series))


def test_a_series_whose_images_name_a_study_each_is_named(tmp_path: Path) -> None:
    slices = mr_slices(_VOXELS, axis_aligned("axial"))
    for k, ds in enumerate(slices):
        ds.StudyInstanceUID = f"1.2.{k + 1}"
    with pytest.raises(UnusableStudy, match="6 studies; images of one series have different Study Instance UIDs"):
        read_study(write_slices(tmp_path, slices))


def test_a_number_that_is_none_is_said_once_for_its_series(tmp_path: Path) -> None:
    slices = [reread(ds) for ds in mr_slices(_VOXELS, axis_aligned("axial"))]
    for ds in slices:
        put_raw(ds, "EchoTime", "DS", b"12..5 ")
    put_raw(slices[3], "RepetitionTime", "DS", b"2,500 ")
    study = read_study(write_slices(tmp_path, slices))
    (decision,) = study.decisions
    assert decision.code == "value_unreadable"
    assert "EchoTime '12..5' (6 images), RepetitionTime '2,500' (1 image)" in decision.reason
    assert study.series[0].acquisition.echo_time_ms is None


def test_numbers_that_are_not_written_are_not_called_unreadable(tmp_path: Path) -> None:
    slices = mr_slices(_VOXELS, axis_aligned("axial"), EchoTime=None, FlipAngle=None)
    assert read_study(write_slices(tmp_path, slices)).decisions == ()
