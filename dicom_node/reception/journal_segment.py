"""A segment of the journal: one file, there in full from the beginning, and written anew from its start each time."""

import contextlib
import fcntl
import json
import os
import secrets
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from dicom_node.reception.arrived_instance import FACTS, ArrivedInstance
from dicom_node.storage.durable import sync_folder

__all__ = ["Record", "Segment", "decode", "encode"]

_HEAD = struct.Struct("<8s16sQ")  # magic, epoch, order
_RECORD = struct.Struct("<8s16sIQI")  # magic, epoch, bytes of facts, bytes of content, CRC-32 of both
_MAGIC, _RECORD_MAGIC = b"GLIOJRNL", b"GLIOENTR"
_PIECE_BYTES = 2**20


@dataclass(frozen=True, slots=True)
class Record:
    """An arrival as it is written; the content is not copied, and none where it lies at its place."""

    facts: bytes
    content: bytes
    crc: int

    @property
    def size(self) -> int:
        """How many bytes it takes in a segment."""
        return _RECORD.size + len(self.facts) + len(self.content)


class Segment:
    """A file that its owner has locked.

    Attributes
    ----------
    written, synced
        How many records have been written since it was opened, and how many of them are durable.
    unfiled
        How many records nobody may lose yet; counted by the journal.
    has_failed
        Whether a sync failed. The kernel then takes for written what it could not write, and the next sync would say
        that all is well (fsync(2)): nothing is written to the file any more.
    """

    def __init__(self, path: Path, fd: int) -> None:
        self._path, self._fd, self._size = path, fd, os.fstat(fd).st_size
        head = os.pread(fd, _HEAD.size, 0)
        self.order, self._epoch, self._end = 0, b"", _HEAD.size
        if head.startswith(_MAGIC) and len(head) == _HEAD.size:
            _, self._epoch, self.order = _HEAD.unpack(head)
        self.written = self.synced = self.unfiled = 0
        self.has_failed = False

    @classmethod
    def made(cls, path: Path, size: int) -> "Segment":
        """Make a file; it gets its name when it is locked and filled, so that nobody takes it for one left behind."""
        unfinished = path.with_suffix(".new")
        fd = os.open(unfinished, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for offset in range(0, size, _PIECE_BYTES):
                _write_all(fd, [memoryview(bytes(min(_PIECE_BYTES, size - offset)))], offset)
            os.fsync(fd)
            unfinished.rename(path)
            sync_folder(path.parent)
            return cls(path, fd)
        except BaseException:
            os.close(fd)
            for left in (unfinished, path):
                left.unlink(missing_ok=True)
            raise

    @classmethod
    def left(cls, path: Path) -> "Segment | None":
        """Return a segment that nobody has any more; None where somebody does, or has just removed it."""
        try:
            fd = os.open(path, os.O_RDWR)
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(fd).st_nlink:
                return cls(path, fd)
        except BlockingIOError:
            pass
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)
        return None

    @property
    def is_empty(self) -> bool:
        """Tell whether nothing has been written since it was begun."""
        return self._end == _HEAD.size

    def begin(self, order: int) -> None:
        """Begin anew; what was there before is void with the first record that is synced."""
        epoch = secrets.token_bytes(16)
        _write_all(self._fd, [memoryview(_HEAD.pack(_MAGIC, epoch, order))], 0)
        self.order, self._epoch, self._end = order, epoch, _HEAD.size

    def takes(self, size: int) -> bool:
        """Tell whether a record fits behind the others."""
        return not self.has_failed and self._end + size <= self._size

    def write(self, record: Record) -> int:
        """Write a record; return the ticket under which it will be synced."""
        head = _RECORD.pack(_RECORD_MAGIC, self._epoch, len(record.facts), len(record.content), record.crc)
        parts = [memoryview(head), memoryview(record.facts), memoryview(record.content)]
        self._end = _write_all(self._fd, parts, self._end)
        self.written += 1
        return self.written

    def sync(self) -> None:
        """Make durable what was written."""
        upto = self.written
        try:
            os.fdatasync(self._fd)
        except OSError:
            self.has_failed = True
            raise
        self.synced = upto

    def read(self) -> Iterator[Record]:
        """Yield the records of the present epoch, to the first that is not whole."""
        offset = _HEAD.size
        while self._epoch:
            head = os.pread(self._fd, _RECORD.size, offset)
            if len(head) < _RECORD.size:
                return
            magic, epoch, facts_size, content_size, crc = _RECORD.unpack(head)
            if magic != _RECORD_MAGIC or epoch != self._epoch or offset + facts_size + content_size > self._size:
                return
            body = os.pread(self._fd, facts_size + content_size, offset + _RECORD.size)
            if zlib.crc32(body) != crc:
                return
            record = Record(body[:facts_size], body[facts_size:], crc)
            yield record
            offset += record.size

    def close(self, *, remove: bool) -> None:
        """Let go of the file, and of its lock."""
        try:
            if remove:
                self._path.unlink(missing_ok=True)
                with contextlib.suppress(OSError):  # what comes back after a power cut is filed already
                    sync_folder(self._path.parent)
        finally:
            os.close(self._fd)


def encode(arrival: ArrivedInstance) -> Record:
    """Return an arrival as it is written."""
    facts = {name: getattr(arrival, name) for name in FACTS}
    told = json.dumps(facts | {"received_at": arrival.received_at.isoformat()}).encode()
    return Record(told, arrival.content, zlib.crc32(arrival.content, zlib.crc32(told)))


def decode(record: Record) -> ArrivedInstance:
    """Return what was written.

    Raises
    ------
    ValueError, TypeError, KeyError
        When the facts are those of another version of the node.
    """
    facts = json.loads(record.facts)
    facts["received_at"] = datetime.fromisoformat(facts["received_at"])
    return ArrivedInstance(**facts, content=record.content, is_replayed=True)


def _write_all(fd: int, parts: list[memoryview], offset: int) -> int:
    """Write all of the parts, where one write takes all but need not; return the offset behind them."""
    while parts:
        done = os.pwritev(fd, parts, offset)
        offset += done
        while parts and done >= len(parts[0]):
            done -= len(parts.pop(0))
        if parts:
            parts[0] = parts[0][done:]
    return offset
