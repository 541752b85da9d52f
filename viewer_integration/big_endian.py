"""Converts big endian instances to little endian, the only byte order that DICOMweb sends and viewers read."""

import io

import numpy as np
from pydicom import DataElement, Dataset, dcmwrite
from pydicom.uid import ExplicitVRLittleEndian

__all__ = ["little_endian_file", "turn_little_endian", "was_big_endian"]

_WIDTHS = {"OW": 2, "OF": 4, "OL": 4, "OD": 8, "OV": 8}
"""Bytes of a word of each binary representation; pydicom swaps the numbers of all others (PS3.5 7.3)."""


def turn_little_endian(ds: Dataset) -> None:
    """Swap the bytes of a big endian instance's binary values, and mark it as explicit VR little endian.

    Values that were deferred while reading stay on disk, in big endian.

    Parameters
    ----------
    ds
        An instance with its file meta information, as it was read; not changed when it is little endian.
    """
    if not ds.file_meta.TransferSyntaxUID.is_little_endian:
        _swap(ds)
        ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian


def was_big_endian(ds: Dataset) -> bool:
    """Return whether an instance was read from a file in the retired explicit VR big endian."""
    return ds.original_encoding[1] is False


def _swap(ds: Dataset) -> None:
    for tag in list(ds.keys()):
        raw = ds.get_item(tag, keep_deferred=True)
        if raw is None or raw.value is None:
            continue
        if raw.VR == "SQ":
            for item in ds[tag].value or ():
                _swap(item)
        elif raw.VR in _WIDTHS and isinstance(raw.value, bytes):
            width = _WIDTHS[raw.VR]
            words = np.frombuffer(raw.value[: len(raw.value) // width * width], f">u{width}")
            ds[tag] = DataElement(tag, raw.VR, words.astype(f"<u{width}").tobytes(), already_converted=True)


def little_endian_file(ds: Dataset) -> bytes:
    """Return an instance as a complete little endian file whose header states the encoding correctly."""
    for _ in ds.iterall():
        pass  # reads every value: an unread one would be written in the byte order of the file
    buffer = io.BytesIO()
    implicit = ds.file_meta.TransferSyntaxUID.is_implicit_VR
    dcmwrite(buffer, ds, implicit_vr=implicit, little_endian=True, force_encoding=True)
    return buffer.getvalue()
