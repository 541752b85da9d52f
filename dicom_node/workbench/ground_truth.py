"""The ground truth of an upload: regions that a person outlined, as a NIfTI label map, a DICOM SEG or an image mask."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from conversion.alignment import AlignedVolumes, labels_on
from conversion.encoding import read_instance
from conversion.nifti import NIFTI_FRAME, read_nifti
from conversion.segmentation_reading import segment_masks, segmentation_header
from conversion.sequences import Role
from conversion.volume import Grid, LabelVolume
from dicom_node.workbench.file_kind import file_kind
from dicom_node.workbench.training_export import SEGMENT_CODES
from dicom_node.workbench.unusable_upload import UnusableUpload
from inference.cases.one_grid import SAME_PLACE_MM, apart_mm, regions_of
from inference.cases.segment_regions import annotated_regions, region_of_segment
from inference.regions import Label, Region

__all__ = ["GroundTruth", "TruthFile", "place", "read_ground_truth"]

Masks = Mapping[Region, NDArray[np.bool_]]

_PARTS = {1: Label.NCR, 2: Label.ED, 3: Label.ET, 4: Label.ET}
"""Labels of BraTS; enhancing tumour is 4 until 2021 and 3 since 2023."""

_VALUES = "Use 1 for necrotic core, 2 for edema and 3 or 4 for enhancing tumour, or one value for the whole tumour."
_BETWEEN = 1e-3
"""A value that is further than this from an integer was interpolated."""


@dataclass(frozen=True, kw_only=True)
class TruthFile:
    """The file of a ground truth.

    Attributes
    ----------
    name
        As the person who gave it calls it.
    """

    path: Path
    name: str


@dataclass(frozen=True, kw_only=True, eq=False)
class GroundTruth:
    """Regions that a person outlined.

    Attributes
    ----------
    grid
        The grid they were drawn on; None for an image, which has the grid of the slice.
    regions
        By region (WT, TC, ET), bool, shape of the grid; those that were not drawn are missing.
    """

    name: str
    grid: Grid | None
    regions: Masks


def read_ground_truth(file: TruthFile) -> GroundTruth:
    """Read the regions of a ground truth.

    Raises
    ------
    ConversionError
        With a sentence that states why it cannot be used.
    """
    kind = file_kind(file.path)
    if kind == "DICOM":
        return _from_segmentation(file)
    if kind == "image":
        return GroundTruth(name=file.name, grid=None, regions=_regions(_image_labels(file), file.name))
    volume = read_nifti(file.path)
    labels = np.rint(volume.voxels)
    if float(np.abs(volume.voxels - labels).max()) > _BETWEEN:
        raise UnusableUpload.because(
            f"{file.name}: has values between labels, as probabilities or an interpolated mask do. {_VALUES}"
        )
    return GroundTruth(name=file.name, grid=volume.grid, regions=_regions(labels, file.name))


def place(truth: GroundTruth, aligned: AlignedVolumes, grids: Mapping[Role, Grid]) -> tuple[Masks, str]:
    """Return the regions on the grid of the result, and a sentence if they were resampled.

    Parameters
    ----------
    grids
        The grid that each sequence was acquired on. What was drawn on a sequence is moved as the sequence was.

    Raises
    ------
    UnusableUpload
        When they lie elsewhere than the images.
    """
    target = aligned.grid
    own = truth.grid
    if own is None:
        return _on_slice(truth, target), ""
    if _same_place(own, target):
        return truth.regions, ""
    matrix = _matrix(truth.name, own, aligned, grids)
    placed: dict[Region, NDArray[np.bool_]] = {}
    for region, mask in truth.regions.items():
        labels = LabelVolume(grid=own, labels=mask.astype(np.uint8))
        placed[region] = np.asarray(labels_on(labels, target, matrix).labels, bool)
    if any(mask.any() for mask in truth.regions.values()) and not any(mask.any() for mask in placed.values()):
        raise UnusableUpload.because(f"{truth.name}: lies outside of the images, so nothing can be compared.")
    return MappingProxyType(placed), (
        "It was drawn on another grid than that of the result and resampled by nearest neighbour, which alone costs "
        "some agreement at the edges."
    )


def _on_slice(truth: GroundTruth, target: Grid) -> Masks:
    shapes = {mask.shape for mask in truth.regions.values()}
    if shapes != {target.shape}:
        ((_, rows, columns),) = shapes
        raise UnusableUpload.because(
            f"{truth.name}: has {columns} x {rows} pixels, the images {target.shape[2]} x {target.shape[1]}; a mask of "
            "the same size is needed."
        )
    return truth.regions


def _matrix(name: str, own: Grid, aligned: AlignedVolumes, grids: Mapping[Role, Grid]) -> NDArray[np.float64] | None:
    """Return LPS mm of the ground truth to LPS mm of the result; None where both are in one space."""
    frame, target = own.frame_of_reference_uid, aligned.grid.frame_of_reference_uid
    if frame == target or NIFTI_FRAME in (frame, target):  # a NIfTI file names no frame of reference
        drawn_on = [role for role, grid in grids.items() if _same_place(own, grid)]
    else:
        drawn_on = [role for role, grid in grids.items() if grid.frame_of_reference_uid == frame]
        if not drawn_on:
            raise UnusableUpload.because(
                f"{name}: was drawn on images in another frame of reference, which were not used here."
            )
    registration = next((aligned.registrations[role] for role in drawn_on if role in aligned.registrations), None)
    return None if registration is None else np.asarray(np.linalg.inv(registration.matrix))


def _same_place(first: Grid, second: Grid) -> bool:
    return first.shape == second.shape and apart_mm(first, second) <= SAME_PLACE_MM


def _regions(labels: NDArray[np.floating], name: str) -> Masks:
    """Return the regions of label values: of BraTS, or the whole tumour where there is one value only."""
    values = {int(value) for value in np.unique(labels)} - {0}
    if len(values) <= 1:
        return MappingProxyType({Region.WT: labels > 0})
    if values <= set(_PARTS) and not {3, 4} <= values:
        return MappingProxyType(regions_of(labels.astype(np.int16), _PARTS))
    found = ", ".join(str(value) for value in sorted(values)[:6]) + (" and more" if len(values) > 6 else "")
    raise UnusableUpload.because(f"{name}: its labels ({found}) are not known. {_VALUES}")


def _image_labels(file: TruthFile) -> NDArray[np.floating]:
    """Return the values of an image mask, shape (1, row, column); what JPEG made grey between two values is decided."""
    try:
        pixels = sitk.GetArrayFromImage(sitk.ReadImage(str(file.path))).astype(np.float32)
    except RuntimeError as error:
        raise UnusableUpload.because(f"{file.name}: not a readable PNG, JPEG or TIFF image.") from error
    grey = pixels.max(axis=-1) if pixels.ndim == 3 and pixels.shape[-1] in (3, 4) else pixels
    if grey.ndim != 2:
        raise UnusableUpload.because(f"{file.name}: a single two-dimensional mask is needed.")
    brightest = float(grey.max(initial=0.0))
    labels = grey if brightest <= max(_PARTS) else (grey > brightest / 2).astype(np.float32)
    return labels[np.newaxis]


def _from_segmentation(file: TruthFile) -> GroundTruth:
    ds = read_instance(file.path)
    header = segmentation_header(ds)
    drawn = segment_masks(ds)
    parts: dict[Region, NDArray[np.bool_]] = {}
    for segment in header.segments:
        if region := region_of_segment(segment, SEGMENT_CODES):
            mask = drawn.masks[segment.number]
            parts[region] = parts[region] | mask if region in parts else mask
    regions = annotated_regions(parts)
    if not regions:
        names = ", ".join(f"'{segment.label}'" for segment in header.segments) or "none"
        raise UnusableUpload.because(f"{file.name}: none of its segments ({names}) is known as a part of a tumour.")
    return GroundTruth(name=file.name, grid=drawn.grid, regions=MappingProxyType(regions))
