"""An A-ASSOCIATE-RQ PDU put together from its parts, right or wrong (PS3.8 9.3.2)."""

import socket
import struct
from collections.abc import Sequence

from tests.support.raw_line import RawLine

__all__ = [
    "ASSOCIATE",
    "EXPLICIT",
    "MR",
    "REJECT",
    "answer_to",
    "associate_request",
    "context_item",
    "item",
    "uid_item",
    "user_item",
]

ASSOCIATE, REJECT = 0x01, 0x03
MR, EXPLICIT, APPLICATION = b"1.2.840.10008.5.1.4.1.1.4", b"1.2.840.10008.1.2.1", b"1.2.840.10008.3.1.1.1"
TIMEOUT_S = 30.0


def item(kind: int, value: bytes) -> bytes:
    """Return an item or a sub-item of any type."""
    return struct.pack(">BBH", kind, 0, len(value)) + value


def uid_item(kind: int, uid: bytes) -> bytes:
    """Return an item that begins with a UID with its length, as the extended negotiations do."""
    return item(kind, struct.pack(">H", len(uid)) + uid)


def context_item(
    context_id: int = 1, abstract: Sequence[bytes] = (MR,), transfer: Sequence[bytes] = (EXPLICIT,), rest: bytes = b""
) -> bytes:
    """Return a presentation context with any number of syntaxes."""
    syntaxes = [item(0x30, uid) for uid in abstract] + [item(0x40, uid) for uid in transfer]
    return item(0x20, bytes([context_id, 0, 0, 0]) + b"".join(syntaxes) + rest)


def user_item(*extra: bytes, length: bytes | None = b"\0\0\x40\0", version: bytes = b"RAW") -> bytes:
    """Return user information; without a maximum length where that is None."""
    maximum = [] if length is None else [item(0x51, length)]
    return item(0x50, b"".join([*maximum, item(0x52, b"1.2.3.4"), item(0x55, version), *extra]))


def associate_request(
    calling: bytes = b"SENDER".ljust(16),
    called: bytes = b"GLIONODE".ljust(16),
    version: int = 1,
    items: Sequence[bytes] | None = None,
) -> bytes:
    """Return the PDU; by default as a sender of MR images would write it."""
    parts = [item(0x10, APPLICATION), context_item(), user_item()] if items is None else items
    body = struct.pack(">HH", version, 0) + called + calling + bytes(32) + b"".join(parts)
    return struct.pack(">BBI", ASSOCIATE, 0, len(body)) + body


def answer_to(port: int, *sent: bytes) -> tuple[int, bytes]:
    """Send some bytes over a connection of their own; return the PDU that answers, type 0 where there is none."""
    with socket.create_connection(("127.0.0.1", port), TIMEOUT_S) as connection:
        try:
            for piece in sent:
                connection.sendall(piece)
            return RawLine(connection).read_pdu()
        except ConnectionResetError:
            return 0, b""
