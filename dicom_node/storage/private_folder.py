"""Keeps the node's folder private to its user: it contains patients' images, and the database names them."""

import contextlib
import os
import resource
from pathlib import Path

from dicom_node.storage.durable import make_folder

__all__ = ["keep_private", "open_to_others"]

_UMASK = 0o077
"""No permissions for the group and for others; hosts that share the folder run the node as the same user."""


def keep_private(folder: Path) -> None:
    """Make all files of this process and its children private to their user, and close the node's folder to others.

    Also disable core dumps (core(5)), which would contain patients' names and images.

    Files in the folder that an earlier version wrote with wider permissions are out of reach as well. A folder of
    another user is left as it is; `doctor` reports it.
    """
    os.umask(_UMASK)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    make_folder(folder)
    if mode := open_to_others(folder):
        with contextlib.suppress(PermissionError):
            folder.chmod(mode & ~_UMASK)


def open_to_others(folder: Path) -> int:
    """Return the permissions of a folder if other users of the machine can enter or read it, else 0."""
    mode = folder.stat().st_mode & 0o7777
    return mode if mode & _UMASK else 0
