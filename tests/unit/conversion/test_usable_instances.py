"""A foreign object among the images of a series costs nobody the images, whatever the order of files."""

import itertools
import re
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag
from pydicom.uid import SecondaryCaptureImageStorage

from conversion.errors import UnusableStudy
from conversion.reading import read_series, read_studies, read_study
from conversion.study import Study
from tests.support.dicom_series import axis_aligned, mr_slices, uid_of, write_slices
from tests.support.enhanced_series import enhanced_instance

VOXELS = np.arange(100, 100 + 6 * 8 * 7, dtype=np.uint16).reshape(6, 8, 7)
PLACES = (0, 3, 6)
"""Where among the files of a series the foreign one sorts: first, in the middle, last."""


def _series() -> list[Dataset]:
    return mr_slices(VOXELS, axis_aligned("axial"))


def _read(folder: Path, foreign: Dataset, place: int) -> Study:
    files = [*_series()]
    files.insert(place, foreign)
    return read_study(write_slices(folder, files))


def _foreign(**attributes: object) -> Dataset:
    ds = deepcopy(_series()[0])
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = uid_of("foreign")
    for keyword, value in attributes.items():
        setattr(ds, keyword, value)
    return ds


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    ("attributes", "code", "says"),
    [
        ({"SOPClassUID": SecondaryCaptureImageStorage}, "not_mr", "1 instance.* Secondary Capture Image Storage"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.88.33"}, "not_mr", "1 instance.* Comprehensive SR Storage"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "M", "MOSAIC"]}, "mosaic", "1 instance.* mosaic"),
        ({"AnatomicalOrientationType": "QUADRUPED"}, "animal", "1 instance.* QUADRUPED"),
    ],
)
def test_the_images_are_read_and_the_foreign_object_is_named(
    tmp_path: Path, attributes: dict[str, object], code: str, says: str, place: int
) -> None:
    study = _read(tmp_path, _foreign(**attributes), place)
    (series,) = study.series
    assert np.array_equal(read_series(series).voxels, VOXELS)
    (decision,) = study.decisions
    assert (decision.code, decision.subject, decision.series_uid) == (code, "series 1", series.series_uid)
    assert re.search(says, decision.reason)


@pytest.mark.parametrize("place", PLACES)
def test_an_enhanced_instance_among_classic_images_is_a_volume_of_its_own(tmp_path: Path, place: int) -> None:
    enhanced = enhanced_instance(VOXELS + 1000, axis_aligned("axial"), "series")
    study = _read(tmp_path, enhanced, place)
    by_part = {series.part: read_series(series).voxels for series in study.series}
    assert set(by_part) == {"mr", "enhanced mr"}
    assert np.array_equal(by_part["mr"], VOXELS)
    assert np.array_equal(by_part["enhanced mr"], VOXELS + 1000)
    assert [decision.code for decision in study.decisions] == ["split_series"]


def test_the_order_of_files_decides_nothing(tmp_path: Path) -> None:
    foreign = [
        _foreign(SOPClassUID=SecondaryCaptureImageStorage, SeriesNumber=9, Manufacturer="Elsewhere"),
        _foreign(ImageType=["ORIGINAL", "PRIMARY", "M", "MOSAIC"], PatientAge="004Y", PatientBirthDate=""),
    ]
    told = []
    for k, order in enumerate(itertools.permutations(foreign)):
        study = read_study(write_slices(tmp_path / str(k), [*order, *_series()]))
        told.append((study.patient, [series.name for series in study.series], {d.reason for d in study.decisions}))
    assert told[0] == told[1]
    assert told[0][0].age_years == 4.0


