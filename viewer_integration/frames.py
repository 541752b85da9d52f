"""Makes WADO-RS bodies: frames and bulk data as stored, and multipart messages (PS3.18 8.6.1, 8.7.3)."""

import re
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from pydicom import Dataset
from pydicom.encaps import generate_frames, get_frame
from pydicom.errors import BytesLengthException
from pydicom.uid import UID, ExplicitVRLittleEndian

from conversion.attributes import Attributes

__all__ = ["FrameError", "Part", "bulk_parts", "frame_part", "multipart", "multipart_type", "part_type"]

_NATIVE_TYPE = "application/octet-stream"
_PIXEL_DATA = "7FE00010"
_LAYOUT = ("Rows", "Columns", "BitsAllocated", "SamplesPerPixel")
_FLOAT_PIXELS = {"FloatPixelData": 4, "DoubleFloatPixelData": 8}
_PATH = re.compile(r"[0-9A-F]{8}(?:/[0-9]{1,6}/[0-9A-F]{8})*")

# PS3.18 table 8.7.3-5: media types of compressed frames.
_MEDIA_TYPES = {
    "1.2.840.10008.1.2.4.50": "image/jpeg",
    "1.2.840.10008.1.2.4.51": "image/jpeg",
    "1.2.840.10008.1.2.4.57": "image/jpeg",
    "1.2.840.10008.1.2.4.70": "image/jpeg",
    "1.2.840.10008.1.2.4.80": "image/jls",
    "1.2.840.10008.1.2.4.81": "image/jls",
    "1.2.840.10008.1.2.4.90": "image/jp2",
    "1.2.840.10008.1.2.4.91": "image/jp2",
    "1.2.840.10008.1.2.4.110": "image/jxl",
    "1.2.840.10008.1.2.4.111": "image/jxl",
    "1.2.840.10008.1.2.4.112": "image/jxl",
    "1.2.840.10008.1.2.4.201": "image/jphc",
    "1.2.840.10008.1.2.4.202": "image/jphc",
    "1.2.840.10008.1.2.4.203": "image/jphc",
    "1.2.840.10008.1.2.5": "image/dicom-rle",
}


_UNREADABLE = (
    ArithmeticError,
    AttributeError,
    BytesLengthException,
    EOFError,
    LookupError,
    NotImplementedError,
    RecursionError,
    TypeError,
    ValueError,
    struct.error,
)


