"""Reading DICOM files: what becomes a study, what a decision, and that pixels stay where the scanner put them."""

import datetime as dt
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.tag import BaseTag
from pydicom.uid import (
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from conversion.errors import BrokenGeometry, ConversionReason, UnreadableSeries, UnusableStudy
from conversion.reading import dicom_files, read_series, read_source_datasets, read_study, read_volumes
from conversion.selection import SeriesSelection
from conversion.sequences import Role
from conversion.study import Series, Study
from tests.support.dicom_series import axis_aligned, mr_slices, uid_of, write_slices
from tests.support.strategies import affines, slice_orders

FEW = settings(max_examples=15, deadline=None, derandomize=True)
SHAPE = (9, 36, 33)
DAY_S = dt.date(2024, 1, 2).toordinal() * 86400


def _pixels(shape: tuple[int, int, int] = SHAPE, kind: type = np.uint16) -> NDArray[np.generic]:
    """Every voxel has a value of its own, so that no swap of axes or slices goes unseen."""
    return np.arange(100, 100 + np.prod(shape)).reshape(shape).astype(kind)


def _write(folder: Path, plane: str = "axial", **attributes: object) -> list[Path]:
    return write_slices(folder, mr_slices(_pixels(), axis_aligned(plane), "series", **attributes))


def _only(study: Study) -> Series:
    assert len(study.series) == 1
    return study.series[0]


def _decided(study: Study) -> list[tuple[str, str]]:
    return [(decision.code, decision.subject) for decision in study.decisions]


@st.composite
def _series(draw: st.DrawFn) -> tuple[NDArray[np.float64], list[int]]:
    return draw(affines()), draw(slice_orders(draw(st.integers(2, 6))))


@given(_series())
@FEW
def test_every_pixel_is_read_at_the_position_the_scanner_gave_it(
    tmp_path_factory: pytest.TempPathFactory, case: tuple[NDArray[np.float64], list[int]]
) -> None:
    affine, order = case
    pixels = _pixels((len(order), 4, 3))
    paths = write_slices(tmp_path_factory.mktemp("series"), mr_slices(pixels, affine), order)
    volume = read_series(_only(read_study(paths)))
    back = np.linalg.inv(affine)
    for index in np.ndindex(volume.grid.shape):
        written = back @ [*volume.grid.position_mm(np.array(index, float)), 1.0]
        place = tuple(np.round(written[:3]).astype(int))
        assert np.allclose(written[:3], place, atol=1e-3)
        assert volume.voxels[index] == pixels[place]


@pytest.mark.parametrize("plane", ["axial", "sagittal", "coronal"])
def test_the_three_planes_keep_their_voxel_size_and_frame_of_reference(tmp_path: Path, plane: str) -> None:
    volume = read_series(_only(read_study(_write(tmp_path, plane))))
    assert volume.grid.shape == SHAPE
    assert np.allclose(volume.grid.spacing_mm, [3.0, 1.5, 1.25])
    assert volume.grid.frame_of_reference_uid == uid_of("frame of reference")


@pytest.mark.parametrize(
    "transfer_syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian, RLELossless, JPEG2000Lossless, JPEGLSLossless]
)
def test_every_transfer_syntax_gives_the_same_voxels(tmp_path: Path, transfer_syntax: str) -> None:
    paths = write_slices(tmp_path, mr_slices(_pixels(), axis_aligned("axial")), transfer_syntax=transfer_syntax)
    assert pydicom.dcmread(paths[0]).file_meta.TransferSyntaxUID == transfer_syntax
    assert np.array_equal(read_series(_only(read_study(paths))).voxels, _pixels())


@pytest.mark.dcmtk
def test_jpeg_lossless_as_dcmtk_writes_it(tmp_path: Path) -> None:
    encoder = shutil.which("dcmcjpeg")
    assert encoder is not None
    paths = []
    for path in _write(tmp_path / "plain"):
        paths.append(tmp_path / path.name)
        subprocess.run([encoder, "+e1", str(path), str(paths[-1])], check=True, capture_output=True)
    assert pydicom.dcmread(paths[0]).file_meta.TransferSyntaxUID == JPEGLosslessSV1
    assert np.array_equal(read_series(_only(read_study(paths))).voxels, _pixels())


def test_rescale_slope_and_intercept_of_each_slice_are_applied(tmp_path: Path) -> None:
    slices = mr_slices(_pixels(), axis_aligned("axial"))
    for k, ds in enumerate(slices):
        ds.RescaleSlope, ds.RescaleIntercept = 0.5 + k, -3 * k
    voxels = read_series(_only(read_study(write_slices(tmp_path, slices)))).voxels
    expected = np.stack([_pixels()[k] * (0.5 + k) - 3 * k for k in range(len(slices))])
    assert np.allclose(voxels, expected)


def test_negative_stored_values_stay_negative(tmp_path: Path) -> None:
    pixels = (_pixels(kind=np.int16) - 200).astype(np.int16)
    paths = write_slices(tmp_path, mr_slices(pixels, axis_aligned("axial")))
    assert np.array_equal(read_series(_only(read_study(paths))).voxels, pixels)


@pytest.mark.parametrize(("agent", "given"), [("NONE", False), ("No", False), (" ", False), ("Dotarem", True)])
def test_a_contrast_agent_is_one_that_was_given(tmp_path: Path, agent: str, *, given: bool) -> None:
    paths = _write(tmp_path, "axial", ContrastBolusAgent=agent)
    assert _only(read_study(paths)).acquisition.contrast_agent is given


@pytest.mark.parametrize("place", [0, 4, SHAPE[0] - 1])
def test_an_agent_that_any_image_of_a_volume_names_was_given(tmp_path: Path, place: int) -> None:
    slices = mr_slices(_pixels(), axis_aligned("axial"))
    slices[place].ContrastBolusAgent = "Dotarem"
    assert _only(read_study(write_slices(tmp_path, slices))).acquisition.contrast_agent


def test_headers_are_read_as_they_stand(tmp_path: Path) -> None:
    attributes: dict[str, object] = {
        "SeriesDescription": "T1_TSE Gd",
        "ProtocolName": "Kopf",
        "InversionTime": 900.0,
        "SequenceName": "*TSE2D",
        "ScanningSequence": ["SE", "IR"],
        "ContrastBolusAgent": "Gadovist",
        "DiffusionBValue": 0.0,
    }
    acquisition = _only(read_study(_write(tmp_path, "axial", **attributes))).acquisition
    assert acquisition.text == "t1 tse gd kopf"
    assert acquisition.scanning_sequence == ("SE", "IR")
    assert acquisition.technique == "*tse2d"
    assert (acquisition.repetition_time_ms, acquisition.echo_time_ms) == (600.0, 12.0)
    assert acquisition.inversion_time_ms == 900.0
    assert acquisition.contrast_agent
    assert acquisition.diffusion_b_value == 0.0
    assert acquisition.acquired_at == DAY_S + 10 * 3600 + 16 * 60


def test_a_series_begins_with_its_earliest_slice_and_a_broken_time_counts_for_nothing(tmp_path: Path) -> None:
    slices = mr_slices(_pixels(), axis_aligned("axial"))
    for k, ds in enumerate(slices):
        ds.AcquisitionTime = f"1020{59 - k}.250000"
    slices[3].AcquisitionTime, slices[3].SeriesTime = "", ""
    assert (
        _only(read_study(write_slices(tmp_path, slices))).acquisition.acquired_at == DAY_S + 10 * 3600 + 20 * 60 + 51.25
    )


def test_what_headers_leave_out_is_none(tmp_path: Path) -> None:
    slices = mr_slices(_pixels(), axis_aligned("axial"))
    for ds in slices:
        for keyword in ("RepetitionTime", "AcquisitionTime", "SeriesTime", "SeriesDescription"):
            delattr(ds, keyword)
        ds.EchoTime = None
    acquisition = _only(read_study(write_slices(tmp_path, slices))).acquisition
    assert acquisition.repetition_time_ms is None
    assert acquisition.echo_time_ms is None
    assert acquisition.acquired_at is None
    assert acquisition.text.strip() == ""
    assert not acquisition.contrast_agent


def test_series_come_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for name, number in (("a", 12), ("b", 3)):
        write_slices(tmp_path, mr_slices(_pixels(), axis_aligned("axial"), name, SeriesNumber=number))
    study = read_study(dicom_files(tmp_path))
    assert [series.number for series in study.series] == [3, 12]
    assert study.study_uid == uid_of("study")


def test_files_are_found_in_every_folder_without_the_dicomdir(tmp_path: Path) -> None:
    paths = _write(tmp_path / "deep" / "deeper")
    paths[0].rename(paths[0].with_suffix(""))
    (tmp_path / "DICOMDIR").write_bytes(b"")
    assert len(dicom_files(tmp_path)) == len(paths)
    assert len(_only(read_study(dicom_files(tmp_path))).images) == len(paths)


def test_what_is_not_dicom_is_kept_out_and_named(tmp_path: Path) -> None:
    _write(tmp_path)
    (tmp_path / "notes.txt").write_text("no DICOM at all")
    study = read_study(dicom_files(tmp_path))
    assert len(_only(study).images) == len(_pixels())
    assert _decided(study) == [("unreadable_file", "file notes.txt")]
    assert study.decisions[0].reason == "not a DICOM file"


def test_an_instance_without_series_is_kept_out_and_named(tmp_path: Path) -> None:
    paths = _write(tmp_path)
    ds = pydicom.dcmread(paths[2])
    del ds.SeriesInstanceUID
    ds.save_as(paths[2])
    study = read_study(paths)
    assert _decided(study) == [("unreadable_file", "file 0001-0002.dcm")]
    assert "UID is missing" in study.decisions[0].reason


@pytest.mark.parametrize(
    ("sop_class", "modality", "named"),
    [
        ("1.2.840.10008.5.1.4.1.1.2", "CT", "CT Image Storage"),
        ("1.2.840.10008.5.1.4.1.1.7", "OT", "Secondary Capture"),
        ("1.2.840.10008.5.1.4.1.1.66.4", "SEG", "Segmentation Storage"),
        ("1.2.840.10008.5.1.4.1.1.4.3", "MR", "Enhanced MR Color Image Storage"),
    ],
)
def test_what_is_no_mr_image_is_kept_as_a_decision(tmp_path: Path, sop_class: str, modality: str, named: str) -> None:
    _write(tmp_path)
    other = mr_slices(_pixels(), axis_aligned("axial"), "other", SOPClassUID=sop_class, Modality=modality)
    for ds in other:
        ds.SeriesNumber = 4
    write_slices(tmp_path, other[:2])
    study = read_study(dicom_files(tmp_path))
    assert _only(study).number == 1
    assert _decided(study) == [("not_mr", "series 4")]
    assert named in study.decisions[0].reason
    assert "2 instance(s)" in study.decisions[0].reason


def test_a_study_without_mr_says_what_it_holds(tmp_path: Path) -> None:
    _write(tmp_path, SOPClassUID="1.2.840.10008.5.1.4.1.1.2", Modality="CT")
    with pytest.raises(UnusableStudy, match="modality CT") as caught:
        read_study(dicom_files(tmp_path))
    assert caught.value.reason is ConversionReason.NO_MR


def test_files_of_which_none_is_an_image_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"\0" * 4000)
    with pytest.raises(UnusableStudy) as caught:
        read_study(dicom_files(tmp_path))
    assert caught.value.reason is ConversionReason.NO_IMAGES


