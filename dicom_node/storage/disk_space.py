"""Measures free disk space: the node refuses new instances before it would lose old ones."""

import shutil
import time
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Disk", "DiskUse", "disk_use", "free_bytes"]

LOOK_S = 1.0
"""How long a measurement is used; 1,500 instances a second bring less than 1 GB in this time."""


def free_bytes(folder: Path) -> int:
    """Return how much space is free on the file system of a folder."""
    return shutil.disk_usage(folder).free


@dataclass(frozen=True, kw_only=True)
class DiskUse:
    """Bytes of a file system; of what is free, some may be kept for the system's administrator."""

    total: int
    used: int
    free: int


def disk_use(folder: Path) -> DiskUse:
    """Return how much of the file system of a folder is used."""
    usage = shutil.disk_usage(folder)
    return DiskUse(total=usage.total, used=usage.used, free=usage.free)


class Disk:
    """The file system of the node's folder.

    Parameters
    ----------
    free_gib
        The limit: there is a shortage when less than this is free.
    """

    def __init__(self, folder: Path, free_gib: float) -> None:
        self._folder, self._free_bytes = folder, free_gib * 2**30
        self._measured_at, self._free = -LOOK_S, 0

    def shortage(self) -> str | None:
        """Return a sentence when too little space is free, else None."""
        if time.monotonic() - self._measured_at >= LOOK_S:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._free, self._measured_at = free_bytes(self._folder), time.monotonic()
        if self._free >= self._free_bytes:
            return None
        free, wanted = self._free / 2**30, self._free_bytes / 2**30
        return (
            f"the disk is too full: {free:.2f} GiB are free and limits.free_disk_gib is {wanted:g}; until there is "
            "space, instances are refused and the sender keeps them"
        )
