"""The listener's journal: a received instance is durable after one write to one file, and is filed a moment later.

Storing each instance in its own file needs three waits for the disk (file, folder, database), 10 ms in all where this
was measured. Overwriting a file that is allocated in advance needs one wait of 2 ms, which simultaneous senders share.
A thread files instances from the journal into the inbox, many with one sync. After a crash the next listener files what
is left. An instance too large for memory is already in the inbox; its record, without content, keeps the order.
"""

import contextlib
import errno
import hashlib
import secrets
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import structlog

from dicom_node.reception.arrived_instance import ArrivedInstance
from dicom_node.reception.filing import BATCH, File, Filer
from dicom_node.reception.journal_segment import Record, Segment, decode, encode
from dicom_node.storage.durable import make_folder

__all__ = ["Journal", "JournalFull"]

SEGMENT_BYTES = 64 * 2**20
"""Each listener has two of these: room for 400 slices, or 0.3 s of a sender at full speed."""

GATHER_S = 0.1
"""How long arrivals are collected: filing twenty costs little more than filing one, and delays no study."""

RETRY_S = 0.5
UNFINISHED_S = 600.0
"""A journal that is unfinished for so long was abandoned; the slowest disk takes seconds to create one."""

ADOPT_S = 10.0
"""How often a listener looks for abandoned journals of others."""

_log = structlog.get_logger()


class JournalFull(OSError):  # noqa: N818 - named for what happened
    """Nothing could be filed for so long that the journal is full; the sender keeps its instance."""


