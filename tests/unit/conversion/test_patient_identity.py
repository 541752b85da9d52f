"""Two patients under one study are noticed by one rule, and blanks that mean nothing make no second patient."""

from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag

from conversion.errors import ConversionReason, UnusableStudy
from conversion.reading import read_studies, read_study
from tests.support.dicom_series import axis_aligned, mr_slices, write_slices


def _images(*identities: tuple[bytes, str, str]) -> list[Dataset]:
    """Return as many images as identities are given, each with raw bytes as Patient ID, a name and a birth date."""
    images = mr_slices(np.full((len(identities), 5, 6), 7, np.uint16), axis_aligned("axial"))
    for ds, (value, name, born) in zip(images, identities, strict=True):
        tag = Tag("PatientID")
        ds._dict[tag] = RawDataElement(tag, "LO", len(value), value, 0, is_implicit_VR=False, is_little_endian=True)
        ds.PatientName, ds.PatientBirthDate = name, born
    return images


ONE = [
    [(b"GLIO-002", "A^B", "19700101"), (b" GLIO-002 ", "A^B", "19700101")],
    [(b"GLIO-002\0", "A^B", "19700101"), (b"GLIO-002", "A^B^^", "19700101")],
    [(b"GLIO-002", "A^B", "19700101"), (b"GLIO-002", "A^C", "19700102")],
    [(b"", "A^B", "19700101"), (b"  ", "a^b", "19700101")],
    [(b"", "", ""), (b"", "", "")],
]
TWO = [
    [(b"GLIO-002", "A^B", "19700101"), (b"GLIO-003", "A^B", "19700101")],
    [(b"GLIO-002", "A^B", "19700101"), (b"GLIO 002", "A^B", "19700101")],
    [(b"GLIO-002", "A^B", "19700101"), (b"glio-002", "A^B", "19700101")],
    [(b"", "A^B", "19700101"), (b"", "C^D", "19700101")],
    [(b"GLIO-002", "A^B", "19700101"), (b"", "C^D", "19700101")],
]


@pytest.mark.parametrize("identities", ONE)
def test_one_patient(tmp_path: Path, identities: list[tuple[bytes, str, str]]) -> None:
    assert read_study(write_slices(tmp_path, _images(*identities))).patients == 1


@pytest.mark.parametrize("identities", TWO)
def test_two_patients_are_refused(tmp_path: Path, identities: list[tuple[bytes, str, str]]) -> None:
    paths = write_slices(tmp_path, _images(*identities))
    assert read_studies(paths)[0].patients == 2
    with pytest.raises(UnusableStudy, match="name 2 different patients") as caught:
        read_study(paths)
    assert caught.value.reason is ConversionReason.PATIENTS_MIXED


def test_a_foreign_object_of_another_patient_counts(tmp_path: Path) -> None:
    images = _images(*[(b"GLIO-002", "A^B", "19700101")] * 3)
    images[0].SOPClassUID, images[0].PatientID = "1.2.840.10008.5.1.4.1.1.7", "GLIO-003"
    with pytest.raises(UnusableStudy, match="name 2 different patients"):
        read_study(write_slices(tmp_path, images))
