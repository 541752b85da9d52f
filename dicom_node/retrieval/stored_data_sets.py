"""The data sets that a source stores over the association that asks it (C-GET), taken as at the door.

pynetdicom holds a data set whole before it hands it on. Here its fragments are taken out of its message while they
come, and a mark goes on in their place.
"""

# ruff: noqa: SLF001 - what is exchanged here pynetdicom offers no other way to; its version is pinned, and
# tests/unit/dicom_node/test_fetch_large.py holds what it must do

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
"""Data sets that wait to be taken; a source stores the next one when the last was answered (PS3.7 D.3.3.3)."""

_COMMAND, _LAST = 0x01, 0x02
"""Bits of the message control header (PS3.8 E.2)."""


class StoredDataSets:
    """Takes what comes over an association that has been opened, before anything is asked.

    Parameters
    ----------
    make_spool
        Makes the file for a data set that is too large to be gathered, behind a header.
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
        """Return a data set, and what stands before it in a file; a mark is good for once.

        Raises
        ------
        KeyError
            When there is none of this mark.
        """
        with self._lock:
            return self._waiting.pop(mark)

    def discard(self) -> None:
        """Remove what has come and was not taken; what comes after this is let pass."""
        with self._lock:
            self._ended = True
            for one in (self._under_way, *(data_set for _, data_set in self._waiting.values())):
                if one is not None:
                    one.discard()
            self._under_way = None
            self._waiting.clear()

    def _receive(self, primitive: P_DATA) -> None:
        fragments = primitive._presentation_data_value_list
        with self._lock:
            kept = [(context_id, rest) for context_id, value in fragments for rest in self._rest(context_id, value)]
            is_too_much = len(self._waiting) > MOST_WAITING
        if is_too_much:
            self._assoc.dul.event_queue.put("Evt15")  # this side aborts
        elif kept:
            primitive._presentation_data_value_list = kept
            self._hand_on(primitive)

    def _rest(self, context_id: int, value: bytes) -> list[bytes]:
        """Return what is left of a fragment when its data are taken out."""
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
        context = self._assoc._accepted_cx.get(context_id)
        if self._ended or context is None or (store := _store_of(encoded)) is None:
            return
        header = self._header = file_header(store, context.transfer_syntax[0])
        self._under_way = Incoming(lambda: self._make_spool(header))


def _store_of(encoded: bytes) -> StoreCommand | None:
    try:
        return read_command(encoded).store
    except ValueError:
        return None  # pynetdicom says so
