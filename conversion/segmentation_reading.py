"""Reads a DICOM Segmentation by its geometry alone (PS3.3 A.51, C.8.20): positions decide where frames go.

Frames may be in any order, may have another orientation than the images they were drawn on, and may be left out for
empty planes. Segments may overlap. Nothing is flipped or ordered by a name.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from conversion.alignment import labels_on
from conversion.attributes import Attributes
from conversion.correction_classes import SEGMENTATIONS
from conversion.errors import BrokenGeometry, ConversionReason, UnreadableSeries
from conversion.likeness import DIRECTION_TOLERANCE
from conversion.references import frame_sources, header_references
from conversion.values import identifier, items
from conversion.volume import Grid, LabelVolume

__all__ = [
    "CodedValue",
    "SegmentDescription",
    "SegmentMasks",
    "SegmentationHeader",
    "segment_masks",
    "segmentation_header",
]

HALF = 0.5
"""A voxel belongs to a FRACTIONAL segment from this share of the segment's maximum on."""

SAME_PLANE_MM = 0.01
"""Planes closer to each other than this are one: header values are rounded to about this."""

OFF_STACK = 0.1
"""How far planes may be off an even stack, as a share of their distance; 0.1 mm sideways, as for images."""

MAXIMUM_VOXELS = 2**30
"""Limit for all frames, and for one mask: ten segments on a head of 512 x 512 x 400. Nothing larger is decoded."""


@dataclass(frozen=True, kw_only=True)
class CodedValue:
    """A coded concept (PS3.3 8.8): value, coding scheme designator and meaning; empty if none is given."""

    value: str = ""
    scheme: str = ""
    meaning: str = ""


@dataclass(frozen=True, kw_only=True)
class SegmentDescription:
    """The description of one segment in a SEG (PS3.3 C.8.20.4).

    Attributes
    ----------
    algorithm_type
        ``AUTOMATIC``, ``SEMIAUTOMATIC`` or ``MANUAL``.
    """

    number: int
    label: str
    category: CodedValue
    property_type: CodedValue
    algorithm_type: str
    tracking_id: str
    tracking_uid: str


