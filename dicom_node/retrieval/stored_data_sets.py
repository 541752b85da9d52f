"""Receives the data sets that a source stores over the association of a C-GET, as the listener does.

pynetdicom keeps a complete data set in memory before it passes it on. Here the fragments are removed from their message
while they arrive, and a mark is passed on in their place.
"""

import itertools
import threading
from collections.abc import Callable

from pynetdicom.association import Association
from pynetdicom.pdu_primitives import P_DATA

from dicom_node.reception.acceptor.dimse_commands import StoreCommand, file_header, read_command
from dicom_node.reception.incoming import Incoming
from dicom_node.reception.spool import Spool

__all__ = ["StoredDataSets"]

MOST_WAITING = 16
"""Limit of data sets waiting for `take`; a source sends the next one after the last was answered (PS3.7 D.3.3.3)."""

_COMMAND, _LAST = 0x01, 0x02
"""Bits of the message control header (PS3.8 E.2)."""


class StoredDataSets:
    """Receives data sets over an open association; to be created before the request is sent.

    Parameters
    ----------
    make_spool
        Creates the file, with a header, for a data set that is too large for memory.
    """

    def __init__(self, assoc: Association, make_spool: Callable[[bytes], Spool]) -> None:
        self._assoc, self._make_spool = assoc, make_spool
        self._hand_on = assoc.dimse.receive_primitive
        self._marks = (f"{number:08d}".encode("ascii") for number in itertools.count())
        self._waiting: dict[bytes, tuple[bytes, Incoming]] = {}
        self._encoded = bytearray()
        self._header: bytes = b""
        self._under_way: Incoming | None = None
        self._ended, self._lock = False, threading.Lock()
        assoc.dimse.receive_primitive = self._receive  # type: ignore[method-assign]

    def take(self, mark: bytes) -> tuple[bytes, Incoming]:
        """Return the header for a file of a data set, and the data set; a mark can be used once.

        Raises
        ------
        KeyError
            When no data set has this mark.
        """
        with self._lock:
            return self._waiting.pop(mark)

    def discard(self) -> None:
        """Remove the data sets that were not taken; ignore any that arrive later."""
        with self._lock:
            self._ended = True
            for one in (self._under_way, *(data_set for _, data_set in self._waiting.values())):
                if one is not None:
                    one.discard()
            self._under_way = None
            self._waiting.clear()

    def _receive(self, primitive: P_DATA) -> None:
        fragments = primitive.presentation_data_value_list
        with self._lock:
            kept = [(context_id, rest) for context_id, value in fragments for rest in self._rest(context_id, value)]
            is_too_much = len(self._waiting) > MOST_WAITING
        if is_too_much:
            self._assoc.dul.event_queue.put("Evt15")  # this side aborts
        elif kept:
            fragments[:] = kept
            self._hand_on(primitive)

    def _rest(self, context_id: int, value: bytes) -> list[bytes]:
        """Return what remains of a fragment after its data are removed."""
        is_last = bool(value[0] & _LAST)
        if value[0] & _COMMAND:
            self._encoded += value[1:]
            if is_last:
                self._begin(context_id)
            return [value]
        if self._under_way is None:
            return [] if self._ended else [value]
        self._under_way.take(memoryview(value)[1:])
        if not is_last:
            return []
        mark = next(self._marks)
        self._waiting[mark] = self._header, self._under_way
        self._under_way = None
        return [bytes([_LAST]) + mark]

    def _begin(self, context_id: int) -> None:
        encoded, self._encoded = bytes(self._encoded), bytearray()
        if self._under_way is not None:
            self._under_way.discard()
            self._under_way = None
        context = next((one for one in self._assoc.accepted_contexts if one.context_id == context_id), None)
        if self._ended or context is None or (store := _store_of(encoded)) is None:
            return
        header = self._header = file_header(store, context.transfer_syntax[0])
        self._under_way = Incoming(lambda: self._make_spool(header))


def _store_of(encoded: bytes) -> StoreCommand | None:
    try:
        return read_command(encoded).store
    except ValueError:
        return None  # pynetdicom reports it
