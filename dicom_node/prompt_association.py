"""pynetdicom's acceptor, woken by what happens instead of looking every millisecond, and answering C-STORE at once.

As it comes, two threads for each association look a thousand times a second whether there is something to do, a
message waits for both of them in turn, and a PDU is read in pieces of 4 KiB. At sixteen associations that looking alone
took more of the processor than receiving (`benchmarks/ingest.md`). Here the thread that reads a request also answers
it, and the messages of C-STORE pass without pydicom.
"""

# ruff: noqa: SLF001 - what is exchanged here pynetdicom offers no other way to; its version is pinned, and
# tests/unit/dicom_node/test_prompt_association.py holds what it must do

import copy
import queue
import select
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from typing import Any, cast

from pynetdicom.association import Association
from pynetdicom.dimse import DIMSEServiceProvider
from pynetdicom.dul import DULServiceProvider
from pynetdicom.pdu import P_DATA_TF
from pynetdicom.pdu_items import PresentationDataValueItem
from pynetdicom.pdu_primitives import P_DATA
from pynetdicom.presentation import PresentationContext
from pynetdicom.transport import AssociationSocket, RequestHandler

from dicom_node.store_command import StoreCommand, read_store_command, store_response

__all__ = ["OnStore", "PromptRequestHandler", "SupportedContexts"]

OnStore = Callable[[Association, StoreCommand, str, bytes], int]
"""Stores a data set that came over an association in a transfer syntax; returns the status."""

LOOK_S = 0.05
"""How long a thread sleeps when nobody wakes it: what pynetdicom does in one thread it may only notice in another."""

GLANCE_S = 0.001
"""The same where it is for the association's thread to speak: it accepts, or answers a request for release."""

LOOKS_PER_TIMEOUT = 4
"""How often, until an association without traffic is given up, it is looked whether the rest of a PDU comes."""

PIECE_BYTES = 2**20
"""What a peer declares as the length of a PDU is taken on trust no further than this."""

_ITEM = struct.Struct(">IB")
_PDU_HEAD_BYTES = 6
_SHORTEST_ITEM = 2
"""Context ID and message control header (PS3.8 9.3.5.1)."""

_P_DATA_TF, _EVENT_OF_P_DATA = 0x04, "Evt10"

_COMMAND, _LAST = 0x01, 0x02
"""Bits of the message control header (PS3.8 E.2)."""

_CLOSED, _PEERS_TURN = "Sta13", ("Sta2", "Sta6")
"""Waiting for the connection to be closed; for a request for association, or in the middle of one (PS3.8 9.2)."""


class SupportedContexts(list[PresentationContext]):
    """What a server supports, copied for each association one level deep.

    pynetdicom copies every transfer syntax of every context, which took longer than all the rest of an association's
    beginning; nothing changes them there.
    """

    def __deepcopy__(self, _memo: dict[int, Any]) -> "SupportedContexts":
        return SupportedContexts(copy.copy(context) for context in self)


class PromptRequestHandler(RequestHandler):
    """Makes of each connection a prompt association."""

    def __init__(self, request: Any, address: Any, server: Any, *, on_store: OnStore) -> None:  # noqa: ANN401 - as there
        self._on_store = on_store
        super().__init__(request, address, server)  # does all the work

    def _create_association(self) -> Association:
        assoc = super()._create_association()
        line = cast("AssociationSocket", assoc.dul.socket)
        # Nothing runs yet: the parts that pynetdicom put together are exchanged before the first thread starts.
        assoc.__class__ = _Association
        assoc.dul.__class__ = _UpperLayer
        line.__class__ = _Line
        assoc._reactor_checkpoint = _Checkpoint()
        assoc.dul._run_loop_delay = 0.0
        assoc.dimse.__class__ = _Messages
        cast("_Messages", assoc.dimse).serve_at_once(self._on_store)
        if assoc.network_timeout is not None:
            _limit_waits(cast("socket.socket", line.socket), assoc.network_timeout / LOOKS_PER_TIMEOUT)
        return assoc


class _Checkpoint(threading.Event):
    """Where the association's own thread waits: until it may go on, and until there is something to look at."""

    def __init__(self) -> None:
        super().__init__()
        self._news = threading.Event()
        self.set()

    def set(self) -> None:
        super().set()
        self._news.set()

    def tell(self) -> None:
        """Wake the association's thread."""
        self._news.set()

    def wait(self, timeout: float | None = None) -> bool:
        self._news.wait(LOOK_S)
        self._news.clear()
        return super().wait(timeout)


class _Association(Association):
    """An association whose requests are answered by the thread that reads them."""

    def _abort_blocking(self, block: bool = True) -> None:  # noqa: FBT001, FBT002 - as there
        # The thread that reads cannot wait for its own end.
        super()._abort_blocking(block and threading.current_thread() is not self.dul)