def test_two_studies_at_once_are_refused(tmp_path: Path) -> None:
    _write(tmp_path / "a")
    other = mr_slices(_pixels(), axis_aligned("axial"), "other", StudyInstanceUID=uid_of("another study"))
    write_slices(tmp_path / "b", other)
    with pytest.raises(UnusableStudy, match="2 studies"):
        read_study(dicom_files(tmp_path))


def _refused_pixels(paths: list[Path]) -> str:
    with pytest.raises(UnreadableSeries) as caught:
        read_series(_only(read_study(paths)))
    assert caught.value.reason is ConversionReason.UNREADABLE_PIXELS
    return str(caught.value)


def test_truncated_pixels_are_refused_with_the_image_named(tmp_path: Path) -> None:
    paths = _write(tmp_path)
    content = paths[4].read_bytes()
    paths[4].write_bytes(content[:-20])
    sentence = _refused_pixels(paths)
    assert "series 1, image 5" in sentence
    assert "truncated" in sentence


@pytest.mark.parametrize("transfer_syntax", [RLELossless, JPEG2000Lossless])
def test_damaged_compressed_pixels_are_refused(tmp_path: Path, transfer_syntax: str) -> None:
    paths = write_slices(tmp_path, mr_slices(_pixels(), axis_aligned("axial")), transfer_syntax=transfer_syntax)
    ds = pydicom.dcmread(paths[0])
    ds.PixelData = ds.PixelData[:24]
    ds.save_as(paths[0])
    assert "image 1" in _refused_pixels(paths)


