"""Reads the stored values of images and what they mean, the same in every transfer syntax.

Before anything is decoded, the header is checked against the content: the length of native pixels, the size in the
header of a compressed image, the limits.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from pydicom.encaps import encapsulate, generate_frames
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import (
    JPEG2000,
    UID,
    DeflatedExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from conversion.attributes import Attributes
from conversion.codestream import codestream_of, same_codec
from conversion.encoding import MAXIMUM_INFLATED_BYTES, PixelElement, SettledInstance, settle
from conversion.errors import ConversionReason, UnreadableSeries
from conversion.pixel_format import MAXIMUM_FRAME_PIXELS, PixelFormat, is_coloured, pixel_format

__all__ = ["StoredImage", "encoded_prints", "stored_images"]

_DECODERS = {
    JPEGBaseline8Bit: "gdcm",
    JPEGLSLossless: "pyjpegls",
    JPEGLSNearLossless: "pyjpegls",
    JPEG2000Lossless: "pylibjpeg",
    JPEG2000: "pylibjpeg",
    RLELossless: "pylibjpeg",
}
"""The decoder of each transfer syntax. For JPEG lossless there is only gdcm, for HTJ2K only pylibjpeg. There is one
decoder for each, so that results do not depend on what else is installed."""

_FLOATS = {"FloatPixelData": 4, "DoubleFloatPixelData": 8}
_HEAD_BYTES = 2**16
_COMPARED_BYTES = 2**26
"""A deflated data set that is larger than this is not inflated to compare its pixels with others."""


@dataclass(frozen=True, kw_only=True, eq=False)
class StoredImage:
    """The stored values of one image.

    Attributes
    ----------
    values
        Shape (row, column), int64 or float64; the lowest is black.
    padding
        Which of them are background; None if there is no padding.
    turned_over
        Whether the lowest value was white in the file, so that the position of zero has no meaning.
    """

    values: NDArray[np.int64] | NDArray[np.float64]
    padding: NDArray[np.bool_] | None
    turned_over: bool = False


def stored_images(path: Path, indices: Sequence[int]) -> Iterator[tuple[int, StoredImage]]:
    """Read images of one file, and yield each with its index, one at a time so that memory holds only one.

    Parameters
    ----------
    indices
        Indices of the requested frames, from 0.

    Raises
    ------
    UnreadableSeries
        When the pixels are missing, in colour, too many, or not as the header states. Decoders raise many other kinds
        of errors for damaged pixels.
    """
    with path.open("rb") as file:
        instance = _settled(file)
        _check_meaning(instance)
        element, stored = _element(instance), pixel_format(instance.dataset)
        if element.keyword in _FLOATS:
            for index in indices:
                yield index, StoredImage(values=_floats(instance, element, stored, index), padding=None)
            return
        if stored.flaw:
            raise _unreadable(stored.flaw)
        if max(indices) >= stored.frames:
            raise _unreadable(f"it has {stored.frames} frame(s) of pixels, but positions for {max(indices) + 1}")
        syntax = instance.dataset.encoding.transfer_syntax
        read = _decoded if syntax.is_encapsulated else _native
        for index, values in read(instance, element, stored, indices):
            shown = stored.turn_over(values) if stored.turned_over else values
            yield index, StoredImage(values=shown, padding=stored.is_padding(values), turned_over=stored.turned_over)


def encoded_prints(path: Path, indices: Sequence[int]) -> list[bytes]:
    """Return hashes of the encoded pixels of images of one file, without decoding them.

    Equal hashes mean equal images; the same image in another transfer syntax has another hash. An image that cannot be
    read, or would have to be inflated to a very large size, equals no other.
    """
    try:
        with path.open("rb") as file:
            instance = _settled(file, _COMPARED_BYTES)
            element, stored = _element(instance), pixel_format(instance.dataset)
            layout = f"{instance.dataset.encoding.transfer_syntax} {stored}".encode()
            frames = _encoded_frames(instance, element, stored, indices)
            found = {index: hashlib.sha256(layout + frame).digest() for index, frame in frames}
            return [found[index] for index in indices]
    except Exception:  # noqa: BLE001 - pydicom raises many kinds for damaged files; reading the series reports the cause
        return [f"{path} {k}".encode() for k in indices]


def _settled(file: BinaryIO, largest_bytes: int = MAXIMUM_INFLATED_BYTES) -> SettledInstance:
    """Determine the encoding of an open file and inflate all of a deflated data set, unless it exceeds the limit."""
    instance = settle(file)
    if instance.dataset.encoding.transfer_syntax != DeflatedExplicitVRLittleEndian:
        return instance
    if instance.size > largest_bytes:
        raise _unreadable(f"its inflated data set is larger than {largest_bytes} bytes")
    file.seek(0)
    return settle(file, pixels=True)


def _check_meaning(instance: SettledInstance) -> None:
    attributes = Attributes(instance.dataset)
    if is_coloured(attributes):
        sentence = "it is a colour image, which measures nothing, so its series is not read"
        raise UnreadableSeries(ConversionReason.COLOUR_IMAGE, sentence)
    places, frames = len(attributes.items("PerFrameFunctionalGroupsSequence")), pixel_format(instance.dataset).frames
    if places not in (0, frames):
        raise _unreadable(f"it has {frames} frame(s) of pixels, but positions for {places}")
    if attributes.items("ModalityLUTSequence"):
        raise _unreadable("it has a look-up table for its values (Modality LUT), which MR images do not have")


def _element(instance: SettledInstance) -> PixelElement:
    if instance.pixels is None:
        raise _unreadable("it contains no pixel data")
    return instance.pixels


def _native(
    instance: SettledInstance, element: PixelElement, stored: PixelFormat, indices: Sequence[int]
) -> Iterator[tuple[int, NDArray[np.int64]]]:
    size = stored.allocated // 8
    order = "<" if instance.dataset.encoding.form.little_endian else ">"
    swapped = order == ">" and size == 1 and element.vr == "OW"  # stored as words, also with 8-bit pixels
    _check_length(instance, element, stored, stored.frame_bytes * stored.frames)
    for index in indices:
        start = index * stored.frame_bytes
        content = _slice(instance, element, start, stored.frame_bytes, whole_words=swapped)
        cells = np.frombuffer(content, f"{order}u{size}")
        yield index, stored.values_of(cells.reshape(stored.rows, stored.columns))


def _slice(
    instance: SettledInstance, element: PixelElement, start: int, length: int, *, whole_words: bool = False
) -> bytes:
    first = start - start % 2 if whole_words else start
    instance.stream.seek(element.value_at + first)
    content = instance.stream.read(length + (start - first) + 1)
    if whole_words:
        words = np.frombuffer(content[: len(content) // 2 * 2], ">u2")
        content = words.astype("<u2").tobytes()
    return content[start - first : start - first + length]


def _check_length(instance: SettledInstance, element: PixelElement, stored: PixelFormat, expected: int) -> None:
    """Check the length of native pixels against the header; a pad byte or so is usual."""
    length = element.length or 0
    if length < expected or length >= expected + max(2, stored.columns * stored.allocated // 8):
        described = f"{stored.rows} x {stored.columns} pixels of {stored.allocated} bits"
        described += f" in {stored.frames} frames" if stored.frames > 1 else ""
        raise _unreadable(f"it contains {length} bytes of pixels, but its header describes {expected} ({described})")
    if element.value_at + expected > instance.size:
        raise _unreadable("its pixels end too early, because the file is truncated; send it again")


def _floats(instance: SettledInstance, element: PixelElement, stored: PixelFormat, index: int) -> NDArray[np.float64]:
    size = _FLOATS[element.keyword]
    frame = stored.rows * stored.columns * size
    if not 0 < stored.rows * stored.columns <= MAXIMUM_FRAME_PIXELS:
        raise _unreadable(stored.flaw)
    _check_length(instance, element, replace(stored, allocated=8 * size), frame * stored.frames)
    order = "<" if instance.dataset.encoding.form.little_endian else ">"
    values = np.frombuffer(_slice(instance, element, index * frame, frame), f"{order}f{size}").astype(np.float64)
    if not np.isfinite(values).all():
        raise _unreadable("some of its floating point pixels are not numbers")
    return values.reshape(stored.rows, stored.columns)


def _decoded(
    instance: SettledInstance, element: PixelElement, stored: PixelFormat, indices: Sequence[int]
) -> Iterator[tuple[int, NDArray[np.int64]]]:
    for index, frame in _encoded_frames(instance, element, stored, indices):
        yield index, _decoded_frame(frame, instance.dataset.encoding.transfer_syntax, stored)


def _encoded_frames(
    instance: SettledInstance, element: PixelElement, stored: PixelFormat, indices: Sequence[int]
) -> Iterator[tuple[int, bytes]]:
    """Yield frames as they are stored in the file, in its order."""
    wanted = set(indices)
    if not instance.dataset.encoding.transfer_syntax.is_encapsulated:
        size = (element.length or 0) // stored.frames
        yield from ((index, _slice(instance, element, index * size, size)) for index in sorted(wanted))
        return
    ds = instance.dataset
    tables = (ds.ExtendedOffsetTable, ds.ExtendedOffsetTableLengths) if "ExtendedOffsetTableLengths" in ds else None
    instance.stream.seek(element.value_at)
    frames = generate_frames(instance.stream, number_of_frames=stored.frames, extended_offsets=tables)
    for index, frame in enumerate(frames):
        if index in wanted:
            yield index, frame
            wanted.remove(index)
        if not wanted:
            return
    raise _unreadable(f"fewer than its {stored.frames} frames are present; the file is truncated or damaged")


def _decoded_frame(frame: bytes, syntax: UID, stored: PixelFormat) -> NDArray[np.int64]:
    coded = codestream_of(frame[:_HEAD_BYTES])
    if coded is None or not same_codec(coded.transfer_syntax, syntax):
        raise _unreadable(f"its pixels are damaged, or cannot be read as {syntax.name}; send it again")
    if coded.rows and (coded.rows, coded.columns, coded.samples) != (stored.rows, stored.columns, 1):
        size = f"{coded.rows} x {coded.columns} pixels of {coded.samples} sample(s)"
        raise _unreadable(f"its compressed image has {size}, its header states {stored.rows} x {stored.columns} of 1")
    if coded.bits > stored.allocated or stored.stored < coded.bits <= stored.high_bit:
        bits = f"BitsAllocated {stored.allocated}, BitsStored {stored.stored}, HighBit {stored.high_bit}"
        raise _unreadable(f"its compressed image has {coded.bits} bits, which contradicts its header ({bits})")
    options: dict[str, Any] = {
        "rows": stored.rows,
        "columns": stored.columns,
        "samples_per_pixel": 1,
        "photometric_interpretation": "MONOCHROME2",
        "bits_allocated": stored.allocated,
        "bits_stored": coded.bits or stored.allocated,
        "pixel_representation": int(stored.signed),
        "number_of_frames": 1,
        "pixel_keyword": "PixelData",
    }
    try:
        pixels, _ = get_decoder(syntax).as_array(
            encapsulate([frame]), index=0, raw=True, decoding_plugin=_DECODERS.get(syntax, ""), **options
        )
    except BaseException as error:
        # A decoder written in Rust panics on damaged pixels; the panic is not a subclass of Exception in Python.
        if isinstance(error, Exception) or type(error).__module__ != "pyo3_runtime":
            raise
        raise _unreadable("its compressed pixels are damaged, or their size differs from its header") from error
    # If narrower than up to the high bit, the codestream holds only the value, shifted down and with its sign.
    whole_cells = coded.bits == 0 or coded.bits > stored.high_bit
    return stored.values_of(pixels) if whole_cells else stored.signed_values(pixels)


def _unreadable(sentence: str) -> UnreadableSeries:
    return UnreadableSeries(ConversionReason.UNREADABLE_PIXELS, sentence)
