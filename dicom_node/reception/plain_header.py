"""Reads a few attributes of a data set in one of the usual encodings, without pydicom, which takes five times as long.

Everything unusual is left to pydicom. What is read here, pydicom reads with the same result.
"""

import struct
from collections.abc import Sequence
from typing import BinaryIO, cast

from pydicom.charset import convert_encodings, default_encoding
from pydicom.dataelem import DataElement, RawDataElement, empty_value_for_VR
from pydicom.dataset import Dataset
from pydicom.tag import BaseTag, Tag
from pydicom.valuerep import EXPLICIT_VR_LENGTH_32, STANDARD_VR

from conversion.data_set_form import ELEMENTS, FIRST_GROUP, Form

__all__ = ["read_plainly"]

_BEGIN_BYTES = 2**14
"""Number of bytes read of a data set: its UIDs are mostly within the first two thousand."""

_EXPLICIT_HEAD, _IMPLICIT_HEAD, _LENGTH = struct.Struct("<HH2sH"), struct.Struct("<HHI"), struct.Struct("<I")
_LONGEST_HEAD = 12
_VRS = {vr.encode(): (str(vr.value), vr in EXPLICIT_VR_LENGTH_32) for vr in STANDARD_VR}
"""For each VR as encoded in a file: its name, and whether its length takes four bytes (PS3.5 7.1.2)."""

_CHARACTER_SET = Tag("SpecificCharacterSet")
_ENCODINGS = {name.encode(): convert_encodings(name) for name in ("ISO_IR 6", "ISO_IR 100", "ISO_IR 192")}
"""Character sets without code extensions, by their encoded name."""


def read_plainly(stream: BinaryIO, form: Form | None, wanted: Sequence[BaseTag]) -> Dataset | None:
    """Read attributes of the data set at a stream's position; None leaves it to pydicom.

    Returns None where the first elements, as many as `form_of` examines, are not in the negotiated form, where tags do
    not ascend, where a sequence of undefined length precedes the last attribute, or where an attribute is not near the
    beginning. The stream's position is then unchanged.
    """
    if form is None or not form.little_endian:
        return None
    begin = stream.tell()
    head = stream.read(_BEGIN_BYTES)
    stream.seek(begin)
    numbers = frozenset(map(int, wanted))  # pydicom's tags are compared in Python, which is slow
    end, found = max(numbers), dict[BaseTag, DataElement | RawDataElement]()
    at, last, count = 0, -1, 0
    while (element := _element(head, at, implicit_vr=form.implicit_vr)) is not None:
        tag, vr, value_at, at = element
        if tag > end:
            return _with_character_set(found, form) if count >= ELEMENTS else None
        if tag <= last or at > len(head) or (count == 0 and tag >> 16 > FIRST_GROUP):
            return None
        if tag in numbers:
            value = head[value_at:at] or cast("bytes | None", empty_value_for_VR(vr, raw=True))
            raw = (at - value_at, value, begin + value_at, form.implicit_vr, form.little_endian)
            found[BaseTag(tag)] = RawDataElement(BaseTag(tag), vr, *raw)
        last, count = tag, count + 1
    return None


def _element(head: bytes, at: int, *, implicit_vr: bool) -> tuple[int, str | None, int, int] | None:
    """Return tag and VR of an element, and where its value begins and ends; None where no element can begin."""
    if at + _LONGEST_HEAD > len(head):
        return None
    if implicit_vr:
        group, element, length = _IMPLICIT_HEAD.unpack_from(head, at)
        return group << 16 | element, None, at + 8, at + 8 + length
    group, element, encoded_vr, length = _EXPLICIT_HEAD.unpack_from(head, at)
    vr, is_long = _VRS.get(encoded_vr, (None, False))
    if is_long:
        (length,) = _LENGTH.unpack_from(head, at + 8)
        return group << 16 | element, vr, at + 12, at + 12 + length
    return None if vr is None else (group << 16 | element, vr, at + 8, at + 8 + length)


def _with_character_set(found: dict[BaseTag, DataElement | RawDataElement], form: Form) -> Dataset | None:
    named = found.get(_CHARACTER_SET)
    encoding = default_encoding if named is None else _ENCODINGS.get(named.value or b"")
    if encoding is None:
        return None
    ds = Dataset(found, parent_encoding=default_encoding)
    ds.set_original_encoding(form.implicit_vr, form.little_endian, encoding)
    return ds
