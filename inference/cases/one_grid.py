"""Reads and checks sequences and annotations that a data set provides on one grid."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from conversion.alignment import AlignedVolumes
from conversion.decision import Decision
from conversion.errors import ConversionError
from conversion.nifti import why_incomplete
from conversion.sequences import Role
from conversion.simpleitk_bridge import from_simpleitk, grid_from_simpleitk
from conversion.volume import Grid, ImageVolume
from inference.cases.stored_case import unreadable
from inference.regions import REGION_LABELS, Label, Region

__all__ = [
    "EXPERT_REGIONS",
    "SAME_PLACE_MM",
    "apart_mm",
    "as_delivered",
    "check_same_grid",
    "read_image",
    "read_labels",
    "regions_of",
    "volume_of",
]

EXPERT_REGIONS = (Region.WT, Region.TC, Region.ET)
"""The regions in which sets are annotated and evaluated."""

SAME_PLACE_MM = 0.25
"""Tolerated distance between the grids of a case. A NIfTI header stores a quaternion in single precision, which is off
by up to 0.2 mm at the far corner of an oblique head."""

_NOT_INTEGER = 1e-3
"""A label that is further than this from an integer was interpolated."""


def read_image(path: Path) -> sitk.Image:
    """Read an image file in single precision; raise `UnreadableCase` if that fails or the file is truncated."""
    if problem := why_incomplete(path):
        raise unreadable(f"{path.name}: {problem}")
    try:
        image: sitk.Image = sitk.ReadImage(str(path), sitk.sitkFloat32)
    except RuntimeError as error:
        raise unreadable(f"{path.name}: cannot be read; the file is damaged or not an image") from error
    return image


def volume_of(image: sitk.Image, name: str, frame_of_reference_uid: str) -> ImageVolume:
    """Return a three-dimensional image as a volume.

    Parameters
    ----------
    name
        Name of the image in messages.
    frame_of_reference_uid
        Identifies the space of the case, for which NIfTI has no identifier.
    """
    if image.GetDimension() != 3:
        raise unreadable(f"{name}: has {image.GetDimension()} dimensions; a volume has three")
    try:
        volume = from_simpleitk(image, grid_from_simpleitk(image, frame_of_reference_uid))
    except ConversionError as error:
        raise unreadable(f"{name}: {error}") from error
    if not np.isfinite(volume.voxels).all():
        raise unreadable(f"{name}: some voxels are not finite numbers")
    return volume


def read_labels(path: Path, grid: Grid) -> NDArray[np.int16]:
    """Read the label values of a case; they must be integers on the grid of the case."""
    volume = volume_of(read_image(path), path.name, grid.frame_of_reference_uid)
    check_same_grid(path.name, volume.grid, grid)
    labels = np.rint(volume.voxels)
    if float(np.abs(volume.voxels - labels).max()) > _NOT_INTEGER:
        raise unreadable(f"{path.name}: contains values between labels, so it was interpolated; give the original")
    return np.asarray(labels, np.int16)


def check_same_grid(name: str, grid: Grid, wanted: Grid) -> None:
    """Raise `UnreadableCase` if a grid places a voxel elsewhere than the grid of its case does."""
    if grid.shape != wanted.shape:
        raise unreadable(f"{name}: has {grid.shape} voxels (slice, row, column), the case {wanted.shape}")
    apart = apart_mm(grid, wanted)
    if apart > SAME_PLACE_MM:
        raise unreadable(f"{name}: is up to {apart:.1f} mm off the case's other files; register it to them first")


def apart_mm(first: Grid, second: Grid) -> float:
    """Return how far two grids of one shape place the same voxel apart, at most."""
    corners = np.array([[k, j, i] for k in (0, 1) for j in (0, 1) for i in (0, 1)]) * (np.array(first.shape) - 1.0)
    return float(np.linalg.norm(first.position_mm(corners) - second.position_mm(corners), axis=1).max())


def as_delivered(case_id: str, volumes: Mapping[Role, ImageVolume]) -> AlignedVolumes:
    """Combine sequences that are on one grid, and declare the missing ones.

    The reference is T1CE if available, else FLAIR, as in the node itself.

    Raises
    ------
    UnreadableCase
        When both are missing, a sequence is on another grid, or a sequence has no signal.
    """
    reference = next((role for role in (Role.T1CE, Role.FLAIR) if role in volumes), None)
    if reference is None:
        raise unreadable(f"{case_id}: has neither T1CE nor FLAIR; one of them is needed")
    grid = volumes[reference].grid
    for role, volume in volumes.items():
        check_same_grid(f"{case_id}, {role}", volume.grid, grid)
        if not (volume.voxels > 0).any():
            raise unreadable(f"{case_id}, {role}: has no signal")
    reason = "the data set provides all sequences on one grid, so nothing was registered or resampled"
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
        Meaning of each value other than 0.
    """
    return {
        region: np.isin(labels, [value for value, label in values.items() if label in REGION_LABELS[region]])
        for region in EXPERT_REGIONS
    }
