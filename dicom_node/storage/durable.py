"""Files and folders that survive a power cut: whole or absent once they are named, and there once it is said so.

A file's name lies in its folder and the folder's in the one above, so each of them has to be synced as well (fsync(2)).
What the kernel could not write it reports once, and then takes for written: a failed sync is never tried again over the
same file, its content is written anew.
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
"""What lies in the node's folder is of patients."""


def make_folder(folder: Path) -> None:
    """Make a folder with those above it, durably, for this user alone."""
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
    """Write a file so that it is whole or absent, even after a power cut: temporary file, fsync, rename, fsync.

    Parameters
    ----------
    content
        A path: of the file whose content it is.
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
    """Write a file that is not there yet, for this user alone; it is for others to sync it."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        rest = memoryview(content)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
    finally:
        os.close(descriptor)


@contextmanager
def synced_together(folder: Path) -> Iterator[None]:
    """Make durable at the end of a block all that it wrote to a folder's file system: one wait for many files.

    The descriptor is there before anything is written: it is told of every error since (syncfs(2)).

    Raises
    ------
    OSError
        When something could not be written; nothing of the block counts then. EIO where the folder itself is none, so
        that it is not taken for something that lies in the way of one file in it.
    """
    try:
        make_folder(folder)
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise OSError(errno.EIO, "there is no folder to write to") from error
    try:
        yield
        if ctypes.CDLL(None, use_errno=True).syncfs(descriptor):
            raise OSError(ctypes.get_errno(), "syncfs failed")
    finally:
        os.close(descriptor)
