"""Rewrite a peer's A-ASSOCIATE-AC so that pynetdicom can read it (PS3.8 9.3.3, PS3.7 D.3.3).

pynetdicom gives up or aborts an association because of deviations that other software accepts: no Maximum Length item,
an Implementation Version Name of more than 16 characters, undefined items, padded UIDs, and values in fields that
"shall not be tested" when received. None of them prevents communication with the peer.
"""

import re
import struct
from collections.abc import Iterator

__all__ = ["ACCEPTED", "as_pynetdicom_reads_it"]

ACCEPTED = 0x02
"""PDU type of A-ASSOCIATE-AC."""

_HEAD = struct.Struct(">BBIHH")
_ITEM = struct.Struct(">BBH")
_ITEMS_AT = 74
_AE_TITLES = b"ANY".ljust(16) * 2
"""In place of both titles, which are not tested when received (PS3.8 9.3.3)."""

_APPLICATION_CONTEXT, _CONTEXT, _TRANSFER_SYNTAX, _USER = 0x10, 0x21, 0x40, 0x50
_MAXIMUM_LENGTH, _CLASS_UID, _ROLE, _VERSION_NAME = 0x51, 0x52, 0x54, 0x55
_DICOM = b"1.2.840.10008.3.1.1.1"
_IMPLICIT = b"1.2.840.10008.1.2"
_NOT_SUPPORTED = 4
"""Result of a context of which no transfer syntax is accepted (PS3.8 9.3.3.2)."""

_NO_LIMIT = bytes(4)
"""Maximum length of a peer that states none (PS3.8 D.1.1); DCMTK also reads it that way."""

_SHORTEST_LENGTH = 8
"""A fragment has an even length and a header of six bytes (PS3.8 9.3.5): a smaller limit leaves no room for data."""

_UID = re.compile(rb"(0|[1-9]\d*)(\.(0|[1-9]\d*))+")
_LONGEST_UID, _LONGEST_NAME = 64, 16


def as_pynetdicom_reads_it(pdu: bytes) -> bytes:
    """Return an A-ASSOCIATE-AC PDU with the same meaning that pynetdicom can read.

    Parameters
    ----------
    pdu
        The complete PDU, with its header. One that lacks its fixed fields, or whose lengths do not add up, is returned
        unchanged.
    """
    if len(pdu) < _ITEMS_AT:
        return pdu
    try:
        items = list(_items(pdu[_ITEMS_AT:]))
        contexts = b"".join(_context(value) for kind, value in items if kind == _CONTEXT)
        user_items = dict(reversed([one for kind, value in items if kind == _USER for one in _items(value)]))
        roles = [one for kind, value in items if kind == _USER for one in _items(value) if one[0] == _ROLE]
    except (struct.error, ValueError):
        return pdu
    selections = [_role(value) for _, value in roles]
    user = b"".join((_maximum_length(user_items), _class_uid(user_items), *selections, _name(user_items)))
    body = _AE_TITLES + bytes(32) + _item(_APPLICATION_CONTEXT, _DICOM) + contexts + _item(_USER, user)
    return _HEAD.pack(ACCEPTED, 0, len(body) + 4, 1, 0) + body


def _items(encoded: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the type and the value of each item.

    Raises
    ------
    ValueError, struct.error
        When the lengths do not add up.
    """
    offset = 0
    while offset < len(encoded):
        kind, _, length = _ITEM.unpack_from(encoded, offset)
        offset += _ITEM.size + length
        if offset > len(encoded):
            message = "an item is longer than the item that contains it"
            raise ValueError(message)
        yield kind, encoded[offset - length : offset]


def _item(kind: int, value: bytes) -> bytes:
    return _ITEM.pack(kind, 0, len(value)) + value


def _uid(value: bytes) -> bytes:
    """Return a UID without padding; empty for anything that is not a UID."""
    stripped = value.strip(b"\0 ")
    return stripped if len(stripped) <= _LONGEST_UID and _UID.fullmatch(stripped) else b""


def _context(value: bytes) -> bytes:
    """Return a presentation context; its transfer syntax counts only if the context is accepted."""
    context_id, _, result, _ = struct.unpack_from(">4B", value)
    syntax = b""
    if result == 0:
        syntax = next((_uid(one) for kind, one in _items(value[4:]) if kind == _TRANSFER_SYNTAX), b"")
        result = 0 if syntax else _NOT_SUPPORTED
    known = min(result, _NOT_SUPPORTED)
    return _item(_CONTEXT, struct.pack(">4B", context_id, 0, known, 0) + _item(_TRANSFER_SYNTAX, syntax or _IMPLICIT))


def _maximum_length(user_items: dict[int, bytes]) -> bytes:
    value = user_items.get(_MAXIMUM_LENGTH, b"")
    is_one = len(value) == len(_NO_LIMIT) and int.from_bytes(value) >= _SHORTEST_LENGTH
    return _item(_MAXIMUM_LENGTH, value if is_one else _NO_LIMIT)


def _class_uid(user_items: dict[int, bytes]) -> bytes:
    value = _uid(user_items.get(_CLASS_UID, b""))
    return _item(_CLASS_UID, value) if value else b""


def _role(value: bytes) -> bytes:
    """Return a role selection (PS3.7 D.3.3.4), whose UID is between its length and the two roles."""
    (length,) = struct.unpack_from(">H", value)
    uid, roles = _uid(value[2 : 2 + length]), value[2 + length : 4 + length]
    return _item(_ROLE, struct.pack(">H", len(uid)) + uid + roles) if uid and len(roles) == 2 else b""


def _name(user_items: dict[int, bytes]) -> bytes:
    printable = bytes(each for each in user_items.get(_VERSION_NAME, b"") if 0x20 <= each < 0x7F and each != 0x5C)
    name = printable[:_LONGEST_NAME].strip()
    return _item(_VERSION_NAME, name) if name else b""
