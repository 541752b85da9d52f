"""Converts to and from SimpleITK, by physical points and never by index order.

SimpleITK indexes (column, row, slice), and its direction matrix has those axes as columns. Its physical space is LPS
like DICOM's, so origin and points need no change.
"""

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from conversion.volume import Grid, ImageVolume, LabelVolume

__all__ = ["from_simpleitk", "grid_from_simpleitk", "labels_from_simpleitk", "like_grid", "to_simpleitk"]


def to_simpleitk(volume: ImageVolume | LabelVolume) -> sitk.Image:
    """Return the volume as a SimpleITK image with the same physical positions."""
    array = volume.voxels if isinstance(volume, ImageVolume) else volume.labels
    image = sitk.GetImageFromArray(array)
    like_grid(image, volume.grid)
    return image


def like_grid(image: sitk.Image, grid: Grid) -> None:
    """Set the geometry of `grid` on a SimpleITK image of the same size."""
    image.SetOrigin([float(value) for value in grid.affine[:3, 3]])
    image.SetSpacing([float(value) for value in grid.spacing_mm[::-1]])
    image.SetDirection([float(value) for value in grid.directions[:, ::-1].ravel()])


def from_simpleitk(image: sitk.Image, grid: Grid) -> ImageVolume:
    """Return a SimpleITK image on `grid` as a volume."""
    voxels: NDArray[np.float32] = sitk.GetArrayFromImage(image).astype(np.float32)
    return ImageVolume(grid=grid, voxels=voxels)


def labels_from_simpleitk(image: sitk.Image, grid: Grid) -> LabelVolume:
    """Return a SimpleITK image of labels on `grid` as a volume."""
    return LabelVolume(grid=grid, labels=sitk.GetArrayFromImage(image))


def grid_from_simpleitk(image: sitk.Image, frame_of_reference_uid: str) -> Grid:
    """Return the grid of a three-dimensional SimpleITK image."""
    direction = np.array(image.GetDirection()).reshape(3, 3)
    affine = np.eye(4)
    affine[:3, :3] = (direction * np.array(image.GetSpacing()))[:, ::-1]
    affine[:3, 3] = image.GetOrigin()
    columns, rows, slices = image.GetSize()
    return Grid(shape=(slices, rows, columns), affine=affine, frame_of_reference_uid=frame_of_reference_uid)
