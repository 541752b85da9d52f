"""Whose images files are, by what they say: the one rule by which two patients of one study are noticed."""

from collections.abc import Iterable

from pydicom import Dataset

from conversion.attributes import Attributes

__all__ = ["identity", "number_of_patients", "patient_id"]

_MEANINGLESS = " \t\r\n\0"
"""Leading and trailing blanks of a text mean nothing (PS3.5 6.2); old senders pad with NUL, some end a line."""


def patient_id(ds: Dataset) -> str:
    """Return the Patient ID without what means nothing about it."""
    return Attributes(ds).text("PatientID").strip(_MEANINGLESS)


def number_of_patients(headers: Iterable[Dataset]) -> int:
    """Return how many patients headers name."""
    return len({identity(ds) for ds in headers})


def identity(ds: Dataset) -> tuple[str, ...]:
    """Return what two headers of one patient share: the Patient ID alone, or where none is given the name.

    The issuer of an identifier does not count, as one device names it and another does not; nor does the name beside
    an identifier, which marriages and corrections change.
    """
    if stated := patient_id(ds):
        return (stated,)
    return ("", Attributes(ds).text("PatientName").strip(_MEANINGLESS + "^=").casefold())
