"""Reads from a header by what a person recognises a study: the patient, the date, the request and its description."""

from dataclasses import dataclass

from pydicom import Dataset

from conversion.attributes import Attributes
from conversion.values import clock_s, date

__all__ = ["StudyIdentity", "readable_name", "study_identity"]

MOST_CHARACTERS = 400
"""Limit of a text: a name of three groups has 194 characters (PS3.5 6.2), and no page shows more of a damaged one."""

_PART_ORDER = (3, 1, 2)
"""Prefix, given and middle name follow the family name, which is the part before the first ``^`` (PS3.5 6.2.1.1)."""


@dataclass(frozen=True, kw_only=True)
class StudyIdentity:
    """What a header states, decoded by its character set; empty where it states nothing.

    Attributes
    ----------
    patient_name
        As in the file, with all its groups.
    birth_date
        ``1970-12-31``, or as in the file if that is not a date.
    study_date, study_time
        ``2026-12-31`` and ``23:59``; empty if they cannot be read.
    """

    patient_name: str = ""
    patient_id: str = ""
    birth_date: str = ""
    sex: str = ""
    accession_number: str = ""
    study_date: str = ""
    study_time: str = ""
    description: str = ""
    modality: str = ""


def study_identity(ds: Dataset) -> StudyIdentity:
    """Read the identity; no content of a header raises an error."""
    attributes = Attributes(ds)

    def text(keyword: str) -> str:
        return _plain(attributes.text(keyword))

    born, studied, clock = date(text("PatientBirthDate")), date(text("StudyDate")), clock_s(text("StudyTime"))
    minutes = min(int((clock or 0.0) // 60), 24 * 60 - 1)
    return StudyIdentity(
        patient_name=text("PatientName").strip("^= "),
        patient_id=text("PatientID"),
        birth_date=born.isoformat() if born else text("PatientBirthDate"),
        sex=text("PatientSex"),
        accession_number=text("AccessionNumber"),
        study_date=studied.isoformat() if studied else "",
        study_time="" if clock is None else f"{minutes // 60:02d}:{minutes % 60:02d}",
        description=text("StudyDescription"),
        modality=text("Modality"),
    )


def _plain(value: str) -> str:
    """Return a text without characters that a page cannot show, or that change the direction of others."""
    shown = "".join(character if character.isprintable() else " " for character in value[:MOST_CHARACTERS])
    return " ".join(shown.split())


def readable_name(name: str) -> str:
    """Return a person's name as people write it: ``DOE, John``; ideographic and phonetic groups follow in brackets."""
    alphabetic, *others = name.split("=")
    first = _readable(alphabetic, ", ")
    further = [shown for group in others if (shown := _readable(group, " "))]
    if not first or not further:
        return first or ", ".join(further)
    return f"{first} ({', '.join(further)})"


def _readable(group: str, separator: str) -> str:
    parts = [part.strip() for part in group.split("^")]
    given = " ".join(parts[at] for at in _PART_ORDER if at < len(parts) and parts[at])
    suffix = ", ".join(part for part in parts[4:] if part)
    whole = separator.join(part for part in (parts[0], given) if part)
    return ", ".join(part for part in (whole, suffix) if part)