class _Messages(DIMSEServiceProvider):
    """Answers a request when its last fragment has come, a C-STORE without taking it apart further than needed."""

    _on_store: OnStore
    _storing: tuple[int, StoreCommand] | None
    _fragments: list[memoryview]

    def serve_at_once(self, on_store: OnStore) -> None:
        """Take the place of what pynetdicom made."""
        self._on_store, self._storing, self._fragments = on_store, None, []
        self.msg_queue = cast("Any", _ServedAtOnce(self.assoc))

    def receive_primitive(self, primitive: P_DATA) -> None:
        for context_id, value in primitive.presentation_data_value_list:
            if not self._is_of_store(context_id, value):
                one = P_DATA()
                one._presentation_data_value_list.append((context_id, value))
                super().receive_primitive(one)

    def _is_of_store(self, context_id: int, value: bytes) -> bool:
        """Take a fragment of a C-STORE request; a command set that comes in pieces is left to pynetdicom."""
        control = value[0]
        if self._storing is None:
            begins = self.message is None and control & (_COMMAND | _LAST) == (_COMMAND | _LAST)
            command = read_store_command(value[1:]) if begins and context_id in self.assoc._accepted_cx else None
            if command is not None:
                self._storing = (context_id, command)
            return command is not None
        if control & _COMMAND or context_id != self._storing[0]:
            self.dul.event_queue.put("Evt19")  # as pynetdicom does with a message that is not one
            return True
        self._fragments.append(memoryview(value)[1:])
        if control & _LAST:
            self._store(*self._storing)
        return True

    def _store(self, context_id: int, command: StoreCommand) -> None:
        data_set = b"".join(self._fragments)
        self._storing, self._fragments = None, []
        status = self._on_store(self.assoc, command, self.assoc._accepted_cx[context_id].transfer_syntax[0], data_set)
        answer = P_DATA()
        answer._presentation_data_value_list.append(
            (context_id, bytes([_COMMAND | _LAST]) + store_response(command, status))
        )
        self.dul.send_pdu(answer)


class _ServedAtOnce:
    """Stands where requests would wait for the association's thread."""

    queue: tuple[()] = ()

    def __init__(self, assoc: Association) -> None:
        self._assoc = assoc

    def put(self, item: tuple[int, Any]) -> None:
        """Answer a request; an empty one is how pynetdicom wakes who waits for a response, as nobody does here."""
        context_id, message = item
        if message is not None:
            self._assoc._serve_request(message, context_id)

    def get(self, **_how: object) -> tuple[int, Any]:
        """Tell that nothing waits."""
        raise queue.Empty


class _UpperLayer(DULServiceProvider):
    """Sleeps until something comes over the line."""

    def run_reactor(self) -> None:
        try:
            super().run_reactor()
        finally:
            self._tell()

    def _is_transport_event(self) -> bool:
        if self.to_user_queue.queue:  # a release or an abort
            self._tell()
        if self.state_machine.current_state == _CLOSED or not self.event_queue.empty():
            return super()._is_transport_event()
        is_peers_turn = self.state_machine.current_state in _PEERS_TURN
        if not cast("_Line", self.socket).wait(LOOK_S if is_peers_turn else GLANCE_S):
            return False
        self._read_pdu_data()
        return True

    def _decode_pdu(self, bytestream: bytearray) -> tuple[Any, str]:
        if bytestream[0] != _P_DATA_TF:
            return super()._decode_pdu(bytestream)
        pdu = P_DATA_TF()
        pdu.presentation_data_value_items = list(_items(bytestream))
        return pdu, _EVENT_OF_P_DATA

    def _tell(self) -> None:
        cast("_Checkpoint", self.assoc._reactor_checkpoint).tell()


class _Line(AssociationSocket):
    """A connection that is read in large pieces."""

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

    def recv(self, nr_bytes: int) -> bytearray:
        received, idle = bytearray(), self.assoc.dul._idle_timer
        while len(received) < nr_bytes:
            wanted = min(nr_bytes - len(received), PIECE_BYTES)
            try:
                piece = cast("socket.socket", self.socket).recv(wanted, socket.MSG_WAITALL)
            except BlockingIOError:
                if idle.expired:
                    raise
                continue
            if not piece:
                break
            received += piece
            idle.restart()  # a large PDU over a slow line is traffic too
        return received


def _items(pdu: bytearray) -> Iterator[PresentationDataValueItem]:
    """Yield the presentation data values of a P-DATA-TF PDU (PS3.8 9.3.5).

    Raises
    ------
    ValueError
        When their lengths do not add up.
    """
    offset, view = _PDU_HEAD_BYTES, memoryview(pdu)
    while offset < len(pdu):
        length, context_id = _ITEM.unpack_from(pdu, offset) if offset + _ITEM.size <= len(pdu) else (0, 0)
        end = offset + 4 + length
        if length < _SHORTEST_ITEM or end > len(pdu):
            message = "the lengths in a P-DATA-TF PDU do not add up"
            raise ValueError(message)
        item = PresentationDataValueItem()
        item.presentation_context_id = context_id
        item.presentation_data_value = bytes(view[offset + _ITEM.size : end])
        yield item
        offset = end


def _limit_waits(connection: socket.socket, seconds: float) -> None:
    """Have reads and writes end when a peer falls silent within a PDU; else its threads would wait for ever."""
    limit = struct.pack("ll", int(seconds), int(1e6 * (seconds % 1)))
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
