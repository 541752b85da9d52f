"""Reads the stored values of images and settles what they mean, the same in every transfer syntax.

What is said of the pixels is held against what is there before anything is decoded: the length of native pixels, the
size in a compressed image's own header, the limits.
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
"""Which decoder reads what; of JPEG lossless only gdcm, of HTJ2K only pylibjpeg is there. One decoder for each, so that
a result does not depend on what else is installed."""

_FLOATS = {"FloatPixelData": 4, "DoubleFloatPixelData": 8}
_HEAD_BYTES = 2**16
_COMPARED_BYTES = 2**26
"""A deflated data set that is larger than this is not inflated to compare its pixels with another's."""


@dataclass(frozen=True, kw_only=True, eq=False)
class StoredImage:
    """The stored values of one image.

    Attributes
    ----------
    values
        Shape (row, column), int64 or float64; the lowest is black.
    padding
        Which of them stand for background; None where none can.
    turned_over
        Whether the lowest was white in the file, so that where nought lies means nothing.
    """

    values: NDArray[np.int64] | NDArray[np.float64]
    padding: NDArray[np.bool_] | None
    turned_over: bool = False


def stored_images(path: Path, indices: Sequence[int]) -> Iterator[tuple[int, StoredImage]]:
    """Read images of one file, and yield each with its index, one after the other so that memory holds one.

    Parameters
    ----------
    indices
        Of the frames that are wanted, from 0.

    Raises
    ------
    UnreadableSeries
        When the pixels are missing, coloured, too many, or not as the header says. The decoders raise further errors
        of many kinds for what is damaged.
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
            raise _unreadable(f"it has {stored.frames} frame(s) of pixels and places for {max(indices) + 1}")
        syntax = instance.dataset.encoding.transfer_syntax
        read = _decoded if syntax.is_encapsulated else _native
        for index, values in read(instance, element, stored, indices):
            shown = stored.turn_over(values) if stored.turned_over else values
            yield index, StoredImage(values=shown, padding=stored.is_padding(values), turned_over=stored.turned_over)


def encoded_prints(path: Path, indices: Sequence[int]) -> list[bytes]:
    """Return a hash of the pixels of images of one file as they are encoded: nothing is decoded for it.

    Equal hashes are equal images; the same image in another transfer syntax has another one. What cannot be read, or
    would first have to be inflated to a great size, equals nothing.
    """
    try:
        with path.open("rb") as file:
            instance = _settled(file, _COMPARED_BYTES)
            element, stored = _element(instance), pixel_format(instance.dataset)
            said = f"{instance.dataset.encoding.transfer_syntax} {stored}".encode()
            frames = _encoded_frames(instance, element, stored, indices)
            found = {index: hashlib.sha256(said + frame).digest() for index, frame in frames}
            return [found[index] for index in indices]
    except Exception:  # noqa: BLE001 - pydicom raises many kinds for what is damaged; reading the series says what is wrong
        return [f"{path} {k}".encode() for k in indices]


def _settled(file: BinaryIO, largest_bytes: int = MAXIMUM_INFLATED_BYTES) -> SettledInstance:
    """Settle an open file; of what is deflated, the whole is inflated, unless that is larger than is wanted."""
    instance = settle(file)
    if instance.dataset.encoding.transfer_syntax != DeflatedExplicitVRLittleEndian:
        return instance
    if instance.size > largest_bytes:
        raise _unreadable(f"it is larger than {largest_bytes} bytes when it is inflated")
    file.seek(0)
    return settle(file, pixels=True)


def _check_meaning(instance: SettledInstance) -> None:
    told = Attributes(instance.dataset)
    if is_coloured(told):
        sentence = "a colour image measures nothing; its series is not read"
        raise UnreadableSeries(ConversionReason.COLOUR_IMAGE, sentence)
    places, frames = len(told.items("PerFrameFunctionalGroupsSequence")), pixel_format(instance.dataset).frames
    if places not in (0, frames):
        raise _unreadable(f"it has {frames} frame(s) of pixels and places for {places}")
    if told.items("ModalityLUTSequence"):
        raise _unreadable("its values go through a look-up table (Modality LUT), which MR images do not have")


def _element(instance: SettledInstance) -> PixelElement:
    if instance.pixels is None:
        raise _unreadable("it holds no pixel data")
    return instance.pixels


def _native(
    instance: SettledInstance, element: PixelElement, stored: PixelFormat, indices: Sequence[int]
) -> Iterator[tuple[int, NDArray[np.int64]]]:
    size = stored.allocated // 8
    order = "<" if instance.dataset.encoding.form.little_endian else ">"
    swapped = order == ">" and size == 1 and element.vr == "OW"  # a row of words, also with pixels of 8 bits
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
    """Hold the length of native pixels against what the header says of them; a pad byte or so is usual."""
    length = element.length or 0
    if length < expected or length >= expected + max(2, stored.columns * stored.allocated // 8):
        says = f"{stored.rows} x {stored.columns} pixels of {stored.allocated} bits"
        says += f" in {stored.frames} frames" if stored.frames > 1 else ""
        raise _unreadable(f"it holds {length} bytes of pixels where its header's {says} are {expected}")
    if element.value_at + expected > instance.size:
        raise _unreadable("its pixels end too early: the file is truncated; send it again")


def _floats(instance: SettledInstance, element: PixelElement, stored: PixelFormat, index: int) -> NDArray[np.float64]:
    size = _FLOATS[element.keyword]
    frame = stored.rows * stored.columns * size
    if not 0 < stored.rows * stored.columns <= MAXIMUM_FRAME_PIXELS:
        raise _unreadable(stored.flaw)
    _check_length(instance, element, replace(stored, allocated=8 * size), frame * stored.frames)
    order = "<" if instance.dataset.encoding.form.little_endian else ">"
    values = np.frombuffer(_slice(instance, element, index * frame, frame), f"{order}f{size}").astype(np.float64)
    if not np.isfinite(values).all():
        raise _unreadable("some of its floating point pixels are no numbers")
    return values.reshape(stored.rows, stored.columns)


def _decoded(
    instance: SettledInstance, element: PixelElement, stored: PixelFormat, indices: Sequence[int]
) -> Iterator[tuple[int, NDArray[np.int64]]]:
    for index, frame in _encoded_frames(instance, element, stored, indices):
        yield index, _decoded_frame(frame, instance.dataset.encoding.transfer_syntax, stored)


def _encoded_frames(
    instance: SettledInstance, element: PixelElement, stored: PixelFormat, indices: Sequence[int]
) -> Iterator[tuple[int, bytes]]:
    """Yield frames as they lie in the file, in its order."""
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
    raise _unreadable(f"fewer than its {stored.frames} frames are there; the file is truncated, or damaged")


def _decoded_frame(frame: bytes, syntax: UID, stored: PixelFormat) -> NDArray[np.int64]:
    told = codestream_of(frame[:_HEAD_BYTES])
    if told is None or not same_codec(told.transfer_syntax, syntax):
        raise _unreadable(f"its pixels are damaged, or in no {syntax.name} that can be read; send it again")
    if told.rows and (told.rows, told.columns, told.samples) != (stored.rows, stored.columns, 1):
        size = f"{told.rows} x {told.columns} pixels of {told.samples} sample(s)"
        raise _unreadable(f"its compressed image has {size}, its header {stored.rows} x {stored.columns} of 1")
    if told.bits > stored.allocated or stored.stored < told.bits <= stored.high_bit:
        bits = f"BitsAllocated {stored.allocated}, BitsStored {stored.stored}, HighBit {stored.high_bit}"
        raise _unreadable(f"its compressed image has {told.bits} bits, which contradicts its header ({bits})")
    options: dict[str, Any] = {
        "rows": stored.rows,
        "columns": stored.columns,
        "samples_per_pixel": 1,
        "photometric_interpretation": "MONOCHROME2",
        "bits_allocated": stored.allocated,
        "bits_stored": told.bits or stored.allocated,
        "pixel_representation": int(stored.signed),
        "number_of_frames": 1,
        "pixel_keyword": "PixelData",
    }
    try:
        pixels, _ = get_decoder(syntax).as_array(
            encapsulate([frame]), index=0, raw=True, decoding_plugin=_DECODERS.get(syntax, ""), **options
        )
    except BaseException as error:
        # A decoder written in Rust panics over damaged pixels, which is no Exception to Python.
        if isinstance(error, Exception) or type(error).__module__ != "pyo3_runtime":
            raise
        raise _unreadable("its compressed pixels are damaged, or of another size than its header says") from error
    # Narrower than up to the high bit, it holds the value alone, shifted down and with its sign.
    whole_cells = told.bits == 0 or told.bits > stored.high_bit
    return stored.values_of(pixels) if whole_cells else stored.signed_values(pixels)


def _unreadable(sentence: str) -> UnreadableSeries:
    return UnreadableSeries(ConversionReason.UNREADABLE_PIXELS, sentence)
