"""Reads a few attributes of a data set that is written as most are, without pydicom, which takes five times as long.

Whatever is unusual is left to pydicom: what is read here is read there alike.
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
"""What is read of a data set: its UIDs mostly stand within the first two thousand bytes."""

_EXPLICIT_HEAD, _IMPLICIT_HEAD, _LENGTH = struct.Struct("<HH2sH"), struct.Struct("<HHI"), struct.Struct("<I")
_LONGEST_HEAD = 12
_VRS = {vr.encode(): (str(vr.value), vr in EXPLICIT_VR_LENGTH_32) for vr in STANDARD_VR}
"""By how it stands in a file each VR, and whether its length takes four bytes (PS3.5 7.1.2)."""

_CHARACTER_SET = Tag("SpecificCharacterSet")
_ENCODINGS = {name.encode(): convert_encodings(name) for name in ("ISO_IR 6", "ISO_IR 100", "ISO_IR 192")}
"""Character sets in which nothing is switched, as they stand in a file."""


def read_plainly(stream: BinaryIO, form: Form | None, wanted: Sequence[BaseTag]) -> Dataset | None:
    """Read attributes of the data set that begins where a stream stands; None leaves it to pydicom.

    So it is with what is not of the form agreed, by as many elements as `form_of` looks at, does not ascend, or has a
    sequence of undefined length before the last attribute, or anything that does not stand near the beginning. The
    stream stands as before then.
    """
    if form is None or not form.little_endian:
        return None
    begin = stream.tell()
    head = stream.read(_BEGIN_BYTES)
    stream.seek(begin)
    numbers = frozenset(map(int, wanted))  # tags of pydicom are compared in Python
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
            where = (at - value_at, value, begin + value_at, form.implicit_vr, form.little_endian)
            found[BaseTag(tag)] = RawDataElement(BaseTag(tag), vr, *where)
        last, count = tag, count + 1
    return None


def _element(head: bytes, at: int, *, implicit_vr: bool) -> tuple[int, str | None, int, int] | None:
    """Return tag and VR of an element, where its value begins and where it ends; None where none can begin."""
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
