"""Reads the codec and the size from the first bytes of a compressed image, before anything decodes it."""

import struct
from dataclasses import dataclass

from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    JPEG2000MC,
    UID,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    JPEG2000Lossless,
    JPEG2000MCLossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

__all__ = ["Codestream", "codestream_of", "same_codec"]

_FAMILIES = (
    {JPEGBaseline8Bit},
    {JPEGExtended12Bit},
    {JPEGLossless, JPEGLosslessSV1},
    {JPEGLSLossless, JPEGLSNearLossless},
    {JPEG2000Lossless, JPEG2000, JPEG2000MCLossless, JPEG2000MC},
    {HTJ2KLossless, HTJ2KLosslessRPCL, HTJ2K},
    {RLELossless},
)
"""Transfer syntaxes that one decoder reads in the same way, whichever of them is stated."""

_STANDALONE = {0x01, *range(0xD0, 0xD9)}
"""JPEG markers without a length (ISO/IEC 10918-1, table B.1)."""


@dataclass(frozen=True, kw_only=True)
class Codestream:
    """One compressed image.

    Attributes
    ----------
    rows, columns, samples, bits
        As stated in the compressed image's own header; 0 if the codec has no such header (RLE).
    """

    transfer_syntax: UID
    rows: int = 0
    columns: int = 0
    samples: int = 0
    bits: int = 0


def same_codec(first: UID, second: UID) -> bool:
    """Return whether one decoder reads both transfer syntaxes."""
    return any(first in family and second in family for family in _FAMILIES)


def codestream_of(head: bytes) -> Codestream | None:
    """Return the codec and size from the first bytes of a compressed frame; None if no known codec of PS3.5.

    Parameters
    ----------
    head
        The first bytes. A few kB are enough, unless comments or colour profiles precede the size.
    """
    try:
        if head[:2] == b"\xff\xd8":
            return _jpeg(head)
        start = head.find(b"\xff\x4f\xff\x51")  # after the boxes of a JP2 file, in which some writers wrap it
        if start >= 0:
            return _jpeg2000(head[start:])
        return _rle(head)
    except (struct.error, IndexError):
        return None


def _jpeg(head: bytes) -> Codestream | None:
    """Read the frame header and the first scan header (ISO/IEC 10918-1 B.2; ISO/IEC 14495-1 C.2)."""
    at, frame, stated = 2, 0, (0, 0, 0, 0)
    while True:
        while head[at + 1] == 0xFF:
            at += 1
        marker = head[at + 1]
        if head[at] != 0xFF:
            return None
        if marker in _STANDALONE:
            at += 2
            continue
        (length,) = struct.unpack_from(">H", head, at + 2)
        if marker == 0xF7 or (0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)):
            frame, stated = marker, struct.unpack_from(">BHHB", head, at + 4)
        if marker == 0xDA:
            first_parameter = head[at + 5 + 2 * head[at + 4]]  # predictor of lossless JPEG, NEAR of JPEG-LS
            break
        at += 2 + length
    bits, rows, columns, samples = stated
    syntax = {
        0xC0: JPEGBaseline8Bit,
        0xC1: JPEGBaseline8Bit if bits <= 8 else JPEGExtended12Bit,
        0xC3: JPEGLosslessSV1 if first_parameter == 1 else JPEGLossless,
        0xF7: JPEGLSLossless if first_parameter == 0 else JPEGLSNearLossless,
    }.get(frame)
    if syntax is None:
        return None
    return Codestream(transfer_syntax=syntax, rows=rows, columns=columns, samples=samples, bits=bits)


def _jpeg2000(head: bytes) -> Codestream:
    """Read the markers SIZ, CAP and COD (ISO/IEC 15444-1 A.5 and A.6; 15444-15 for CAP)."""
    right, bottom, left, top = struct.unpack_from(">4I", head, 8)
    samples, depth = struct.unpack_from(">HB", head, 40)
    at, high_throughput = 4 + struct.unpack_from(">H", head, 4)[0], False
    while head[at + 1] != 0x52:
        high_throughput = high_throughput or head[at + 1] == 0x50
        at += 2 + struct.unpack_from(">H", head, at + 2)[0]
    reversible = head[at + 13] == 1
    exact, lossy = (HTJ2KLossless, HTJ2K) if high_throughput else (JPEG2000Lossless, JPEG2000)
    return Codestream(
        transfer_syntax=exact if reversible else lossy,
        rows=bottom - top,
        columns=right - left,
        samples=samples,
        bits=(depth & 0x7F) + 1,
    )


def _rle(head: bytes) -> Codestream | None:
    """Recognise the RLE header: 16 numbers, the count of segments and where each begins (PS3.5 G.5)."""
    count, *offsets = struct.unpack_from("<16I", head)
    used = offsets[:count]
    plain = 1 <= count <= 15 and used[0] == 64 and not any(offsets[count:])
    return Codestream(transfer_syntax=RLELossless) if plain and used == sorted(set(used)) else None
