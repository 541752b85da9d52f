"""Age and operation as headers tell them."""

import pytest
from pydicom.dataset import Dataset

from conversion.patient import patient_facts


def _header(**values: str) -> Dataset:
    ds = Dataset()
    for keyword, value in values.items():
        setattr(ds, keyword, value)
    return ds


@pytest.mark.parametrize(
    ("values", "age"),
    [
        ({"PatientAge": "045Y"}, 45.0),
        ({"PatientAge": "018M"}, 1.5),
        ({"PatientAge": "010W"}, 10 / 52.18),
        ({"PatientAge": "045Y", "PatientBirthDate": "20100601", "StudyDate": "20200601"}, 10.0),
        ({"PatientBirthDate": "20010301", "StudyDate": "20190301"}, 18.0),
        ({"PatientBirthDate": "20010301", "StudyDate": "20190228"}, 17.0),
        ({"PatientAge": "045Y", "PatientBirthDate": "20100601"}, 45.0),
        ({"PatientBirthDate": "20300601", "StudyDate": "20200601", "PatientAge": "045Y"}, 45.0),
        ({"PatientBirthDate": "", "StudyDate": "20200601"}, None),
        ({}, None),
    ],
)
def test_the_birth_date_wins_over_the_stated_age(values: dict[str, str], age: float | None) -> None:
    found = patient_facts([_header(**values)]).age_years
    assert found == (None if age is None else pytest.approx(age, abs=0.01))


@pytest.mark.filterwarnings("ignore:.*Invalid value:UserWarning")
@pytest.mark.parametrize("stated", ["45", "045X", "forty", "19700230"])
def test_what_is_no_age_is_no_age(stated: str) -> None:
    assert patient_facts([_header(PatientAge=stated, PatientBirthDate=stated)]).age_years is None


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