def test_an_image_without_pixels_is_refused(tmp_path: Path) -> None:
    paths = _write(tmp_path)
    ds = pydicom.dcmread(paths[8])
    del ds.PixelData
    ds.save_as(paths[8])
    assert "image 9" in _refused_pixels(paths)


def test_coloured_pixels_are_no_mr_slice(tmp_path: Path) -> None:
    paths = _write(tmp_path)
    ds = pydicom.dcmread(paths[0])
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PlanarConfiguration = 3, "RGB", 0
    ds.BitsAllocated = ds.BitsStored = 8
    ds.HighBit = 7
    ds.PixelData = bytes(ds.Rows * ds.Columns * 3)
    ds.save_as(paths[0])
    with pytest.raises(UnreadableSeries, match="colour image") as caught:
        read_series(_only(read_study(paths)))
    assert caught.value.reason is ConversionReason.COLOUR_IMAGE


def test_slices_without_position_are_refused_when_their_volume_is_wanted(tmp_path: Path) -> None:
    paths = _write(tmp_path)
    ds = pydicom.dcmread(paths[0])
    del ds.ImagePositionPatient
    ds.save_as(paths[0])
    with pytest.raises(BrokenGeometry) as caught:
        read_series(_only(read_study(paths)))
    assert caught.value.reason is ConversionReason.MISSING_POSITION


