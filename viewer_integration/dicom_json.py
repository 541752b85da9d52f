"""Writes data sets in the DICOM JSON model (PS3.18 annex F), bulk data by reference.

Nothing here reads a file. Deferred values of a header stay unread.
"""

import math

from pydicom import DataElement, Dataset
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import RawDataElement
from pydicom.tag import BaseTag

__all__ = ["DEEPEST", "MOST_ELEMENTS", "JsonObject", "TooLarge", "dicom_json", "element_vr"]

JsonObject = dict[str, object]

_INLINE_BYTES = 1024  # larger binary values are given by reference
_BINARY = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "UN", "OB or OW"})
_UNDECIDED = {"OB or OW": "OW", "US or SS": "US", "US or SS or OW": "OW", "US or OW": "OW"}
_PIXELS = frozenset({0x7FE00008, 0x7FE00009, 0x7FE00010})
_CHARACTER_SET = 0x00080005
DEEPEST = 32
"""Deepest nesting of sequences that is written. Reports nest about 15 deep; 10,000 levels crash any reader."""

MOST_ELEMENTS = 500_000
"""Limit for one data set, at about 1 kB of memory for each element. 5000 frames with functional groups need half."""


class TooLarge(Exception):  # noqa: N818 - named for what happened
    """A data set has more elements than can be written at once."""


def dicom_json(ds: Dataset, bulk_root: str) -> JsonObject:
    """Return a data set in the DICOM JSON model.

    A value that breaks its representation, such as a decimal string with a comma, is written as empty, so that one
    bad attribute does not hide a study.

    Parameters
    ----------
    ds
        Data set, in any character set; the JSON is in UTF-8 and states that.
    bulk_root
        Address below which the bulk data of this data set is found: ``<root>/7FE00010`` for pixel data,
        ``<root>/<sequence>/<item from 0>/<tag>`` inside a sequence. Sequences deeper than `DEEPEST` are left empty.

    Raises
    ------
    TooLarge
        For more than `MOST_ELEMENTS` elements.
    """
    answer: JsonObject = {"00080005": {"vr": "CS", "Value": ["ISO_IR 192"]}}
    answer.update(_Writer().elements(ds, bulk_root, 0))
    return dict(sorted(answer.items()))


class _Writer:
    """Writes one data set and counts its elements."""

    def __init__(self) -> None:
        self._written = 0

    def elements(self, ds: Dataset, bulk_root: str, depth: int) -> JsonObject:
        tags = [tag for tag in ds.keys() if tag.element != 0 and tag != _CHARACTER_SET]  # noqa: SIM118 - no values read
        self._written += len(tags)
        if self._written > MOST_ELEMENTS:
            raise TooLarge
        return {f"{tag:08X}": self._element(ds, tag, f"{bulk_root}/{tag:08X}", depth) for tag in tags}

    def _element(self, ds: Dataset, tag: BaseTag, address: str, depth: int) -> JsonObject:
        raw = ds.get_item(tag, keep_deferred=True)
        vr = element_vr(raw, tag)
        if vr in _BINARY and _is_bulk(raw, tag):
            return {"vr": _UNDECIDED.get(vr, vr), "BulkDataURI": address}
        try:
            element = ds[tag]
            return self._sequence(element, address, depth + 1) if element.VR == "SQ" else _inline(element)
        except TooLarge:
            raise
        except Exception:  # noqa: BLE001 - pydicom raises many kinds for a broken value, which must not hide its study
            return {"vr": _UNDECIDED.get(vr, vr)}

    def _sequence(self, element: DataElement, address: str, depth: int) -> JsonObject:
        if depth > DEEPEST:
            return {"vr": "SQ"}
        items = [self.elements(item, f"{address}/{index}", depth) for index, item in enumerate(element.value or ())]
        return {"vr": "SQ", "Value": items} if items else {"vr": "SQ"}


def element_vr(raw: DataElement | RawDataElement | None, tag: BaseTag) -> str:
    """Return the value representation of an element without reading its value."""
    vr = raw.VR if raw is not None else None
    if vr is not None:
        return vr
    try:
        return dictionary_VR(tag)
    except KeyError:
        return "UN"


def _is_bulk(raw: DataElement | RawDataElement | None, tag: BaseTag) -> bool:
    if tag in _PIXELS:
        return True
    if isinstance(raw, RawDataElement) and raw.value is None:
        return raw.length > _INLINE_BYTES
    value = raw.value if raw is not None else None
    return isinstance(value, bytes) and len(value) > _INLINE_BYTES


def _inline(element: DataElement) -> JsonObject:
    answer: JsonObject = dict(element.to_json_dict(None, 0))
    answer["vr"] = _UNDECIDED.get(element.VR, element.VR)
    values = answer.get("Value")
    if isinstance(values, list):
        answer["Value"] = [_plain(value) for value in values]
    return answer


def _plain(value: object) -> object:
    """Return a value as JSON has it.

    Dates become text, numbers that JSON lacks the strings of PS3.18 table F.2.3-1, and no value null (F.2.5).
    """
    if value == "":
        return None
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "inf" if value > 0 else "-inf"
    return value if value is None or isinstance(value, str | int | float | dict) else str(value)
