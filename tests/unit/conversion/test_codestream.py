"""Compressed images are recognised by their first bytes: markers written by hand, and what real encoders write."""

import struct

import numpy as np
import pytest
from pydicom.encaps import generate_frames
from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    JPEG2000MC,
    UID,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from conversion.codestream import Codestream, codestream_of, same_codec
from tests.support.dicom_series import axis_aligned, mr_slices
from tests.support.htj2k import codestream

SOI, APP0 = b"\xff\xd8", b"\xff\xe0\x00\x10JFIF\x00\x01\x02\x00\x00\x01\x00\x01\x00\x00"
TABLE = b"\xff\xc4\x00\x05\x00\x01\x02"
"""A Huffman table: its marker lies among those of frame headers."""


def _frame(marker: int, bits: int, rows: int = 20, columns: int = 16, samples: int = 1) -> bytes:
    """Return a frame header (ISO/IEC 10918-1 B.2.2)."""
    components = b"".join(bytes([k + 1, 0x11, 0]) for k in range(samples))
    return struct.pack(">BBHBHHB", 0xFF, marker, 8 + 3 * samples, bits, rows, columns, samples) + components


def _scan(parameter: int, samples: int = 1) -> bytes:
    """Return a scan header (B.2.3); `parameter` is its first one: predictor, or NEAR of JPEG-LS."""
    selectors = b"".join(bytes([k + 1, 0]) for k in range(samples))
    return struct.pack(">BBHB", 0xFF, 0xDA, 6 + 2 * samples, samples) + selectors + bytes([parameter, 63, 0])


def _jpeg2000(*, reversible: bool = True, depth: int = 15, high_throughput: bool = False) -> bytes:
    """Return the main header of an image whose area begins at row 3 and column 5 of its canvas (ISO/IEC 15444-1)."""
    size = struct.pack(">HH8IHBBB", 41, 0, 21, 23, 5, 3, 21, 23, 0, 0, 1, depth, 1, 1)
    capabilities = b"\xff\x50\x00\x08\x00\x02\x00\x00\x00\x0a" if high_throughput else b""
    style = b"\xff\x52" + struct.pack(">HBBHBBBBBB", 12, 0, 4, 1, 0, 5, 4, 4, 64, int(reversible))
    return b"\xff\x4f\xff\x51" + size + capabilities + b"\xff\x64\x00\x04\x00\x01" + style


@pytest.mark.parametrize(
    ("marker", "bits", "parameter", "syntax"),
    [
        (0xC0, 8, 0, JPEGBaseline8Bit),
        (0xC1, 8, 0, JPEGBaseline8Bit),
        (0xC1, 12, 0, JPEGExtended12Bit),
        (0xC3, 16, 1, JPEGLosslessSV1),
        (0xC3, 16, 4, JPEGLossless),
        (0xF7, 12, 0, JPEGLSLossless),
        (0xF7, 12, 2, JPEGLSNearLossless),
    ],
)
@pytest.mark.parametrize("samples", [1, 3])
def test_a_jpeg_is_named_by_its_frame_and_its_scan(
    marker: int, bits: int, parameter: int, syntax: UID, samples: int
) -> None:
    head = SOI + APP0 + TABLE + _frame(marker, bits, samples=samples) + TABLE + _scan(parameter, samples)
    stated = Codestream(transfer_syntax=syntax, rows=20, columns=16, samples=samples, bits=bits)
    assert codestream_of(head) == stated


@pytest.mark.parametrize("marker", [0xC2, 0xC5, 0xC7, 0xC9, 0xCA, 0xCB])
def test_a_jpeg_process_that_dicom_does_not_know_is_no_codec(marker: int) -> None:
    assert codestream_of(SOI + _frame(marker, 8) + _scan(0)) is None


def test_fill_bytes_comments_and_markers_without_length_are_passed_over() -> None:
    comment = b"\xff\xfe\x00\x08\xff\xc0\xff\xda\x00\x00"  # whose text looks like headers
    head = SOI + b"\xff\x01\xff\xd3" + comment + b"\xff\xff\xff" + _frame(0xC3, 12)[1:] + _scan(1)
    found = codestream_of(head)
    assert found is not None
    assert (found.transfer_syntax, found.bits) == (JPEGLosslessSV1, 12)


def test_a_segment_that_does_not_end_at_a_marker_is_no_jpeg() -> None:
    assert codestream_of(SOI + b"\xff\xfe\x00\x04abcdef" + _frame(0xC0, 8) + _scan(0)) is None