def test_read_volumes_reads_each_role_on_its_own_grid(tmp_path: Path) -> None:
    _write(tmp_path)
    flair: dict[str, object] = {
        "SeriesNumber": 2,
        "SeriesDescription": "",
        "RepetitionTime": 9000,
        "EchoTime": 110,
        "InversionTime": 2500,
    }
    pixels = _pixels((8, 3, 4))
    write_slices(tmp_path, mr_slices(pixels, axis_aligned("coronal"), "flair", **flair))
    study = read_study(dicom_files(tmp_path))
    chosen = dict(zip((Role.T1CE, Role.FLAIR), study.series, strict=True))
    volumes = read_volumes(SeriesSelection(study_uid=study.study_uid, series=chosen, reference=Role.T1CE, decisions=()))
    assert set(volumes) == {Role.T1CE, Role.FLAIR}
    assert volumes[Role.T1CE].grid.shape == SHAPE
    assert np.array_equal(volumes[Role.FLAIR].voxels, pixels)


def test_source_datasets_come_in_the_order_of_the_stack_and_without_pixels(tmp_path: Path) -> None:
    slices = mr_slices(_pixels(), axis_aligned("axial"))
    series = _only(read_study(write_slices(tmp_path, slices, order=[4, 8, 1, 0, 7, 2, 3, 6, 5])))
    datasets = read_source_datasets(series)
    assert [ds.InstanceNumber for ds in datasets] == list(range(1, 10))
    assert not any("PixelData" in ds for ds in datasets)


