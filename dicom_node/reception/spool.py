"""A data set that is too large for memory: written to its own file while it arrives.

The file stays locked while it is written. When the process ends, however it ends, the kernel releases the lock, and the
next listener that starts or checks the same folder removes the file.
"""

import contextlib
import errno
import fcntl
import hashlib
import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from dicom_node.storage.durable import make_folder, sync_folder

__all__ = ["Spool", "remove_abandoned"]

_SUFFIX = ".part"

SYNC_BYTES = 2**26
"""The file is synced each time after so many bytes: the last sync, for which the sender waits, writes no more."""


class Spool:
    """A DICOM file that is being received.

    Parameters
    ----------
    shortage
        Returns why there is no room for more, else None; called now and then.

    Attributes
    ----------
    data_set_at
        Offset of the data set, in bytes.
    size
        Size of the data set so far, in bytes.
    """

    def __init__(self, folder: Path, header: bytes, shortage: Callable[[], str | None] = lambda: None) -> None:
        self._shortage = shortage
        self._expect_room()
        make_folder(folder)
        self.path, self._fd = _made(folder)
        self.data_set_at, self.size = len(header), 0
        self._hash, self._unsynced = hashlib.sha256(), 0
        try:
            _write_all(self._fd, memoryview(header))
        except BaseException:
            self.discard()
            raise

    @property
    def sha256(self) -> str:
        """Hash of the data set's bytes so far."""
        return self._hash.hexdigest()

    def write(self, fragment: memoryview) -> None:
        """Append a fragment.

        Raises
        ------
        OSError
            When it cannot be written; the file can then no longer be used.
        """
        self._hash.update(fragment)
        self.size += len(fragment)
        _write_all(self._fd, fragment)
        self._unsynced += len(fragment)
        if self._unsynced >= SYNC_BYTES:
            self._expect_room()
            os.fdatasync(self._fd)
            self._unsynced = 0

    def open(self) -> BinaryIO:
        """Open the file for reading, at the start of the data set."""
        file = self.path.open("rb")
        file.seek(self.data_set_at)
        return file

    def place(self, path: Path) -> None:
        """Move the file to its place, durably: its bytes first, then its name; remove it where that fails.

        Raises
        ------
        OSError
            When it cannot be made durable.
        """
        try:
            make_folder(path.parent)
            os.fsync(self._fd)
            self.path.rename(path)
            sync_folder(path.parent)
        finally:
            self.discard()

    def discard(self) -> None:
        """Remove the file unless it was moved to its place; calling this twice is harmless."""
        if self._fd >= 0:
            self.path.unlink(missing_ok=True)
            os.close(self._fd)
            self._fd = -1

    def _expect_room(self) -> None:
        if (shortage := self._shortage()) is not None:
            raise OSError(errno.ENOSPC, shortage)


def remove_abandoned(folder: Path) -> int:
    """Remove the files that ended processes left unfinished; return their number."""
    removed = 0
    for path in folder.glob(f".*{_SUFFIX}"):
        with contextlib.suppress(FileNotFoundError, BlockingIOError):  # another removed it; its process lives
            fd = os.open(path, os.O_RDWR)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink()
                removed += 1
            finally:
                os.close(fd)
    return removed


def _made(folder: Path) -> tuple[Path, int]:
    """Create and lock a file; try again where another listener took it for abandoned before it was locked."""
    while True:
        path = folder / f".{secrets.token_hex(8)}{_SUFFIX}"
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(fd).st_nlink:
                return path, fd
        except BlockingIOError:
            pass
        except BaseException:
            os.close(fd)
            path.unlink(missing_ok=True)
            raise
        os.close(fd)


def _write_all(fd: int, content: memoryview) -> None:
    while content:
        content = content[os.write(fd, content) :]
