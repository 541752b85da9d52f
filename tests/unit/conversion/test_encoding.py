"""What a file says of its encoding may be wrong: what is there goes before it, and what fits nothing is refused."""

import io
import re
import struct
import zlib
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.errors import InvalidDicomError
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from conversion.encoding import read_instance, settle
from conversion.errors import ConversionReason, UnsettledEncoding, UnusableStudy
from conversion.reading import read_series, read_study
from tests.support.mislabelled import data_set_of, mislabel, strip
from tests.support.transfer_syntaxes import LOSSLESS, write_series

pytestmark = pytest.mark.dcmtk

STATED = (
    "",
    ImplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    DeflatedExplicitVRLittleEndian,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEG2000Lossless,
    HTJ2KLossless,
    RLELossless,
)


def _name(value: object) -> str:
    if isinstance(value, UID):
        return value.name.partition(" (")[0]
    return str(value) or "nothing"


@pytest.mark.parametrize("stated", STATED, ids=_name)
@pytest.mark.parametrize("true", LOSSLESS, ids=_name)
def test_voxels_are_those_that_went_in_whatever_the_file_says(tmp_path: Path, true: UID, stated: str) -> None:
    paths, pixels = write_series(tmp_path, true)
    for path in paths:
        mislabel(path, stated)
    (series,) = read_study(paths).series
    assert np.array_equal(read_series(series).voxels, pixels)


@pytest.mark.parametrize("true", [syntax for syntax in LOSSLESS if not syntax.is_deflated], ids=_name)
def test_a_bare_data_set_is_read(tmp_path: Path, true: UID) -> None:
    paths, pixels = write_series(tmp_path, true)
    for path in paths:
        strip(path)
    (series,) = read_study(paths).series
    assert np.array_equal(read_series(series).voxels, pixels)


def test_compressed_pixels_in_implicit_vr_are_read(tmp_path: Path) -> None:
    paths, pixels = write_series(tmp_path, RLELossless)
    for path in paths:
        ds = pydicom.dcmread(path)
        plain = io.BytesIO()
        del ds.file_meta
        ds.preamble = None
        ds["PixelData"].is_undefined_length = True
        pydicom.dcmwrite(plain, ds, implicit_vr=True, little_endian=True, force_encoding=True)
        path.write_bytes(path.read_bytes()[: -len(data_set_of(path))] + plain.getvalue())
    assert read_instance(paths[0]).encoding.form.implicit_vr
    (series,) = read_study(paths).series
    assert np.array_equal(read_series(series).voxels, pixels)


@pytest.mark.parametrize(
    ("true", "stated", "says"),
    [
        (ExplicitVRLittleEndian, ImplicitVRLittleEndian, "as Explicit VR Little Endian.* states Implicit VR Little"),
        (ImplicitVRLittleEndian, ExplicitVRLittleEndian, "as Implicit VR Little Endian.* states Explicit VR Little"),
        (ExplicitVRLittleEndian, "", "as Explicit VR Little Endian.* states no transfer syntax"),
        (RLELossless, ExplicitVRLittleEndian, "as RLE Lossless.* states Explicit VR Little"),
    ],
)
def test_what_was_settled_is_said(tmp_path: Path, true: UID, stated: str, says: str) -> None:
    paths, _ = write_series(tmp_path, true)
    assert not read_instance(paths[0]).encoding.contradiction
    for path in paths:
        mislabel(path, stated)
    (decision,) = [each for each in read_study(paths).decisions if each.code == "encoding_corrected"]
    assert decision.subject == "series 1"
    assert decision.reason.startswith("3 file(s): ")
    assert re.search(says, decision.reason)


def _garbage(path: Path) -> None:
    noise = np.random.default_rng(3).integers(0, 256, 4000, np.uint8).tobytes()
    path.write_bytes(path.read_bytes()[: -len(data_set_of(path))] + noise)


def _no_length(path: Path) -> None:
    ds = pydicom.dcmread(path)
    cells = ds.PixelData
    content = path.read_bytes()
    at = content.rindex(struct.pack("<I", len(cells)) + cells)
    path.write_bytes(content[:at] + b"\xff" * 4 + content[at + 4 :])


def _unknown_syntax(path: Path) -> None:
    mislabel(path, "1.2.840.113619.5.2")


def _cut_deflated(path: Path) -> None:
    deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    deflated = deflater.compress(data_set_of(path)) + deflater.flush()
    path.write_bytes(path.read_bytes()[: -len(data_set_of(path))] + deflated[:-200])


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (_garbage, "data set fits neither implicit nor explicit VR"),
        (_no_length, "pixel data have no length and are not encapsulated"),
        (_unknown_syntax, "1.2.840.113619.5.2 is not a DICOM transfer syntax"),
        (_cut_deflated, "deflated data set is truncated"),
    ],
)
def test_what_cannot_be_settled_is_refused_by_name(tmp_path: Path, damage: object, says: str) -> None:
    paths, _ = write_series(tmp_path, ExplicitVRLittleEndian)
    for path in paths:
        damage(path)  # type: ignore[operator]
    with pytest.raises(UnsettledEncoding, match=says) as caught:
        read_instance(paths[0])
    assert caught.value.reason is ConversionReason.CONTRADICTORY_ENCODING
    with pytest.raises(UnusableStudy, match=says):
        read_study(paths)


@pytest.mark.parametrize("content", [b"", b"\0" * 4000, b"patients, as a table\n" * 40, b"II*\0" + b"\1\2\3\4" * 99])
def test_what_is_no_dicom_stays_none(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(InvalidDicomError):
        read_instance(path)


def test_headers_of_a_bomb_take_little_memory(tmp_path: Path) -> None:
    paths, _ = write_series(tmp_path, ExplicitVRLittleEndian)
    content = data_set_of(paths[0])
    deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    deflated = deflater.compress(content + b"\xfc\xff\xfc\xffOB\0\0" + struct.pack("<I", 2**28))
    deflated += b"".join(deflater.compress(bytes(2**20)) for _ in range(2**8)) + deflater.flush()
    mislabel(paths[0], DeflatedExplicitVRLittleEndian)
    paths[0].write_bytes(paths[0].read_bytes()[: -len(content)] + deflated)
    with paths[0].open("rb") as file:
        instance = settle(file)
    assert instance.size > 2**28
    assert len(instance.stream.getbuffer()) <= 2**24  # type: ignore[attr-defined]
    assert instance.dataset.Rows == 40
