"""What the headers tell about whether a study is one the models were made for: the age, and signs of an operation."""

import datetime as dt
import re
from collections.abc import Iterable

from pydicom import Dataset

from conversion.attributes import Attributes
from conversion.study import PatientFacts

__all__ = ["patient_facts"]

_AGE = re.compile(r"(\d{3})([DWMY])")
_UNITS_A_YEAR = {"D": 365.25, "W": 52.18, "M": 12.0, "Y": 1.0}

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
    ages, words = [], ""
    for ds in headers:
        told = Attributes(ds)
        if (age := _age(told)) is not None:
            ages.append(age)
        found = _SURGERY.search(" | ".join(told.text(keyword) for keyword in _TEXTS)) if not words else None
        words = found.group(0).lower() if found else words
    return PatientFacts(age_years=min(ages) if ages else None, operated=words)


def _age(told: Attributes) -> float | None:
    """Return the age by the birth date, which is exact, else by PatientAge (PS3.5, VR AS)."""
    born, studied = _date(told.text("PatientBirthDate")), _date(told.text("StudyDate"))
    if born and studied and born <= studied:
        birthday_ahead = (studied.month, studied.day) < (born.month, born.day)
        return float(studied.year - born.year - birthday_ahead)  # a birthday counts from its first hour
    stated = _AGE.fullmatch(told.text("PatientAge").upper())
    return int(stated[1]) / _UNITS_A_YEAR[stated[2]] if stated else None


def _date(text: str) -> dt.date | None:
    try:
        return dt.datetime.strptime(text, "%Y%m%d").replace(tzinfo=dt.UTC).date()
    except ValueError:
        return None
