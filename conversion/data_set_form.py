"""Determines how a data set is written (explicit or implicit VR, byte order) from its first elements."""

import struct
from dataclasses import dataclass
from typing import BinaryIO

from pydicom.uid import UID, ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pydicom.valuerep import EXPLICIT_VR_LENGTH_32, VR

__all__ = [
    "ELEMENTS",
    "EXPLICIT",
    "FIRST_GROUP",
    "IMPLICIT",
    "UNDEFINED_LENGTH",
    "ElementHead",
    "Form",
    "element_at",
    "form_of",
]

UNDEFINED_LENGTH = 0xFFFFFFFF

ELEMENTS = 8
"""How many elements are checked against a form: hardly two fit a wrong form by chance."""

FIRST_GROUP = 0x0008
"""The first group of a data set: it contains the SOP class, and elements are in ascending order."""

_VRS = {str(vr).encode() for vr in VR if len(str(vr)) == 2}
_LONG = {str(vr).encode() for vr in EXPLICIT_VR_LENGTH_32}
_HOLD_ITEMS = (b"", b"SQ", b"UN", b"OB", b"OW")
_ITEM_OR_END = (0xFFFEE000, 0xFFFEE0DD)


@dataclass(frozen=True, kw_only=True)
class Form:
    """A way to write a data set."""

    implicit_vr: bool
    little_endian: bool = True

    @property
    def transfer_syntax(self) -> UID:
        """The transfer syntax of this form without compression or deflation."""
        if self.implicit_vr:
            return ImplicitVRLittleEndian
        return ExplicitVRLittleEndian if self.little_endian else ExplicitVRBigEndian


EXPLICIT = Form(implicit_vr=False)
IMPLICIT = Form(implicit_vr=True)
_FORMS = (EXPLICIT, IMPLICIT, Form(implicit_vr=False, little_endian=False))


@dataclass(frozen=True, kw_only=True)
class ElementHead:
    """The fields that precede an element's value; `vr` is empty in implicit VR."""

    tag: int
    vr: bytes
    length: int
    value_at: int


def element_at(stream: BinaryIO, form: Form, at: int) -> ElementHead | None:
    """Read the head of an element; None at the end of the stream, or if no element of this form can begin there."""
    order = "<" if form.little_endian else ">"
    stream.seek(at)
    head = stream.read(12)
    if len(head) < 8:
        return None
    group, element = struct.unpack_from(f"{order}HH", head)
    vr, length, size = b"", 0, 8
    if form.implicit_vr:
        (length,) = struct.unpack_from(f"{order}I", head, 4)
    else:
        vr = head[4:6]
        if vr not in _VRS or (vr in _LONG and len(head) < 12):
            return None
        size = 12 if vr in _LONG else 8
        (length,) = (
            struct.unpack_from(f"{order}I", head, 8) if vr in _LONG else struct.unpack_from(f"{order}H", head, 6)
        )
    return ElementHead(tag=group << 16 | element, vr=vr, length=length, value_at=at + size)


def form_of(stream: BinaryIO, size: int, stated: Form | None) -> Form | None:
    """Return the form of the data set at the current position of a stream; None if no form fits.

    Parameters
    ----------
    size
        Of the stream, in bytes.
    stated
        The form that the file states; it is used unless the first elements contradict it.
    """
    at = stream.tell()
    # The sort is stable: unless another form is stated, explicit VR comes first, which identifies itself.
    candidates = sorted(_FORMS, key=lambda form: form != stated)
    found = next((form for form in candidates if _fits(stream, form, at, size)), None)
    if found is None and stated is not None and _begins(stream, stated, at):
        found = stated  # out of order or truncated, but no other form fits either
    stream.seek(at)
    return found


def _fits(stream: BinaryIO, form: Form, at: int, size: int) -> bool:
    """Return whether elements follow each other as in this form: ascending, and none beyond the end."""
    last = -1
    for count in range(ELEMENTS):
        head = element_at(stream, form, at)
        if head is None:
            return count > 0 and at == size
        if head.tag <= last or (count == 0 and head.tag >> 16 > FIRST_GROUP):
            return False
        if head.length == UNDEFINED_LENGTH:
            return head.vr in _HOLD_ITEMS and _next_tag(stream, form, head.value_at) in _ITEM_OR_END
        at, last = head.value_at + head.length, head.tag
        if at > size:
            return False
    return True


def _begins(stream: BinaryIO, form: Form, at: int) -> bool:
    head = element_at(stream, form, at)
    return head is not None and 0 < head.tag >> 16 <= FIRST_GROUP


def _next_tag(stream: BinaryIO, form: Form, at: int) -> int:
    stream.seek(at)
    head = stream.read(4)
    if len(head) < 4:
        return 0
    group, element = struct.unpack("<HH" if form.little_endian else ">HH", head)
    return int(group << 16 | element)
