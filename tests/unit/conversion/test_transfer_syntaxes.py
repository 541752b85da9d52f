"""Every transfer syntax the node takes gives back the voxels that went in, to the bit where nothing may be lost."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.encaps import encapsulate, generate_frames
from pydicom.pixels.decoders.base import get_decoder
from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from conversion.errors import ConversionReason, UnreadableSeries
from conversion.reading import read_series, read_study
from conversion.volume import ImageVolume
from tests.support.transfer_syntaxes import KINDS, LOSSLESS, LOSSY, write_series

DECODERS = {
    JPEGLosslessSV1: "gdcm",
    JPEGLossless: "gdcm",
    JPEGBaseline8Bit: "gdcm",
    JPEGLSLossless: "pyjpegls",
    JPEGLSNearLossless: "pyjpegls",
    JPEG2000Lossless: "pylibjpeg",
    JPEG2000: "pylibjpeg",
    HTJ2KLossless: "pylibjpeg",
    HTJ2KLosslessRPCL: "pylibjpeg",
    HTJ2K: "pylibjpeg",
    RLELossless: "pylibjpeg",
}
"""pydicom's names of python-gdcm, pyjpegls, and pylibjpeg with pylibjpeg-openjpeg or pylibjpeg-rle."""

ENCAPSULATED = [syntax for syntax in LOSSLESS if syntax.is_compressed and syntax.is_encapsulated]
RESCALE = {"RescaleSlope": "2.5", "RescaleIntercept": "-1024"}

pytestmark = pytest.mark.dcmtk


def _read(paths: list[Path]) -> ImageVolume:
    (series,) = read_study(paths).series
    return read_series(series)


def _name(value: object) -> str:
    return value.name.partition(" (")[0] if isinstance(value, UID) else str(value)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("syntax", LOSSLESS, ids=_name)
def test_what_is_compressed_without_loss_is_read_to_the_bit(tmp_path: Path, syntax: UID, kind: str) -> None:
    paths, pixels = write_series(tmp_path, syntax, kind)
    assert pydicom.dcmread(paths[0]).file_meta.TransferSyntaxUID == syntax
    assert np.array_equal(_read(paths).voxels, pixels)


@pytest.mark.parametrize("kind", ["u16", "s12"])
@pytest.mark.parametrize("syntax", LOSSLESS, ids=_name)
def test_the_rescale_is_applied_to_the_decoded_values(tmp_path: Path, syntax: UID, kind: str) -> None:
    paths, pixels = write_series(tmp_path, syntax, kind, **RESCALE)
    assert np.array_equal(_read(paths).voxels, (pixels * np.float64(2.5) - 1024).astype(np.float32))


@pytest.mark.parametrize("syntax", [syntax for syntax in LOSSY if syntax not in (JPEGBaseline8Bit, JPEGExtended12Bit)])
def test_what_is_compressed_with_loss_stays_near(tmp_path: Path, syntax: UID) -> None:
    paths, pixels = write_series(tmp_path, syntax, "u16" if syntax == HTJ2K else "u12")
    off = np.abs(_read(paths).voxels - pixels.astype(np.float64))
    assert 0 < off.max() <= LOSSY[syntax]


def test_jpeg_of_8_bits_stays_near(tmp_path: Path) -> None:
    paths, pixels = write_series(tmp_path, JPEGBaseline8Bit, "u8")
    assert np.abs(_read(paths).voxels - pixels.astype(np.float64)).max() <= LOSSY[JPEGBaseline8Bit]


def test_each_syntax_has_the_decoder_that_is_chosen_for_it() -> None:
    for syntax, plugin in DECODERS.items():
        assert plugin in get_decoder(syntax).available_plugins, syntax.name
    for syntax in (JPEGLossless, JPEGLSLossless, JPEGBaseline8Bit):
        assert "pylibjpeg" not in get_decoder(syntax).available_plugins, "libjpeg of JPEG.org is under the GPL"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("syntax", ENCAPSULATED, ids=_name)
