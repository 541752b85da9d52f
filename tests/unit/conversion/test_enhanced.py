"""Enhanced multi-frame MR: every frame is read where its functional groups put it, whatever the order of frames."""

from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian, JPEG2000Lossless, RLELossless

from conversion.errors import BrokenGeometry, ConversionReason, UnreadableSeries
from conversion.reading import dicom_files, read_series, read_source_datasets, read_study
from conversion.study import Series
from tests.support.dicom_series import axis_aligned
from tests.support.enhanced_series import enhanced_instance
from tests.support.strategies import affines, slice_orders

FEW = settings(max_examples=15, deadline=None, derandomize=True)
SHAPE = (7, 36, 33)


def _pixels(shape: tuple[int, ...] = SHAPE) -> NDArray[np.uint16]:
    return np.arange(100, 100 + np.prod(shape)).reshape(shape).astype(np.uint16)


def _write(folder: Path, *instances: Dataset, syntax: str = ExplicitVRLittleEndian) -> Path:
    folder.mkdir(exist_ok=True)
    for k, ds in enumerate(instances):
        if syntax in (JPEG2000Lossless, RLELossless):
            ds.compress(syntax, generate_instance_uid=False)
        ds.file_meta.TransferSyntaxUID = syntax
        ds.save_as(folder / f"{k}.dcm", enforce_file_format=True, implicit_vr=syntax == ImplicitVRLittleEndian)
    return folder


def _only(folder: Path) -> Series:
    (series,) = read_study(dicom_files(folder)).series
    return series


@st.composite
def _case(draw: st.DrawFn) -> tuple[NDArray[np.float64], list[int], bool]:
    return draw(affines()), draw(slice_orders(draw(st.integers(2, 6)))), draw(st.booleans())


@given(_case())
@FEW
def test_every_frame_is_read_at_the_position_its_groups_give(
    tmp_path_factory: pytest.TempPathFactory, case: tuple[NDArray[np.float64], list[int], bool]
) -> None:
    affine, order, spread = case
    pixels = _pixels((len(order), 4, 3))
    folder = _write(tmp_path_factory.mktemp("enhanced"), enhanced_instance(pixels, affine, order=order, spread=spread))
    volume = read_series(_only(folder))
    back = np.linalg.inv(affine)
    for index in np.ndindex(volume.grid.shape):
        point = volume.grid.position_mm(np.array(index, float))
        written = np.rint((back @ [*point, 1.0])[:3]).astype(int)
        assert volume.voxels[index] == pixels[tuple(written)]


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless, JPEG2000Lossless])
def test_frames_of_every_encoding_are_the_same(tmp_path: Path, syntax: str) -> None:
    order = [3, 0, 6, 1, 5, 2, 4]
    _write(tmp_path, enhanced_instance(_pixels(), axis_aligned("coronal"), order=order), syntax=syntax)
    assert np.array_equal(read_series(_only(tmp_path)).voxels, _pixels())


def test_frames_spread_over_instances_make_one_volume(tmp_path: Path) -> None:
    halves = [
        enhanced_instance(_pixels(), axis_aligned("axial"), order=order, number=number)
        for number, order in ((1, [5, 1, 3]), (2, [0, 2, 4, 6]))
    ]
    _write(tmp_path, *halves)
    series = _only(tmp_path)
    assert np.array_equal(read_series(series).voxels, _pixels())
    assert {ds.InstanceNumber for ds in read_source_datasets(series)} == {1, 2}


def test_echoes_in_one_instance_are_volumes_of_their_own(tmp_path: Path) -> None:
    pixels = _pixels((2, *SHAPE))
    order = np.random.default_rng(3).permutation(2 * SHAPE[0]).tolist()
    _write(tmp_path, enhanced_instance(pixels, axis_aligned("axial"), order=order, echo_times_ms=(20.0, 90.0)))
    found = {series.part: series for series in read_study(dicom_files(tmp_path)).series}
    assert set(found) == {"echo 20 ms", "echo 90 ms"}
    for echo, (part, time) in enumerate((("echo 20 ms", 20.0), ("echo 90 ms", 90.0))):
        assert np.array_equal(read_series(found[part]).voxels, pixels[echo])
        assert found[part].acquisition.echo_time_ms == time


def test_each_frame_has_its_own_rescale(tmp_path: Path) -> None:
    rescale = [(1.0 + k, 10.0 * k) for k in range(SHAPE[0])]
    _write(tmp_path, enhanced_instance(_pixels(), axis_aligned("axial"), order=[6, 5, 4, 3, 2, 1, 0], rescale=rescale))
    expected = np.stack([image * slope + offset for image, (slope, offset) in zip(_pixels(), rescale, strict=True)])
    assert np.array_equal(read_series(_only(tmp_path)).voxels, expected)


def _philips(folder: Path, syntax: str) -> Path:
    ds = enhanced_instance(_pixels(), axis_aligned("axial"), rescale=[(2.5, -20.0)], scale_slopes=[0.125], spread=True)
    return _write(folder, ds, syntax=syntax)


