"""Copies the values of study, patient and equipment from the images to the results, unchanged.

A PACS files a result by these values, and people search by them for an order or a patient. So a value that the standard
forbids, above all an accession number of twenty characters, is copied like any other. Only readable dates, times, ages
and numbers are rewritten in the form of DICOM. What a validator reports about such a value is true of the images, too.
highdicom's constructors refuse such values and put names into their warnings, so they are written after an object is
made.
"""

from collections.abc import Iterable
from copy import deepcopy
from dataclasses import dataclass

from pydicom import DataElement
from pydicom.config import IGNORE, RAISE
from pydicom.datadict import dictionary_VR, keyword_for_tag
from pydicom.dataset import Dataset
from pydicom.tag import BaseTag, Tag
from pydicom.valuerep import PersonName, format_number_as_ds, validate_value

from conversion.decision import Decision
from conversion.values import age_text, clock_s, clock_text, date, number, written

__all__ = ["StudyValues", "put_study_values", "study_values"]

_REQUIRED = (
    "PatientID",
    "PatientName",
    "PatientBirthDate",
    "PatientSex",
    "AccessionNumber",
    "StudyID",
    "StudyDate",
    "StudyTime",
    "ReferringPhysicianName",
)
"""Attributes that a derived object must have, even if empty."""

_PATIENT_GROUPS = (0x0010, 0x0012)
_OF_STUDY = (
    "StudyDescription",
    "PhysiciansOfRecord",
    "NameOfPhysiciansReadingStudy",
    "AdmittingDiagnosesDescription",
    "ServiceEpisodeDescription",
)
_EQUIPMENT = (
    "Manufacturer",
    "InstitutionName",
    "InstitutionAddress",
    "InstitutionalDepartmentName",
    "StationName",
    "ManufacturerModelName",
    "DeviceSerialNumber",
    "SoftwareVersions",
)
"""What highdicom writes as the contributing equipment: it describes the images' scanner, not the result."""

_TEXTS = ("AS", "CS", "DA", "DS", "DT", "IS", "LO", "LT", "PN", "SH", "ST", "TM", "UC", "UI", "UT")
_SEXES = ("", "M", "F", "O")


@dataclass(frozen=True, kw_only=True)
class StudyValues:
    """The values that are copied from one image.

    Attributes
    ----------
    conforming
        Values that the standard allows, without names of persons; the required attributes are all present.
    as_they_are
        Values that are written after an object is made: names, and what the standard forbids.
    """

    conforming: Dataset
    as_they_are: tuple[DataElement, ...]
    decisions: tuple[Decision, ...]


def study_values(instance: Dataset) -> StudyValues:
    """Return an image's values of study, patient and equipment; no value of it raises an error."""
    conforming, as_they_are, decisions = Dataset(), [], []
    for keyword in _REQUIRED:
        setattr(conforming, keyword, "")
    for tag in _carried_tags(instance):
        element = _element(instance, tag)
        if element is None:
            decisions.append(_emptied(tag))
        elif element.VR == "PN":
            as_they_are.append(element)
        elif _conforms(element):
            conforming[tag] = element
        elif keyword_for_tag(tag) in _EQUIPMENT:
            decisions.append(_emptied(tag))
        else:
            as_they_are.append(element)
            decisions.append(_kept(tag))
    return StudyValues(conforming=conforming, as_they_are=tuple(as_they_are), decisions=tuple(decisions))


def put_study_values(ds: Dataset, values: StudyValues) -> None:
    """Write the images' own values into an object that was made without them."""
    for element in values.as_they_are:
        ds[element.tag] = element


def _carried_tags(instance: Dataset) -> Iterable[BaseTag]:
    named = {Tag(keyword) for keyword in (*_REQUIRED, *_OF_STUDY, *_EQUIPMENT)}
    present = sorted(instance.keys())  # iterating the data set itself would convert its values
    return [tag for tag in present if tag in named or (tag.group in _PATIENT_GROUPS and keyword_for_tag(tag))]


def _element(instance: Dataset, tag: BaseTag) -> DataElement | None:
    """Return an attribute as it is copied, its text in Unicode; None when it cannot be read."""
    vr = dictionary_VR(tag)
    if vr in _TEXTS:
        text = written(instance, tag)
        return None if text is None else _text_element(tag, vr, text)
    try:
        element = deepcopy(instance[tag])
        for item in element.value if element.VR == "SQ" else ():
            item.decode()
    except Exception:  # noqa: BLE001 - pydicom raises many kinds for values that a VR does not allow
        return None
    return element if vr == element.VR else None


def _text_element(tag: BaseTag, vr: str, text: str) -> DataElement | None:
    value: str | PersonName = PersonName(text, validation_mode=IGNORE) if vr == "PN" else text
    element = DataElement(tag, vr, value, validation_mode=IGNORE, already_converted=True)
    if _conforms(element):
        return element
    form = _form(vr, text)
    if not form:
        return None if vr in ("DS", "IS") else element  # no search uses a number, and readers fail on a bad one
    return DataElement(tag, vr, form)


def _form(vr: str, text: str) -> str:
    """Return a date, a time, an age or a number in the form of DICOM; empty when it cannot be read."""
    if vr == "DA":
        day = date(text)
        return day.isoformat().replace("-", "") if day else ""
    if vr == "TM":
        seconds = clock_s(text)
        return "" if seconds is None else clock_text(seconds)
    if vr == "AS":
        return age_text(text)
    value = number(text) if vr == "DS" else None
    return "" if value is None else format_number_as_ds(value)


def _conforms(element: DataElement) -> bool:
    """Return whether the text of an element is allowed by its value representation (PS3.5 6.2)."""
    if element.VR not in _TEXTS:
        return True
    text = str(element.value)
    if element.keyword == "PatientSex" and text not in _SEXES:
        return False
    if element.keyword in _REQUIRED and "\\" in text:
        return False
    try:
        for value in text.split("\\"):
            validate_value(element.VR, value, RAISE)
    except ValueError:
        return False
    return True


def _name(tag: BaseTag) -> str:
    return keyword_for_tag(tag) or str(tag)


def _emptied(tag: BaseTag) -> Decision:
    reason = f"the images' {_name(tag)} breaks the standard, so the result does not contain it"
    return Decision(code="header_emptied", subject=_name(tag), reason=reason)


def _kept(tag: BaseTag) -> Decision:
    reason = f"the images' {_name(tag)} breaks the standard; the result keeps it, so that both are filed together"
    return Decision(code="header_kept", subject=_name(tag), reason=reason)
