"""A segment of the journal: one file of fixed size, allocated in advance and overwritten from its start each time."""

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
    """An arrival as it is written; the content is not copied, and is empty where its file is already in the inbox."""

    facts: bytes
    content: bytes
    crc: int

    @property
    def size(self) -> int:
        """Number of bytes that it takes in a segment."""
        return _RECORD.size + len(self.facts) + len(self.content)


class Segment:
    """A file that its owner holds locked.

    Attributes
    ----------
    written, synced
        Number of records written since the file was opened, and how many of them are durable.
    unfiled
        Number of records that are not filed yet, so they must be kept; counted by the journal.
    has_failed
        Whether a sync failed. The kernel then treats as written what it could not write, and the next sync would report
        success (fsync(2)). Nothing is written to the file any more.
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
        """Create a file and name it once it is locked and filled, so that no listener takes it for an abandoned one."""
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
        """Return an abandoned segment; None where another process still holds it, or has just removed it."""
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
        """Whether no record has been written since `begin`."""
        return self._end == _HEAD.size

    def begin(self, order: int) -> None:
        """Start again from the beginning; the previous records become void with the first record that is synced."""
        epoch = secrets.token_bytes(16)
        _write_all(self._fd, [memoryview(_HEAD.pack(_MAGIC, epoch, order))], 0)
        self.order, self._epoch, self._end = order, epoch, _HEAD.size

    def takes(self, size: int) -> bool:
        """Return whether a record still fits behind the others."""
        return not self.has_failed and self._end + size <= self._size

    def write(self, record: Record) -> int:
        """Write a record; return the ticket under which it will be synced."""
        head = _RECORD.pack(_RECORD_MAGIC, self._epoch, len(record.facts), len(record.content), record.crc)
        parts = [memoryview(head), memoryview(record.facts), memoryview(record.content)]
        self._end = _write_all(self._fd, parts, self._end)
        self.written += 1
        return self.written

    def sync(self) -> None:
        """Make durable all that was written."""
        upto = self.written
        try:
            os.fdatasync(self._fd)
        except OSError:
            self.has_failed = True
            raise
        self.synced = upto

    def read(self) -> Iterator[Record]:
        """Yield the records of the current epoch, up to the first incomplete one."""
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
        """Close the file, which releases its lock."""
        try:
            if remove:
                self._path.unlink(missing_ok=True)
                with contextlib.suppress(OSError):  # what reappears after a power cut is filed already
                    sync_folder(self._path.parent)
        finally:
            os.close(self._fd)


def encode(arrival: ArrivedInstance) -> Record:
    """Return the record of an arrival."""
    facts = {name: getattr(arrival, name) for name in FACTS}
    encoded = json.dumps(facts | {"received_at": arrival.received_at.isoformat()}).encode()
    return Record(encoded, arrival.content, zlib.crc32(arrival.content, zlib.crc32(encoded)))


def decode(record: Record) -> ArrivedInstance:
    """Return the arrival that a record holds.

    Raises
    ------
    ValueError, TypeError, KeyError
        When another version of the node wrote the facts.
    """
    facts = json.loads(record.facts)
    facts["received_at"] = datetime.fromisoformat(facts["received_at"])
    return ArrivedInstance(**facts, content=record.content, is_replayed=True)


def _write_all(fd: int, parts: list[memoryview], offset: int) -> int:
    """Write all parts, usually with one write but with more where needed; return the offset behind them."""
    while parts:
        done = os.pwritev(fd, parts, offset)
        offset += done
        while parts and done >= len(parts[0]):
            done -= len(parts.pop(0))
        if parts:
            parts[0] = parts[0][done:]
    return offset
