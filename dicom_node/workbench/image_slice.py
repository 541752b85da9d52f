"""Reads one axial slice from PNG, JPEG or TIFF files: a grey image for each sequence, or a colour image of several."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from conversion.alignment import AlignedVolumes
from conversion.errors import ConversionReason, UnusableStudy
from conversion.sequences import Role
from conversion.volume import Grid, ImageVolume

__all__ = ["read_slice"]


def read_slice(paths: Mapping[Role, Path], pixel_mm: float) -> AlignedVolumes:
    """Return the sequences of a slice as volumes of one axial plane.

    Parameters
    ----------
    pixel_mm
        Edge of a pixel.

    Raises
    ------
    UnusableStudy
        With a sentence that states which image cannot be used, and why.
    """
    channels: dict[Role, NDArray[np.float32]] = {}
    for role, path in paths.items():
        channels |= _read_image(path, role, alone=len(paths) == 1)
    shapes = {channel.shape for channel in channels.values()}
    if len(shapes) > 1:
        sizes = ", ".join(f"{columns} x {rows}" for rows, columns in sorted(shapes))
        sentence = f"the images differ in size ({sizes}); images of one slice with the same size are needed"
        raise UnusableStudy(ConversionReason.UNREADABLE_PIXELS, sentence)
    ((rows, columns),) = shapes
    axial = np.array([[0, 0, pixel_mm, 0], [0, pixel_mm, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1]], np.float64)
    grid = Grid(shape=(1, rows, columns), affine=axial, frame_of_reference_uid="picture")
    volumes = {r: ImageVolume(grid=grid, voxels=c[np.newaxis]) for r, c in channels.items()}
    reference = next((role for role in (Role.T1CE, Role.FLAIR) if role in volumes), next(iter(volumes)))
    return AlignedVolumes(reference=reference, volumes=volumes, registrations={}, decisions=())


def _read_image(path: Path, role: Role, *, alone: bool) -> dict[Role, NDArray[np.float32]]:
    """Return the sequences of one image file, each of shape (row, column)."""
    _refuse_incomplete(path)
    try:
        pixels = sitk.GetArrayFromImage(sitk.ReadImage(str(path))).astype(np.float32)
    except RuntimeError as error:
        sentence = f"{path.name}: not a readable PNG, JPEG or TIFF image"
        raise UnusableStudy(ConversionReason.UNREADABLE_PIXELS, sentence) from error
    colour = pixels.ndim == 3 and pixels.shape[-1] in (3, 4)
    if not colour and pixels.ndim != 2:
        sentence = f"{path.name}: a single two-dimensional image is needed"
        raise UnusableStudy(ConversionReason.UNREADABLE_PIXELS, sentence)
    if not colour or np.array_equal(pixels[..., 0], pixels[..., 1]):
        return {role: pixels[..., 0] if colour else pixels}
    if not alone:
        sentence = f"{path.name}: a colour image contains several sequences; send it alone, or send grey images"
        raise UnusableStudy(ConversionReason.UNREADABLE_PIXELS, sentence)
    channels = {Role.T1: pixels[..., 0], Role.FLAIR: pixels[..., 1], Role.T1CE: pixels[..., 2]}
    return {r: c for r, c in channels.items() if r is Role.FLAIR or not np.array_equal(c, pixels[..., 1])}


def _refuse_incomplete(path: Path) -> None:
    """Refuse an image that was cut off, of which SimpleITK reads the rest as grey, or one of a billion pixels."""
    try:
        with Image.open(path) as image:
            image.load()
    except UnidentifiedImageError:
        return  # of a form that SimpleITK alone may know
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        sentence = f"{path.name}: the image is damaged, was cut off, or is too large; send it again"
        raise UnusableStudy(ConversionReason.UNREADABLE_PIXELS, sentence) from error