def test_the_chosen_decoder_alone_reads_to_the_bit(tmp_path: Path, syntax: UID, kind: str) -> None:
    paths, pixels = write_series(tmp_path, syntax, kind)
    for path, expected in zip(paths, pixels, strict=True):
        decoded, _ = get_decoder(syntax).as_array(pydicom.dcmread(path), index=0, decoding_plugin=DECODERS[syntax])
        assert np.array_equal(decoded, expected)
        assert np.issubdtype(decoded.dtype, np.signedinteger) == kind.startswith("s")


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian], ids=_name)
@pytest.mark.parametrize("kind", ["u12", "s12"])
def test_bits_that_are_not_stored_are_left_out(tmp_path: Path, syntax: UID, kind: str) -> None:
    """Old archives keep overlays in the upper bits of a pixel (PS3.5 8.1.1)."""
    paths, pixels = write_series(tmp_path, syntax, kind)
    order = ">" if syntax == ExplicitVRBigEndian else "<"
    for path in paths:
        ds = pydicom.dcmread(path)
        cells = np.frombuffer(ds.PixelData, f"{order}u2") & 0x0FFF
        cells[::3] |= 0x9000
        ds.PixelData = cells.astype(f"{order}u2").tobytes()
        ds.save_as(path)
    assert np.array_equal(_read(paths).voxels, pixels)


@pytest.mark.parametrize("fragments", [2, 3])
@pytest.mark.parametrize("table", [True, False])
@pytest.mark.parametrize("syntax", ENCAPSULATED, ids=_name)
def test_a_frame_in_several_fragments_is_read(tmp_path: Path, syntax: UID, fragments: int, *, table: bool) -> None:
    if syntax == RLELossless:
        fragments = 1  # PS3.5 A.4.2: one frame, one fragment
    paths, pixels = write_series(tmp_path, syntax)
    for path in paths:
        ds = pydicom.dcmread(path)
        (frame,) = generate_frames(ds.PixelData, number_of_frames=1)
        ds.PixelData = encapsulate([frame], fragments_per_frame=fragments, has_bot=table)
        ds.save_as(path)
    assert np.array_equal(_read(paths).voxels, pixels)


def _cut_in_the_middle(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: -len(_frame(path)) // 2])


def _garbage(path: Path) -> None:
    _replace(path, np.random.default_rng(7).integers(0, 256, len(_frame(path)), np.uint8).tobytes())


def _short_frame(path: Path) -> None:
    _replace(path, _frame(path)[: len(_frame(path)) // 3 * 2])


def _nothing(path: Path) -> None:
    _replace(path, b"\x00\x00")


def _frame(path: Path) -> bytes:
    return next(generate_frames(pydicom.dcmread(path).PixelData, number_of_frames=1))


def _replace(path: Path, frame: bytes) -> None:
    ds = pydicom.dcmread(path)
    ds.PixelData = encapsulate([frame])
    ds.save_as(path)


@pytest.mark.parametrize("damage", [_cut_in_the_middle, _garbage, _short_frame, _nothing])
@pytest.mark.parametrize("syntax", ENCAPSULATED, ids=_name)
def test_damaged_pixels_are_refused_with_a_reason(tmp_path: Path, syntax: UID, damage: Callable[[Path], None]) -> None:
    paths, _ = write_series(tmp_path, syntax)
    damage(paths[1])
    (series,) = read_study(paths).series
    with pytest.raises(UnreadableSeries, match="image 2") as caught:
        read_series(series)
    assert caught.value.reason is ConversionReason.UNREADABLE_PIXELS


def test_a_deflated_file_that_was_cut_is_left_out_by_name(tmp_path: Path) -> None:
    paths, _ = write_series(tmp_path, DeflatedExplicitVRLittleEndian)
    paths[1].write_bytes(paths[1].read_bytes()[:-200])
    decisions = read_study(paths).decisions
    assert [(decision.code, decision.subject) for decision in decisions] == [("unreadable_file", "file 1.dcm")]


def test_what_no_decoder_reads_is_refused_with_a_reason(tmp_path: Path) -> None:
    paths, _ = write_series(tmp_path, JPEGExtended12Bit, "u12")
    (series,) = read_study(paths).series
    with pytest.raises(UnreadableSeries) as caught:
        read_series(series)
    assert caught.value.reason is ConversionReason.UNREADABLE_PIXELS
