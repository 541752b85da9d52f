"""Corrects an A-ASSOCIATE-RQ to what the standard requires, or refuses it with a reason (PS3.8 9.3.2).

Accepts what other products accept: AE titles and UIDs padded with NULs, version names that are too long, unknown items,
and negotiations that this node does not support. pynetdicom reads only the request as rewritten here, so its decoders
never see bytes of an unknown sender.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["ABORTED", "BLANK_TITLE", "BadRequest", "Rejection", "mend_request"]

BLANK_TITLE = "(blank)"
"""Replaces an empty AE title: no peer has this one, so the request is rejected under this name."""

MALFORMED = "bad_association_request"


@dataclass(frozen=True, kw_only=True)
class Rejection:
    """How a request is refused: result, source and reason of A-ASSOCIATE-RJ (PS3.8 9.3.4), the code and the reason.

    Without a result, the association is aborted instead of rejected.
    """

    code: str
    reason: str
    result: int = 0
    source: int = 0
    diagnostic: int = 0


ABORTED = 0
"""The result of a `Rejection` that is an abort."""


class BadRequest(Exception):  # noqa: N818 - named for what happened
    """An association request that cannot be read, or that is rejected whoever sends it.

    Attributes
    ----------
    rejection
        How it is answered.
    calling_ae
        Calling AE title, as far as it could be read.
    """

    def __init__(self, rejection: Rejection, calling_ae: str) -> None:
        super().__init__(rejection.reason)
        self.rejection = rejection
        self.calling_ae = calling_ae


class _Malformed(ValueError):  # noqa: N818 - named for what happened
    """Items whose lengths do not add up, or that violate the standard; the text is for people."""


_HEAD_BYTES, _FIXED_BYTES = 6, 74
_APPLICATION_CONTEXT, _CONTEXT, _USER = 0x10, 0x20, 0x50
_ABSTRACT, _TRANSFER = 0x30, 0x40
_MAXIMUM_LENGTH, _IMPLEMENTATION, _ROLE, _VERSION_NAME = 0x51, 0x52, 0x54, 0x55
"""Types of items and sub-items (PS3.8 9.3.2, PS3.7 D.3.3)."""

_DICOM_APPLICATION = "1.2.840.10008.3.1.1.1"
_INVALID_UID = "0.0"
"""Replaces an invalid UID, so that its context is answered as not supported."""

_UNNAMED_IMPLEMENTATION = "0.0"
_UID_CHARACTERS, _NAME_CHARACTERS = 64, 16

_SMALLEST_LENGTH, _USUAL_LENGTH = 256, 16384
"""Maximum PDU lengths in bytes: every response of this node fits the first; the second applies if none is stated."""


def mend_request(pdu: bytes) -> bytes:
    """Rewrite an association request as the standard requires.

    Parameters
    ----------
    pdu
        The complete PDU as received.

    Raises
    ------
    BadRequest
        When it is malformed, of another protocol version, or for another application than DICOM.
    """
    if len(pdu) < _FIXED_BYTES:
        raise _aborted("it ends within its fixed fields", "")
    called, calling = _title(pdu[10:26]), _title(pdu[26:42])
    if not pdu[7] & 1:
        reason = "it does not support version 1 of the DICOM upper layer protocol"
        rejection = Rejection(code=MALFORMED, reason=_sentence(reason), result=1, source=2, diagnostic=2)
        raise BadRequest(rejection, calling)
    try:
        items = list(_items(pdu[_FIXED_BYTES:]))
        contexts = _contexts([content for kind, content in items if kind == _CONTEXT])
        user = b"".join(content for kind, content in items if kind == _USER)
        body = contexts + _item(_USER, _user_information(user))
    except _Malformed as error:
        raise _aborted(str(error), calling) from error
    names = [_uid(content) for kind, content in items if kind == _APPLICATION_CONTEXT]
    if names and names[0] != _DICOM_APPLICATION:
        reason = "its application context is not that of DICOM"
        rejection = Rejection(code=MALFORMED, reason=_sentence(reason), result=1, source=1, diagnostic=2)
        raise BadRequest(rejection, calling)
    fixed = struct.pack(">HH16s16s32x", 1, 0, called.ljust(16).encode(), calling.ljust(16).encode())
    body = fixed + _item(_APPLICATION_CONTEXT, _DICOM_APPLICATION.encode()) + body
    return struct.pack(">BBI", 1, 0, len(body)) + body


def _aborted(reason: str, calling_ae: str) -> BadRequest:
    return BadRequest(Rejection(code=MALFORMED, reason=_sentence(reason)), calling_ae)


def _sentence(reason: str) -> str:
    return f"the association request was refused: {reason}"


def _title(field: bytes) -> str:
    """Read an AE title without surrounding blanks, up to a NUL; show characters that are not allowed in one as ?."""
    text = "".join(chr(byte) if 0x20 <= byte < 0x7F and byte != 0x5C else "?" for byte in field.split(b"\0")[0])
    return text.strip() or BLANK_TITLE


def _uid(content: bytes) -> str:
    """Read a UID without padding; empty where it is not valid enough to be repeated in a response."""
    text = content.rstrip(b"\0 ").decode("latin-1").strip()
    return text if len(text) <= _UID_CHARACTERS and all(c in "0123456789." for c in text) else ""


def _items(content: bytes) -> Iterator[tuple[int, bytes]]:
    offset = 0
    while offset < len(content):
        if offset + 4 > len(content):
            message = "an item is incomplete"
            raise _Malformed(message)
        kind, _, length = struct.unpack_from(">BBH", content, offset)
        offset += 4 + length
        if offset > len(content):
            message = "an item is longer than the item that contains it"
            raise _Malformed(message)
        yield kind, content[offset - length : offset]


def _item(kind: int, content: bytes) -> bytes:
    return struct.pack(">BBH", kind, 0, len(content)) + content


def _contexts(found: list[bytes]) -> bytes:
    if not found:
        message = "it proposes no presentation context"
        raise _Malformed(message)
    if any(len(content) < len(b"\1\0\0\0") for content in found):
        message = "a presentation context is incomplete"
        raise _Malformed(message)
    ids = [content[0] for content in found]
    if len(set(ids)) < len(ids) or not all(one % 2 for one in ids):
        message = "the IDs of its presentation contexts are not all odd and different"
        raise _Malformed(message)
    return b"".join(_context(content[0], list(_items(content[4:]))) for content in found)


def _context(context_id: int, syntaxes: list[tuple[int, bytes]]) -> bytes:
    abstract = [_uid(content) or _INVALID_UID for kind, content in syntaxes if kind == _ABSTRACT]
    transfer = [_uid(content) for kind, content in syntaxes if kind == _TRANSFER]
    if len(abstract) != 1 or not transfer:
        message = "a presentation context does not have exactly one abstract syntax and at least one transfer syntax"
        raise _Malformed(message)
    known = list(dict.fromkeys(filter(None, transfer))) or [_INVALID_UID]
    content = _item(_ABSTRACT, abstract[0].encode()) + b"".join(_item(_TRANSFER, uid.encode()) for uid in known)
    return _item(_CONTEXT, bytes([context_id, 0, 0, 0]) + content)


def _user_information(content: bytes) -> bytes:
    """Keep the items that this node uses; leaving other negotiations unanswered declines them (PS3.7 D.3.3)."""
    length, implementation, name, roles = _USUAL_LENGTH, "", "", dict[str, bytes]()
    for kind, value in _items(content):
        if kind == _MAXIMUM_LENGTH and len(value) == len(b"long"):
            length = struct.unpack(">I", value)[0]
        elif kind == _IMPLEMENTATION:
            implementation = _uid(value)
        elif kind == _VERSION_NAME:
            name = value.split(b"\0")[0].decode("ascii", "replace").replace("\ufffd", "?")
        elif kind == _ROLE and (role := _role(value)):
            roles.setdefault(*role)
    if 0 < length < _SMALLEST_LENGTH:
        length = _SMALLEST_LENGTH
    shown = "".join(c for c in name if c.isprintable()).strip()[:_NAME_CHARACTERS]
    kept = [
        _item(_MAXIMUM_LENGTH, struct.pack(">I", length)),
        _item(_IMPLEMENTATION, (implementation or _UNNAMED_IMPLEMENTATION).encode()),
        *(_item(_ROLE, struct.pack(">H", len(uid)) + uid.encode() + flags) for uid, flags in roles.items()),
    ]
    return b"".join(kept + ([_item(_VERSION_NAME, shown.encode())] if shown else []))


def _role(value: bytes) -> tuple[str, bytes] | None:
    """Read the roles proposed for a SOP class (PS3.7 D.3.3.4); None where they cannot be read."""
    size = struct.unpack(">H", value[:2])[0] if len(value) >= len(b"\0\0") else len(value)
    uid, flags = _uid(value[2 : 2 + size]), value[2 + size :]
    return (uid, flags) if uid and len(flags) == 2 and set(flags) <= {0, 1} else None
