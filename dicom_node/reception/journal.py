"""The listener's journal: what was received is durable after one write to one file, and is filed a moment later.

A file of its own for each instance costs three waits for the disk (file, folder, database), 10 ms in all where this was
measured; overwriting a file that lies there in full costs one of 2 ms, and senders at the same time share it. From the
journal a thread files instances into the inbox, many with one wait. After a crash the next listener files what is left.
What was too large to be gathered lies in the inbox when it comes here; its record, without content, keeps the order.
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
"""Two of these for each listener: what 400 slices take, or 0.3 s of a sender at full speed."""

GATHER_S = 0.1
"""How long arrivals are gathered: filing twenty costs little more than filing one, and a study starts as soon."""

RETRY_S = 0.5
UNFINISHED_S = 600.0
"""A journal that has not been made for so long never will be; the slowest disk takes seconds."""

ADOPT_S = 10.0
"""How often a listener looks for journals that another has left behind."""

_log = structlog.get_logger()


class JournalFull(OSError):  # noqa: N818 - named for what happened
    """Nothing has been filed for so long that there is no room; the sender keeps what it has."""


class Journal:
    """One listener process's journal.

    Parameters
    ----------
    folder
        Where the journals of all listeners lie, in the node's folder; a shared one, so that any of them can take over.
    file
        Files arrivals, all or none; raises where it cannot, and is tried again.
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
            When nothing could be filed for a while.
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
            if len(self._waiting) in (1, BATCH):  # what a thread waits for that files; at others it would sleep again
                self._change.notify_all()

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
        """File what listeners that are gone have left, the older first; what cannot be filed now stays for later."""
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
        except OSError as error:  # it is tried again in a while
            _log.warning("journal_not_adopted", error=type(error).__name__)

    def _adopt(self, records: Sequence[Record]) -> bool:
        """File what one segment holds; return False where some of it has to wait."""
        arrivals = []
        for record in records:
            try:
                arrivals.append(decode(record))
            except (ValueError, TypeError, KeyError) as error:  # whole, but not of this version of the node
                name = hashlib.sha256(record.content or record.facts).hexdigest()
                self._filer.set_aside(record.content or record.facts, name, type(error).__name__)
        filed = self._filer.file(arrivals)
        if filed:
            _log.warning("journal_adopted", instances=filed)
        return filed == len(arrivals)

    def _remove_unfinished(self) -> None:
        for unfinished in self._folder.glob("*.new"):  # of listeners that were killed while they made one
            with contextlib.suppress(FileNotFoundError):  # by another listener, at the same time
                if time.time() - unfinished.stat().st_mtime > UNFINISHED_S:
                    unfinished.unlink()

    def _made(self, number: int) -> list[Segment]:
        """Make so many segments, or none."""
        with ExitStack() as undo:
            made = []
            for _ in range(number):
                made.append(Segment.made(self._folder / f"{secrets.token_hex(8)}.journal", self._bytes))
                undo.callback(made[-1].close, remove=True)
            undo.pop_all()
        return made

    def _make_durable(self, segment: Segment, ticket: int) -> None:
        """Sync a segment up to a record, unless another sender has done so; a failed sync is never tried again."""
        with self._sync:
            if segment.synced >= ticket:
                return
            if segment.has_failed:
                raise OSError(errno.EIO, "the journal could not be written")
            segment.sync()

    def _with_room(self, size: int) -> Segment:
        """Return the segment that takes a record: the other one, once all of it is filed, when the active is full.

        The lock is held. While it was waited for, another thread may have gone on in the other one.
        """

        def is_there() -> bool:
            return self._active.takes(size) or self._other.unfiled == 0

        if not self._change.wait_for(is_there, self._patience_s):
            message = "the journal is full: nothing could be filed into the inbox or the database for a while"
            raise JournalFull(message)
        if not self._active.takes(size):
            self._begin(self._other)
        return self._active

    @property
    def _other(self) -> Segment:
        return next(segment for segment in self._segments if segment is not self._active)

    def _begin(self, segment: Segment) -> Segment:
        """Go on in a segment from its start, in a new file where it could not be written; the lock is held."""
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
        """Tell whether somebody waits for what is there to be filed, or it is a batch already."""
        return bool(self._drainers or self._closing or len(self._waiting) >= BATCH or not self._waiting)

    def _strike_off(self, done: list[tuple[Segment, ArrivedInstance]]) -> None:
        with self._change:
            del self._waiting[: len(done)]
            self._filed += len(done)
            for segment, _ in done:
                segment.unfiled -= 1
            self._change.notify_all()

    def _empty(self) -> None:
        """Void what is filed, so that nothing that is cleaned away later comes back after a crash.

        The older first: were the newer gone alone, an older version of an instance would be noted last after a crash.
        """
        with self._change:
            for segment in sorted(self._segments, key=lambda one: one.order):
                if segment.unfiled == 0 and (segment.has_failed or not segment.is_empty):
                    try:
                        self._begin(segment).sync()
                    except OSError as error:  # what is filed is safe; it is tried again in a while
                        _log.warning("journal_not_emptied", error=type(error).__name__)
                        return
