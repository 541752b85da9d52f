"""NIfTI files in and out (by SimpleITK, which writes sform and qform equal), for research data and other tools."""

from pathlib import Path

import numpy as np
import SimpleITK as sitk

from conversion.errors import ConversionReason, UnreadableSeries
from conversion.simpleitk_bridge import from_simpleitk, grid_from_simpleitk, to_simpleitk
from conversion.volume import ImageVolume, LabelVolume

__all__ = ["read_nifti", "write_nifti"]


def read_nifti(path: Path, frame_of_reference_uid: str = "NIfTI") -> ImageVolume:
    """Read a three-dimensional NIfTI file.

    Raises
    ------
    UnreadableSeries
        When the file cannot be read or is no single volume.
    """
    try:
        image = sitk.ReadImage(str(path), sitk.sitkFloat32)
    except RuntimeError as error:
        sentence = f"{path.name}: not a readable NIfTI file"
        raise UnreadableSeries(ConversionReason.UNREADABLE_PIXELS, sentence) from error
    if image.GetDimension() != 3:
        sentence = f"{path.name}: {image.GetDimension()} dimensions; one three-dimensional volume is needed"
        raise UnreadableSeries(ConversionReason.UNREADABLE_PIXELS, sentence)
    return from_simpleitk(image, grid_from_simpleitk(image, frame_of_reference_uid))


def write_nifti(volume: ImageVolume | LabelVolume, path: Path) -> None:
    """Write a volume; SimpleITK turns LPS into NIfTI's RAS."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = to_simpleitk(volume)
    if isinstance(volume, ImageVolume) and bool(np.all(volume.voxels == np.round(volume.voxels))):
        largest = float(np.abs(volume.voxels).max(initial=0))
        image = sitk.Cast(image, sitk.sitkInt16) if largest < 2**15 else image
    sitk.WriteImage(image, str(path), useCompression=True)
