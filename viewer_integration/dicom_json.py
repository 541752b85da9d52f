"""The DICOM JSON model (PS3.18 annex F): data sets as JSON, bulk data by reference.

Nothing here reads a file. A header may be a data set whose large values are deferred: they stay unread.
"""

import math

from pydicom import DataElement, Dataset
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import RawDataElement
from pydicom.tag import BaseTag

__all__ = ["JsonObject", "dicom_json", "element_vr"]

JsonObject = dict[str, object]

_INLINE_BYTES = 1024  # a larger binary value is given by reference
_BINARY = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "UN", "OB or OW"})
_UNDECIDED = {"OB or OW": "OW", "US or SS": "US", "US or SS or OW": "OW", "US or OW": "OW"}
_PIXELS = frozenset({0x7FE00008, 0x7FE00009, 0x7FE00010})
_CHARACTER_SET = 0x00080005
_UNREADABLE = (ArithmeticError, AttributeError, LookupError, NotImplementedError, TypeError, ValueError)


def dicom_json(ds: Dataset, bulk_root: str) -> JsonObject:
    """Return a data set in the DICOM JSON model.

    A value that its own header breaks, such as a decimal string with a comma, is given as empty: one bad
    attribute must not hide a study.

    Parameters
    ----------
    ds
        Data set, in any character set; the JSON is in UTF-8 and says so.
    bulk_root
        Address below which the bulk data of this data set lies: ``<root>/7FE00010`` for pixel data,
        ``<root>/<sequence>/<item from 0>/<tag>`` inside a sequence.
    """
    answer: JsonObject = {"00080005": {"vr": "CS", "Value": ["ISO_IR 192"]}}
    answer.update(_elements(ds, bulk_root))
    return dict(sorted(answer.items()))


def _elements(ds: Dataset, bulk_root: str) -> JsonObject:
    tags = [tag for tag in ds.keys() if tag.element != 0 and tag != _CHARACTER_SET]  # noqa: SIM118 - no values read
    return {f"{tag:08X}": _element(ds, tag, f"{bulk_root}/{tag:08X}") for tag in tags}


def _element(ds: Dataset, tag: BaseTag, address: str) -> JsonObject:
    raw = ds.get_item(tag, keep_deferred=True)
    vr = element_vr(raw, tag)
    if vr in _BINARY and _is_bulk(raw, tag):
        return {"vr": _UNDECIDED.get(vr, vr), "BulkDataURI": address}
    try:
        return _inline(ds[tag], address)
    except _UNREADABLE:
        return {"vr": _UNDECIDED.get(vr, vr)}


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


def _inline(element: DataElement, address: str) -> JsonObject:
    if element.VR == "SQ":
        items = [_elements(item, f"{address}/{index}") for index, item in enumerate(element.value or ())]
        return {"vr": "SQ", "Value": items} if items else {"vr": "SQ"}
    answer: JsonObject = dict(element.to_json_dict(None, 0))
    answer["vr"] = _UNDECIDED.get(element.VR, element.VR)
    values = answer.get("Value")
    if isinstance(values, list):
        answer["Value"] = [_plain(value) for value in values]
    return answer


def _plain(value: object) -> object:
    """Write dates as text, and numbers that JSON does not have as the strings of PS3.18 table F.2.3-1."""
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "inf" if value > 0 else "-inf"
    return value if isinstance(value, str | int | float | dict) else str(value)
