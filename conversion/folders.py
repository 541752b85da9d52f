"""Finds the files of a folder and of every folder below it, DICOM or not."""

import os
from collections.abc import Iterator
from pathlib import Path

__all__ = ["dicom_files", "folders_below"]


def dicom_files(folder: Path) -> list[Path]:
    """Return every file below `folder`, sorted; DICOM files have no reliable suffix."""
    paths = (path for _, names in folders_below(folder) for path in names)
    return sorted(path for path in paths if path.is_file() and path.name != "DICOMDIR")


def folders_below(folder: Path) -> Iterator[tuple[Path, list[Path]]]:
    """Yield a folder and every folder below it, each with its files and folders, sorted.

    Follows links, since people assemble data sets from links. Enters each folder once, so circular links end.
    """
    visited: set[str] = set()
    for place, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(place)
        if real in visited:
            folders.clear()
            continue
        visited.add(real)
        folders.sort()
        yield Path(place), sorted(Path(place, name) for name in (*folders, *names))