def _expect_floating_point_values(folder: Path) -> None:
    expected = (_pixels() * 2.5 - 20.0) / (2.5 * 0.125)
    assert np.allclose(read_series(_only(folder)).voxels, expected, rtol=1e-6)


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_philips_values_are_the_scanners_floating_point_values(tmp_path: Path, syntax: str) -> None:
    _expect_floating_point_values(_philips(tmp_path, syntax))


@pytest.mark.parametrize("creator_kept", [True, False])
def test_philips_values_survive_an_archive_that_forgot_what_private_attributes_mean(
    tmp_path: Path,
    creator_kept: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    (path,) = dicom_files(_philips(tmp_path, ImplicitVRLittleEndian))
    ds = pydicom.dcmread(path)
    for frame in ds.PerFrameFunctionalGroupsSequence:
        copy = pydicom.filebase.DicomBytesIO()
        copy.is_little_endian, copy.is_implicit_VR = True, True
        pydicom.filewriter.write_sequence(copy, frame[0x2005, 0x140F], ["iso8859"])
        del frame[0x2005, 0x140F]
        frame.add_new(0x2005_140F, "UN", copy.getvalue())
        if not creator_kept:
            del frame[0x2005, 0x0014]
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.save_as(path, implicit_vr=False)
    _expect_floating_point_values(tmp_path)


def test_a_position_that_only_philips_private_header_holds_is_found(tmp_path: Path) -> None:
    (path,) = dicom_files(_philips(tmp_path, ExplicitVRLittleEndian))
    ds = pydicom.dcmread(path)
    for frame in ds.PerFrameFunctionalGroupsSequence:
        frame[0x2005, 0x140F].value[0].ImagePositionPatient = frame.PlanePositionSequence[0].ImagePositionPatient
        del frame.PlanePositionSequence
    ds.save_as(path)
    assert np.allclose(read_series(_only(tmp_path)).grid.affine, axis_aligned("axial"))


@pytest.mark.parametrize("shared", [True, False], ids=["shared by all", "of one frame"])
def test_what_all_frames_share_is_not_read_from_the_groups_of_one(tmp_path: Path, *, shared: bool) -> None:
    """An instance has one name and its frames one size, whatever a converter has put into functional groups."""
    voxels = np.arange(3 * 4 * 5, dtype=np.uint16).reshape(3, 4, 5)
    ds = enhanced_instance(voxels, axis_aligned("axial"))
    groups = ds.SharedFunctionalGroupsSequence[0] if shared else ds.PerFrameFunctionalGroupsSequence[1]
    stray = Dataset()
    stray.SOPInstanceUID, stray.Rows, stray.Columns = "1.2.9", 7, 1
    stray.SamplesPerPixel, stray.PhotometricInterpretation = 3, "RGB"
    groups.MRImageFrameTypeSequence = [stray]
    ds.save_as(tmp_path / "one.dcm", enforce_file_format=True)
    (series,) = read_study(dicom_files(tmp_path)).series
    assert {image.sop_instance_uid for image in series.images} == {ds.SOPInstanceUID}
    assert {(image.rows, image.columns, image.colour) for image in series.images} == {(4, 5, False)}
    assert [image.frame for image in series.images] == [1, 2, 3]
    assert sorted(read_series(series).voxels.ravel().tolist()) == voxels.ravel().tolist()


def test_a_missing_frame_is_a_missing_slice(tmp_path: Path) -> None:
    _write(tmp_path, enhanced_instance(_pixels(), axis_aligned("axial"), order=[0, 1, 2, 4, 5, 6]))
    with pytest.raises(BrokenGeometry, match=r"1 slice\(s\) missing after slice 3") as caught:
        read_series(_only(tmp_path))
    assert caught.value.reason is ConversionReason.MISSING_SLICE


def test_fewer_pixels_than_frames_are_refused(tmp_path: Path) -> None:
    ds = enhanced_instance(_pixels(), axis_aligned("axial"))
    ds.PixelData = ds.PixelData[: len(ds.PixelData) // 2]
    _write(tmp_path, ds)
    with pytest.raises(UnreadableSeries) as caught:
        read_series(_only(tmp_path))
    assert caught.value.reason is ConversionReason.UNREADABLE_PIXELS


def test_what_the_functional_groups_say_reaches_recognition(tmp_path: Path) -> None:
    ds = enhanced_instance(_pixels(), axis_aligned("axial"), echo_times_ms=(110.0,))
    shared = ds.SharedFunctionalGroupsSequence[0]
    shared.MRTimingAndRelatedParametersSequence[0].RepetitionTime = 9000.0
    shared.MRModifierSequence[0].InversionRecovery = "YES"
    shared.MRModifierSequence[0].InversionTimes = [2500.0]
    shared.MRImageFrameTypeSequence[0].AcquisitionContrast = "FLUID_ATTENUATED"
    _write(tmp_path, ds)
    acquisition = _only(tmp_path).acquisition
    assert acquisition.repetition_time_ms == 9000.0
    assert (acquisition.echo_time_ms, acquisition.inversion_time_ms) == (110.0, 2500.0)
    assert acquisition.acquisition_contrast == "FLUID_ATTENUATED"
    assert acquisition.component == "magnitude"
    assert acquisition.scanning_sequence == ("SE", "IR")
    assert acquisition.image_type == ("ORIGINAL", "PRIMARY", "T1", "NONE")
