"""pynetdicom's requestor for a line that can fail at any moment, and for peers that answer in their own way.

As it comes, a request for which the association has ended a moment before raises RuntimeError, one whose thread has
ended with it waits for ever, and an acceptance that is not to the letter ends without a word. Here a line that fails
is no answer, which is a value; a peer's habits are read over (`viewer_integration.transport.acceptance`).
"""

# ruff: noqa: SLF001 - what is exchanged here pynetdicom offers no other way to; its version is pinned, and
# tests/unit/viewer_integration/test_requestor.py holds over raw sockets what it must do

import queue
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, TypeVar, cast

from pydicom.dataset import Dataset
from pynetdicom import evt
from pynetdicom.association import Association
from pynetdicom.dul import DULServiceProvider
from pynetdicom.pdu_primitives import A_P_ABORT, P_DATA
from pynetdicom.transport import AssociationSocket

from viewer_integration.transport.acceptance import ACCEPTED, as_pynetdicom_reads_it

__all__ = ["LARGEST_PDU_BYTES", "guard_answers", "guard_requests", "let_go", "limit_data_sets"]

LARGEST_PDU_BYTES = 2**20
"""Of what a peer sends, as it is told when it is called; one that claims more is not read."""

LOOK_S = 0.5
"""How often, while an answer is waited for, it is looked whether the association still lives."""

_LARGEST_ID = 2**16 - 1

_LAST = 0x02
"""Bit of the message control header (PS3.8 E.2)."""

_REJECTED = 0x03
_REJECTIONS = {1: (1, 2, 3, 7), 2: (1, 2), 3: (1, 2)}
"""Reasons of a rejection by its source, that are named in PS3.8 table 9-21."""

_Answer = TypeVar("_Answer")
_Answers = Iterator[tuple[Dataset, Dataset | None]]


def guard_requests(event: evt.Event) -> None:
    """Make of an association one that takes a failing line for no answer; for EVT_CONN_OPEN.

    At that moment nothing has been asked yet. A send or the rest of a PDU is waited for as long as an answer is: a
    peer that is frozen keeps its connection, and the thread would stay in it for ever.
    """
    assoc = event.assoc
    guarded = cast("_Association", assoc)
    guarded.__class__, guarded.line, guarded.asked = _Association, None, 0
    assoc.dul.__class__ = _UpperLayer
    assoc.dul.state_machine.do_action = partial(  # type: ignore[method-assign]
        _act, assoc, assoc.dul.state_machine.do_action
    )
    transport = assoc.dul.socket
    if transport is not None:
        transport.__class__ = _Transport
    if transport is not None and transport.socket is not None and assoc.dimse_timeout is not None:
        limit = struct.pack("ll", int(assoc.dimse_timeout), int(1e6 * (assoc.dimse_timeout % 1)))
        guarded.line = transport.socket
        transport.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
        transport.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)


def _act(assoc: Association, act: Callable[[str], None], event: str) -> None:
    """Let the upper layer act on what has come; over what it cannot make anything of, the association ends."""
    try:
        act(event)
    except Exception:  # noqa: BLE001 - pynetdicom raises many kinds for what a peer may send; the caller says the rest
        ended = A_P_ABORT()
        ended.provider_reason = 0x06  # an unexpected parameter value (PS3.8 table 9-26)
        assoc.dul.to_user_queue.put(ended)
        assoc.is_established, assoc.is_aborted = False, True
        assoc._kill = assoc.dul._kill_thread = True
        if assoc.dul.socket is not None:
            assoc.dul.socket.close()


def guard_answers(assoc: Association) -> None:
    """Keep pynetdicom's reactor from taking the answer that a request waits for.

    A request pauses the reactor thread and then sends. In pynetdicom 3.0.4 the thread can have passed its checkpoint
    a moment before, and take an answer that comes within milliseconds off the queue as an unexpected message. Here
    passing and pausing exclude each other. An answer is not waited for on an association that has ended.
    """
    lock = threading.Lock()

    class Checkpoint(threading.Event):
        def clear(self) -> None:
            with lock:
                super().clear()

    checkpoint, take = Checkpoint(), assoc.dimse.get_msg
    checkpoint.set()

    def guarded(*, block: bool = False) -> Any:  # noqa: ANN401 - as pynetdicom's
        if block:
            return _next_message(assoc)
        with lock:
            return take(block=False) if checkpoint.is_set() else (None, None)

    assoc._reactor_checkpoint = checkpoint
    assoc.dimse.get_msg = guarded  # type: ignore[method-assign, assignment]


def limit_data_sets(assoc: Association, largest_bytes: int, too_large: Callable[[], None]) -> None:
    """End an association over which a larger data set comes, or command, before it fills the memory.

    Parameters
    ----------
    too_large
        Told when that is so.
    """
    take, size, was_last = assoc.dimse.receive_primitive, 0, False

    def limited(primitive: P_DATA) -> None:
        nonlocal size, was_last
        for _, value in primitive.presentation_data_value_list:
            size, was_last = (0 if was_last else size) + len(value) - 1, bool(value[0] & _LAST)
            if size > largest_bytes:
                too_large()
                assoc.dul.event_queue.put("Evt15")  # this side aborts
                return
        take(primitive)

    assoc.dimse.receive_primitive = limited  # type: ignore[method-assign]


