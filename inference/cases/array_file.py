"""Arrays with a description in one .npz file: written atomically, read as memory maps, checked for damage."""

import io
import json
import os
import secrets
import struct
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["read_arrays", "whole", "write_arrays"]

_DESCRIPTION = "description"
_LOCAL_HEADER = 30
"""Bytes of a local file header before name and extra field. Its last four bytes hold their lengths (APPNOTE 4.3.7)."""


def write_arrays(path: Path, arrays: Mapping[str, NDArray[np.generic]], description: Mapping[str, Any]) -> None:
    """Write arrays and a JSON-compatible description, uncompressed. The file appears only once it is complete."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = np.frombuffer(json.dumps(description).encode(), np.uint8)
    partial = path.with_name(f"{path.name}.{secrets.token_hex(4)}.partial")
    try:
        with partial.open("wb") as file:
            np.savez(file, **arrays, **{_DESCRIPTION: text})  # type: ignore[arg-type]
        os.replace(partial, path)  # noqa: PTH105 - replaces an existing file on every system
    finally:
        partial.unlink(missing_ok=True)


def whole(path: Path) -> bool:
    """Tell whether a file exists and is intact: every byte is as it was written."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None and f"{_DESCRIPTION}.npy" in archive.namelist()
    except (OSError, zipfile.BadZipFile, zlib.error, EOFError):
        return False


def read_arrays(path: Path) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Return the arrays, read-only and memory-mapped, and the description.

    Raises
    ------
    OSError, ValueError, KeyError
        When the file does not exist or was not written by `write_arrays`.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
            description = json.loads(bytes(np.load(io.BytesIO(archive.read(members.pop(_DESCRIPTION))))))
        return {name: _mapped(path, info) for name, info in members.items()}, description
    except zipfile.BadZipFile as error:
        raise ValueError("not an array file") from error


def _mapped(path: Path, info: zipfile.ZipInfo) -> NDArray[Any]:
    with path.open("rb") as file:
        file.seek(info.header_offset)
        name, extra = struct.unpack("<HH", file.read(_LOCAL_HEADER)[-4:])
        file.seek(name + extra, os.SEEK_CUR)
        if np.lib.format.read_magic(file) != (1, 0):
            raise ValueError("an array in an unknown format version")
        shape, by_column, kind = np.lib.format.read_array_header_1_0(file)
        mapped: NDArray[Any] = np.memmap(
            path, dtype=kind, mode="r", offset=file.tell(), shape=shape, order="F" if by_column else "C"
        )
    return mapped
