"""Files of third-party models: which of them may be read, and which are refused."""

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


def refused(source: Path, reason: str) -> UnusableModel:
    """Return the error for a refused model; it contains only the last part of the path."""
    return UnusableModel(InferenceReason.MODEL_UNKNOWN, f"{source.name}: {reason}")


def read_regular(path: Path, largest: int = LARGEST_FILE) -> bytes:
    """Return the bytes of a plain file of limited size; links are not followed.

    Raises
    ------
    UnusableModel
        When it is missing, a link, not a file, or too large.
    """
    try:
        status = path.lstat()
        if stat.S_ISLNK(status.st_mode):
            raise refused(path, "a symbolic link; a model may contain plain files only")
        if not stat.S_ISREG(status.st_mode):
            raise refused(path, "not a plain file")
        if status.st_size > largest:
            raise refused(path, f"{status.st_size} bytes; {largest} at most")
        return path.read_bytes()
    except (OSError, ValueError) as error:
        raise refused(path, "cannot be read") from error


def read_json(path: Path) -> dict[str, Any]:
    """Return the JSON object in a file.

    Raises
    ------
    UnusableModel
        When the file contains none.
    """
    try:
        content = json.loads(read_regular(path, LARGEST_JSON))
    except (ValueError, RecursionError) as error:
        raise refused(path, "not a JSON document") from error
    if not isinstance(content, dict):
        raise refused(path, "not a JSON object")
    return content


def why_not(path: Path) -> str:
    """Return why a file of this name is not allowed in a model folder."""
    if path.suffix.lower() in _PICKLES:
        return (
            "a pickle, or an archive that may contain one, can run any program when it is opened; give safetensors, "
            "ONNX, or a MONAI bundle with configs/inference.json and models/model.pt"
        )
    return "this kind of file is not allowed in a model folder"
