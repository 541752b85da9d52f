"""What the headers tell about whether a study is one the models were made for: the age, and signs of an operation."""

import re
from collections.abc import Iterable

from pydicom import Dataset

from conversion.attributes import Attributes
from conversion.study import PatientFacts
from conversion.values import OLDEST_YEARS, age_years, date

__all__ = ["patient_facts"]

_DAYS = ("StudyDate", "AcquisitionDate", "AcquisitionDateTime", "SeriesDate", "ContentDate")
"""When a study was made, by the first of these that can be read."""

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
"""Words of requests and protocols in English and German; "resection" alone is as often what is planned."""


def patient_facts(headers: Iterable[Dataset]) -> PatientFacts:
    """Return what the headers of a study tell; where they differ, the youngest age counts."""
    ages, words, unreadable = [], "", False
    for ds in headers:
        told = Attributes(ds)
        found_ages = _ages(told)
        ages += found_ages
        unreadable |= not found_ages and bool(told.text("PatientBirthDate") or told.text("PatientAge"))
        found = _SURGERY.search(" | ".join(told.text(keyword) for keyword in _TEXTS)) if not words else None
        words = found.group(0).lower() if found else words
    return PatientFacts(age_years=min(ages) if ages else None, operated=words, age_unreadable=unreadable and not ages)


def _ages(told: Attributes) -> list[float]:
    """Return the age by the birth date and the one by PatientAge (PS3.5, VR AS), where they can be read."""
    born = date(told.text("PatientBirthDate"), latest=True)  # not told to the day: as young as can be
    studied = next((day for keyword in _DAYS if (day := date(told.text(keyword)))), None)
    stated = age_years(told.text("PatientAge"))
    ages = [] if stated is None else [stated]
    if born and studied and born <= studied:
        birthday_ahead = (studied.month, studied.day) < (born.month, born.day)
        ages.append(float(studied.year - born.year - birthday_ahead))  # a birthday counts from its first hour
    return [age for age in ages if age <= OLDEST_YEARS]
