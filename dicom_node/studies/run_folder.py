"""The folder of one run, ``<folder>/work/<run>``: its list of images, and which arrays are stored there."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from conversion.study import SeriesUID
from dicom_node.storage.durable import write_durably

__all__ = ["PICTURES", "KeptRegistration", "RunFolder"]

PICTURES = "pictures"
"""Name of the folder with what the panel shows of a run."""


@dataclass(frozen=True, kw_only=True)
class KeptRegistration:
    """How a sequence was aligned with the reference, as `conversion.registration.quality.Registration` describes it."""

    role: str
    move_mm: float
    rotation_deg: float
    overlap: float
    inverse_consistency_mm: float


class RunFolder:
    """What can be read of a run's files, and done to them, without reading a voxel."""

    def __init__(self, folder: Path, run_id: str) -> None:
        self._folder = folder / "work" / run_id

    @property
    def folder(self) -> Path:
        """Where the files are stored."""
        return self._folder

    @property
    def pictures(self) -> Path:
        """Where the files are that the panel shows; it may not exist."""
        return self._folder / PICTURES

    def save_manifest(self, instances: list[dict[str, str]], incomplete: Mapping[SeriesUID, str]) -> None:
        """Store the frozen list of instances that the run processes, and a sentence for each incomplete series."""
        self._save_json("manifest", {"instances": instances, "incomplete": dict(incomplete)})

    def load_incomplete(self) -> dict[SeriesUID, str]:
        """Return the series that must not be used because images are missing, and what is missing."""
        kept: Mapping[str, str] = self._load_json("manifest").get("incomplete", {})
        return {SeriesUID(uid): sentence for uid, sentence in kept.items()}

    def load_manifest(self) -> list[dict[str, str]]:
        """Return the frozen list of instances."""
        instances: list[dict[str, str]] = self._load_json("manifest")["instances"]
        return instances

    def load_registrations(self) -> list[KeptRegistration]:
        """Return how each sequence was aligned; none before that step, and for those that shared the grid already."""
        if not (self._folder / "alignment.json").exists():
            return []
        names = ("move_mm", "rotation_deg", "overlap", "inverse_consistency_mm")
        moves = self._load_json("alignment")["moves"]
        return [KeptRegistration(role=role, **{name: move[name] for name in names}) for role, move in moves.items()]

    def has_arrays(self) -> bool:
        """Return whether the arrays that the shadow model needs are still there."""
        return all((self._folder / f"{name}.npz").exists() for name in ("aligned", "segmentation"))

    def has_arrays_for(self, step: str) -> bool:
        """Return whether the files that a step reads of the one before it are there."""
        needed = {"convert": "selection.json", "align": "volumes.npz", "segment": "aligned.npz"}
        name = (needed | {"encode": "segmentation.npz"}).get(step)
        return name is None or (self._folder / name).exists()

    def clear_arrays(self) -> None:
        """Remove the arrays, which only the steps need; the small JSON files stay as evidence."""
        for name in ("volumes", "aligned", "segmentation"):
            (self._folder / f"{name}.npz").unlink(missing_ok=True)

    def _save_json(self, name: str, content: Mapping[str, Any]) -> None:
        self._write(f"{name}.json", json.dumps(content, indent=1).encode())

    def _load_json(self, name: str) -> dict[str, Any]:
        content: dict[str, Any] = json.loads((self._folder / f"{name}.json").read_bytes())
        return content

    def _write(self, name: str, content: bytes) -> None:
        write_durably(self._folder / name, content)
