"""Finds out by its content what kind of file a person gave: DICOM, NIfTI or an image."""

import gzip
import zlib
from pathlib import Path
from typing import Literal

__all__ = ["GZIP", "FileKind", "file_kind", "suffix_of"]

FileKind = Literal["DICOM", "NIfTI", "image", ""]

GZIP = b"\x1f\x8b"
"""How a file that gzip compressed begins (RFC 1952)."""

_IMAGES = {b"\x89PNG\r\n\x1a\n": "png", b"\xff\xd8\xff": "jpg", b"II*\0": "tif", b"MM\0*": "tif"}
_NIFTI_MAGIC = (b"n+1\0", b"ni1\0", b"n+2\0")
_FIRST_TAGS = (b"\x02\0\0\0", b"\x08\0\0\0", b"\x08\0\x05\0", b"\x08\0\x08\0")
"""How a data set without preamble begins: (0002,0000), or an attribute of group 0008."""


def file_kind(path: Path) -> FileKind:
    """Return the kind of a file by its content; empty where it is none of them."""
    with path.open("rb") as file:
        head = file.read(352)
    if head[128:132] == b"DICM":
        return "DICOM"  # whatever its preamble is: it may be a TIFF file as well
    if any(head.startswith(magic) for magic in _IMAGES):
        return "image"
    if _is_nifti(_unpacked_head(path) if head.startswith(GZIP) else head):
        return "NIfTI"
    return "DICOM" if head[:4] in _FIRST_TAGS else ""


def suffix_of(path: Path) -> str:
    """Return the suffix by which readers know the form of an image or a NIfTI file, such as ``png``."""
    with path.open("rb") as opened:
        head = opened.read(8)
    return next((suffix for magic, suffix in _IMAGES.items() if head.startswith(magic)), "nii")


def _unpacked_head(path: Path) -> bytes:
    try:
        with gzip.open(path) as unpacked:
            return unpacked.read(352)
    except (gzip.BadGzipFile, zlib.error, EOFError):
        return b""


def _is_nifti(head: bytes) -> bool:
    return head[344:348] in _NIFTI_MAGIC or head[4:8] in _NIFTI_MAGIC
