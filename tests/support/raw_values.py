"""Puts bytes into a header as a foreign system may have written them: any value in any representation."""

import io

from pydicom import Dataset, dcmread
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag

__all__ = ["put_raw", "reread"]


def put_raw(ds: Dataset, keyword: str, vr: str | None, value: bytes) -> None:
    """Set an attribute to bytes; nothing is checked or padded."""
    tag = Tag(keyword)
    ds._dict[tag] = RawDataElement(tag, vr, len(value), value, 0, is_implicit_VR=vr is None, is_little_endian=True)


def reread(ds: Dataset) -> Dataset:
    """Return a header as it is after a way through a file: every value as bytes that nobody has looked at."""
    buffer = io.BytesIO()
    ds.save_as(buffer, enforce_file_format=True)
    return dcmread(io.BytesIO(buffer.getvalue()), stop_before_pixels=True)
