"""A connection that is read in large pieces, within limits of size and time, whatever arrives.

A PDU is checked before it is read: its type and length must be allowed at this point (PS3.8 9.2, 9.3).
"""

# ruff: noqa: SLF001 - as in prompt_association.py, which replaces pynetdicom's class by this one

import contextlib
import select
import socket
import ssl
import struct
import time
from dataclasses import dataclass, field
from typing import cast

from pynetdicom.transport import AssociationSocket

__all__ = ["MAXIMUM_PDU_BYTES", "SLOWEST_BYTES_PER_S", "Line", "LineError", "Pace", "limit_waits"]

MAXIMUM_PDU_BYTES = 2**20
"""Announced to senders as the largest P-DATA-TF PDU, and enforced: as fast as no limit, and a MiB of memory each."""

REQUEST_BYTES = 2**19
"""Limit for a request: 128 presentation contexts with forty transfer syntaxes each take 0.4 MB."""

SLOWEST_BYTES_PER_S = 1024
"""A modem of 1998 was five times faster; a sender that is slower for long only blocks an association."""

ANSWER_BUFFER_BYTES = 2**16
"""Some hundred responses; a sender that reads none is noticed once they fill it. The kernel would buffer megabytes."""

HEAD_BYTES = 6
_HEAD = struct.Struct(">BBI")
_REQUEST, _P_DATA, _RELEASE, _ABORT = 0x01, 0x04, 0x05, 0x07
_FIXED_BYTES = 4
"""Length of a release request and of an abort (PS3.8 9.3.6, 9.3.8)."""

_AWAITS_REQUEST, _ESTABLISHED = "Sta2", "Sta6"


class LineError(Exception):
    """A PDU that is not read; the code gives the reason, and the text explains it to people."""

    def __init__(self, code: str, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code


@dataclass(kw_only=True)
class Pace:
    """How long a message may take: a limit, extended while data arrive at a sufficient rate."""

    limit_s: float
    bytes_per_s: int = 0
    received: int = 0
    _began: float = field(default_factory=time.monotonic)

    def begin_anew(self) -> None:
        """Start measuring now."""
        self._began, self.received = time.monotonic(), 0

    @property
    def is_late(self) -> bool:
        """Whether the message has taken too long."""
        earned = self.received / self.bytes_per_s if self.bytes_per_s else 0.0
        return time.monotonic() - self._began > self.limit_s + earned


class Line(AssociationSocket):
    """The connection of an association."""

    connection: socket.socket
    """Kept when pynetdicom drops its own reference, which it does before it closes if the peer closed first."""

    def wait(self, timeout_s: float) -> bool:
        """Wait until data can be read or the connection is dead."""
        connection = self.socket
        if connection is None:
            return False
        if isinstance(connection, ssl.SSLSocket) and connection.pending():
            return True
        waiting = select.poll()
        try:
            waiting.register(connection, select.POLLIN)
            return bool(waiting.poll(1000 * timeout_s))
        except (OSError, ValueError):  # closed meanwhile by another thread
            self.event_queue.put("Evt17")
            return False

    def read_pdu(self, state: str, pace: Pace) -> tuple[bytes | bytearray, bytes | bytearray]:
        """Read one PDU, its header and the rest; shorter than stated if the peer closed the connection.

        Parameters
        ----------
        state
            Current state of the state machine.

        Raises
        ------
        LineError
            When the PDU is not allowed in that state, is too large or too slow.
        OSError
            When the connection is dead, or has been silent for too long.
        """
        if pace.is_late:  # a slow message in complete PDUs
            raise _too_slow()
        head = self._read(HEAD_BYTES, pace)
        if len(head) < HEAD_BYTES:
            return head, b""
        kind, _, length = _HEAD.unpack(head)
        _check_head(kind, length, state)
        return head, self._read(length, pace)

    def discard(self) -> bool:
        """Read and drop what has arrived; return whether the peer has not closed the connection yet."""
        try:
            return bool(self.connection.recv(MAXIMUM_PDU_BYTES, socket.MSG_DONTWAIT))
        except BlockingIOError:
            return True
        except OSError:
            return False

    def send(self, bytestream: bytes) -> None:
        """Send bytes; close the connection if the peer reads its responses too slowly or not at all."""
        pace, rest = Pace(limit_s=self.assoc.network_timeout or 0.0), memoryview(bytestream)
        try:
            while rest:
                rest = rest[cast("socket.socket", self.socket).send(rest) :]
                if rest and pace.is_late:
                    raise TimeoutError
        except (OSError, AttributeError, ValueError):  # also closed meanwhile by another thread
            self.event_queue.put("Evt17")

    def hang_up(self) -> None:
        """Shut the connection down, so that waiting threads notice its end; any thread may call this."""
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def _read(self, size: int, pace: Pace) -> bytes | bytearray:
        """Read so many bytes; bytes that arrive together, as nearly always, are not copied."""
        received, idle = bytearray(), self.assoc.dul._idle_timer
        while len(received) < size:
            try:
                piece = self.connection.recv(size - len(received), socket.MSG_WAITALL)
            except BlockingIOError:
                if idle.expired:
                    raise
                if pace.is_late:
                    raise _too_slow() from None
                continue
            if not piece:
                break
            pace.received += len(piece)
            idle.restart()  # a large PDU over a slow connection is traffic too
            if len(piece) == size:
                return piece
            received += piece
            if len(received) < size and pace.is_late:
                raise _too_slow()
        return received


def _too_slow() -> LineError:
    return LineError("too_slow", "data arrived too slowly, so the connection was ended; the sender can try again")


def _check_head(kind: int, length: int, state: str) -> None:
    """Refuse a PDU, before it is read, that is not allowed now or not in that size."""
    if kind == _ABORT and length == _FIXED_BYTES:
        return
    if state == _AWAITS_REQUEST:
        if kind != _REQUEST:
            raise LineError("bad_association_request", "the connection did not begin with an association request")
        if length > REQUEST_BYTES:
            raise LineError("bad_association_request", f"the association request is larger than {REQUEST_BYTES} bytes")
        return
    largest = {_P_DATA: MAXIMUM_PDU_BYTES + HEAD_BYTES, _RELEASE: _FIXED_BYTES}.get(kind, -1)
    if state != _ESTABLISHED or length > largest or (kind == _RELEASE and length != _FIXED_BYTES):
        is_data = kind == _P_DATA and state == _ESTABLISHED
        what = "a P-DATA-TF PDU is larger than negotiated" if is_data else "a PDU is not allowed at this point"
        raise LineError("protocol_error", f"the association was aborted: {what}")


def limit_waits(connection: socket.socket, seconds: float) -> None:
    """End reads and writes when a peer falls silent within a PDU; otherwise its threads would wait for ever."""
    limit = struct.pack("ll", int(seconds), int(1e6 * (seconds % 1)))
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, ANSWER_BUFFER_BYTES)
