"""A connection that is read in large pieces, within limits of size and time, whatever comes over it.

A PDU is measured before it is read: by its type, and by what may come at that point of an association (PS3.8 9.2, 9.3).
"""

# ruff: noqa: SLF001 - as in prompt_association.py, which puts this in the place of pynetdicom's

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
"""Announced to senders as the largest P-DATA-TF PDU, and held: as fast as without limit, and a MiB of memory each."""

REQUEST_BYTES = 2**19
"""128 presentation contexts with forty transfer syntaxes each are 0.4 MB."""

SLOWEST_BYTES_PER_S = 1024
"""A modem of 1998 was five times faster; who is slower than this for long holds a seat and brings nothing."""

ANSWER_BUFFER_BYTES = 2**16
"""Some hundred answers; a sender that takes none is noticed by them, and the kernel would keep megabytes of them."""

HEAD_BYTES = 6
_HEAD = struct.Struct(">BBI")
_REQUEST, _P_DATA, _RELEASE, _ABORT = 0x01, 0x04, 0x05, 0x07
_FIXED_BYTES = 4
"""Of a request for release and of an abort (PS3.8 9.3.6, 9.3.8)."""

_AWAITS_REQUEST, _ESTABLISHED = "Sta2", "Sta6"


class LineError(Exception):
    """Something came that is not read; the code and the text say why, the text for people."""

    def __init__(self, code: str, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code


@dataclass(kw_only=True)
class Pace:
    """How long something may take: a time, and longer only while it comes at a rate that leads somewhere."""

    limit_s: float
    bytes_per_s: int = 0
    received: int = 0
    _began: float = field(default_factory=time.monotonic)

    def begin_anew(self) -> None:
        """Count from now."""
        self._began, self.received = time.monotonic(), 0

    @property
    def is_late(self) -> bool:
        """Whether it has taken longer."""
        earned = self.received / self.bytes_per_s if self.bytes_per_s else 0.0
        return time.monotonic() - self._began > self.limit_s + earned


class Line(AssociationSocket):
    """The connection of an association."""

    connection: socket.socket
    """Also when pynetdicom has forgotten it, which is before it is closed where the other side was the first."""

    def wait(self, timeout_s: float) -> bool:
        """Wait until there is something to read, or the line is dead."""
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
        """Read one PDU, its head and the rest; shorter than it says where the other side closed first.

        Parameters
        ----------
        state
            Of the state machine.

        Raises
        ------
        LineError
            For what may not come then, is too large or too slow.
        OSError
            When the connection is dead, or silent for longer than it may be.
        """
        if pace.is_late:  # a message that drips in whole PDUs
            raise _too_slow()
        head = self._read(HEAD_BYTES, pace)
        if len(head) < HEAD_BYTES:
            return head, b""
        kind, _, length = _HEAD.unpack(head)
        _check_head(kind, length, state)
        return head, self._read(length, pace)

    def discard(self) -> bool:
        """Read what there is and forget it; tell whether the other side has not closed yet."""
        try:
            return bool(self.connection.recv(MAXIMUM_PDU_BYTES, socket.MSG_DONTWAIT))
        except BlockingIOError:
            return True
        except OSError:
            return False

    def send(self, bytestream: bytes) -> None:
        """Send; a peer that takes its answers too slowly is hung up on, as one that takes none."""
        pace, rest = Pace(limit_s=self.assoc.network_timeout or 0.0), memoryview(bytestream)
        try:
            while rest:
                rest = rest[cast("socket.socket", self.socket).send(rest) :]
                if rest and pace.is_late:
                    raise TimeoutError
        except (OSError, AttributeError, ValueError):  # also closed meanwhile by another thread
            self.event_queue.put("Evt17")

    def hang_up(self) -> None:
        """Have whoever waits for the connection see its end; another thread may say this."""
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def _read(self, size: int, pace: Pace) -> bytes | bytearray:
        """Read so many bytes; what comes whole, as nearly always, is not copied."""
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
            idle.restart()  # a large PDU over a slow line is traffic too
            if len(piece) == size:
                return piece
            received += piece
            if len(received) < size and pace.is_late:
                raise _too_slow()
        return received


def _too_slow() -> LineError:
    return LineError("too_slow", "what came was so slow that it was not waited for any longer; the sender tries again")


def _check_head(kind: int, length: int, state: str) -> None:
    """Refuse, before it is read, what may not come now, or not in that size."""
    if kind == _ABORT and length == _FIXED_BYTES:
        return
    if state == _AWAITS_REQUEST:
        if kind != _REQUEST:
            raise LineError("bad_association_request", "something else came where a request for association belongs")
        if length > REQUEST_BYTES:
            raise LineError(
                "bad_association_request", f"the request for association has more than {REQUEST_BYTES} bytes"
            )
        return
    largest = {_P_DATA: MAXIMUM_PDU_BYTES + HEAD_BYTES, _RELEASE: _FIXED_BYTES}.get(kind, -1)
    if state != _ESTABLISHED or length > largest or (kind == _RELEASE and length != _FIXED_BYTES):
        what = "a message in a PDU larger than was agreed" if kind == _P_DATA and state == _ESTABLISHED else "a PDU"
        raise LineError("protocol_error", f"the association was ended: {what} came that may not come there")


def limit_waits(connection: socket.socket, seconds: float) -> None:
    """Have reads and writes end when a peer falls silent within a PDU; else its threads would wait for ever."""
    limit = struct.pack("ll", int(seconds), int(1e6 * (seconds % 1)))
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, ANSWER_BUFFER_BYTES)
