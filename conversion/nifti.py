"""Reads and writes NIfTI files (by SimpleITK, which writes sform and qform equal), for research and other tools."""

from pathlib import Path

import numpy as np
import SimpleITK as sitk

from conversion.errors import ConversionReason, UnreadableSeries
from conversion.simpleitk_bridge import from_simpleitk, grid_from_simpleitk, to_simpleitk
from conversion.volume import ImageVolume, LabelVolume

__all__ = ["read_nifti", "write_canonical_nifti", "write_nifti"]


def read_nifti(path: Path, frame_of_reference_uid: str = "NIfTI") -> ImageVolume:
    """Read a three-dimensional NIfTI file.

    Raises
    ------
    UnreadableSeries
        When the file cannot be read or is not a single volume.
    """
    try:
        image = sitk.ReadImage(str(path), sitk.sitkFloat32)
    except RuntimeError as error:
        sentence = f"{path.name}: not a readable NIfTI file"
        raise UnreadableSeries(ConversionReason.UNREADABLE_PIXELS, sentence) from error
    if image.GetDimension() != 3:
        sentence = f"{path.name}: has {image.GetDimension()} dimensions; one three-dimensional volume is needed"
        raise UnreadableSeries(ConversionReason.UNREADABLE_PIXELS, sentence)
    return from_simpleitk(image, grid_from_simpleitk(image, frame_of_reference_uid))


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
