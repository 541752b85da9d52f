"""The thread that reads an association: sleeps until data arrive, and accepts only what PS3.8 9 allows."""

# ruff: noqa: SLF001 - as in prompt_association.py, which replaces pynetdicom's class by this one

import struct
import threading
import time
from typing import Any, cast

import structlog
from pynetdicom.dul import DULServiceProvider
from pynetdicom.pdu_primitives import A_P_ABORT

from dicom_node.reception.acceptor.association_request import ABORTED, BadRequest, mend_request
from dicom_node.reception.acceptor.data_pdu import DataPdu
from dicom_node.reception.acceptor.line import HEAD_BYTES, SLOWEST_BYTES_PER_S, Line, LineError, Pace, limit_waits
from dicom_node.reception.acceptor.messages import Messages, Services

__all__ = ["Checkpoint", "UpperLayer"]

_log = structlog.get_logger()

LOOK_S = 0.05
"""How long a thread sleeps if nothing wakes it: pynetdicom changes state in one thread without waking the other."""

GLANCE_S = 0.001
"""The same while the association's thread is to send: it accepts, or answers a release request."""

LOOKS_PER_TIMEOUT = 4
"""How often a read of an incomplete PDU is checked before an association without traffic is closed."""

TIMEOUTS_PER_MESSAGE = 4
"""Time limit for a message, as a multiple of the network timeout; longer where data arrive fast enough."""

LINGER_S = 1.0
"""How long data from a peer are ignored after the last PDU to it, which a reset of the connection could overtake."""

_REQUEST, _REJECTION, _P_DATA_TF, _EVENT_OF_P_DATA, _ABORT = 0x01, 0x03, 0x04, "Evt10", 0x07
_PLAIN_ABORT = b"\7\0\0\0\0\4\0\0\0\0"
"""An abort by the service user: this node ignores source and reason of an abort, but pynetdicom checks them."""

_INVALID, _DEAD = "Evt19", "Evt17"

_AWAITS_REQUEST, _CLOSED, _PEERS_TURN = "Sta2", "Sta13", ("Sta2", "Sta6")
"""States (PS3.8 9.2): awaiting the association request; awaiting the close; those in which the peer is to send."""