@dataclass(frozen=True, kw_only=True)
class SegmentationHeader:
    """The header of a SEG, without its pixels.

    Attributes
    ----------
    kind
        ``BINARY``, ``FRACTIONAL`` or ``LABELMAP``.
    content_at
        ContentDate and ContentTime as stored, ``YYYYMMDDHHMMSS...``, so that they sort as text.
    referenced_series_uids
        The series whose images it was drawn on, according to its header.
    source_instance_uids
        The images that its frames were drawn on.
    """

    study_uid: str
    series_uid: str
    series_number: int
    sop_instance_uid: str
    frame_of_reference_uid: str
    kind: str
    content_at: str
    manufacturer: str
    referenced_series_uids: tuple[str, ...]
    source_instance_uids: frozenset[str]
    segments: tuple[SegmentDescription, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class SegmentMasks:
    """The voxels of each segment.

    Attributes
    ----------
    masks
        By segment number, bool, shape of the grid, read-only; a segment without frames is empty.
    """

    grid: Grid
    masks: Mapping[int, NDArray[np.bool_]]


@dataclass(frozen=True, kw_only=True)
class _Plane:
    """Where one frame lies."""

    position_mm: NDArray[np.float64]
    row_direction: NDArray[np.float64]
    column_direction: NDArray[np.float64]
    spacing_mm: tuple[float, float]
    stated_distances_mm: tuple[float, ...]


def segmentation_header(ds: Dataset) -> SegmentationHeader:
    """Read the header of a SEG; pixels are not needed.

    Raises
    ------
    UnreadableSeries
        When the object is not a segmentation, or of a type that the standard does not define.
    """
    attributes = Attributes(ds)
    kind = attributes.text("SegmentationType").upper()
    if identifier(ds, "SOPClassUID") not in SEGMENTATIONS or kind not in ("BINARY", "FRACTIONAL", "LABELMAP"):
        raise _unreadable(f"series {attributes.integer('SeriesNumber')}: not a segmentation of a supported type")
    return SegmentationHeader(
        study_uid=attributes.text("StudyInstanceUID"),
        series_uid=attributes.text("SeriesInstanceUID"),
        series_number=attributes.integer("SeriesNumber"),
        sop_instance_uid=attributes.text("SOPInstanceUID"),
        frame_of_reference_uid=attributes.text("FrameOfReferenceUID"),
        kind=kind,
        content_at=attributes.text("ContentDate") + attributes.text("ContentTime"),
        manufacturer=attributes.text("Manufacturer"),
        referenced_series_uids=tuple(
            uid for item in items(ds, "ReferencedSeriesSequence") if (uid := identifier(item, "SeriesInstanceUID"))
        ),
        source_instance_uids=frozenset(frame_sources(ds)) or frozenset(header_references(ds)),
        segments=tuple(
            _describe(item) for item in items(ds, "SegmentSequence") if Attributes(item).integer("SegmentNumber")
        ),
    )


def segment_masks(ds: Dataset, grid: Grid | None = None, threshold: float = HALF) -> SegmentMasks:
    """Read the voxels of every segment.

    Parameters
    ----------
    ds
        A complete segmentation.
    grid
        Grid for the masks, in the frame of reference of the SEG; by default the planes of the SEG itself, from its
        first to its last. A voxel takes the value of the nearest voxel of the SEG.
    threshold
        A voxel belongs to a FRACTIONAL segment from this share of its maximum on.

    Raises
    ------
    BrokenGeometry
        When frames have no position, form no even stack, or have another frame of reference than the grid.
    UnreadableSeries
        When the pixels cannot be read.
    """
    header = segmentation_header(ds)
    if grid is not None and header.frame_of_reference_uid not in ("", grid.frame_of_reference_uid):
        raise _broken("the segmentation has another frame of reference than the images, so its position is unknown")
    planes = [_plane(attributes, k) for k, attributes in enumerate(Attributes.of_frames(ds))]
    frames = _frames(ds, header, len(planes), threshold)
    numbers = [segment.number for segment in header.segments]
    if not planes:
        if grid is None:
            raise _broken("the segmentation contains no frame, so it has no position")
        return _read_only(grid, {number: np.zeros(grid.shape, bool) for number in numbers})
    own, places = _own_grid(planes, _size(ds), header.frame_of_reference_uid, grid)
    stacks = {number: np.zeros(own.shape, bool) for number in numbers}
    for place, drawn in zip(places, frames, strict=True):
        for number, mask in drawn:
            if number not in stacks:
                raise _unreadable(f"a frame shows segment {number}, which the segmentation does not describe")
            stacks[number][place] |= mask
    if grid is None:
        return _read_only(own, stacks)
    return _read_only(grid, {number: _onto(grid, own, mask) for number, mask in stacks.items()})


def _describe(item: Dataset) -> SegmentDescription:
    attributes = Attributes(item)
    return SegmentDescription(
        number=attributes.integer("SegmentNumber"),
        label=attributes.text("SegmentLabel"),
        category=_code(items(item, "SegmentedPropertyCategoryCodeSequence")),
        property_type=_code(items(item, "SegmentedPropertyTypeCodeSequence")),
        algorithm_type=attributes.text("SegmentAlgorithmType").upper(),
        tracking_id=attributes.text("TrackingID"),
        tracking_uid=attributes.text("TrackingUID"),
    )


def _code(sequence: Iterable[Dataset]) -> CodedValue:
    for item in sequence:
        attributes = Attributes(item)
        value = attributes.text("CodeValue") or attributes.text("LongCodeValue") or attributes.text("URNCodeValue")
        return CodedValue(
            value=value, scheme=attributes.text("CodingSchemeDesignator"), meaning=attributes.text("CodeMeaning")
        )
    return CodedValue()


def _plane(attributes: Attributes, k: int) -> _Plane:
    position, cosines = attributes.vector("ImagePositionPatient"), attributes.numbers("ImageOrientationPatient")
    spacing = attributes.numbers("PixelSpacing")
    if position is None or len(cosines) != 6 or len(spacing) != 2 or min(spacing) <= 0:
        raise _broken(f"frame {k + 1} of the segmentation has no position, orientation or pixel spacing")
    row, column = np.array(cosines[:3]), np.array(cosines[3:])
    if min(np.linalg.norm(row), np.linalg.norm(column)) < DIRECTION_TOLERANCE:
        raise _broken(f"frame {k + 1} of the segmentation has no orientation")
    stated = (attributes.number("SpacingBetweenSlices"), attributes.number("SliceThickness"))
    return _Plane(
        position_mm=np.array(position),
        row_direction=row / np.linalg.norm(row),
        column_direction=column / np.linalg.norm(column),
        spacing_mm=(spacing[0], spacing[1]),
        stated_distances_mm=tuple(abs(value) for value in stated if value),
    )


def _frames(
    ds: Dataset, header: SegmentationHeader, count: int, threshold: float
) -> list[list[tuple[int, NDArray[np.bool_]]]]:
    """Return for each frame the segments it shows, each with its mask of shape (row, column)."""
    stated, (rows, columns) = Attributes(ds).integer("NumberOfFrames"), _size(ds)
    if count == 0 and stated == 0:
        return []
    if max(1, stated) != count:
        raise _broken(f"the segmentation has {stated} frames, but positions for {count}")
    if Attributes(ds).integer("SamplesPerPixel") > 1 or not 0 < rows * columns * count <= MAXIMUM_VOXELS:
        raise _unreadable(f"the segmentation has {count} frames of {rows} x {columns} pixels, which cannot be read")
    try:
        pixels = np.asarray(ds.pixel_array).reshape(count, rows, columns)
    except Exception as error:
        cause = f"truncated, damaged or of an unknown encoding; {type(error).__name__}"
        raise _unreadable(f"the pixels of the segmentation cannot be read ({cause})") from error
    if header.kind == "LABELMAP":
        known = [segment.number for segment in header.segments]
        return [[(n, frame == n) for n in known if (frame == n).any()] for frame in pixels]
    lowest = threshold * _maximum(Attributes(ds)) if header.kind == "FRACTIONAL" else HALF
    segments = [Attributes.of_frame(ds, k).integer("ReferencedSegmentNumber") for k in range(count)]
    return [[(number, frame >= lowest)] for number, frame in zip(segments, pixels, strict=True)]


def _maximum(attributes: Attributes) -> float:
    """Return the value of a voxel that lies entirely in a FRACTIONAL segment (PS3.3 C.8.20.2)."""
    maximum = attributes.number("MaximumFractionalValue")
    if maximum is None and (value := attributes.quoted("MaximumFractionalValue")):
        raise _unreadable(f"MaximumFractionalValue of the segmentation is {value}, which is not a number")
    return maximum or 1.0


def _size(ds: Dataset) -> tuple[int, int]:
    attributes = Attributes(ds)
    return attributes.integer("Rows"), attributes.integer("Columns")


def _own_grid(
    planes: list[_Plane], size: tuple[int, int], frame_of_reference_uid: str, wanted: Grid | None
) -> tuple[Grid, NDArray[np.int64]]:
    """Return the even stack that the frames lie on, and the place of each frame in it."""
    first = planes[0]
    normal = np.cross(first.row_direction, first.column_direction)
    for plane in planes:
        alike = np.allclose(plane.row_direction, first.row_direction, atol=DIRECTION_TOLERANCE) and np.allclose(
            plane.column_direction, first.column_direction, atol=DIRECTION_TOLERANCE
        )
        if not alike or not np.allclose(plane.spacing_mm, first.spacing_mm, rtol=1e-3):
            raise _broken("the frames of the segmentation differ in orientation or pixel spacing and form no stack")
    positions = np.array([plane.position_mm for plane in planes])
    along = positions @ normal
    lowest = positions[int(np.argmin(along))]
    sideways = positions - lowest - np.outer(along - along.min(), normal)
    if float(np.linalg.norm(sideways, axis=1).max()) > OFF_STACK:
        raise _broken("the frames of the segmentation are shifted sideways (a sheared stack)")
    step = _distance(along - along.min(), _candidates(first, normal, wanted))
    places = np.rint((along - along.min()) / step).astype(np.int64)
    affine = np.eye(4)
    affine[:3, 0] = normal * step
    affine[:3, 1] = first.column_direction * first.spacing_mm[0]
    affine[:3, 2] = first.row_direction * first.spacing_mm[1]
    affine[:3, 3] = lowest
    if (float(places.max()) + 1) * size[0] * size[1] > MAXIMUM_VOXELS:
        raise _broken("the frames of the segmentation lie too far apart for one volume")
    uid = frame_of_reference_uid or (wanted.frame_of_reference_uid if wanted else "")
    return Grid(shape=(int(places.max()) + 1, *size), affine=affine, frame_of_reference_uid=uid), places


def _candidates(plane: _Plane, normal: NDArray[np.float64], wanted: Grid | None) -> list[float]:
    """Return plausible plane distances: those that the frames state, then that of the images they may lie on."""
    if wanted is None:
        return list(plane.stated_distances_mm)
    along = np.abs(normal @ wanted.directions)
    parallel = float(along.max()) > 1 - DIRECTION_TOLERANCE
    return [*plane.stated_distances_mm, *([float(wanted.spacing_mm[int(np.argmax(along))])] if parallel else [])]


def _distance(offsets: NDArray[np.float64], candidates: list[float]) -> float:
    """Return the plane distance of which all offsets are multiples.

    Empty planes are usually left out, so the smallest gap is used only if no candidate fits.
    """
    levels = np.unique(np.round(offsets / SAME_PLANE_MM) * SAME_PLANE_MM)
    gaps = np.diff(levels)
    if len(gaps) == 0:
        return candidates[0] if candidates else 1.0  # mm; a single plane of unknown extent
    smallest = float(gaps.min())
    for step in (*candidates, smallest):
        count = np.rint(offsets / step)
        refined = float(offsets.max() / count.max()) if count.max() > 0 else 0.0
        if refined > 0 and np.rint(smallest / refined) >= 1:
            off = np.abs(offsets - np.rint(offsets / refined) * refined)
            if float(off.max()) <= OFF_STACK * refined:
                return refined
    raise _broken("the frames of the segmentation are unevenly spaced and form no stack")


def _onto(grid: Grid, own: Grid, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    volume = LabelVolume(grid=own, labels=mask.astype(np.uint8))
    return np.asarray(labels_on(volume, grid).labels, bool)


def _read_only(grid: Grid, masks: Mapping[int, NDArray[np.bool_]]) -> SegmentMasks:
    for mask in masks.values():
        mask.setflags(write=False)
    return SegmentMasks(grid=grid, masks=MappingProxyType(dict(masks)))


def _unreadable(sentence: str) -> UnreadableSeries:
    return UnreadableSeries(ConversionReason.UNREADABLE_PIXELS, sentence)


def _broken(sentence: str) -> BrokenGeometry:
    return BrokenGeometry(ConversionReason.MIXED_GEOMETRY, sentence)
