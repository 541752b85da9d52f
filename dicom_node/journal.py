"""The listener's journal: what was received is durable after one write to one file, and is filed a moment later.

A file of its own for each instance costs three waits for the disk (file, folder, books), 10 ms in all where this was
measured; overwriting a file that lies there in full costs one of 2 ms, and senders at the same time share it. From the
journal a thread files instances into the inbox, many with one wait. After a crash the next listener files what is left.
"""

import contextlib
import fcntl
import json
import os
import secrets
import struct
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from pathlib import Path

import sqlalchemy as sa
import structlog

from dicom_node.arrivals import Arrival
from dicom_node.inbox import write_durably

__all__ = ["Journal", "JournalFull"]

SEGMENT_BYTES = 64 * 2**20
"""Two of these for each listener: what 400 slices take, or 0.3 s of a sender at full speed."""

BATCH = 256
GATHER_S = 0.1
"""How long arrivals are gathered: filing twenty costs little more than filing one, and a study starts as soon."""

RETRY_S = 0.5
UNFINISHED_S = 600.0
"""A journal that has not been made for so long never will be; the slowest disk takes seconds."""

ADOPT_S = 10.0
"""How often a listener looks for journals that another has left behind."""

_HEAD = struct.Struct("<8s16sQ")  # magic, epoch, order
_RECORD = struct.Struct("<8s16sIQI")  # magic, epoch, bytes of facts, bytes of content, CRC-32 of both
_MAGIC, _RECORD_MAGIC = b"GLIOJRNL", b"GLIOENTR"

_log = structlog.get_logger()

File = Callable[[Sequence[Arrival]], None]


class JournalFull(OSError):  # noqa: N818 - named for what happened
    """Nothing has been filed for so long that there is no room; the sender keeps what it has."""


