"""The DIMSE messages of an association: assembled from fragments, within limits, and answered at once (PS3.7 9, 10).

C-ECHO and C-STORE requests are accepted only over their own presentation contexts. Operations that this node does not
support are answered with the status for this.
"""

# ruff: noqa: SLF001 - as in prompt_association.py, which replaces pynetdicom's class by this one

import queue
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, cast

from pydicom.uid import UID
from pynetdicom.association import Association
from pynetdicom.dimse import DIMSEServiceProvider
from pynetdicom.pdu_primitives import P_DATA
from pynetdicom.sop_class import StorageCommitmentPushModel  # type: ignore[attr-defined]

from dicom_node.reception.acceptor.data_pdu import data_pdu
from dicom_node.reception.acceptor.dimse_commands import (
    C_CANCEL,
    C_ECHO,
    C_STORE,
    CANNOT_UNDERSTAND,
    N_EVENT_REPORT,
    Command,
    StoreCommand,
    read_command,
    response,
)
from dicom_node.reception.acceptor.line import Line
from dicom_node.reception.contract import VERIFICATION
from dicom_node.reception.incoming import Incoming
from dicom_node.reception.spool import Spool

__all__ = ["MakeSpool", "Messages", "OnEnd", "OnReport", "OnStore", "Refuse", "Services", "too_large"]

OnStore = Callable[[Association, StoreCommand, str, Incoming], int]
"""Stores a data set that arrived over an association in a transfer syntax; returns the status."""

MakeSpool = Callable[[StoreCommand, str], Spool]
"""Creates the file for a large data set that arrives in a transfer syntax."""

OnReport = Callable[[Association, UID, bytes], int]
"""Records a storage commitment result that arrived in a transfer syntax; returns the status."""

Refuse = Callable[[Association, str, str], None]
"""Records that something was refused in an association, with its code and reason."""

SUCCESS, SOP_CLASS_NOT_SUPPORTED, UNRECOGNISED_OPERATION, OUT_OF_RESOURCES = 0x0000, 0x0122, 0x0211, 0xA700
"""Statuses (PS3.7 C, PS3.4 B.2.3)."""

COMMAND_BYTES = 2**14
"""Limit for a command set: it has a dozen elements, the longest a UID, and rarely a thousand bytes."""

OTHER_DATA_SET_BYTES = 2**24
"""Limit for data sets that are not stored: a storage commitment result takes some 200 bytes for each instance."""

_COMMAND, _LAST = 0x01, 0x02
"""Bits of the message control header (PS3.8 E.2)."""


class OnEnd(Protocol):
    """Records that an association has ended, and whether it was released."""

    def __call__(self, assoc: Association, *, released: bool) -> None:
        """Record it."""


@dataclass(frozen=True, kw_only=True)
class Services:
    """The functions that answer the messages of an association; `data_set_bytes` is the largest data set to store."""

    on_store: OnStore
    make_spool: MakeSpool
    on_report: OnReport
    on_end: OnEnd
    refuse: Refuse
    data_set_bytes: int


def too_large(limit_bytes: int, what: str = "limits.data_set_gib") -> str:
    """Return the reason for refusing a data set that is larger than a limit."""
    return f"a data set was not stored because it is larger than {limit_bytes / 2**30:g} GiB ({what})"


class _OutOfOrder(Exception):  # noqa: N818 - named for what happened
    """A fragment that does not belong to a message; the text is for people."""


