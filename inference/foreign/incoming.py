"""Files of a model that somebody else made: what may be read of them, and what is refused."""

import json
import stat
from pathlib import Path
from typing import Any

from inference.errors import InferenceReason, UnusableModel

__all__ = ["LARGEST_FILE", "read_json", "read_regular", "refused", "why_not"]

LARGEST_FILE = 2 * 2**30
"""Bytes; ten times the largest published brain tumour network."""

LARGEST_JSON = 2**20

_PICKLES = frozenset(
    {".bin", ".ckpt", ".joblib", ".npy", ".npz", ".pickle", ".pkl", ".pt", ".pth", ".tar", ".ts", ".zip"}
)


def refused(source: Path, why: str) -> UnusableModel:
    """Return the error of a model that is not taken in; only the last part of its path is told."""
    return UnusableModel(InferenceReason.MODEL_UNKNOWN, f"{source.name}: {why}")


def read_regular(path: Path, largest: int = LARGEST_FILE) -> bytes:
    """Return the bytes of a plain file of a bounded size; a link is not followed.

    Raises
    ------
    UnusableModel
        When it is absent, a link, anything but a file, or too large.
    """
    try:
        found = path.lstat()
        if stat.S_ISLNK(found.st_mode):
            raise refused(path, "a symbolic link; a model is plain files alone")
        if not stat.S_ISREG(found.st_mode):
            raise refused(path, "not a plain file")
        if found.st_size > largest:
            raise refused(path, f"{found.st_size} bytes; {largest} at most")
        return path.read_bytes()
    except (OSError, ValueError) as error:
        raise refused(path, "cannot be read") from error


def read_json(path: Path) -> dict[str, Any]:
    """Return the JSON object in a file.

    Raises
    ------
    UnusableModel
        When there is none.
    """
    try:
        content = json.loads(read_regular(path, LARGEST_JSON))
    except (ValueError, RecursionError) as error:
        raise refused(path, "not a JSON document") from error
    if not isinstance(content, dict):
        raise refused(path, "not a JSON object")
    return content


def why_not(path: Path) -> str:
    """Return why a file of this name has no place in a model folder."""
    if path.suffix.lower() in _PICKLES:
        return (
            "a pickle, or an archive that may hold one, can run any program when it is opened; give safetensors, ONNX, "
            "or a MONAI bundle with configs/inference.json and models/model.pt"
        )
    return "this kind of file has no place in a model folder"
