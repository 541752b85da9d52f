"""A data set that is too large to be gathered in memory: written to a file of its own while it arrives.

The file is locked for as long as it is written. The kernel unlocks it when its process is gone, however that ended, and
whatever listener starts or looks next on the same folder removes it then.
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
"""After so many bytes the file is synced: the last sync, for which the sender waits, has no more than that to write."""


class Spool:
    """A DICOM file that is under way.

    Parameters
    ----------
    shortage
        Says why there is no room for more, if so; asked now and then.

    Attributes
    ----------
    data_set_at
        Where the data set begins, in bytes.
    size
        Of the data set so far, in bytes.
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
        """Of the data set's bytes so far."""
        return self._hash.hexdigest()

    def write(self, fragment: memoryview) -> None:
        """Add what came.

        Raises
        ------
        OSError
            When it cannot be written; the file is of no use any more then.
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
        """Open the file for reading, where the data set begins."""
        file = self.path.open("rb")
        file.seek(self.data_set_at)
        return file

    def place(self, path: Path) -> None:
        """Give the file its place, durably: its bytes first, then its name; nothing is left where that fails.

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
        """Remove what has not been given its place; saying so twice does no harm."""
        if self._fd >= 0:
            self.path.unlink(missing_ok=True)
            os.close(self._fd)
            self._fd = -1

    def _expect_room(self) -> None:
        if (shortage := self._shortage()) is not None:
            raise OSError(errno.ENOSPC, shortage)


def remove_abandoned(folder: Path) -> int:
    """Remove what processes that are gone were writing; return how many files that were."""
    removed = 0
    for path in folder.glob(f".*{_SUFFIX}"):
        with contextlib.suppress(FileNotFoundError, BlockingIOError):  # by another listener; of one that lives
            fd = os.open(path, os.O_RDWR)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink()
                removed += 1
            finally:
                os.close(fd)
    return removed


def _made(folder: Path) -> tuple[Path, int]:
    """Make a file and lock it; anew where another listener took it for abandoned in the moment between."""
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