class Messages(DIMSEServiceProvider):
    """Answers a request when its last fragment has arrived."""

    _services: Services
    _context_id: int
    _encoded: bytearray
    _command: Command | None
    _data_set: Incoming
    _size: int
    _recorded: set[str]

    def serve_at_once(self, services: Services) -> None:
        """Replace the state that pynetdicom created."""
        self._services, self._recorded = services, set()
        self._data_set = Incoming()
        self.msg_queue = cast("Any", _NothingWaits())
        self._begin_anew()

    @property
    def between(self) -> bool:
        """Whether no message is being received."""
        return self._command is None and not self._encoded

    def give_up(self) -> None:
        """Remove what was received of an incomplete message; for the thread that reads."""
        self._data_set.discard()

    def receive_primitive(self, primitive: P_DATA) -> None:
        """Receive fragments; one out of order ends the association."""
        try:
            for context_id, value in primitive.presentation_data_value_list:
                fragment = memoryview(value)
                self._take(context_id, fragment[0], fragment[1:])
        except _OutOfOrder as error:
            self._begin_anew()
            self._services.refuse(self.assoc, "protocol_error", f"the association was aborted: {error}")
            self.dul.event_queue.put("Evt19")

    def _begin_anew(self) -> None:
        self._data_set.discard()
        self._context_id, self._encoded, self._command, self._size = 0, bytearray(), None, 0
        self._data_set = Incoming()

    def _take(self, context_id: int, control: int, fragment: memoryview) -> None:
        if context_id not in self.assoc._accepted_cx:
            raise _OutOfOrder("a message used a presentation context that was not accepted")
        if not self.between and context_id != self._context_id:
            raise _OutOfOrder("a message changed its presentation context")
        self._context_id = context_id
        if control & _COMMAND:
            self._take_command(fragment, is_last=bool(control & _LAST))
        else:
            self._take_data(fragment, is_last=bool(control & _LAST))

    def _take_command(self, fragment: memoryview, *, is_last: bool) -> None:
        if self._command is not None:
            raise _OutOfOrder("a second command arrived before the data set of the first")
        self._encoded += fragment
        if len(self._encoded) > COMMAND_BYTES:
            raise _OutOfOrder(f"a command is larger than {COMMAND_BYTES} bytes")
        if is_last:
            try:
                self._command = read_command(bytes(self._encoded))
            except ValueError:
                raise _OutOfOrder("a command cannot be read") from None
            if (store := self._command.store) is not None:
                syntax = self.assoc._accepted_cx[self._context_id].transfer_syntax[0]
                self._data_set = Incoming(lambda: self._services.make_spool(store, syntax))
            if not self._command.has_data_set:
                self._serve(self._command)

    def _take_data(self, fragment: memoryview, *, is_last: bool) -> None:
        if self._command is None:
            raise _OutOfOrder("a data set arrived without a command")
        self._size += len(fragment)
        if self._size <= self._largest(self._command):
            self._data_set.take(fragment)
        else:
            self._data_set.discard()  # the rest is ignored: a sender reads no response before it has sent all
            if self._size > 2 * self._largest(self._command):
                raise _OutOfOrder("a data set is more than twice as large as the limit")
        if is_last:
            self._serve(self._command)

    def _largest(self, command: Command) -> int:
        return self._services.data_set_bytes if command.field == C_STORE else OTHER_DATA_SET_BYTES

    def _serve(self, command: Command) -> None:
        context = self.assoc._accepted_cx[self._context_id]
        too_large = self._size > self._largest(command)
        context_id = self._context_id
        try:
            if command.is_answer or command.field == C_CANCEL:  # this node asks nothing here; nothing to cancel
                return
            status = self._too_large(command) if too_large else self._status(command, context, self._data_set)
        finally:
            self._begin_anew()
        value = bytes([_COMMAND | _LAST]) + response(command, status)
        if self.dul.event_queue.empty():
            cast("Line", self.dul.socket).send(data_pdu(context_id, value))
        else:  # earlier events first: they may end the association
            answer = P_DATA()
            answer._presentation_data_value_list.append((context_id, value))
            self.dul.send_pdu(answer)

    def _refuse_once(self, code: str, reason: str) -> None:
        """Record a reason once for an association: a sender can repeat it faster than the database can record it."""
        if code not in self._recorded:
            self._recorded.add(code)
            self._services.refuse(self.assoc, code, reason)

    def _too_large(self, command: Command) -> int:
        what = "limits.data_set_gib" if command.field == C_STORE else "the limit for a storage commitment result"
        self._services.refuse(self.assoc, "data_set_too_large", too_large(self._largest(command), what))
        return OUT_OF_RESOURCES

    def _status(self, command: Command, context: Any, data_set: Incoming) -> int:  # noqa: ANN401 - pynetdicom's context
        served = {C_ECHO: _is_verification, C_STORE: _is_storage, N_EVENT_REPORT: _is_commitment}.get(command.field)
        if served is None:
            reason = f"this node does not support the requested operation (0x{command.field:04X})"
            self._refuse_once("unsupported_operation", reason)
            return UNRECOGNISED_OPERATION
        if not served(context.abstract_syntax) or _names_another(command, context.abstract_syntax):
            reason = "a request was refused because its presentation context is for another SOP class"
            self._refuse_once("sop_class_mismatch", reason)
            return SOP_CLASS_NOT_SUPPORTED
        if command.field == C_ECHO:
            return SUCCESS
        if command.field == N_EVENT_REPORT:
            return self._services.on_report(self.assoc, context.transfer_syntax[0], data_set.content)
        if (store := command.store) is None:
            reason = "a C-STORE request has no SOP Instance UID or no data set; the sender keeps the image"
            self._services.refuse(self.assoc, "unreadable_data_set", reason)
            return CANNOT_UNDERSTAND
        return self._services.on_store(self.assoc, store, context.transfer_syntax[0], data_set)


def _is_verification(abstract_syntax: UID) -> bool:
    return abstract_syntax == VERIFICATION


def _is_commitment(abstract_syntax: UID) -> bool:
    return bool(abstract_syntax == StorageCommitmentPushModel)


def _is_storage(abstract_syntax: UID) -> bool:
    return not _is_verification(abstract_syntax) and not _is_commitment(abstract_syntax)


def _names_another(command: Command, abstract_syntax: UID) -> bool:
    return bool(command.sop_class_uid) and command.sop_class_uid != abstract_syntax


class _NothingWaits:
    """Replaces the queue of requests for the association's thread: they have been answered already."""

    queue: tuple[()] = ()

    def put(self, _item: tuple[int, Any]) -> None:
        """Ignore an item: pynetdicom uses it to wake a thread that waits for a response, and none does here."""

    def get(self, **_how: object) -> tuple[int, Any]:
        """Report an empty queue."""
        raise queue.Empty