class FrameError(Exception):
    """The requested frame or value is not in the instance; the message states what is missing."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """One part of a multipart message."""

    content_type: str
    body: bytes
    more: Iterable[bytes] = ()
    """Pieces that follow the body, such as those of a file, so that a large part is never completely in memory."""


def part_type(transfer_syntax_uid: str) -> str:
    """Return the content type of a frame that is sent as stored.

    Parameters
    ----------
    transfer_syntax_uid
        Transfer syntax of the instance. Native frames are always sent as explicit little endian. A compressed syntax
        without its own media type is sent as octets with its transfer syntax.
    """
    if not UID(transfer_syntax_uid).is_encapsulated:
        return f"{_NATIVE_TYPE}; transfer-syntax={ExplicitVRLittleEndian}"
    return f"{_MEDIA_TYPES.get(transfer_syntax_uid, _NATIVE_TYPE)}; transfer-syntax={transfer_syntax_uid}"


def frame_part(ds: Dataset, number: int) -> Part:
    """Return one frame: compressed frames as stored, native ones in little endian, single bits aligned to a byte.

    Parameters
    ----------
    ds
        A complete little endian instance with its file meta information.
    number
        Frame number, counted from 1.

    Raises
    ------
    FrameError
        When the instance has no pixel data, or not this frame.
    """
    try:
        return _frame(ds, number)
    except _UNREADABLE as error:
        raise FrameError(f"frame {number} cannot be read: the header of the instance is damaged") from error


def _frame(ds: Dataset, number: int) -> Part:
    count = _frame_count(ds)
    if not 1 <= number <= count:
        raise FrameError(f"the instance has {count} frame{'' if count == 1 else 's'}, not frame {number}")
    syntax = ds.file_meta.TransferSyntaxUID
    if syntax.is_encapsulated:
        return Part(content_type=part_type(syntax), body=_compressed_frame(ds, number - 1, count))
    return Part(content_type=part_type(syntax), body=_native_frame(ds, number - 1, count))


def _frame_count(ds: Dataset) -> int:
    _pixel_keyword(ds)
    return max(1, Attributes(ds).integer("NumberOfFrames"))


def _pixel_keyword(ds: Dataset) -> str:
    for keyword in ("PixelData", *_FLOAT_PIXELS):
        if keyword in ds:
            return keyword
    message = "the instance has no pixel data"
    raise FrameError(message)


def _compressed_frame(ds: Dataset, index: int, count: int) -> bytes:
    offsets = None
    if "ExtendedOffsetTable" in ds and "ExtendedOffsetTableLengths" in ds:
        offsets = (ds.ExtendedOffsetTable, ds.ExtendedOffsetTableLengths)
    try:
        return get_frame(ds.PixelData, index, number_of_frames=count, extended_offsets=offsets)
    except ValueError as error:
        raise FrameError(f"frame {index + 1} cannot be found in the compressed pixel data") from error


def _native_frame(ds: Dataset, index: int, count: int) -> bytes:
    attributes = Attributes(ds)
    rows, columns, bits, samples = (attributes.integer(keyword) for keyword in _LAYOUT)
    if min(rows, columns, bits, samples) < 1:
        message = "the instance does not state the layout of its pixel data"
        raise FrameError(message)
    keyword = _pixel_keyword(ds)
    pixels: bytes = ds[keyword].value
    if keyword in _FLOAT_PIXELS:
        return _slice(pixels, index, rows * columns * _FLOAT_PIXELS[keyword])
    if bits == 1:
        return _packed_bits(pixels, index, rows * columns * samples)
    length = rows * columns * samples * (bits // 8)
    halved = attributes.text("PhotometricInterpretation") == "YBR_FULL_422"  # two of three samples stand for two pixels
    return _slice(pixels, index, length * count // 3 * 2 // count if halved else length)


def _slice(pixels: bytes, index: int, length: int) -> bytes:
    frame = pixels[index * length : (index + 1) * length]
    if len(frame) != length:
        raise FrameError(f"the pixel data ends before frame {index + 1}")
    return frame


def _packed_bits(pixels: bytes, index: int, length: int) -> bytes:
    """Cut a frame of single bits, which may begin inside a byte (PS3.5 8.1.1 and annex D)."""
    first = index * length
    if first + length > len(pixels) * 8:
        raise FrameError(f"the pixel data ends before frame {index + 1}")
    octets = np.frombuffer(pixels[first // 8 : (first + length + 7) // 8], dtype=np.uint8)
    bits = np.unpackbits(octets, bitorder="little")[first % 8 : first % 8 + length]
    return np.packbits(bits, bitorder="little").tobytes()


def bulk_parts(ds: Dataset, path: str) -> list[Part]:
    """Return the bulk value at an address: one part, or a part for each frame of compressed pixel data.

    Parameters
    ----------
    ds
        A complete little endian instance with its file meta information.
    path
        Tag, or ``<sequence>/<item from 0>/<tag>``, as `viewer_integration.dicom_json` writes it.

    Raises
    ------
    FrameError
        When there is no such value, or it is not binary.
    """
    try:
        return _bulk(ds, path)
    except _UNREADABLE as error:
        message = "the bulk data cannot be read: the header of the instance is damaged"
        raise FrameError(message) from error


def _bulk(ds: Dataset, path: str) -> list[Part]:
    if not _PATH.fullmatch(path):
        message = "the address of bulk data is <tag> or <sequence>/<item>/<tag>"
        raise FrameError(message)
    syntax = ds.file_meta.TransferSyntaxUID
    if path == _PIXEL_DATA and syntax.is_encapsulated:
        frames = generate_frames(ds.PixelData, number_of_frames=_frame_count(ds))
        return [Part(content_type=part_type(syntax), body=frame) for frame in frames]
    if path == _PIXEL_DATA:
        return [Part(content_type=part_type(syntax), body=ds[_pixel_keyword(ds)].value)]
    return [Part(content_type=_NATIVE_TYPE, body=_value(ds, path.split("/")))]


def _value(ds: Dataset, steps: list[str]) -> bytes:
    message = "the instance has no such bulk data"
    while len(steps) > 1:
        sequence, index = int(steps[0], 16), int(steps[1])
        if sequence not in ds or ds[sequence].VR != "SQ" or index >= len(ds[sequence].value):
            raise FrameError(message)
        ds, steps = ds[sequence].value[index], steps[2:]
    tag = int(steps[0], 16)
    value = ds[tag].value if tag in ds else None
    if not isinstance(value, bytes):
        raise FrameError(message)
    return value


def multipart(parts: Iterable[Part], boundary: str) -> Iterator[bytes]:
    """Yield a ``multipart/related`` message piece by piece (RFC 2387).

    Parameters
    ----------
    parts
        At least one part.
    boundary
        Text that occurs in no part. It has to be random, so the caller chooses it.
    """
    for part in parts:
        yield f"--{boundary}\r\nContent-Type: {part.content_type}\r\n\r\n".encode("ascii")
        yield part.body
        yield from part.more
        yield b"\r\n"
    yield f"--{boundary}--\r\n".encode("ascii")


def multipart_type(content_type: str, boundary: str) -> str:
    """Return the content type of a message whose parts have the given type."""
    media_type = content_type.partition(";")[0]
    return f'multipart/related; type="{media_type}"; boundary={boundary}'
