"""Adapt pynetdicom's requestor to connections that can fail at any moment, and to peers that deviate from the standard.

In pynetdicom itself, a request raises RuntimeError if the association has just ended, and waits for ever if its thread
has ended too. An acceptance that deviates from the standard ends without an explanation. Here a failed connection is
"no answer", which is a value, and deviations are tolerated (`viewer_integration.transport.acceptance`).
"""

# ruff: noqa: SLF001 - pynetdicom offers no other way to replace these parts. Its version is pinned, and
# tests/unit/viewer_integration/test_requestor.py checks the behaviour over raw sockets.

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
"""Maximum length that is announced to a peer; a PDU that claims more is not read."""

POLL_S = 0.5
"""Interval of checking, while waiting for an answer, whether the association still exists."""

_LARGEST_ID = 2**16 - 1

_LAST = 0x02
"""Bit of the message control header (PS3.8 E.2)."""

_REJECTED = 0x03
_REJECTIONS = {1: (1, 2, 3, 7), 2: (1, 2), 3: (1, 2)}
"""Reasons of a rejection, by its source, that PS3.8 table 9-21 lists."""

_Answer = TypeVar("_Answer")
_Answers = Iterator[tuple[Dataset, Dataset | None]]


def guard_requests(event: evt.Event) -> None:
    """Make an association treat a failed connection as no answer; for EVT_CONN_OPEN.

    At that moment nothing has been requested yet. Sending, and reading the rest of a PDU, have the same time limit as
    an answer: a frozen peer keeps its connection open, and the thread would wait in it for ever.
    """
    assoc = event.assoc
    guarded = cast("_Association", assoc)
    guarded.__class__, guarded.connection, guarded.awaited_id = _Association, None, 0
    assoc.dul.__class__ = _UpperLayer
    assoc.dul.state_machine.do_action = partial(  # type: ignore[method-assign]
        _act, assoc, assoc.dul.state_machine.do_action
    )
    transport = assoc.dul.socket
    if transport is not None:
        transport.__class__ = _Transport
    if transport is not None and transport.socket is not None and assoc.dimse_timeout is not None:
        limit = struct.pack("ll", int(assoc.dimse_timeout), int(1e6 * (assoc.dimse_timeout % 1)))
        guarded.connection = transport.socket
        transport.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
        transport.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)


def _act(assoc: Association, act: Callable[[str], None], event: str) -> None:
    """Let the upper layer act on an event; if it fails on what the peer sent, end the association."""
    try:
        act(event)
    except Exception:  # noqa: BLE001 - pynetdicom raises many kinds for what a peer may send; the caller reports it
        ended = A_P_ABORT()
        ended.provider_reason = 0x06  # an unexpected parameter value (PS3.8 table 9-26)
        assoc.dul.to_user_queue.put(ended)
        assoc.is_established, assoc.is_aborted = False, True
        assoc._kill = assoc.dul._kill_thread = True
        if assoc.dul.socket is not None:
            assoc.dul.socket.close()


def guard_answers(assoc: Association) -> None:
    """Keep pynetdicom's reactor from taking the answer that a request waits for.

    A request pauses the reactor thread and then sends. In pynetdicom 3.0.4 the thread may have passed its checkpoint
    just before. It then takes an answer that arrives within milliseconds off the queue as an unexpected message. Here
    passing and pausing exclude each other. A request does not wait for an answer on an association that has ended.
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
    """End an association when a data set or command exceeds a size, before it fills the memory.

    Parameters
    ----------
    too_large
        Called when that happens.
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
    """Close the connection of an association that was not established; pynetdicom leaves that to garbage collection."""
    if isinstance(assoc, _Association):
        assoc.dul.kill_dul()
        assoc.dul.join(POLL_S)
        assoc.close_connection()


