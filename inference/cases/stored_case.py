"""A case with the list of its files, so that outdated results computed from them are detected."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from inference.cases.case import CaseReference
from inference.errors import InferenceReason, UnreadableCase

__all__ = ["StoredCase", "empty_set", "unreadable"]


@dataclass(frozen=True, kw_only=True)
class StoredCase(CaseReference):
    """A case stored in files on disk.

    Attributes
    ----------
    root
        Folder of the set.
    files
        All files of the case, below `root`.
    """

    root: Path
    files: tuple[Path, ...]

    def fingerprint(self) -> str:
        """Return the SHA-256 of the files' names, sizes and modification times, in hexadecimal.

        Names are relative, so the value stays the same if the set is moved to another folder. Contents are not read,
        because that would take minutes at every start for a set of 30 GB.
        """
        digest = hashlib.sha256()
        for path in sorted(self.files):
            stat = path.stat()
            digest.update(f"{path.relative_to(self.root).as_posix()}\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode())
        return digest.hexdigest()


def unreadable(sentence: str) -> UnreadableCase:
    """Return the error for a single unusable case."""
    return UnreadableCase(InferenceReason.UNREADABLE_CASE, sentence)


def empty_set(sentence: str) -> UnreadableCase:
    """Return the error for a folder without any usable case."""
    return UnreadableCase(InferenceReason.NO_CASES, sentence)