class Checkpoint(threading.Event):
    """Where the association's own thread waits for news, and for permission to continue."""

    def __init__(self) -> None:
        super().__init__()
        self._news = threading.Event()
        self.set()

    def set(self) -> None:
        """Let the association's thread continue, and wake it."""
        super().set()
        self._news.set()

    def wake(self) -> None:
        """Wake the association's thread."""
        self._news.set()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for news or a short time, then for permission to continue."""
        self._news.wait(LOOK_S)
        self._news.clear()
        return super().wait(timeout)


class UpperLayer(DULServiceProvider):
    """Sleeps until data arrive over the connection, and accepts only what is allowed."""

    def limit(self, services: Services, association_timeout_s: float, network_timeout_s: float) -> None:
        """Set how long an association request may take, and how slow a message may be."""
        self._services = services
        self._request_pace = Pace(limit_s=association_timeout_s)
        self._message_pace = Pace(limit_s=TIMEOUTS_PER_MESSAGE * network_timeout_s, bytes_per_s=SLOWEST_BYTES_PER_S)
        self._lingers_until = 0.0
        self._left_unread = self._made_room = False
        limit_waits(self._line.connection, min(association_timeout_s, network_timeout_s) / LOOKS_PER_TIMEOUT)

    def make_room(self) -> None:
        """Close a connection that waits for acceptance, in favour of another; other threads call this."""
        self._made_room = True
        self._line.hang_up()

    def run(self) -> None:
        """Run this class's `run_reactor`, as in `prompt_association`."""
        self.run_reactor()

    def run_reactor(self) -> None:
        """Read until the connection has ended, and notify the association's thread in every case."""
        try:
            super().run_reactor()
        except Exception as error:  # noqa: BLE001 - the thread ends here, and its connection, whatever arrived
            _log.error("connection_failed", exc_info=error)
        finally:
            cast("Messages", self.assoc.dimse).give_up()
            self._kill_thread = True
            self._wake_association()

    def _wake_association(self) -> None:
        """Notify the association's thread that this one has ended; otherwise it would wait for a request."""
        ended = A_P_ABORT()
        ended.provider_reason = 0
        self.to_user_queue.put(ended)
        self._wake()

    @property
    def _line(self) -> Line:
        return cast("Line", self.socket)

    @property
    def _awaits_request(self) -> bool:
        return self.state_machine.current_state == _AWAITS_REQUEST

    def _is_transport_event(self) -> bool:
        if self.to_user_queue.queue:  # a release or an abort
            self._wake()
        if self.state_machine.current_state == _CLOSED:
            self._close_gently()
            return True
        if not self.event_queue.empty():
            return False
        if self._awaits_request and self._request_pace.is_late:
            self._refuse("too_slow", "no complete association request arrived in time")
            return True
        is_peers_turn = self.state_machine.current_state in _PEERS_TURN
        if not self._line.wait(LOOK_S if is_peers_turn else GLANCE_S):
            return False
        self._read_pdu_data()
        return True

    def _process_recv_primitive(self) -> bool:
        if not self.event_queue.empty():  # earlier events first: they may end the association
            return False
        state = self.state_machine.current_state
        if state not in (_AWAITS_REQUEST, _CLOSED) or not self.to_provider_queue.queue:
            return super()._process_recv_primitive()
        # Nothing can be sent in these states: a response after an abort, or an abort when the node stops.
        self.to_provider_queue.queue.clear()
        if state == _AWAITS_REQUEST:
            self._line.hang_up()
        return False

    def _close_gently(self) -> None:
        """Close the connection when the peer has closed it or sends nothing more; ignore late data for a moment."""
        now = time.monotonic()
        self._lingers_until = self._lingers_until or now + LINGER_S
        is_over = now >= self._lingers_until or not (self._left_unread or self._line.wait(0.0))
        if is_over or (self._line.wait(LOOK_S) and not self._line.discard()):
            self._line.close()

    def _read_pdu_data(self) -> None:
        pace = self._request_pace if self._awaits_request else self._message_pace
        if not self._awaits_request and cast("Messages", self.assoc.dimse).between:
            pace.begin_anew()
        try:
            head, rest = self._line.read_pdu(self.state_machine.current_state, pace)
        except LineError as error:
            self._refuse(error.code, str(error))
            return
        except OSError:
            self.event_queue.put(_DEAD)
            return
        if len(head) < HEAD_BYTES or len(rest) < int.from_bytes(head[2:]):
            self._note_early_end(bool(head))
            self.event_queue.put(_DEAD)
            return
        try:
            pdu, event = self._decoded(head, rest)
        except BadRequest as bad:
            self._reject(bad)
        except ValueError:
            self._refuse("protocol_error", "the association was aborted: the lengths in a PDU do not add up")
        else:
            self._recv_pdu.put(pdu)
            self.event_queue.put(event)

    def _decoded(self, head: bytes | bytearray, rest: bytes | bytearray) -> tuple[Any, str]:
        if head[0] == _P_DATA_TF:
            return DataPdu(rest), _EVENT_OF_P_DATA
        whole = bytearray(head + rest)
        if head[0] == _REQUEST:
            return self._decode_pdu(bytearray(mend_request(bytes(whole))))
        return self._decode_pdu(bytearray(_PLAIN_ABORT) if head[0] == _ABORT else whole)

    def _refuse(self, code: str, reason: str) -> None:
        """Record the reason, and have the state machine abort."""
        self._left_unread = True
        self._services.refuse(self.assoc, code, reason)
        self.event_queue.put(_INVALID)

    def _reject(self, bad: BadRequest) -> None:
        """Answer an association request that is malformed or not meant for a node like this."""
        rejection = bad.rejection
        if bad.calling_ae:
            self.assoc.requestor.ae_title = bad.calling_ae
        if rejection.result == ABORTED:
            self._refuse(rejection.code, rejection.reason)
            return
        self._services.refuse(self.assoc, rejection.code, rejection.reason)
        answer = struct.pack(">BBI4B", _REJECTION, 0, 4, 0, rejection.result, rejection.source, rejection.diagnostic)
        self._line.send(answer)
        self.artim_timer.restart()
        self.state_machine.transition(_CLOSED)

    def _note_early_end(self, began: bool) -> None:  # noqa: FBT001 - whether a PDU did
        if self._made_room:
            reason = "too many connections from its address were waiting; the one that had waited longest was closed"
            self._services.refuse(self.assoc, "too_many_connections", reason)
        elif began and self._awaits_request:
            reason = "the connection ended within the association request"
            self._services.refuse(self.assoc, "bad_association_request", reason)

    def _wake(self) -> None:
        cast("Checkpoint", self.assoc._reactor_checkpoint).wake()
