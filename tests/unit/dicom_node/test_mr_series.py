"""Headers and pixels of the phantom's files, as another program reads them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from numpy.typing import NDArray
from pydicom import Dataset, dcmread
from pydicom.uid import (
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGLSLossless,
    MRImageStorage,
    RLELossless,
)

from dicom_node.phantom.mr_series import SeriesIdentity, write_series
from dicom_node.phantom.plan import SeriesPlan
from tests.support.dicom_series import axis_aligned, uid_of

SHAPE = (3, 4, 5)
STORED = np.arange(60, dtype=np.uint16).reshape(SHAPE) * 69
IDENTITY = SeriesIdentity(
    patient_id="PHANTOM-7",
    study_uid=uid_of("study"),
    series_uid=uid_of("series"),
    frame_of_reference_uid=uid_of("frame"),
    instance_uids=tuple(uid_of("instance", str(k)) for k in range(3)),
    start_minute=0,
)


def _plan(role: str = "T2", **changes: object) -> SeriesPlan:
    plain = SeriesPlan(
        role=role,
        number=4,
        description="T2 TSE tra",
        plane="axial",
        in_plane_mm=1.5,
        slice_mm=3.0,
        rows=4,
        columns=5,
        slices=3,
    )
    return replace(plain, **changes)  # type: ignore[arg-type]


def _write(
    folder: Path,
    plan: SeriesPlan,
    affine: NDArray[np.float64] | None = None,
    identity: SeriesIdentity = IDENTITY,
    stored: NDArray[np.uint16] = STORED,
) -> list[Dataset]:
    """Write a series of 1.5 mm pixels and 3 mm slices, and read it back."""
    where = axis_aligned("axial", (3.0, 1.5, 1.5)) if affine is None else affine
    return [dcmread(path) for path in write_series(plan, identity, where, stored, folder)]


def test_there_is_one_file_for_each_slice_in_their_order(tmp_path: Path) -> None:
    paths = write_series(_plan(), IDENTITY, axis_aligned("axial", (3.0, 1.5, 1.5)), STORED, tmp_path / "a" / "new one")
    assert [path.name for path in paths] == ["0001.dcm", "0002.dcm", "0003.dcm"]
    assert sorted((tmp_path / "a" / "new one").iterdir()) == paths
    found = [dcmread(path) for path in paths]
    assert [ds.InstanceNumber for ds in found] == [1, 2, 3]
    assert {ds.ImagesInAcquisition for ds in found} == {3}
    assert [ds.SOPInstanceUID for ds in found] == list(IDENTITY.instance_uids)
    assert [ds.file_meta.MediaStorageSOPInstanceUID for ds in found] == list(IDENTITY.instance_uids)


@pytest.mark.parametrize("plane", ["axial", "sagittal", "coronal"])
def test_each_slice_lies_where_the_affine_puts_it(tmp_path: Path, plane: str) -> None:
    """PS3.3 C.7.6.2.1.1: position of the first pixel, direction of a row, then that of a column."""
    affine = axis_aligned(plane, (3.5, 1.5, 1.5), (-20.25, 31.0, 1 / 3))
    for k, ds in enumerate(_write(tmp_path, _plan(gap_mm=0.5), affine)):
        assert_allclose(np.array(ds.ImagePositionPatient, float), affine[:3, 3] + k * affine[:3, 0], atol=1e-9)
        assert_allclose(np.array(ds.ImageOrientationPatient[:3], float) * 1.5, affine[:3, 2])
        assert_allclose(np.array(ds.ImageOrientationPatient[3:], float) * 1.5, affine[:3, 1])
        assert [float(value) for value in ds.PixelSpacing] == [1.5, 1.5]
        assert (ds.SliceThickness, ds.SpacingBetweenSlices) == (3.0, 3.5)
        assert (ds.PatientPosition, ds.FrameOfReferenceUID) == ("HFS", uid_of("frame"))


def test_decimals_fit_their_sixteen_characters_and_no_zero_is_negative(tmp_path: Path) -> None:
    angle = np.radians(17.3)
    affine = np.eye(4)
    affine[:3, :3] = np.array([[0, 0, 1], [np.sin(angle), np.cos(angle), 0], [np.cos(angle), -np.sin(angle), 0]])
    affine[:3, :3] *= (3.0, 1.5, 1.5)
    affine[:3, 3] = (-1e-13, -100 / 7, -100 / 3)
    (ds, *_) = _write(tmp_path, _plan(), affine)
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient"):
        texts = [str(value) for value in ds[keyword].value]
        assert all(len(text) <= 16 for text in texts), texts
        assert not any(text.startswith("-0") and float(text) == 0.0 for text in texts)
    assert_allclose(np.array(ds.ImagePositionPatient, float), affine[:3, 3], atol=1e-9)


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless, JPEGLSLossless])
def test_pixels_come_back_in_every_transfer_syntax(tmp_path: Path, syntax: str) -> None:
    found = _write(tmp_path, _plan(transfer_syntax=syntax))
    assert {ds.file_meta.TransferSyntaxUID for ds in found} == {syntax}
    assert_array_equal(np.stack([ds.pixel_array for ds in found]), STORED)
    for ds in found:
        assert (ds.Rows, ds.Columns, ds.SamplesPerPixel, ds.PhotometricInterpretation) == (4, 5, 1, "MONOCHROME2")
        assert (ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation) == (16, 12, 11, 0)
        assert ds.SOPInstanceUID in IDENTITY.instance_uids, "compression without loss makes no other image"


@pytest.mark.parametrize(
    ("role", "slice_mm", "sequence", "acquisition", "timing"),
    [
        ("T1", 3.0, ["SE"], "2D", (560.0, 11.0, None, 90.0)),
        ("T1", 2.6, ["SE"], "2D", (560.0, 11.0, None, 90.0)),
        ("T1", 2.5, ["GR"], "3D", (9.8, 4.6, None, 15.0)),
        ("T1CE", 3.0, ["SE"], "2D", (560.0, 11.0, None, 90.0)),
        ("T1CE", 1.0, ["GR"], "3D", (9.8, 4.6, None, 15.0)),
        ("T2", 1.0, ["SE"], "2D", (4600.0, 100.0, None, 90.0)),
        ("FLAIR", 1.0, ["SE", "IR"], "2D", (9000.0, 120.0, 2500.0, 90.0)),
    ],
)
def test_the_protocol_is_that_of_the_sequence(
    tmp_path: Path,
    role: str,
    slice_mm: float,
    sequence: list[str],
    acquisition: str,
    timing: tuple[float, float, float | None, float],
) -> None:
    (ds, *_) = _write(tmp_path, _plan(role, slice_mm=slice_mm))
    stated = ds.ScanningSequence
    assert ([stated] if isinstance(stated, str) else list(stated)) == sequence
    assert ds.MRAcquisitionType == acquisition
    assert (ds.RepetitionTime, ds.EchoTime, ds.get("InversionTime"), ds.FlipAngle) == timing
    assert ("ContrastBolusAgent" in ds) is (role == "T1CE")


@pytest.mark.parametrize(("role", "centre"), [("T1", 420.0), ("T1CE", 510.0), ("T2", 300.0), ("FLAIR", 360.0)])
def test_the_window_reaches_from_black_to_twice_white_matter(tmp_path: Path, role: str, centre: float) -> None:
    (ds, *_) = _write(tmp_path, _plan(role))
    assert (ds.WindowCenter, ds.WindowWidth) == (centre, 2 * centre)


@pytest.mark.parametrize(("minute", "time"), [(0, "090000"), (7, "090700"), (75, "101500")])
def test_a_series_begins_its_minutes_after_the_study(tmp_path: Path, minute: int, time: str) -> None:
    (ds, *_) = _write(tmp_path, _plan(), identity=replace(IDENTITY, start_minute=minute))
    assert (ds.StudyTime, ds.SeriesTime, ds.AcquisitionTime, ds.ContentTime) == ("090000", time, time, time)
    assert {ds.StudyDate, ds.SeriesDate, ds.AcquisitionDate, ds.ContentDate} == {"20260115"}


def test_nobody_takes_the_phantom_for_a_patient(tmp_path: Path) -> None:
    for ds in _write(tmp_path, _plan()):
        assert (str(ds.PatientName), ds.PatientID, ds.PatientSex) == ("PHANTOM^GLIONODE", "PHANTOM-7", "O")
        assert (ds.StudyDescription, ds.Manufacturer) == ("Brain MRI, synthetic phantom", "GlioNode phantom")
        assert (ds.StudyInstanceUID, ds.SeriesInstanceUID) == (uid_of("study"), uid_of("series"))
        assert (ds.SOPClassUID, ds.Modality, ds.BodyPartExamined) == (MRImageStorage, "MR", "BRAIN")
        assert (ds.SeriesNumber, ds.SeriesDescription, ds.ProtocolName) == (4, "T2 TSE tra", "T2 TSE tra")
        for keyword in ("AccessionNumber", "ReferringPhysicianName"):
            assert keyword in ds
            assert not ds[keyword].value


def test_the_same_series_is_the_same_bytes(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        _write(tmp_path / folder, _plan(transfer_syntax=RLELossless))
    first, second = ([path.read_bytes() for path in sorted((tmp_path / folder).iterdir())] for folder in ("one", "two"))
    assert first == second


def test_values_that_are_not_in_the_order_of_memory_are_written_as_they_lie(tmp_path: Path) -> None:
    turned = np.ascontiguousarray(STORED.transpose(2, 1, 0)).transpose(2, 1, 0)
    assert not turned.flags.c_contiguous
    assert_array_equal(np.stack([ds.pixel_array for ds in _write(tmp_path, _plan(), stored=turned)]), STORED)
