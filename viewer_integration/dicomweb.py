"""Parses QIDO-RS queries and makes their answers (PS3.18 10.6).

Nothing here reads a file or uses the network. A header is a data set whose large values may be absent or deferred.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from pydicom import DataElement, Dataset
from pydicom.datadict import tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.tag import BaseTag, Tag

from conversion.values import identifier
from viewer_integration.dicom_json import element_vr
from viewer_integration.wildcards import fits

__all__ = [
    "Query",
    "QueryError",
    "StudySummary",
    "instance_answer",
    "instance_url",
    "is_uid",
    "matches",
    "parse_query",
    "series_answer",
    "study_answer",
]

_PIXEL_GROUP = 0x7FE0

_LONGEST_CONDITION = 256
"""Characters of a search value, except lists of UIDs: more than a name or description may have (PS3.5 6.2)."""

_MOST_VALUES = 100
"""Values of an attribute that are compared."""

_BINARY = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "UN", "SQ", "OB or OW"})
"""Value representations that cannot be searched for: reading them would load the pixels of every study."""

_UID = re.compile(r"[0-9]+(?:\.[0-9]+)*")
_OF_UIDS = frozenset("0123456789.,\\")

# PS3.18 tables 10.6.3-3 to 10.6.3-5, without the attributes that each function below computes.
_STUDY_KEYWORDS = (
    "StudyDate",
    "StudyTime",
    "AccessionNumber",
    "ReferringPhysicianName",
    "TimezoneOffsetFromUTC",
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyInstanceUID",
    "StudyID",
    "StudyDescription",
)
_SERIES_KEYWORDS = (
    "Modality",
    "TimezoneOffsetFromUTC",
    "SeriesDescription",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "SeriesNumber",
    "SeriesDate",
    "SeriesTime",
    "PerformedProcedureStepStartDate",
    "PerformedProcedureStepStartTime",
    "RequestAttributesSequence",
)
_INSTANCE_KEYWORDS = (
    "SOPClassUID",
    "SOPInstanceUID",
    "TimezoneOffsetFromUTC",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "InstanceNumber",
    "Rows",
    "Columns",
    "BitsAllocated",
    "NumberOfFrames",
)


class QueryError(ValueError):
    """A query that cannot be answered; the message gives the parameter and the reason, but not the value."""


@dataclass(frozen=True, kw_only=True)
class Query:
    """A QIDO-RS query (PS3.18 8.3.4): what must match, which attributes are returned, and which page of answers."""

    conditions: tuple[tuple[int, str], ...] = ()
    included: frozenset[int] = frozenset()
    include_all: bool = False
    limit: int | None = None
    offset: int = 0

    @property
    def study_uids(self) -> tuple[str, ...]:
        """The requested Study Instance UIDs; empty for any."""
        wanted = [text for tag, text in self.conditions if tag == Tag("StudyInstanceUID")]
        return tuple(_uid_list(wanted[0])) if wanted else ()


@dataclass(frozen=True, kw_only=True)
class StudySummary:
    """What is known of a study besides one of its headers."""

    modalities: tuple[str, ...]
    sop_classes: tuple[str, ...]
    series: int
    instances: int


def is_uid(text: str) -> bool:
    """Return whether a text has the form of a UID (PS3.5 9.1); leading zeros of real devices are accepted."""
    return len(text) <= 64 and _UID.fullmatch(text) is not None


def parse_query(parameters: Iterable[tuple[str, str]]) -> Query:
    """Read the parameters of a QIDO-RS search.

    Parameters
    ----------
    parameters
        Names and decoded values in their order; attributes are named by keyword or eight hexadecimal digits.

    Raises
    ------
    QueryError
        For an attribute that does not exist or is in a sequence, and for a limit or offset that is not a number.
    """
    conditions: list[tuple[int, str]] = []
    included: set[int] = set()
    include_all, numbers = False, {"limit": -1, "offset": 0}
    for name, value in parameters:
        if name in numbers:
            numbers[name] = _count(name, value)
        elif name == "includefield":
            fields = [field for field in value.split(",") if field]
            include_all = include_all or "all" in fields
            included.update(_tag(field) for field in fields if field != "all")
        elif name != "fuzzymatching" and value:
            conditions.append((_tag(name), _searchable(_tag(name), value)))
        elif name != "fuzzymatching":
            included.add(_tag(name))
    return Query(
        conditions=tuple(conditions),
        included=frozenset(included),
        include_all=include_all,
        limit=None if numbers["limit"] < 0 else numbers["limit"],
        offset=numbers["offset"],
    )


def _searchable(tag: int, wanted: str) -> str:
    if tag >> 16 >= _PIXEL_GROUP:
        message = "pixel data and the attributes after it cannot be searched for"
        raise QueryError(message)
    if len(wanted) > _LONGEST_CONDITION and not set(wanted) <= _OF_UIDS:
        raise QueryError(f"a search value may have at most {_LONGEST_CONDITION} characters")
    return wanted


def _count(name: str, text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 9):
        raise QueryError(f"{name} must be a whole number")
    return int(text)


def _tag(name: str) -> int:
    if re.fullmatch(r"[0-9A-Fa-f]{8}", name):
        return int(name, 16)
    tag = tag_for_keyword(name)
    if tag is None:
        message = "an attribute of the query is neither a DICOM keyword nor a tag of eight hexadecimal digits"
        raise QueryError(message)
    return tag


def matches(answer: Dataset, header: Dataset, query: Query) -> bool:
    """Return whether an entity satisfies every condition of a query (PS3.4 C.2.2.2).

    Parameters
    ----------
    answer
        The entity's own attributes, which take precedence over those of the header.
    header
        One of the entity's instances.
    query
        Single values, lists of UIDs, ranges of dates and times, and the wildcards ``*`` and ``?``.
    """
    return all(_satisfies(answer if tag in answer else header, tag, text) for tag, text in query.conditions)


def _satisfies(ds: Dataset, tag: int, wanted: str) -> bool:
    if tag not in ds or _is_binary(ds, tag):
        return False
    element = _readable(ds, Tag(tag))
    if element is None:
        return False
    raw = element.value if element.VM > 1 else [element.value]
    values = ["" if value is None else str(value) for value in raw[:_MOST_VALUES]]
    if element.VR == "UI":
        return any(value in _uid_list(wanted) for value in values)
    if element.VR in ("DA", "TM", "DT") and "-" in wanted:
        first, _, last = wanted.partition("-")
        return any(value and first <= value and (not last or value[: len(last)] <= last) for value in values)
    if element.VR == "PN":
        return any(fits(value.lower(), wanted.lower()) for value in values)
    return any(fits(value, wanted) for value in values)


def _is_binary(ds: Dataset, tag: int) -> bool:
    """Return whether an attribute is binary, without reading its value."""
    return element_vr(ds.get_item(Tag(tag), keep_deferred=True), Tag(tag)) in _BINARY


def _uid_list(text: str) -> list[str]:
    return text.replace("\\", ",").split(",")


def instance_url(root: str, header: Dataset) -> str:
    """Return the WADO-RS address of an instance below the root of the DICOMweb origin."""
    return f"{_series_url(root, header)}/instances/{identifier(header, 'SOPInstanceUID')}"


def _series_url(root: str, header: Dataset) -> str:
    return f"{root}/studies/{identifier(header, 'StudyInstanceUID')}/series/{identifier(header, 'SeriesInstanceUID')}"


def study_answer(header: Dataset, summary: StudySummary, root: str, query: Query) -> Dataset:
    """Return the answer for one study in a search for studies (PS3.18 table 10.6.3-3)."""
    answer = _selected(header, _STUDY_KEYWORDS, query)
    answer.ModalitiesInStudy = list(summary.modalities)
    answer.SOPClassesInStudy = list(summary.sop_classes)
    answer.NumberOfStudyRelatedSeries = summary.series
    answer.NumberOfStudyRelatedInstances = summary.instances
    return _retrievable(answer, f"{root}/studies/{identifier(header, 'StudyInstanceUID')}")


def series_answer(header: Dataset, instances: int, root: str, query: Query) -> Dataset:
    """Return the answer for one series in a search for series (PS3.18 table 10.6.3-4)."""
    answer = _selected(header, _SERIES_KEYWORDS, query)
    answer.NumberOfSeriesRelatedInstances = instances
    return _retrievable(answer, _series_url(root, header))


def instance_answer(header: Dataset, transfer_syntax_uid: str, root: str, query: Query) -> Dataset:
    """Return the answer for one instance in a search for instances (PS3.18 table 10.6.3-5)."""
    answer = _selected(header, _INSTANCE_KEYWORDS, query)
    answer.AvailableTransferSyntaxUID = transfer_syntax_uid
    return _retrievable(answer, instance_url(root, header))


def _selected(header: Dataset, keywords: tuple[str, ...], query: Query) -> Dataset:
    wanted = {int(Tag(keyword)) for keyword in keywords} | query.included | {tag for tag, _ in query.conditions}
    answer = Dataset()
    for tag in header.keys():  # noqa: SIM118 - iterating a data set would read every value
        included = int(tag) in wanted or query.include_all
        if included and tag.group < _PIXEL_GROUP and not _is_left_on_disk(header, tag):
            element = _readable(header, tag)
            if element is not None:
                answer[tag] = element
    return answer


def _readable(ds: Dataset, tag: BaseTag) -> DataElement | None:
    """Return an attribute, or None when its value breaks its representation: that must not hide the study."""
    try:
        return ds[tag]
    except Exception:  # noqa: BLE001 - pydicom raises many kinds for it
        return None


def _is_left_on_disk(header: Dataset, tag: BaseTag) -> bool:
    """Return whether a large binary value was left unread: an answer would read it, and keep it, for every study."""
    raw = header.get_item(tag, keep_deferred=True)
    deferred = isinstance(raw, RawDataElement) and raw.value is None and raw.length > 0
    return deferred and element_vr(raw, tag) in _BINARY - {"SQ"}


def _retrievable(answer: Dataset, url: str) -> Dataset:
    answer.RetrieveURL = url
    answer.InstanceAvailability = "ONLINE"
    return answer
