"""The node's folder is its user's alone: patients' images lie there, and the database names them."""

import contextlib
import os
import resource
from pathlib import Path

from dicom_node.storage.durable import make_folder

__all__ = ["keep_private", "open_to_others"]

_UMASK = 0o077
"""Nothing for the group and for others; hosts that share the folder run the node as the same user."""


def keep_private(folder: Path) -> None:
    """Let this process and its children write for their user alone, and close the node's folder to others.

    Nor is an image of their memory written when they crash (core(5)): it would hold patients' names and images.

    What an earlier version left within it with wider permissions is out of reach behind it. A folder of another user is
    left as it is; `doctor` names it.
    """
    os.umask(_UMASK)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    make_folder(folder)
    if mode := open_to_others(folder):
        with contextlib.suppress(PermissionError):
            folder.chmod(mode & ~_UMASK)


def open_to_others(folder: Path) -> int:
    """Return the permissions of a folder that other users of the machine can enter or read, else 0."""
    mode = folder.stat().st_mode & 0o7777
    return mode if mode & _UMASK else 0