@pytest.mark.filterwarnings("ignore:Invalid value for VR")
def test_a_sop_class_that_is_no_uid_is_called_that(tmp_path: Path) -> None:
    images = _series()
    for ds in images:
        value = b"MR Image Storage"
        ds._dict[Tag("SOPClassUID")] = RawDataElement(
            Tag("SOPClassUID"), "UI", len(value), value, 0, is_implicit_VR=False, is_little_endian=True
        )
    with pytest.raises(UnusableStudy, match=r"6 instance.* as SOP Class UID, which is not a UID .modality MR"):
        read_study(write_slices(tmp_path, images))


@pytest.mark.parametrize("where", ["dataset", "shared", "frame"])
def test_an_animal_is_no_patient(tmp_path: Path, where: str) -> None:
    ds = enhanced_instance(VOXELS, axis_aligned("axial"))
    place = {
        "dataset": ds,
        "shared": ds.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence[0],
        "frame": ds.PerFrameFunctionalGroupsSequence[3].PlanePositionSequence[0],
    }[where]
    place.AnatomicalOrientationType = "QUADRUPED"
    ds.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    with pytest.raises(UnusableStudy, match=r"show an animal .AnatomicalOrientationType QUADRUPED"):
        read_study([tmp_path / "a.dcm"])


@pytest.mark.parametrize(
    ("species", "is_person"),
    [
        ("Homo sapiens", True),
        ("Human", True),
        ("HUMAN (Homo sapiens)", True),
        ("Mensch", True),
        ("Humain", True),
        ("ser humano", True),
        ("unknown", True),
        ("", True),
        ("Canis lupus familiaris", False),
        ("Non-human primate", False),
        ("humanised mouse", False),
        ("Patient: dog", False),
    ],
)
def test_the_species_is_heard(tmp_path: Path, species: str, *, is_person: bool) -> None:
    images = _series()
    for ds in images:
        ds.PatientSpeciesDescription = species
    paths = write_slices(tmp_path, images)
    if is_person:
        assert len(read_study(paths).series) == 1
    else:
        with pytest.raises(UnusableStudy, match="show an animal"):
            read_study(paths)


@pytest.mark.parametrize(
    ("code", "meaning", "is_person"),
    [
        ("L-85B00", "homo sapiens", True),
        ("9606", "Homo sapiens", True),
        ("P1", "Human", True),
        ("L-80700", "Canine species", False),
    ],
)
def test_the_code_of_a_species_is_heard(tmp_path: Path, code: str, meaning: str, *, is_person: bool) -> None:
    species = Dataset()
    species.CodeValue, species.CodeMeaning = code, meaning
    images = _series()
    for ds in images:
        ds.PatientSpeciesCodeSequence = [species]
    assert _is_read(write_slices(tmp_path, images)) is is_person


@pytest.mark.parametrize(
    ("keyword", "value", "is_person"),
    [
        ("PatientBreedDescription", "Labrador", False),
        ("PatientBreedDescription", "n/a", True),
        ("PatientSexNeutered", "ALTERED", False),
        ("ResponsiblePersonRole", "OWNER", False),
        ("ResponsiblePersonRole", "PARENT", True),
    ],
)
def test_what_only_animals_have_is_heard(tmp_path: Path, keyword: str, value: str, *, is_person: bool) -> None:
    images = _series()
    for ds in images:
        setattr(ds, keyword, value)
    assert _is_read(write_slices(tmp_path / "alone", images)) is is_person
    for ds in images:
        ds.PatientSpeciesDescription = "Homo sapiens"
    assert _is_read(write_slices(tmp_path / "beside", images))


def _is_read(paths: list[Path]) -> bool:
    (study,) = read_studies(paths)
    assert [decision.code for decision in study.decisions] == ([] if study.series else ["animal"])
    return len(study.series) == 1


def test_a_photometric_interpretation_that_is_none_is_quoted(tmp_path: Path) -> None:
    images = _series()
    for ds in images:
        ds.PhotometricInterpretation = "MONOCHROME"
    with pytest.raises(
        UnusableStudy, match=r"6 instance.* 'MONOCHROME' as PhotometricInterpretation, which is invalid"
    ):
        read_study(write_slices(tmp_path, images))
