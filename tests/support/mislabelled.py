"""DICOM files whose file meta information says something else than their data set is, or nothing at all."""

import struct
from pathlib import Path

__all__ = ["data_set_of", "mislabel", "strip"]

_AFTER_GROUP_LENGTH = 144
"""Preamble and prefix of 132 bytes, then the group length's 12 (PS3.10 7.1)."""


def data_set_of(path: Path) -> bytes:
    """Return the bytes behind a file's meta information."""
    content = path.read_bytes()
    (length,) = struct.unpack_from("<I", content, _AFTER_GROUP_LENGTH - 4)
    return content[_AFTER_GROUP_LENGTH + length :]


def mislabel(path: Path, syntax: str) -> None:
    """Write another transfer syntax into a file's meta information, or none where it is empty."""
    elements = [(0x0001, b"OB\0\0", struct.pack("<I", 2) + b"\0\1")]
    for element, text in ((0x0010, syntax), (0x0012, "1.2.3.4")):
        value = text.encode() + b"\0" * (len(text) % 2)
        if text:
            elements.append((element, b"UI", struct.pack("<H", len(value)) + value))
    body = b"".join(struct.pack("<HH", 2, element) + vr + rest for element, vr, rest in elements)
    group_length = struct.pack("<HH2sHI", 2, 0, b"UL", 4, len(body))
    path.write_bytes(bytes(128) + b"DICM" + group_length + body + data_set_of(path))


def strip(path: Path) -> None:
    """Leave nothing but the data set of a file: no preamble, no prefix, no meta information."""
    path.write_bytes(data_set_of(path))
