"""Files and folders that survive a power cut: a named file is complete or absent, and present once the call returns.

The name of a file is stored in its folder, and that of the folder in its parent, so each of these must be synced as
well (fsync(2)). The kernel reports a failed write once and then treats the data as written. So a failed sync is never
repeated on the same file; its content is written again to a new one.
"""

import ctypes
import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["make_folder", "sync_folder", "synced_together", "write_durably", "write_new"]

_MODE = 0o700
"""Private, because the node's folder contains patient data."""


def make_folder(folder: Path) -> None:
    """Create a folder and its missing parents, durably and for this user alone."""
    missing = [folder]
    while not missing[-1].exists():
        missing.append(missing[-1].parent)
    for one in reversed(missing[:-1]):
        one.mkdir(_MODE, exist_ok=True)
        sync_folder(one.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_durably(path: Path, content: bytes | Path) -> None:
    """Write a file so that it is complete or absent, even after a power cut: temporary file, fsync, rename, fsync.

    Parameters
    ----------
    content
        Bytes, or the path of a file to copy.
    """
    make_folder(path.parent)
    temporary = path.with_name(f".{secrets.token_hex(8)}.part")
    try:
        with temporary.open("xb") as file:
            if isinstance(content, Path):
                with content.open("rb") as source:
                    shutil.copyfileobj(source, file)
            else:
                file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def write_new(path: str, content: bytes) -> None:
    """Write a file that does not exist yet, for this user alone; the caller must sync it."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        rest = memoryview(content)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
    finally:
        os.close(descriptor)


@contextmanager
def synced_together(folder: Path) -> Iterator[None]:
    """Sync, at the end of a block, everything that it wrote to a folder's file system: one wait for many files.

    The descriptor is opened before anything is written, so that it reports every error since (syncfs(2)).

    Raises
    ------
    OSError
        When something could not be written; then nothing that the block wrote is safe. EIO where the folder itself is
        not a folder, to distinguish this from an obstacle to a single file in it.
    """
    try:
        make_folder(folder)
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise OSError(errno.EIO, "the folder to write to does not exist") from error
    try:
        yield
        if ctypes.CDLL(None, use_errno=True).syncfs(descriptor):
            raise OSError(ctypes.get_errno(), "syncfs failed")
    finally:
        os.close(descriptor)
