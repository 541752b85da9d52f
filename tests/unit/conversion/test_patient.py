"""Age and operation as headers tell them."""

import pytest
from pydicom.datadict import dictionary_VR
from pydicom.dataset import Dataset

from conversion.patient import patient_facts
from tests.support.raw_values import put_raw


def _header(**values: str) -> Dataset:
    ds = Dataset()
    for keyword, value in values.items():
        put_raw(ds, keyword, dictionary_VR(keyword), value.encode())
    return ds


@pytest.mark.parametrize(
    ("values", "age"),
    [
        ({"PatientAge": "045Y"}, 45.0),
        ({"PatientAge": "018M"}, 1.5),
        ({"PatientAge": "010W"}, 10 / 52.18),
        ({"PatientAge": "9Y"}, 9.0),
        ({"PatientAge": "09Y", "PatientBirthDate": ""}, 9.0),
        ({"PatientAge": " 9y"}, 9.0),
        ({"PatientAge": "045Y", "PatientBirthDate": "20100601", "StudyDate": "20200601"}, 10.0),
        ({"PatientAge": "009Y", "PatientBirthDate": "19700601", "StudyDate": "20200601"}, 9.0),
        ({"PatientBirthDate": "20010301", "StudyDate": "20190301"}, 18.0),
        ({"PatientBirthDate": "20010301", "StudyDate": "20190228"}, 17.0),
        ({"PatientBirthDate": "2010.05.04", "StudyDate": "20190201"}, 8.0),
        ({"PatientBirthDate": "2010-05-04", "StudyDate": "2019.02.01"}, 8.0),
        ({"PatientBirthDate": "2001", "StudyDate": "20190201"}, 17.0),
        ({"PatientBirthDate": "20100504", "StudyDate": "", "AcquisitionDate": "20190201"}, 8.0),
        ({"PatientAge": "045Y", "PatientBirthDate": "20100601"}, 45.0),
        ({"PatientBirthDate": "20300601", "StudyDate": "20200601", "PatientAge": "045Y"}, 45.0),
        ({"PatientBirthDate": "04.05.2010", "StudyDate": "20190201"}, 8.0),
        ({"PatientBirthDate": "04/05/2010", "StudyDate": "20190201", "PatientAge": "045Y"}, 8.0),
        ({"PatientBirthDate": "03.12.2001", "StudyDate": "20191101"}, 17.0),
        ({"PatientBirthDate": "20010000", "StudyDate": "20190201"}, 17.0),
        ({"PatientBirthDate": "100504", "StudyDate": "20190201", "PatientAge": "008Y"}, 8.0),
        ({"PatientBirthDate": "18500101", "StudyDate": "20190201", "PatientAge": "008Y"}, 8.0),
        ({"PatientBirthDate": "", "StudyDate": "20200601"}, None),
        ({}, None),
    ],
)
def test_the_younger_of_birth_date_and_stated_age_counts(values: dict[str, str], age: float | None) -> None:
    found = patient_facts([_header(**values)])
    assert found.age_years == (None if age is None else pytest.approx(age, abs=0.01))
    assert not found.age_unreadable


@pytest.mark.parametrize("stated", ["45", "045X", "forty", "19700230", "999Y", "100504", "18000101"])
def test_what_is_no_age_is_no_age_and_said(stated: str) -> None:
    found = patient_facts([_header(PatientAge=stated, PatientBirthDate=stated, StudyDate="20200601")])
    assert found.age_years is None
    assert found.age_unreadable


def test_an_age_that_can_be_read_somewhere_is_not_called_unreadable() -> None:
    found = patient_facts([_header(PatientAge="old"), _header(PatientAge="045Y")])
    assert (found.age_years, found.age_unreadable) == (45.0, False)


def test_the_youngest_age_of_a_study_counts() -> None:
    assert patient_facts([_header(PatientAge="045Y"), _header(PatientAge="012Y"), _header()]).age_years == 12.0


@pytest.mark.parametrize(
    ("keyword", "text"),
    [
        ("StudyDescription", "MR Schaedel Post-OP Kontrolle"),
        ("SeriesDescription", "t1_mprage_postop"),
        ("StudyDescription", "Z.n. Resektion links temporal"),
        ("AdditionalPatientHistory", "glioma, s/p craniotomy 2019"),
        ("RequestedProcedureDescription", "MRI brain after surgery"),
        ("StudyDescription", "brain tumour, resected 2020"),
    ],
)
def test_words_of_an_operation_are_noticed(keyword: str, text: str) -> None:
    assert patient_facts([_header(), _header(**{keyword: text})]).operated


@pytest.mark.parametrize("text", ["MRI brain before resection", "pre-op planning", "neuronavigation", "post contrast"])
def test_what_is_planned_is_not_done(text: str) -> None:
    assert patient_facts([_header(StudyDescription=text)]).operated == ""


def test_only_words_of_the_vocabulary_are_repeated() -> None:
    facts = patient_facts([_header(StudyDescription="Mueller Erika post-op Kontrolle Dr. Huber")])
    assert facts.operated == "post-op"