def _next_message(assoc: Association) -> Any:  # noqa: ANN401 - as pynetdicom's
    """Wait for an answer as long as one may arrive."""
    left_s = assoc.dimse_timeout
    while left_s is None or left_s > 0:
        alive = assoc.dul.is_alive()
        try:
            message = assoc.dimse.msg_queue.get(timeout=POLL_S)
            awaited, answered = getattr(assoc, "awaited_id", 0), getattr(message[1], "MessageIDBeingRespondedTo", None)
            if not awaited or answered in (None, awaited):
                return message
            if answered > awaited:
                break  # the answer to a request that was never sent proves nothing
        except queue.Empty:
            if not alive:
                break
        left_s = None if left_s is None else left_s - POLL_S
    return None, None


class _Association(Association):
    """An association in which a request that can no longer be sent has no answer.

    Attributes
    ----------
    connection
        Its socket, which pynetdicom leaves open where the other side closed it first.
    awaited_id
        The message ID of the C-STORE request whose answer is awaited; 0 for other requests. pynetdicom gives every
        request the ID 1, and takes any answer for that to the last request.
    """

    connection: socket.socket | None
    awaited_id: int

    @property
    def _is_paused(self) -> bool:
        """Return whether the reactor leaves the answers alone, as it does after the end of the association."""
        return bool(self.__dict__["_is_paused"]) or self._kill

    @_is_paused.setter
    def _is_paused(self, value: bool) -> None:
        self.__dict__["_is_paused"] = value

    def send_c_echo(self, *arguments: Any, **options: Any) -> Dataset:  # noqa: ANN401 - as there
        return self._answered(partial(super().send_c_echo, *arguments, **options), Dataset())

    def send_c_store(self, *arguments: Any, **options: Any) -> Dataset:  # noqa: ANN401 - as there
        self.awaited_id = self.awaited_id % _LARGEST_ID + 1
        numbered = options | {"msg_id": self.awaited_id}
        return self._answered(partial(super().send_c_store, *arguments, **numbered), Dataset())

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
        self.close_connection()

    def close_connection(self) -> None:
        """Close the connection in any case."""
        if self.connection is not None:
            self.connection.close()

    def _all_answered(self, ask: Callable[[], _Answers]) -> _Answers:
        """Send the request at once, so that an invalid request raises in the caller."""
        nothing = Dataset(), None
        return self._rest(self._answered(ask, iter([nothing])))

    def _rest(self, answers: _Answers) -> _Answers:
        while (answer := self._answered(partial(next, answers, None), (Dataset(), None))) is not None:
            yield answer

    def _answered(self, ask: Callable[[], _Answer], nothing: _Answer) -> _Answer:
        """Return the answer, or `nothing` where the association had ended or ends meanwhile."""
        try:
            return ask()
        except Exception:
            # Whatever pynetdicom raises in an association that has ended is due to the connection.
            if self.is_established:
                raise
            return nothing


class _Transport(AssociationSocket):
    """Refuses to read a PDU that is larger than a peer may send."""

    def recv(self, nr_bytes: int) -> bytearray:
        if nr_bytes > LARGEST_PDU_BYTES:
            message = f"a PDU of {nr_bytes} bytes was announced; {LARGEST_PDU_BYTES} bytes are the limit"
            raise OSError(message)
        return super().recv(nr_bytes)


class _UpperLayer(DULServiceProvider):
    """Tolerates deviations of peers from the standard."""

    def _decode_pdu(self, bytestream: bytearray) -> tuple[Any, str]:
        if bytestream[0] == _REJECTED:
            return super()._decode_pdu(_known_rejection(bytestream))
        if bytestream[0] != ACCEPTED:
            return super()._decode_pdu(bytestream)
        pdu, event = super()._decode_pdu(bytearray(as_pynetdicom_reads_it(bytes(bytestream))))
        pdu.to_primitive()  # raises here, where pynetdicom aborts, if it cannot be read; later its thread would end
        return pdu, event


def _known_rejection(pdu: bytearray) -> bytearray:
    """Return a rejection unchanged, or without its reason where PS3.8 table 9-21 does not list that."""
    known = pdu[8] in _REJECTIONS and pdu[9] in _REJECTIONS[pdu[8]] and pdu[7] in (1, 2) if len(pdu) == 10 else True
    return pdu if known else pdu[:7] + bytes((1, 1, 1))