class Journal:
    """One listener process's journal.

    Parameters
    ----------
    folder
        Where the journals of all listeners lie; on the shared folder, so that any of them can take over.
    file
        Files arrivals, all or none; raises where it cannot, and is tried again.
    """

    def __init__(self, folder: Path, file: File, segment_bytes: int = SEGMENT_BYTES, patience_s: float = 30.0) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._file, self._patience_s = folder, file, patience_s
        self._change = threading.Condition()
        self._sync = threading.Lock()
        self._waiting: list[tuple[_Segment, Arrival]] = []
        self._appended = self._filed = self._drainers = 0
        self._closing = False
        self.adopt()
        self._segments = [_Segment.made(folder / f"{secrets.token_hex(8)}.journal", segment_bytes) for _ in range(2)]
        self._active = self._segments[0]
        self._active.begin(order=1)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def append(self, arrival: Arrival) -> bool:
        """Make an arrival durable; return False for one that is larger than the journal.

        Raises
        ------
        JournalFull
            When nothing could be filed for a while.
        """
        record = _encode(arrival)
        with self._change:
            if not self._active.takes(record.size) and not self._switch(record.size):
                return False
            segment = self._active
            ticket = segment.write(record)
            segment.unfiled += 1
        try:
            with self._sync:
                if segment.synced < ticket:
                    segment.sync()
        except OSError:
            with self._change:
                segment.unfiled -= 1
            raise
        with self._change:
            self._appended += 1
            self._waiting.append((segment, arrival))
            self._change.notify_all()
        return True

    def drain(self, timeout_s: float = 5.0) -> bool:
        """Wait until everything that was appended so far is filed; return False when that took too long."""
        with self._change:
            wanted = self._appended
            self._drainers += 1
            self._change.notify_all()
            done = self._change.wait_for(lambda: self._filed >= wanted, timeout_s)
            self._drainers -= 1
            return done

    def close(self) -> None:
        """File what is left, and remove the journal."""
        with self._change:
            self._closing = True
            self._change.notify_all()
        self._thread.join()
        for segment in self._segments:
            segment.close(remove=not self._waiting)

    def adopt(self) -> None:
        """File what listeners that are gone have left, the older first."""
        left = [segment for path in sorted(self._folder.glob("*.journal")) if (segment := _Segment.left(path))]
        for segment in sorted(left, key=lambda one: one.order):
            arrivals = list(segment.read())
            for start in range(0, len(arrivals), BATCH):
                self._file(arrivals[start : start + BATCH])
            if arrivals:
                _log.warning("journal_adopted", instances=len(arrivals))
            segment.close(remove=True)
        for unfinished in self._folder.glob("*.new"):  # of listeners that were killed while they made one
            if time.time() - unfinished.stat().st_mtime > UNFINISHED_S:
                unfinished.unlink(missing_ok=True)

    def _switch(self, size: int) -> bool:
        """Go on in the other segment, once all of it is filed; the lock is held."""
        other = next(segment for segment in self._segments if segment is not self._active)
        if size > other.room:
            return False
        if not self._change.wait_for(lambda: other.unfiled == 0, self._patience_s):
            message = "the journal is full: nothing could be filed into the inbox or the books for a while"
            raise JournalFull(message)
        if self._active.takes(size):  # another thread has gone on meanwhile
            return True
        other.begin(order=self._active.order + 1)
        self._active = other
        return True

    def _run(self) -> None:
        while True:
            with self._change:
                self._change.wait_for(lambda: self._waiting or self._closing, ADOPT_S)
                self._change.wait_for(self._is_pressing, GATHER_S)
                batch = self._waiting[:BATCH]
                if not batch and self._closing:
                    return
            if batch:
                filed = self._file_some(batch)
                self._strike_off(batch[:filed])
                if filed < len(batch):
                    if self._closing:
                        return  # the next listener files what is left
                    time.sleep(RETRY_S)
            else:
                self._empty()
                with contextlib.suppress(Exception):  # it is tried again in a while, and at every start
                    self.adopt()

    def _is_pressing(self) -> bool:
        """Tell whether somebody waits for what is there to be filed, or it is a batch already."""
        return bool(self._drainers or self._closing or len(self._waiting) >= BATCH or not self._waiting)

    def _file_some(self, batch: list[tuple["_Segment", Arrival]]) -> int:
        """File a batch; where it fails as a whole, singly, so that one bad instance does not hold up the others."""
        if self._filed_now([arrival for _, arrival in batch]):
            return len(batch)
        for number, (_, arrival) in enumerate(batch):
            if not self._filed_now([arrival]):
                return number
        return len(batch)

    def _filed_now(self, arrivals: list[Arrival]) -> bool:
        try:
            self._file(arrivals)
        except (OSError, sa.exc.OperationalError, sa.exc.InterfaceError) as error:  # no room or no database: they pass
            _log.warning("not_filed", instances=len(arrivals), error=type(error).__name__)
            return False
        except Exception as error:  # noqa: BLE001 - whatever it is, it must not hold up what comes behind it
            if len(arrivals) > 1:
                return False
            self._set_aside(arrivals[0], error)
        return True

    def _set_aside(self, arrival: Arrival, error: Exception) -> None:
        """Keep an instance that can never be filed where a person finds it."""
        aside = self._folder / "set_aside"
        aside.mkdir(exist_ok=True)
        write_durably(aside / f"{arrival.sha256}.dcm", arrival.content)
        _log.error("set_aside", file=f"{arrival.sha256}.dcm", error=type(error).__name__)

    def _strike_off(self, done: list[tuple["_Segment", Arrival]]) -> None:
        with self._change:
            del self._waiting[: len(done)]
            self._filed += len(done)
            for segment, _ in done:
                segment.unfiled -= 1
            self._change.notify_all()

    def _empty(self) -> None:
        """Void what is filed, so that nothing that is cleaned away later comes back after a crash."""
        with self._change:
            for segment in self._segments:
                if segment.unfiled == 0 and not segment.is_empty:
                    segment.begin(order=max(one.order for one in self._segments) + 1)
                    self._active = segment
                    segment.sync()