def let_go(assoc: Association) -> None:
    """Close the connection of an association that was not granted; pynetdicom leaves it to the collector."""
    if isinstance(assoc, _Association):
        assoc.dul.kill_dul()
        assoc.dul.join(LOOK_S)
        assoc.close_line()


def _next_message(assoc: Association) -> Any:  # noqa: ANN401 - as pynetdicom's
    """Wait for an answer as long as one may come."""
    left_s = assoc.dimse_timeout
    while left_s is None or left_s > 0:
        alive = assoc.dul.is_alive()
        try:
            found = assoc.dimse.msg_queue.get(timeout=LOOK_S)
            asked, answered = getattr(assoc, "asked", 0), getattr(found[1], "MessageIDBeingRespondedTo", None)
            if not asked or answered in (None, asked):
                return found
            if answered > asked:
                break  # of something that was never asked: it proves nothing of what was
        except queue.Empty:
            if not alive:
                break
        left_s = None if left_s is None else left_s - LOOK_S
    return None, None


class _Association(Association):
    """An association over which a request that cannot be sent any more has no answer.

    Attributes
    ----------
    line
        Its connection, which pynetdicom leaves open where the other side was the first to close it.
    asked
        The message ID of the C-STORE request whose answer is waited for; 0 for other requests. pynetdicom gives each
        the ID 1, and takes any answer for that of the last.
    """

    line: socket.socket | None
    asked: int

    @property
    def _is_paused(self) -> bool:
        """Tell whether the reactor leaves the answers alone, as one that has ended does."""
        return bool(self.__dict__["_is_paused"]) or self._kill

    @_is_paused.setter
    def _is_paused(self, value: bool) -> None:
        self.__dict__["_is_paused"] = value

    def send_c_echo(self, *arguments: Any, **options: Any) -> Dataset:  # noqa: ANN401 - as there
        return self._answered(partial(super().send_c_echo, *arguments, **options), Dataset())

    def send_c_store(self, *arguments: Any, **options: Any) -> Dataset:  # noqa: ANN401 - as there
        self.asked = self.asked % _LARGEST_ID + 1
        return self._answered(partial(super().send_c_store, *arguments, **options | {"msg_id": self.asked}), Dataset())

    def send_c_find(self, *arguments: Any, **options: Any) -> _Answers:  # noqa: ANN401 - as there
        return self._all_answered(partial(super().send_c_find, *arguments, **options))

    def send_c_get(self, *arguments: Any, **options: Any) -> _Answers:  # noqa: ANN401 - as there
        return self._all_answered(partial(super().send_c_get, *arguments, **options))

    def send_c_move(self, *arguments: Any, **options: Any) -> _Answers:  # noqa: ANN401 - as there
        return self._all_answered(partial(super().send_c_move, *arguments, **options))

    def send_n_action(self, *arguments: Any, **options: Any) -> tuple[Dataset, Dataset | None]:  # noqa: ANN401 - as there
        nothing: tuple[Dataset, Dataset | None] = (Dataset(), None)
        return self._answered(partial(super().send_n_action, *arguments, **options), nothing)

    def release(self) -> None:
        self._answered(super().release, None)

    def kill(self) -> None:
        super().kill()
        self.close_line()

    def close_line(self) -> None:
        """Close the connection for certain."""
        if self.line is not None:
            self.line.close()

    def _all_answered(self, ask: Callable[[], _Answers]) -> _Answers:
        """Begin at once, so that what is wrong with a request is told to who makes it."""
        nothing = Dataset(), None
        return self._rest(self._answered(ask, iter([nothing])))

    def _rest(self, answers: _Answers) -> _Answers:
        while (answer := self._answered(partial(next, answers, None), (Dataset(), None))) is not None:
            yield answer

    def _answered(self, ask: Callable[[], _Answer], nothing: _Answer) -> _Answer:
        """Return the answer, or nothing where the association has ended before or meanwhile."""
        try:
            return ask()
        except Exception:
            # Whatever pynetdicom raises on its way through an association that is gone is the line's fault.
            if self.is_established:
                raise
            return nothing


class _Transport(AssociationSocket):
    """Reads no PDU that is larger than a peer may send."""

    def recv(self, nr_bytes: int) -> bytearray:
        if nr_bytes > LARGEST_PDU_BYTES:
            message = f"a PDU of {nr_bytes} bytes was announced, where {LARGEST_PDU_BYTES} are taken"
            raise OSError(message)
        return super().recv(nr_bytes)


class _UpperLayer(DULServiceProvider):
    """Reads over the habits of peers."""

    def _decode_pdu(self, bytestream: bytearray) -> tuple[Any, str]:
        if bytestream[0] == _REJECTED:
            return super()._decode_pdu(_known_rejection(bytestream))
        if bytestream[0] != ACCEPTED:
            return super()._decode_pdu(bytestream)
        pdu, event = super()._decode_pdu(bytearray(as_pynetdicom_reads_it(bytes(bytestream))))
        pdu.to_primitive()  # what cannot be read is told here, where pynetdicom aborts; later its thread would end
        return pdu, event


def _known_rejection(pdu: bytearray) -> bytearray:
    """Return a rejection as it came, or without its reason where that is none of PS3.8 table 9-21."""
    known = pdu[8] in _REJECTIONS and pdu[9] in _REJECTIONS[pdu[8]] and pdu[7] in (1, 2) if len(pdu) == 10 else True
    return pdu if known else pdu[:7] + bytes((1, 1, 1))