class Journal:
    """One listener process's journal.

    Parameters
    ----------
    folder
        Folder of all listeners' journals, in the node's folder; shared, so that any listener can adopt another's.
    file
        Files all arrivals or none; raises where it cannot, and is then called again.
    """

    def __init__(self, folder: Path, file: File, segment_bytes: int = SEGMENT_BYTES, patience_s: float = 30.0) -> None:
        make_folder(folder)
        self._folder, self._bytes, self._patience_s = folder, segment_bytes, patience_s
        self._filer = Filer(file, folder / "set_aside", folder.parent)
        self._change = threading.Condition()
        self._sync = threading.Lock()
        self._waiting: list[tuple[Segment, ArrivedInstance]] = []
        self._appended = self._filed = self._drainers = 0
        self._closing = False
        self.adopt()
        self._segments = self._made(2)
        self._active = self._segments[0]
        self._active.begin(order=1)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def append(self, arrival: ArrivedInstance) -> None:
        """Make an arrival durable.

        Raises
        ------
        JournalFull
            When nothing could be filed for some time.
        OSError
            When it could not be written.
        """
        record = encode(arrival)
        with self._change:
            segment = self._with_room(record.size)
            ticket = segment.write(record)
            segment.unfiled += 1
        try:
            self._make_durable(segment, ticket)
        except OSError:
            with self._change:
                segment.unfiled -= 1
                self._change.notify_all()
            raise
        with self._change:
            self._appended += 1
            self._waiting.append((segment, arrival))
            if len(self._waiting) in (1, BATCH):  # what the filing thread waits for; it would ignore others
                self._change.notify_all()

    def drain(self, timeout_s: float = 5.0) -> bool:
        """Wait until everything appended so far is filed; return False when that takes too long."""
        with self._change:
            wanted = self._appended
            self._drainers += 1
            self._change.notify_all()
            done = self._change.wait_for(lambda: self._filed >= wanted, timeout_s)
            self._drainers -= 1
            return done

    def close(self) -> None:
        """File what is left and remove the journal."""
        with self._change:
            self._closing = True
            self._change.notify_all()
        self._thread.join()
        for segment in self._segments:
            segment.close(remove=not self._waiting)

    def adopt(self) -> None:
        """File what ended listeners left, oldest first; keep for later what cannot be filed now."""
        try:
            with ExitStack() as opened:
                left = []
                for path in sorted(self._folder.glob("*.journal")):
                    if (segment := Segment.left(path)) is not None:
                        opened.callback(segment.close, remove=False)
                        left.append((path, segment))
                for path, segment in sorted(left, key=lambda one: one[1].order):
                    if not self._adopt(list(segment.read())):
                        return
                    path.unlink(missing_ok=True)
            self._remove_unfinished()
        except OSError as error:  # tried again later
            _log.warning("journal_not_adopted", error=type(error).__name__)

    def _adopt(self, records: Sequence[Record]) -> bool:
        """File the records of one segment; return False where some of them have to wait."""
        arrivals = []
        for record in records:
            try:
                arrivals.append(decode(record))
            except (ValueError, TypeError, KeyError) as error:  # complete, but of another version of the node
                name = hashlib.sha256(record.content or record.facts).hexdigest()
                self._filer.set_aside(record.content or record.facts, name, type(error).__name__)
        filed = self._filer.file(arrivals)
        if filed:
            _log.warning("journal_adopted", instances=filed)
        return filed == len(arrivals)

    def _remove_unfinished(self) -> None:
        for unfinished in self._folder.glob("*.new"):  # of listeners that were killed while creating one
            with contextlib.suppress(FileNotFoundError):  # removed by another listener
                if time.time() - unfinished.stat().st_mtime > UNFINISHED_S:
                    unfinished.unlink()

    def _made(self, number: int) -> list[Segment]:
        """Create a number of segments, or none."""
        with ExitStack() as undo:
            made = []
            for _ in range(number):
                made.append(Segment.made(self._folder / f"{secrets.token_hex(8)}.journal", self._bytes))
                undo.callback(made[-1].close, remove=True)
            undo.pop_all()
        return made

    def _make_durable(self, segment: Segment, ticket: int) -> None:
        """Sync a segment up to a record, unless another thread already has; never repeat a failed sync."""
        with self._sync:
            if segment.synced >= ticket:
                return
            if segment.has_failed:
                raise OSError(errno.EIO, "the journal could not be written")
            segment.sync()

    def _with_room(self, size: int) -> Segment:
        """Return the segment for a record: when the active one is full, the other, once all its records are filed.

        The lock is held. While this waited, another thread may have switched to the other segment.
        """

        def is_there() -> bool:
            return self._active.takes(size) or self._other.unfiled == 0

        if not self._change.wait_for(is_there, self._patience_s):
            message = "the journal is full: nothing could be filed into the inbox or the database for some time"
            raise JournalFull(message)
        if not self._active.takes(size):
            self._begin(self._other)
        return self._active

    @property
    def _other(self) -> Segment:
        return next(segment for segment in self._segments if segment is not self._active)

    def _begin(self, segment: Segment) -> Segment:
        """Continue at the start of a segment, or of a new file where a sync of it failed; the lock is held."""
        if segment.has_failed:
            (new,) = self._made(1)
            self._segments = [new if one is segment else one for one in self._segments]
            self._active = new if self._active is segment else self._active
            segment.close(remove=True)
            segment = new
        segment.begin(order=max(one.order for one in self._segments) + 1)
        self._active = segment
        return segment

    def _run(self) -> None:
        while True:
            with self._change:
                self._change.wait_for(lambda: self._waiting or self._closing, ADOPT_S)
                self._change.wait_for(self._is_pressing, GATHER_S)
                batch = self._waiting[:BATCH]
                if not batch and self._closing:
                    return
            if batch:
                filed = self._filer.file([arrival for _, arrival in batch])
                self._strike_off(batch[:filed])
                if filed < len(batch):
                    if self._closing:
                        return  # the next listener files what is left
                    time.sleep(RETRY_S)
            else:
                self._empty()
                self.adopt()

    def _is_pressing(self) -> bool:
        """Return whether to file now: a caller waits for it, or a complete batch is ready."""
        return bool(self._drainers or self._closing or len(self._waiting) >= BATCH or not self._waiting)

    def _strike_off(self, done: list[tuple[Segment, ArrivedInstance]]) -> None:
        with self._change:
            del self._waiting[: len(done)]
            self._filed += len(done)
            for segment, _ in done:
                segment.unfiled -= 1
            self._change.notify_all()

    def _empty(self) -> None:
        """Void the records that are filed, so that instances deleted later do not reappear after a crash.

        Void the older segment first. If only the newer one were void, a crash would make an older version of an
        instance the last recorded one.
        """
        with self._change:
            for segment in sorted(self._segments, key=lambda one: one.order):
                if segment.unfiled == 0 and (segment.has_failed or not segment.is_empty):
                    try:
                        self._begin(segment).sync()
                    except OSError as error:  # what is filed is safe; tried again later
                        _log.warning("journal_not_emptied", error=type(error).__name__)
                        return
