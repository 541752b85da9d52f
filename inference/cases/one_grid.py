"""Sequences and annotations that the makers of a set delivered on one grid: read, checked, and put together."""

import gzip
import math
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from conversion.alignment import AlignedVolumes
from conversion.decision import Decision
from conversion.errors import ConversionError
from conversion.sequences import Role
from conversion.simpleitk_bridge import from_simpleitk, grid_from_simpleitk
from conversion.volume import Grid, ImageVolume
from inference.cases.stored_case import unreadable
from inference.regions import REGION_LABELS, Label, Region

__all__ = ["EXPERT_REGIONS", "as_delivered", "check_same_grid", "read_image", "read_labels", "regions_of", "volume_of"]

EXPERT_REGIONS = (Region.WT, Region.TC, Region.ET)
"""The regions that sets are annotated and judged in."""

SAME_PLACE_MM = 0.25
"""Grids of one case may differ by this much: a quaternion in single precision, as a NIfTI header has, is off by up to
0.2 mm at the far corner of an oblique head."""

_HEADER, _PART = 348, 2**22
"""Bytes of a NIfTI-1 header (nifti1.h: dim at 40, bitpix at 72, vox_offset at 108), and of what is read at once."""

_NOT_WHOLE = 1e-3
"""A label that is further from a whole number is an interpolated one."""


def read_image(path: Path) -> sitk.Image:
    """Read an image file in single precision; raises `UnreadableCase` where that fails, or a part is missing."""
    _check_whole(path)
    try:
        image: sitk.Image = sitk.ReadImage(str(path), sitk.sitkFloat32)
    except RuntimeError as error:
        raise unreadable(f"{path.name}: cannot be read; the file is damaged or no image") from error
    return image


def _check_whole(path: Path) -> None:
    """Refuse a NIfTI file that ends before its voxels do: ITK reads what is missing as zeros, without a word."""
    header, size = b"", 0
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            while part := file.read(_PART):
                header, size = header or part[:_HEADER], size + len(part)
    except (EOFError, OSError, zlib.error) as error:
        raise unreadable(f"{path.name}: cannot be read; the file is cut off, damaged or no image") from error
    order = next((mark for mark in "<>" if header[:4] == struct.pack(f"{mark}i", _HEADER)), "")
    if not order or len(header) < _HEADER:
        return  # no NIfTI-1 file: whatever it is, ITK judges it
    rank, *lengths = struct.unpack_from(f"{order}8h", header, 40)
    (bits,), (offset,) = struct.unpack_from(f"{order}h", header, 72), struct.unpack_from(f"{order}f", header, 108)
    if 1 <= rank <= len(lengths) and size < offset + math.prod(lengths[:rank]) * bits / 8:
        raise unreadable(f"{path.name}: the file is cut off; {size} bytes are fewer than its header promises")


def volume_of(image: sitk.Image, name: str, frame_of_reference_uid: str) -> ImageVolume:
    """Return a three-dimensional image as a volume.

    Parameters
    ----------
    name
        How the image is called in messages.
    frame_of_reference_uid
        Stands for the space of the case; NIfTI has no name for it.
    """
    if image.GetDimension() != 3:
        raise unreadable(f"{name}: {image.GetDimension()} dimensions where a volume has three")
    try:
        volume = from_simpleitk(image, grid_from_simpleitk(image, frame_of_reference_uid))
    except ConversionError as error:
        raise unreadable(f"{name}: {error}") from error
    if not np.isfinite(volume.voxels).all():
        raise unreadable(f"{name}: some voxels are no numbers")
    return volume


def read_labels(path: Path, grid: Grid) -> NDArray[np.int16]:
    """Read the label values of a case, which have to lie on its grid and to be whole numbers."""
    volume = volume_of(read_image(path), path.name, grid.frame_of_reference_uid)
    check_same_grid(path.name, volume.grid, grid)
    labels = np.rint(volume.voxels)
    if float(np.abs(volume.voxels - labels).max()) > _NOT_WHOLE:
        raise unreadable(f"{path.name}: holds values between labels, so it was interpolated; the original is needed")
    return np.asarray(labels, np.int16)


def check_same_grid(name: str, grid: Grid, wanted: Grid) -> None:
    """Raise `UnreadableCase` where a grid puts a voxel elsewhere than the grid of its case does."""
    if grid.shape != wanted.shape:
        raise unreadable(f"{name}: {grid.shape} voxels (slice, row, column) where the case has {wanted.shape}")
    corners = np.array([[k, j, i] for k in (0, 1) for j in (0, 1) for i in (0, 1)]) * (np.array(grid.shape) - 1.0)
    apart = float(np.linalg.norm(grid.position_mm(corners) - wanted.position_mm(corners), axis=1).max())
    if apart > SAME_PLACE_MM:
        raise unreadable(f"{name}: lies up to {apart:.1f} mm off the case's other files; register it to them first")


def as_delivered(case_id: str, volumes: Mapping[Role, ImageVolume]) -> AlignedVolumes:
    """Put sequences together that lie on one grid; the missing ones are declared.

    The reference is T1CE where it is there, else FLAIR: what the node itself prefers.

    Raises
    ------
    UnreadableCase
        When both are missing, a sequence lies on another grid, or one shows nothing.
    """
    reference = next((role for role in (Role.T1CE, Role.FLAIR) if role in volumes), None)
    if reference is None:
        raise unreadable(f"{case_id}: neither T1CE nor FLAIR is there, and one of them is needed")
    grid = volumes[reference].grid
    for role, volume in volumes.items():
        check_same_grid(f"{case_id}, {role}", volume.grid, grid)
        if not (volume.voxels > 0).any():
            raise unreadable(f"{case_id}, {role}: holds no signal")
    reason = "the makers of the set brought all sequences onto one grid, so nothing was registered or resampled"
    decisions = [Decision(code="already_aligned", subject="study", reason=reason)]
    for role in Role:
        if role not in volumes:
            absent = f"no {role} in the case"
            decisions.append(Decision(code="missing_sequence", subject=str(role), reason=absent))
    on_grid = {role: ImageVolume(grid=grid, voxels=volume.voxels) for role, volume in volumes.items()}
    return AlignedVolumes(
        reference=reference, volumes=MappingProxyType(on_grid), registrations={}, decisions=tuple(decisions)
    )


def regions_of(labels: NDArray[np.integer], values: Mapping[int, Label]) -> dict[Region, NDArray[np.bool_]]:
    """Return WT, TC and ET from label values.

    Parameters
    ----------
    labels
        Shape (slice, row, column).
    values
        What each value other than 0 means.
    """
    return {
        region: np.isin(labels, [value for value, label in values.items() if label in REGION_LABELS[region]])
        for region in EXPERT_REGIONS
    }
