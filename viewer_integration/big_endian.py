"""Big endian instances as little endian ones: DICOMweb gives no other order of bytes, and viewers read no other."""

import io

import numpy as np
from pydicom import DataElement, Dataset, dcmwrite
from pydicom.uid import ExplicitVRLittleEndian

__all__ = ["little_endian_file", "turn_little_endian", "was_big_endian"]

_WIDTHS = {"OW": 2, "OF": 4, "OL": 4, "OD": 8, "OV": 8}
"""Bytes of a word of each binary representation; pydicom turns the numbers of all others (PS3.5 7.3)."""


def turn_little_endian(ds: Dataset) -> None:
    """Turn the words of a big endian instance's binary values; it then says that it is explicit VR little endian.

    Values that were deferred while reading stay on disk, where they are big endian.

    Parameters
    ----------
    ds
        An instance with its file meta information, as it was read; left alone when it is little endian.
    """
    if not ds.file_meta.TransferSyntaxUID.is_little_endian:
        _turn(ds)
        ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian


def was_big_endian(ds: Dataset) -> bool:
    """Tell whether the file that an instance was read from is in the retired explicit VR big endian."""
    return ds.original_encoding[1] is False


def _turn(ds: Dataset) -> None:
    for tag in list(ds.keys()):
        raw = ds.get_item(tag, keep_deferred=True)
        if raw is None or raw.value is None:
            continue
        if raw.VR == "SQ":
            for item in ds[tag].value or ():
                _turn(item)
        elif raw.VR in _WIDTHS and isinstance(raw.value, bytes):
            width = _WIDTHS[raw.VR]
            words = np.frombuffer(raw.value[: len(raw.value) // width * width], f">u{width}")
            ds[tag] = DataElement(tag, raw.VR, words.astype(f"<u{width}").tobytes(), already_converted=True)


def little_endian_file(ds: Dataset) -> bytes:
    """Return an instance that was turned, or read as it is encoded, as a complete file that says how it is encoded."""
    for _ in ds.iterall():
        pass  # a value that was never read would be written as the bytes it was stored in
    buffer = io.BytesIO()
    implicit = ds.file_meta.TransferSyntaxUID.is_implicit_VR
    dcmwrite(buffer, ds, implicit_vr=implicit, little_endian=True, force_encoding=True)
    return buffer.getvalue()
