"""DICOM files that no reader takes: written byte by byte after the head of a real one."""

import io
import struct
from pathlib import Path

from pydicom import Dataset

__all__ = ["BROKEN_TAILS", "write_broken"]

_UNDEFINED = b"\xff\xff\xff\xff"
_SEQUENCE = struct.pack("<HH", 0x0040, 0x0275) + b"SQ\0\0"  # RequestAttributesSequence, which a search answers with
_ITEM = b"\xfe\xff\x00\xe0"


def _nested(depth: int) -> bytes:
    """Return sequences in sequences, each with its length."""
    body = b""
    for _ in range(depth):
        item = _ITEM + struct.pack("<I", len(body)) + body
        body = _SEQUENCE + struct.pack("<I", len(item)) + item
    return body


BROKEN_TAILS = {
    "an element that never ends": struct.pack("<HH", 0x0042, 0x0011) + b"OB\0\0" + _UNDEFINED + bytes(64),
    "a value longer than the file": struct.pack("<HH", 0x0010, 0x4000) + b"LT" + struct.pack("<H", 60000) + b"x",
    "nested without lengths": (_SEQUENCE + _UNDEFINED + _ITEM + _UNDEFINED) * 10_000,
    "nested with lengths": _nested(10_000),
    "numbers that are none": struct.pack("<HH", 0x0028, 0x0010) + b"US\x03\0abc\0",
}


def write_broken(path: Path, head: Dataset, tail: bytes) -> None:
    """Write what a data set has before the elements of a tail, and the tail."""
    first = struct.unpack("<HH", tail[:4])
    kept = Dataset()
    kept.file_meta = head.file_meta
    for element in head:
        if (element.tag.group, element.tag.element) < first:
            kept.add(element)
    file = io.BytesIO()
    kept.save_as(file, enforce_file_format=True)
    path.write_bytes(file.getvalue() + tail)