@pytest.mark.parametrize("before", [b"", b"\x00\x00\x00\x0cjP  \r\n\x87\n" + b"\x00" * 60])
def test_the_size_of_a_jpeg_2000_is_that_of_the_image_and_not_of_its_canvas(before: bytes) -> None:
    stated = Codestream(transfer_syntax=JPEG2000Lossless, rows=20, columns=16, samples=1, bits=16)
    assert codestream_of(before + _jpeg2000()) == stated


@pytest.mark.parametrize(
    ("reversible", "high_throughput", "syntax"),
    [
        (True, False, JPEG2000Lossless),
        (False, False, JPEG2000),
        (True, True, HTJ2KLossless),
        (False, True, HTJ2K),
    ],
)
def test_wavelet_and_block_coder_name_a_jpeg_2000(*, reversible: bool, high_throughput: bool, syntax: UID) -> None:
    found = codestream_of(_jpeg2000(reversible=reversible, high_throughput=high_throughput))
    assert found is not None
    assert found.transfer_syntax == syntax


def test_the_sign_is_no_part_of_the_depth_of_a_jpeg_2000() -> None:
    found = codestream_of(_jpeg2000(depth=0x80 | 11))
    assert found is not None
    assert found.bits == 12


@pytest.mark.parametrize("syntax", [RLELossless, JPEG2000Lossless, JPEGLSLossless])
def test_what_encoders_of_other_projects_write_is_recognised(syntax: UID) -> None:
    (ds,) = mr_slices(np.arange(40 * 36, dtype=np.uint16).reshape(1, 40, 36), axis_aligned("axial"))
    ds.compress(syntax, generate_instance_uid=False)
    (frame,) = generate_frames(ds.PixelData, number_of_frames=1)
    sized = Codestream(transfer_syntax=syntax, rows=40, columns=36, samples=1, bits=16)
    assert codestream_of(frame) == (Codestream(transfer_syntax=syntax) if syntax == RLELossless else sized)


@pytest.mark.parametrize(
    ("kind", "syntax", "bits"), [("u16", HTJ2KLossless, 16), ("s12", HTJ2KLossless, 12), ("lossy", HTJ2K, 16)]
)
def test_a_codestream_of_openjph_is_recognised(kind: str, syntax: UID, bits: int) -> None:
    stated = Codestream(transfer_syntax=syntax, rows=20, columns=16, samples=1, bits=bits)
    assert codestream_of(codestream(kind, 0)) == stated


@pytest.mark.parametrize(
    ("numbers", "is_rle"),
    [
        ((1, 64), True),
        ((3, 64, 100, 200), True),
        ((15, *range(64, 79)), True),
        ((0,), False),
        ((16, *range(64, 79)), False),
        ((2, 64, 64), False),
        ((2, 64, 50), False),
        ((2, 60, 80), False),
        ((1, 64, 70), False),
    ],
)
def test_segments_of_rle_begin_behind_its_header_and_ascend(numbers: tuple[int, ...], *, is_rle: bool) -> None:
    head = struct.pack("<16I", *numbers, *[0] * (16 - len(numbers)))
    assert codestream_of(head) == (Codestream(transfer_syntax=RLELossless) if is_rle else None)


@pytest.mark.parametrize(
    "head", [SOI + APP0 + _frame(0xC3, 12) + _scan(1), _jpeg2000(), struct.pack("<16I", 1, 64, *[0] * 14)]
)
def test_a_head_that_ends_too_early_is_none_and_no_error(head: bytes) -> None:
    found = codestream_of(head)
    assert found is not None
    assert [codestream_of(head[:k]) for k in range(len(head) - 12)] == [None] * (len(head) - 12)
    assert all(codestream_of(head[:k]) in (None, found) for k in range(len(head)))


def test_transfer_syntaxes_of_one_decoder_are_alike_in_either_order() -> None:
    alike = [
        (JPEGLossless, JPEGLosslessSV1),
        (JPEGLSLossless, JPEGLSNearLossless),
        (JPEG2000Lossless, JPEG2000MC),
        (HTJ2K, HTJ2KLosslessRPCL),
    ]
    assert all(same_codec(a, b) and same_codec(b, a) and same_codec(a, a) for a, b in alike)
    strange = [
        (JPEGBaseline8Bit, JPEGExtended12Bit),
        (JPEGLossless, JPEGLSLossless),
        (JPEG2000, HTJ2K),
        (RLELossless, JPEG2000),
        (ExplicitVRLittleEndian, ExplicitVRLittleEndian),
    ]
    assert not any(same_codec(a, b) or same_codec(b, a) for a, b in strange)
