"""Finds in the headers whether the models were made for this patient: the age, and signs of an operation."""

import re
from collections.abc import Iterable

from pydicom import Dataset

from conversion.attributes import Attributes
from conversion.study import PatientFacts
from conversion.values import OLDEST_YEARS, age_years, date

__all__ = ["patient_facts"]

_DAYS = ("StudyDate", "AcquisitionDate", "AcquisitionDateTime", "SeriesDate", "ContentDate")
"""Attributes with the date of the study; the first one that can be read is used."""

_TEXTS = (
    "StudyDescription",
    "SeriesDescription",
    "ProtocolName",
    "RequestedProcedureDescription",
    "ReasonForTheRequestedProcedure",
    "AdmittingDiagnosesDescription",
    "AdditionalPatientHistory",
)

_SURGERY = re.compile(
    r"post[\s_-]?op|(?<!pre)(?<!pre-)(?<!pre )operiert|z\.? ?n\.? ?(op|resektion)|nach (op|resektion)|"
    r"(status|s/p|st\.?) ?(post|p\.?)? ?(craniotomy|resection)|(?<!pre-)(?<!before )(resected|reseziert)|"
    r"after (surgery|resection|craniotomy)|resection cavity|resektionsh|craniectomy|kraniektomie",
    re.IGNORECASE,
)
"""Words in requests and protocols, English and German. "resection" alone often means a planned one."""


def patient_facts(headers: Iterable[Dataset]) -> PatientFacts:
    """Return the patient facts of a study; where its headers differ, the youngest age counts."""
    ages, words, unreadable = [], "", False
    for ds in headers:
        attributes = Attributes(ds)
        found_ages = _ages(attributes)
        ages += found_ages
        unreadable |= not found_ages and bool(attributes.text("PatientBirthDate") or attributes.text("PatientAge"))
        found = _SURGERY.search(" | ".join(attributes.text(keyword) for keyword in _TEXTS)) if not words else None
        words = found.group(0).lower() if found else words
    return PatientFacts(age_years=min(ages) if ages else None, operated=words, age_unreadable=unreadable and not ages)


def _ages(attributes: Attributes) -> list[float]:
    """Return the age from the birth date and the age from PatientAge (PS3.5, VR AS), if they can be read."""
    born = date(
        attributes.text("PatientBirthDate"), latest=True
    )  # a date without a day means the youngest possible age
    studied = next((day for keyword in _DAYS if (day := date(attributes.text(keyword)))), None)
    stated = age_years(attributes.text("PatientAge"))
    ages = [] if stated is None else [stated]
    if born and studied and born <= studied:
        birthday_ahead = (studied.month, studied.day) < (born.month, born.day)
        ages.append(float(studied.year - born.year - birthday_ahead))  # a birthday counts from the start of its day
    return [age for age in ages if age <= OLDEST_YEARS]
