"""Source headers made fit for derived objects: a copy is cleaned, never the original.

Derived objects see every source alike: one header for each slice, whether it came as an instance of its own or as a
frame of an enhanced one.
"""

from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace

from pydicom import DataElement
from pydicom.config import RAISE
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.tag import Tag
from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    UID,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLSNearLossless,
)
from pydicom.valuerep import format_number_as_ds, validate_value

from conversion.attributes import Attributes
from conversion.decision import Decision
from conversion.reading import SourceImages
from viewer_integration.errors import ResultReason, UnusableSource

__all__ = ["SourceSlice", "clean_source_headers", "with_demographics"]

_COPIED = (
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
"""Attributes that a derived object must have, empty if need be."""

_PATIENT_GROUPS = (0x0010, 0x0012)
_PASSED_ON = (
    "StudyDescription",
    "PhysiciansOfRecord",
    "NameOfPhysiciansReadingStudy",
    "AdmittingDiagnosesDescription",
    "ServiceEpisodeDescription",
    "Manufacturer",
    "InstitutionName",
    "InstitutionAddress",
    "InstitutionalDepartmentName",
    "StationName",
    "ManufacturerModelName",
    "DeviceSerialNumber",
    "SoftwareVersions",
)
"""What highdicom passes on beside the patient's groups, where it is there: study and equipment."""

_TEXT_REPRESENTATIONS = ("AS", "CS", "DA", "DS", "DT", "IS", "LO", "LT", "PN", "SH", "ST", "TM", "UC", "UT")

UNICODE = "ISO_IR 192"
"""Character set of every result: it holds the text of every source, whatever set that came in (PS3.3 C.12.1.1.2)."""

_PLACE = ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness")
"""Where an image lies; an enhanced instance says it of each frame in functional groups."""

_REQUIRED = ("FrameOfReferenceUID", *_PLACE[:3])

_OF_FRAMES = frozenset(
    Tag(keyword)
    for keyword in (
        *_PLACE,
        "PerFrameFunctionalGroupsSequence",
        "SharedFunctionalGroupsSequence",
        "DimensionIndexSequence",
        "DimensionOrganizationSequence",
        "NumberOfFrames",
    )
)
"""What a single frame's header does not take over from its instance."""

_LOSSY_METHODS = {
    JPEGBaseline8Bit: "ISO_10918_1",
    JPEGExtended12Bit: "ISO_10918_1",
    JPEGLSNearLossless: "ISO_14495_1",
    JPEG2000: "ISO_15444_1",
    HTJ2K: "ISO_15444_15",
}
"""Transfer syntaxes that may have lost something, by the compression method they stand for (PS3.3 C.7.6.1.1.5.1)."""


@dataclass(frozen=True, kw_only=True)
class SourceSlice:
    """One slice of the reference, as results refer to it.

    Attributes
    ----------
    header
        Cleaned, with the slice's place at its top level, as a classic instance has it; the UIDs are the instance's.
    frame
        Number of the frame in its instance, counted from 1; None for a classic instance.
    """

    header: Dataset
    frame: int | None = None


def with_demographics(source: SourceImages, now: Mapping[str, str]) -> tuple[SourceImages, tuple[Decision, ...]]:
    """Return the source with its patient as the PACS has it now, after a correction or a merge there.

    Parameters
    ----------
    now
        Values by keyword; what it does not name stays as the images have it.

    Returns
    -------
    tuple of SourceImages and decisions
        The source itself, and nothing, where nothing has changed.
    """
    first = source.instances[0]
    changed = {keyword: value for keyword, value in now.items() if str(first.get(keyword) or "") != value}
    if not changed:
        return source, ()
    instances = []
    for ds in source.instances:
        copy = Dataset()
        copy.update(ds)
        if hasattr(ds, "file_meta"):
            copy.file_meta = ds.file_meta
        for keyword, value in changed.items():
            copy.add_new(keyword, DICOM_VRS[keyword], value)
        instances.append(copy)
    reason = f"the PACS says otherwise than the images about {', '.join(sorted(changed))}: results follow the PACS"
    return replace(source, instances=tuple(instances)), (
        Decision(code="demographics_corrected", subject="study", reason=reason),
    )


DICOM_VRS = {"PatientID": "LO", "PatientName": "PN", "PatientBirthDate": "DA", "PatientSex": "CS"}
"""Value representations of what a PACS corrects (PS3.6)."""


def clean_source_headers(source: SourceImages) -> tuple[list[SourceSlice], tuple[Decision, ...]]:
    """Return copies in which every attribute a derived object takes over is valid.

    Parameters
    ----------
    source
        The reference series.

    Returns
    -------
    tuple
        One slice for each image, in the order of the grid, and a `Decision` for each attribute that was emptied, and
        where the source's pixels have lost something before they came.

    Raises
    ------
    UnusableSource
        When an attribute that places the image in space is missing.
    """
    decisions: dict[str, Decision] = {}
    instances = {str(ds.SOPInstanceUID): ds for ds in source.instances}
    cleaned = {uid: _cleaned(ds, decisions) for uid, ds in instances.items()}
    slices = []
    for image in source.images:
        header = cleaned[image.sop_instance_uid]
        if image.frame is not None:
            header = _of_frame(header, instances[image.sop_instance_uid], image.frame)
        slices.append(SourceSlice(header=header, frame=image.frame))
    _check_place(each.header for each in slices)
    decisions.update(_assumed_thickness(slices))
    return slices, (*decisions.values(), *_lossy(source.instances))


def _cleaned(instance: Dataset, decisions: dict[str, Decision]) -> Dataset:
    """Return a copy of an instance's header; of a multi-frame one without what its frames say of themselves."""
    if "PerFrameFunctionalGroupsSequence" in instance:
        ds = Dataset({tag: deepcopy(instance[tag]) for tag in instance.keys() - _OF_FRAMES})
    else:
        ds = deepcopy(instance)
    ds.decode()
    ds.SpecificCharacterSet = UNICODE
    for keyword in _COPIED:
        valid = _valid(ds, keyword)
        setattr(ds, keyword, str(ds.get(keyword) or "") if valid else "")
        if not valid:
            reason = f"the source's {keyword} breaks the standard, so the result leaves it empty"
            decisions[keyword] = Decision(code="header_emptied", subject=keyword, reason=reason)
    _leave_out_what_breaks(ds, decisions)
    return ds


def _leave_out_what_breaks(ds: Dataset, decisions: dict[str, Decision]) -> None:
    for element in list(ds):
        passed_on = element.tag.group in _PATIENT_GROUPS or element.keyword in _PASSED_ON
        if passed_on and element.keyword not in _COPIED and not _conforms(element):
            del ds[element.tag]
            subject = element.keyword or str(element.tag)
            reason = f"the source's {subject} breaks the standard, so the result leaves it out"
            decisions[subject] = Decision(code="header_emptied", subject=subject, reason=reason)


def _of_frame(header: Dataset, instance: Dataset, frame: int) -> Dataset:
    told = Attributes.of_frame(instance, frame - 1)
    ds = Dataset()
    ds.update(header)
    for keyword in _PLACE:
        if numbers := told.numbers(keyword):
            setattr(ds, keyword, [format_number_as_ds(number) for number in numbers])
    return ds


def _check_place(headers: Iterable[Dataset]) -> None:
    for header in headers:
        for keyword in _REQUIRED:
            if not header.get(keyword):
                sentence = f"the reference series has no {keyword}, so no result can be placed on it"
                raise UnusableSource(ResultReason.SOURCE_HEADERS, sentence)


def _assumed_thickness(slices: Sequence[SourceSlice]) -> dict[str, Decision]:
    if slices[0].header.get("SliceThickness"):
        return {}
    reason = "the source states no slice thickness; the segmentation states the distance of its slices instead"
    return {"SliceThickness": Decision(code="thickness_assumed", subject="SliceThickness", reason=reason)}


def _lossy(instances: Sequence[Dataset]) -> tuple[Decision, ...]:
    """Say that pixels were compressed with loss, by the header or by a transfer syntax that may have lost something."""
    told = sum(str(ds.get("LossyImageCompression") or "") == "01" for ds in instances)
    syntaxes = {UID(str(ds.file_meta.TransferSyntaxUID)) for ds in instances if hasattr(ds, "file_meta")}
    lossy = sorted(syntax.name for syntax in syntaxes if syntax in _LOSSY_METHODS)
    if not told and not lossy:
        return ()
    how = f" (received as {', '.join(lossy)})" if lossy else ""
    reason = f"the reference's images were compressed with loss{how}: their values are near those measured, not equal"
    return (Decision(code="lossy_source", subject="reference", reason=reason),)


def _valid(ds: Dataset, keyword: str) -> bool:
    if isinstance(ds.get(keyword), MultiValue):
        return False
    value = str(ds.get(keyword) or "")
    if keyword == "PatientSex":
        return value in ("", "M", "F", "O")
    return not value or _conforms(ds[keyword])


def _conforms(element: DataElement) -> bool:
    """Tell whether the text of an element is what its value representation allows (PS3.5 6.2)."""
    if element.VR not in _TEXT_REPRESENTATIONS:
        return True
    values = element.value if element.VM > 1 else [element.value]
    try:
        for value in values:
            validate_value(element.VR, str(value or ""), RAISE)
    except ValueError:
        return False
    return True
