"""How much room is left: new instances are refused before old ones are lost."""

import shutil
import time
from pathlib import Path

__all__ = ["Disk"]

LOOK_S = 1.0
"""How long an answer holds; a sender of 1,500 instances a second brings less than 1 GB meanwhile."""


class Disk:
    """The file system of the node's folder.

    Parameters
    ----------
    free_gib
        The watermark: with less than this free, there is a shortage.
    """

    def __init__(self, folder: Path, free_gib: float) -> None:
        self._folder, self._free_bytes = folder, free_gib * 2**30
        self._looked_at, self._free = -LOOK_S, 0

    def shortage(self) -> str | None:
        """Return a sentence when too little room is left, else None."""
        if time.monotonic() - self._looked_at >= LOOK_S:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._free, self._looked_at = shutil.disk_usage(self._folder).free, time.monotonic()
        if self._free >= self._free_bytes:
            return None
        free, wanted = self._free / 2**30, self._free_bytes / 2**30
        return (
            f"{free:.2f} GiB are free and limits.free_disk_gib is {wanted:g}: nothing is taken until there is room, "
            "and the sender keeps it"
        )