class _Segment:
    """One file, there in full from the beginning, and written anew from its start each time; locked by its owner."""

    def __init__(self, path: Path, fd: int) -> None:
        self._path, self._fd, self._size = path, fd, os.fstat(fd).st_size
        head = os.pread(fd, _HEAD.size, 0)
        self.order, self._epoch, self._end = 0, b"", _HEAD.size
        if head.startswith(_MAGIC) and len(head) == _HEAD.size:
            _, self._epoch, self.order = _HEAD.unpack(head)
        self.written = self.synced = self.unfiled = 0

    @classmethod
    def made(cls, path: Path, size: int) -> "_Segment":
        """Make a file; it gets its name when it is locked and filled, so that nobody takes it for one left behind."""
        unfinished = path.with_suffix(".new")
        fd = os.open(unfinished, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        for offset in range(0, size, 2**20):
            os.pwrite(fd, bytes(min(2**20, size - offset)), offset)
        os.fsync(fd)
        unfinished.rename(path)
        folder = os.open(path.parent, os.O_RDONLY)
        os.fsync(folder)
        os.close(folder)
        return cls(path, fd)

    @classmethod
    def left(cls, path: Path) -> "_Segment | None":
        """Return a segment that nobody has any more; None where somebody does."""
        try:
            fd = os.open(path, os.O_RDWR)
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(fd)
            return None
        return cls(path, fd)

    @property
    def is_empty(self) -> bool:
        """Tell whether nothing has been written since it was begun."""
        return self._end == _HEAD.size

    @property
    def room(self) -> int:
        """What an empty one takes."""
        return self._size - _HEAD.size

    def begin(self, order: int) -> None:
        """Begin anew; what was there before is void with the first record that is synced."""
        self.order, self._epoch, self._end = order, secrets.token_bytes(16), _HEAD.size
        os.pwrite(self._fd, _HEAD.pack(_MAGIC, self._epoch, order), 0)

    def takes(self, size: int) -> bool:
        """Tell whether a record fits behind the others."""
        return self._end + size <= self._size

    def write(self, record: "_Record") -> int:
        """Write a record; return the ticket under which it will be synced."""
        head = _RECORD.pack(_RECORD_MAGIC, self._epoch, len(record.facts), len(record.content), record.crc)
        parts, offset = [memoryview(head), memoryview(record.facts), memoryview(record.content)], self._end
        while parts:  # one write takes all of it, but need not
            done = os.pwritev(self._fd, parts, offset)
            offset += done
            while parts and done >= len(parts[0]):
                done -= len(parts.pop(0))
            if parts:
                parts[0] = parts[0][done:]
        self._end = offset
        self.written += 1
        return self.written

    def sync(self) -> None:
        """Make durable what was written."""
        upto = self.written
        os.fdatasync(self._fd)
        self.synced = upto

    def read(self) -> Iterator[Arrival]:
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
            yield _decode(body[:facts_size], body[facts_size:])
            offset += _RECORD.size + facts_size + content_size

    def close(self, *, remove: bool) -> None:
        """Let go of the file."""
        if remove:
            self._path.unlink(missing_ok=True)
        os.close(self._fd)


@dataclass(frozen=True, slots=True)
class _Record:
    """An arrival as it is written; the content is not copied."""

    facts: bytes
    content: bytes
    crc: int

    @property
    def size(self) -> int:
        return _RECORD.size + len(self.facts) + len(self.content)


def _encode(arrival: Arrival) -> _Record:
    facts = {field.name: getattr(arrival, field.name) for field in fields(arrival) if field.name != "content"}
    told = json.dumps(facts | {"received_at": arrival.received_at.isoformat()}).encode()
    return _Record(told, arrival.content, zlib.crc32(arrival.content, zlib.crc32(told)))


def _decode(told: bytes, content: bytes) -> Arrival:
    facts = json.loads(told)
    return Arrival(**facts | {"received_at": datetime.fromisoformat(facts["received_at"])}, content=content)
