"""Reads and writes NIfTI files (by SimpleITK, which writes sform and qform equal), for research and other tools."""

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from conversion.errors import ConversionReason, UnreadableSeries
from conversion.simpleitk_bridge import from_simpleitk, grid_from_simpleitk, to_simpleitk
from conversion.volume import ImageVolume, LabelVolume

__all__ = ["NIFTI_FRAME", "read_nifti", "why_incomplete", "write_canonical_nifti", "write_nifti"]

NIFTI_FRAME = "NIfTI"
"""Stands for the frame of reference, of which such a file says nothing."""


MAXIMUM_VOXELS = 2**28
"""Limit for one volume, as for a DICOM series: a whole head in voxels of 0.4 mm has 2.2 * 10^8."""

_HEADER, _PART = 348, 2**22
"""Bytes of a NIfTI-1 header (nifti1.h: dim at 40, bitpix at 72, vox_offset at 108), and of one read."""


def read_nifti(path: Path, frame_of_reference_uid: str = NIFTI_FRAME) -> ImageVolume:
    """Read a three-dimensional NIfTI file.

    Raises
    ------
    UnreadableSeries
        When the file cannot be read, is not a single volume, is too large, or is not all there.
    """
    _refuse_too_large(path)
    if problem := why_incomplete(path):
        raise UnreadableSeries(ConversionReason.UNREADABLE_PIXELS, f"{path.name}: {problem}")
    try:
        image = sitk.ReadImage(str(path), sitk.sitkFloat32)
    except RuntimeError as error:
        sentence = f"{path.name}: not a readable NIfTI file"
        raise UnreadableSeries(ConversionReason.UNREADABLE_PIXELS, sentence) from error
    if image.GetDimension() != 3:
        sentence = f"{path.name}: has {image.GetDimension()} dimensions; one three-dimensional volume is needed"
        raise UnreadableSeries(ConversionReason.UNREADABLE_PIXELS, sentence)
    return from_simpleitk(image, grid_from_simpleitk(image, frame_of_reference_uid))


def _refuse_too_large(path: Path) -> None:
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        sentence = f"{path.name}: not a readable NIfTI file"
        raise UnreadableSeries(ConversionReason.UNREADABLE_PIXELS, sentence) from error
    voxels = math.prod(reader.GetSize())
    if voxels > MAXIMUM_VOXELS:
        sentence = f"{path.name}: too large for a head ({voxels} voxels, limit {MAXIMUM_VOXELS})"
        raise UnreadableSeries(ConversionReason.UNREADABLE_PIXELS, sentence)


def why_incomplete(path: Path) -> str:
    """Return why a NIfTI file is not all there; empty if it is, or if it is another kind of file.

    ITK silently reads the voxels that are missing at the end of a file as zeros.
    """
    header, size = b"", 0
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            while part := file.read(_PART):
                header, size = header or part[:_HEADER], size + len(part)
    except (EOFError, OSError, zlib.error):
        return "cannot be read; the file is truncated, damaged or not an image"
    order = next((mark for mark in "<>" if header[:4] == struct.pack(f"{mark}i", _HEADER)), "")
    if not order or len(header) < _HEADER:
        return ""  # not a NIfTI-1 file: left to ITK
    rank, *lengths = struct.unpack_from(f"{order}8h", header, 40)
    (bits,), (offset,) = struct.unpack_from(f"{order}h", header, 72), struct.unpack_from(f"{order}f", header, 108)
    if 1 <= rank <= len(lengths) and size < offset + math.prod(lengths[:rank]) * bits / 8:
        return f"the file is truncated; its {size} bytes are fewer than its header states"
    return ""


def write_canonical_nifti(volume: ImageVolume, path: Path) -> None:
    """Write a volume with its axes reordered to run to the right, the front and the head (RAS+).

    The qform stores a rotation as three of a quaternion's four numbers, in single precision. For a rotation near 180°,
    as of a DICOM stack in its own order, the fourth number loses its accuracy: 0.2 mm over an oblique head. For a
    rotation near 0° nothing is lost.
    """
    axes, (head, back, left) = volume.grid.axial_order()
    flips = (head, not back, not left)
    order = tuple(slice(None, None, -1 if flip else 1) for flip in flips)
    voxels = volume.voxels.transpose(axes)[order]
    write_nifti(ImageVolume(grid=volume.grid.permuted(axes, flips), voxels=voxels), path)


def write_nifti(volume: ImageVolume | LabelVolume, path: Path) -> None:
    """Write a volume in the order of its own axes; SimpleITK converts LPS to NIfTI's RAS."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = to_simpleitk(volume)
    if isinstance(volume, ImageVolume) and bool(np.all(volume.voxels == np.round(volume.voxels))):
        largest = float(np.abs(volume.voxels).max(initial=0))
        image = sitk.Cast(image, sitk.sitkInt16) if largest < 2**15 else image
    sitk.WriteImage(image, str(path), useCompression=True)
