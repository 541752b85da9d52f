"""Puts bytes into a header as a foreign system may have written them: any value in any representation."""

import io

from pydicom import Dataset, dcmread
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag

__all__ = ["put_raw", "reread", "with_second_study_uid"]


def put_raw(ds: Dataset, keyword: str, vr: str | None, value: bytes) -> None:
    """Set an attribute to bytes, unchecked; a data set that came through `reread` is written with them as they are."""
    tag = Tag(keyword)
    ds._dict[tag] = RawDataElement(tag, vr, len(value), value, 0, is_implicit_VR=vr is None, is_little_endian=True)


def reread(ds: Dataset) -> Dataset:
    """Return a data set as it is after a way through a file: every value as bytes that nobody has looked at."""
    buffer = io.BytesIO()
    ds.save_as(buffer, enforce_file_format=True)
    return dcmread(io.BytesIO(buffer.getvalue()))


def with_second_study_uid(content: bytes, uid: bytes = b"1.2.3.45") -> bytes:
    """Return an explicit little endian file that names another study once more, behind its relation to a patient."""
    at = content.index(b"\x28\x00\x02\x00US")
    return content[:at] + b"\x20\x00\x0d\x00UI" + len(uid).to_bytes(2, "little") + uid + content[at:]
