"""Real studies of real scanners: their roles, their voxels in patient space, and what has to be refused."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from conversion.errors import UnusableStudy
from conversion.reading import dicom_files, read_series, read_study
from conversion.recognition.recognise import recognise
from conversion.selection import SeriesSelection, select_series
from conversion.sequences import Role
from conversion.stack import stack_slices
from conversion.volume import ImageVolume

pytestmark = [
    pytest.mark.data,
    pytest.mark.filterwarnings("ignore:Invalid value for VR"),
    pytest.mark.filterwarnings("ignore:The value length"),
]

PHILIPS = "dicom/philips-1.5T-tumour"
BRAINIX = "dicom/brainix"


def _assert_same_in_patient_space(volume: ImageVolume, image: sitk.Image, share: float = 0.002) -> None:
    """Compare a fixed draw of voxels, and every corner, by their positions alone."""
    rng = np.random.default_rng(7)
    shape = np.array(volume.grid.shape)
    assert sorted(image.GetSize()) == sorted(volume.grid.shape)
    draw = rng.integers(0, shape, size=(int(np.prod(shape) * share), 3))
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in shape])).reshape(3, -1).T
    for index in np.concatenate([draw, corners]):
        point = [float(value) for value in volume.grid.position_mm(index.astype(float))]
        continuous = np.array(image.TransformPhysicalPointToContinuousIndex(point))
        place = np.round(continuous).astype(int)
        assert np.allclose(continuous, place, atol=0.02)
        expected = image.GetPixel(*[int(n) for n in place])
        assert volume.voxels[tuple(index)] == pytest.approx(expected, rel=1e-5, abs=1e-3)


def _select(folder: Path) -> SeriesSelection:
    study = read_study(dicom_files(folder))
    return select_series(study, recognise(study, read_series))


def test_the_roles_of_a_study_with_unhelpful_headers(shared_data: Path) -> None:
    selection = _select(shared_data / PHILIPS)
    roles = {role: series.number for role, series in selection.series.items()}
    assert roles == {Role.T1: 901, Role.T1CE: 1201, Role.T2: 401, Role.FLAIR: 701}
    assert selection.reference is Role.T1CE
    named = {decision.subject for decision in selection.decisions}
    assert named >= {f"series {number}" for number in (101, 303, 304, 401, 502, 701, 901, 1103, 1201, 1301)}


def test_the_roles_of_a_study_without_contrast(shared_data: Path) -> None:
    selection = _select(shared_data / BRAINIX)
    roles = {role: series.number for role, series in selection.series.items()}
    assert roles == {Role.T1: 601, Role.T2: 301, Role.FLAIR: 401}
    assert selection.reference is Role.FLAIR


@pytest.mark.parametrize(
    "case",
    [
        "ge/001",
        "ge/001_implicit",
        "generic/001",
        "generic/002_non_isotropic",
        "philips/001",
        "compressed_j2k/001",
        "siemens_enhanced/001",
    ],
)
def test_vendors_series_equal_what_another_program_made_of_them(shared_data: Path, case: str) -> None:
    folder = shared_data / "dicom/vendors" / case
    (series,) = read_study(dicom_files(folder)).series
    truth = sitk.ReadImage(str(folder.with_name(f"{folder.name}_ground_truth.nii.gz")))
    _assert_same_in_patient_space(read_series(series), truth)


def test_the_values_of_an_enhanced_philips_series_are_its_display_values_by_one_factor(shared_data: Path) -> None:
    folder = shared_data / "dicom/vendors/philips_enhanced/001"
    (series,) = read_study(dicom_files(folder)).series
    volume = read_series(series)
    truth = sitk.ReadImage(str(folder.with_name("001_ground_truth.nii.gz")))
    factor = 4.25885225885225 * 0.0002765719254966825  # rescale slope and private scale slope in its headers
    _assert_same_in_patient_space(replace(volume, voxels=volume.voxels * np.float32(factor)), truth)


def test_two_orientations_in_one_series_are_two_volumes(shared_data: Path) -> None:
    study = read_study(dicom_files(shared_data / "dicom/vendors/refuse/sliceorientation/001"))
    assert [read_series(series).grid.shape for series in study.series] == [(2, 288, 288), (2, 288, 288)]
    spacing = [float(read_series(series).grid.spacing_mm[0]) for series in study.series]
    assert spacing == pytest.approx([3.3, 4.4], abs=0.01)
    assert [decision.code for decision in study.decisions] == ["split_series", "frame_of_reference"]


def test_a_single_slice_lies_where_it_is_and_says_what_was_assumed(shared_data: Path) -> None:
    folder = shared_data / "dicom/vendors/ge/001_single_slice"
    (series,) = read_study(dicom_files(folder)).series
    truth = sitk.ReadImage(str(folder.with_name("001_single_slice_ground_truth.nii.gz")))
    _assert_same_in_patient_space(read_series(series), truth)
    assert [decision.code for decision in stack_slices(series).decisions] == ["single_slice"]


def test_a_study_of_other_objects_says_what_it_holds(shared_data: Path) -> None:
    with pytest.raises(UnusableStudy, match="modality CT"):
        read_study(dicom_files(shared_data / "dicom/vendors/refuse/gantrytilting/001"))
