"""A small series in every transfer syntax the node takes, encoded by programs that share no code with its decoders.

JPEG and JPEG-LS come from DCMTK (dcmcjpeg, dcmcjpls), RLE from dcmcrle, HTJ2K from OpenJPH (`tests.support.htj2k`);
only JPEG 2000 is encoded by OpenJPEG, which also decodes it.
"""

import subprocess
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.encaps import encapsulate
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

from tests.support.dicom_series import axis_aligned, mr_slices
from tests.support.htj2k import SHAPE as HTJ2K_SHAPE
from tests.support.htj2k import codestream

__all__ = ["KINDS", "LOSSLESS", "LOSSY", "formula", "write_series"]

LOSSLESS = (
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    ExplicitVRBigEndian,
    DeflatedExplicitVRLittleEndian,
    JPEGLosslessSV1,
    JPEGLossless,
    JPEGLSLossless,
    JPEG2000Lossless,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    RLELossless,
)
LOSSY: Mapping[UID, int] = MappingProxyType(
    {JPEGLSNearLossless: 2, JPEG2000: 12, HTJ2K: 30, JPEGBaseline8Bit: 6, JPEGExtended12Bit: 60}
)
"""By how much a stored value may be off: the encoder's bound, or what it was seen to stay under."""

KINDS: Mapping[str, tuple[type[np.generic], int]] = MappingProxyType(
    {"u16": (np.uint16, 16), "s16": (np.int16, 16), "u12": (np.uint16, 12), "s12": (np.int16, 12), "u8": (np.uint8, 8)}
)
"""Type and number of bits that are used, by name."""

SLICES = 3
_SHAPE = (40, 36)
_DCMTK = {
    RLELossless: ["dcmcrle"],
    JPEGLosslessSV1: ["dcmcjpeg", "+e1", "+un"],
    JPEGLossless: ["dcmcjpeg", "+el", "+un"],
    JPEGBaseline8Bit: ["dcmcjpeg", "+eb", "+un", "+q", "98"],
    JPEGExtended12Bit: ["dcmcjpeg", "+ee", "+un", "+q", "98"],
    JPEGLSLossless: ["dcmcjpls", "+el", "+un"],
    JPEGLSNearLossless: ["dcmcjpls", "+en", "+md", "2", "+un"],
}


def formula(kind: str, shape: tuple[int, int] = _SHAPE) -> NDArray[Any]:
    """Return three smooth images that use the whole range of a kind of pixels, shape (slice, row, column)."""
    dtype, bits = KINDS[kind]
    k, row, column = np.mgrid[:SLICES, : shape[0], : shape[1]]
    if shape == HTJ2K_SHAPE:
        values = row * row * 100 + column * column * 110 + k * 1500
    else:
        values = row * row * 25 + column * column * 20 + k * 700
    values >>= 16 - bits
    return np.asarray(values - (1 << (bits - 1)) * np.issubdtype(dtype, np.signedinteger), dtype)


def write_series(
    folder: Path, syntax: UID, kind: str = "u12", *, upper: bool = False, **attributes: object
) -> tuple[list[Path], NDArray[Any]]:
    """Write three axial slices in a transfer syntax; return the files and the stored values that went in.

    Parameters
    ----------
    kind
        One of `KINDS`.
    upper
        Whether values stand in the upper bits of their cells, with noise in the lower ones. A codestream of JPEG 2000
        holds the values alone.
    attributes
        Of every instance, by keyword.
    """
    folder.mkdir(parents=True, exist_ok=True)
    coded = syntax in (HTJ2KLossless, HTJ2KLosslessRPCL, HTJ2K)
    pixels = formula(kind, HTJ2K_SHAPE if coded else _SHAPE)
    wide = pixels.astype(np.int16 if np.issubdtype(pixels.dtype, np.signedinteger) else np.uint16)
    paths = []
    for k, ds in enumerate(mr_slices(wide, axis_aligned("axial"), "syntaxes", **attributes)):
        bits = KINDS[kind][1]
        ds.BitsAllocated, ds.BitsStored, ds.HighBit = 8 * pixels.dtype.itemsize, bits, bits - 1
        if upper:
            ds.HighBit = ds.BitsAllocated - 1
        cells = pixels[k]
        if upper and syntax not in (JPEG2000Lossless, JPEG2000):
            cells = (wide[k] << (ds.BitsAllocated - bits)) | (np.arange(cells.size).reshape(cells.shape) % 7)
        ds.PixelData = cells.astype(pixels.dtype.newbyteorder("<")).tobytes()
        paths.append(folder / f"{k}.dcm")
        _write(paths[-1], ds, syntax, codestream("lossy" if syntax == HTJ2K else kind, k) if coded else b"")
    return paths, pixels


def _write(path: Path, ds: Dataset, syntax: UID, coded: bytes) -> None:
    if coded:
        ds.PixelData = encapsulate([coded])
        ds["PixelData"].VR, ds["PixelData"].is_undefined_length = "OB", True
    elif syntax in (JPEG2000Lossless, JPEG2000):
        psnr = [70.0] if syntax == JPEG2000 else None
        ds.compress(syntax, encoding_plugin="pylibjpeg", generate_instance_uid=False, j2k_psnr=psnr)
    elif syntax in _DCMTK:
        plain = path.with_suffix(".plain")
        ds.save_as(plain, enforce_file_format=True)
        subprocess.run([*_DCMTK[syntax], str(plain), str(path)], check=True)
        plain.unlink()
        return
    elif syntax == ExplicitVRBigEndian:
        words = np.frombuffer(ds.PixelData, "<u2")  # the value is a row of 16-bit words, also with pixels of 8 bits
        ds.PixelData = words.astype(">u2").tobytes()
    ds.file_meta.TransferSyntaxUID = syntax
    ds.save_as(path, enforce_file_format=True)
