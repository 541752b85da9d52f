"""A case that knows its files, so that what was computed from them can be told stale."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from inference.cases.case import CaseReference
from inference.errors import InferenceReason, UnreadableCase

__all__ = ["StoredCase", "empty_set", "unreadable"]


@dataclass(frozen=True, kw_only=True)
class StoredCase(CaseReference):
    """A case of files on disk.

    Attributes
    ----------
    root
        Folder of the whole set.
    files
        Every file the case is read from, below `root`.
    """

    root: Path
    files: tuple[Path, ...]

    def fingerprint(self) -> str:
        """Return the SHA-256 of the files' names, sizes and times of change, in hexadecimal.

        Names are relative, so a set that was moved as a whole stays what it was. Contents are not read: a set of
        30 GB would take minutes at every start.
        """
        digest = hashlib.sha256()
        for path in sorted(self.files):
            stat = path.stat()
            digest.update(f"{path.relative_to(self.root).as_posix()}\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode())
        return digest.hexdigest()


def unreadable(sentence: str) -> UnreadableCase:
    """Return the error of one case that turns out to be unusable."""
    return UnreadableCase(InferenceReason.UNREADABLE_CASE, sentence)


def empty_set(sentence: str) -> UnreadableCase:
    """Return the error of a folder without a single usable case."""
    return UnreadableCase(InferenceReason.NO_CASES, sentence)
