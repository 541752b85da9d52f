"""Identifies the patient of a file: the one rule that detects two patients in one study."""

from collections.abc import Iterable

from pydicom import Dataset

from conversion.attributes import Attributes

__all__ = ["identity", "number_of_patients", "patient_id"]

_MEANINGLESS = " \t\r\n\0"
"""Leading and trailing blanks of a text are not significant (PS3.5 6.2). Old senders pad with NUL, some end a line."""


def patient_id(ds: Dataset) -> str:
    """Return the Patient ID without insignificant characters around it."""
    return Attributes(ds).text("PatientID").strip(_MEANINGLESS)


def number_of_patients(headers: Iterable[Dataset]) -> int:
    """Return how many different patients the headers name."""
    return len({identity(ds) for ds in headers})


def identity(ds: Dataset) -> tuple[str, ...]:
    """Return what all headers of one patient share: the Patient ID alone, or the name if there is no Patient ID.

    The issuer of the ID does not count, since one device states it and another does not. A name next to an ID does not
    count either, since marriages and corrections change it.
    """
    if stated := patient_id(ds):
        return (stated,)
    return ("", Attributes(ds).text("PatientName").strip(_MEANINGLESS + "^=").casefold())