def _write_raw(folder: Path, keyword: str, value: bytes) -> list[Path]:
    """Write a series in which one attribute of every image holds bytes that the standard does not allow there."""
    paths = _write(folder)
    tag = tag_for_keyword(keyword)
    assert tag is not None
    for path in paths:
        ds = pydicom.dcmread(path)
        ds._dict[BaseTag(tag)] = RawDataElement(
            BaseTag(tag), dictionary_VR(tag), len(value), value, 0, is_implicit_VR=False, is_little_endian=True
        )
        ds.save_as(path)
    return paths


@pytest.mark.filterwarnings("ignore:Invalid value for VR")
@pytest.mark.parametrize(
    ("keyword", "value"),
    [("RepetitionTime", b"fast"), ("EchoTime", b"12\\99 "), ("InstanceNumber", b"A "), ("SeriesNumber", b"one ")],
)
def test_a_senseless_number_costs_no_study(tmp_path: Path, keyword: str, value: bytes) -> None:
    series = _only(read_study(_write_raw(tmp_path, keyword, value)))
    assert np.array_equal(read_series(series).voxels, _pixels())
    acquisition = series.acquisition
    assert (acquisition.repetition_time_ms is None) == (keyword == "RepetitionTime")
    assert (acquisition.echo_time_ms is None) == (keyword == "EchoTime")
    assert series.number == (0 if keyword == "SeriesNumber" else 1)
    assert series.images[0].instance_number == (0 if keyword == "InstanceNumber" else 1)


@pytest.mark.filterwarnings("ignore:Invalid value for VR")
@pytest.mark.parametrize(
    ("keyword", "value", "reason"),
    [
        ("ImagePositionPatient", b"1\\2 ", ConversionReason.MISSING_POSITION),
        ("ImagePositionPatient", b"\\\\", ConversionReason.MISSING_POSITION),
        ("ImageOrientationPatient", b"1\\0\\0\\x\\1\\0 ", ConversionReason.MISSING_POSITION),
        ("PixelSpacing", b"1.5\\1.5\\1", ConversionReason.MISSING_SPACING),
        ("PixelSpacing", b"", ConversionReason.MISSING_SPACING),
    ],
)
def test_a_senseless_place_is_refused_when_its_volume_is_wanted(
    tmp_path: Path, keyword: str, value: bytes, reason: ConversionReason
) -> None:
    with pytest.raises(BrokenGeometry) as caught:
        read_series(_only(read_study(_write_raw(tmp_path, keyword, value))))
    assert caught.value.reason is reason


@pytest.mark.filterwarnings("ignore:Invalid value for VR")
def test_a_senseless_rescale_slope_is_not_taken_as_one(tmp_path: Path) -> None:
    assert "image 1" in _refused_pixels(_write_raw(tmp_path, "RescaleSlope", b"steep "))


def test_links_are_followed_and_a_circle_ends(tmp_path: Path) -> None:
    for name in ("real/a/1.dcm", "real/2.dcm", "elsewhere/3.dcm", "real/DICOMDIR"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "real" / "linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "real" / "a" / "round").symlink_to(tmp_path / "real")
    found = dicom_files(tmp_path / "real")
    assert [path.relative_to(tmp_path / "real").as_posix() for path in found] == ["2.dcm", "a/1.dcm", "linked/3.dcm"]
