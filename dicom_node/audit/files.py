"""The files of the trail: appended to by several processes under a lock, each record durable before the call returns.

A file is named by the number of its first record. A new one is begun when the newest is large enough; none is ever
renamed, shortened or overwritten, so nothing can be lost between two files.
"""

import contextlib
import fcntl
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from dicom_node.audit.record import FIRST, Record, Torn, make_record, read_record
from dicom_node.storage.durable import make_folder, sync_folder

__all__ = ["FOLDER", "TrailFiles", "last_record", "trail_files"]

FOLDER = "audit"
"""Below the node's folder."""

FILE_BYTES = 16 * 2**20
"""Size from which a new file is begun: ten thousand messages, which a person can still open."""

LOCK_S = 5.0
"""How long a process waits for another one that writes; that takes milliseconds."""

_LOOK_S = 0.005
_TAIL_BYTES = 2**16
_PRIVATE = 0o600


@dataclass(frozen=True, kw_only=True)
class _End:
    """Where the trail ends: its last record, and what stands behind it in the newest file."""

    path: Path | None
    size: int
    sequence: int
    code: str
    rest: bytes


def trail_files(folder: Path) -> list[Path]:
    """Return the files of a node's trail in order."""
    return sorted((folder / FOLDER).glob("trail-*.jsonl"))


class TrailFiles:
    """Appends to the trail of a node.

    Parameters
    ----------
    folder
        The node's folder.
    file_bytes
        Size from which a new file is begun.
    """

    def __init__(self, folder: Path, file_bytes: int = FILE_BYTES) -> None:
        self._folder = folder / FOLDER
        self._file_bytes = file_bytes
        self._mutex = threading.Lock()
        self._known: _End | None = None

    def append(self, key: bytes, messages: Sequence[str], interrupted: Callable[[Torn], str]) -> Record:
        """Append messages and return the last record; all are on the disk when it returns.

        Parameters
        ----------
        interrupted
            Makes the message that notes that the last line was torn; it is recorded first.

        Raises
        ------
        OSError
            When the trail cannot be written; then none of the messages is recorded.
        """
        with self._locked():
            end = self._end()
            torn = Torn.of(end.rest)
            texts = [interrupted(torn), *messages] if torn else list(messages)
            records, sequence, previous = list[Record](), end.sequence, end.code
            for text in texts:
                sequence += 1
                records.append(make_record(key, sequence, previous, text, None if records else torn))
                previous = records[-1].code
            self._write(end, records)
            return records[-1]

    def check(self) -> None:
        """Raise OSError where nothing can be appended now."""
        with self._locked():
            end = self._end()
            path = end.path or self._folder / "lock"
            os.close(os.open(path, os.O_WRONLY | os.O_APPEND))

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        make_folder(self._folder)
        with self._mutex:
            lock = self._open(self._folder / "lock")
            try:
                _take(lock)
                yield
            finally:
                os.close(lock)

    def _open(self, path: Path) -> int:
        """Open a file to append, for the node's user alone, also where root runs a command."""
        is_new = not path.exists()
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, _PRIVATE)
        if is_new and os.geteuid() == 0:
            owner = self._folder.parent.stat()
            os.fchown(descriptor, owner.st_uid, owner.st_gid)
            if self._folder.stat().st_uid != owner.st_uid:
                os.chown(self._folder, owner.st_uid, owner.st_gid)
        return descriptor

    def _end(self) -> _End:
        """Return where the trail ends; read it only where another process has written since."""
        files = sorted(self._folder.glob("trail-*.jsonl"))
        if not files:
            return _End(path=None, size=0, sequence=0, code=FIRST, rest=b"")
        size = files[-1].stat().st_size
        if self._known is not None and (self._known.path, self._known.size) == (files[-1], size):
            return self._known
        for path in reversed(files):  # the newest may hold no record yet
            last, rest = last_record(path)
            if last is not None:
                behind = rest if path == files[-1] else files[-1].read_bytes()
                return _End(path=files[-1], size=size, sequence=last.sequence, code=last.code, rest=behind)
        return _End(path=files[-1], size=size, sequence=0, code=FIRST, rest=files[-1].read_bytes())

    def _write(self, end: _End, records: Sequence[Record]) -> None:
        path, is_new = end.path, False
        if path is None or (end.size >= self._file_bytes and not end.rest):
            path, is_new = self._folder / f"trail-{records[0].sequence:012}.jsonl", True
        begun = b"\n" if end.rest and not end.rest.endswith(b"\n") else b""
        content = begun + b"".join(record.line for record in records)
        descriptor = self._open(path)
        before = os.fstat(descriptor).st_size
        try:
            try:
                _write_all(descriptor, content)
                os.fsync(descriptor)
            except OSError:
                self._known = None
                with contextlib.suppress(OSError):  # what is left is noted as torn by the next record
                    os.ftruncate(descriptor, before)  # the part of these lines that was written, and nothing else
                raise
        finally:
            os.close(descriptor)
        if is_new:
            sync_folder(self._folder)
        last = records[-1]
        self._known = _End(path=path, size=before + len(content), sequence=last.sequence, code=last.code, rest=b"")


def _take(lock: int) -> None:
    deadline = time.monotonic() + LOCK_S
    while True:
        try:
            return fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise TimeoutError("another process has held the audit trail's lock for too long") from None
            time.sleep(_LOOK_S)


def _write_all(descriptor: int, content: bytes) -> None:
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def last_record(path: Path) -> tuple[Record | None, bytes]:
    """Return the last record of a file, and what stands behind it; read only the end where that is enough."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        for reach in (min(_TAIL_BYTES, size), size):
            file.seek(size - reach)
            content = file.read()
            end = len(content)
            while (begin := content.rfind(b"\n", 0, max(end - 1, 0)) + 1) or reach == size:
                complete = content[end - 1 : end] == b"\n"
                if complete and (record := read_record(content[begin:end])) is not None:
                    return record, content[end:]
                if begin == 0:
                    break
                end = begin
    return None, b""
