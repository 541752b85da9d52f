"""From the positions of slices to an ordered stack on one grid; what is no regular stack is refused."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from conversion.decision import Decision
from conversion.errors import BrokenGeometry, ConversionReason
from conversion.likeness import DIRECTION_TOLERANCE, EVEN_STACK_MM, SAME_POSITION_MM, same_directions, same_size
from conversion.study import ImageHeader, Series
from conversion.volume import Grid

__all__ = ["SliceStack", "stack_slices"]

GAP_TOLERANCE = 0.5
"""A slice distance larger than the median by this share is a missing slice, not an uneven one."""

EXACT_MM = 0.01
"""Slices this near to their place on the grid are where the header says; header values are rounded to about this."""

RIGHT_ANGLE_TOLERANCE = 2e-3
"""Cosine of the angle between rows and columns that direction cosines of three decimals can leave over."""

UNKNOWN_THICKNESS_MM = 1.0
"""Extent of a single image of unknown thickness: its pixels lie right whatever stands here, and it gets no role."""


@dataclass(frozen=True, kw_only=True)
class SliceStack:
    """Images ordered along the slice axis, and the grid they make.

    Attributes
    ----------
    decisions
        What was assumed to make the grid.
    """

    images: tuple[ImageHeader, ...]
    grid: Grid
    decisions: tuple[Decision, ...] = ()


def stack_slices(series: Series) -> SliceStack:
    """Order the images of a series by position and derive their grid.

    Spacing between slices comes from positions, never from SliceThickness or SpacingBetweenSlices; only a single image,
    which has no neighbour, gets its thickness as extent.

    Raises
    ------
    BrokenGeometry
        For missing positions, directions that are none, mixed orientation, size or scaling, doubled, missing or uneven
        slices, and sheared stacks.
    """
    _check_uniform(series)
    _check_values(series)
    first = series.images[0]
    row, column = _axes(series)
    normal = np.cross(row, column)
    positions = np.array([image.position_mm for image in series.images])
    order = np.argsort(positions @ normal, kind="stable")
    ordered = positions[order]
    decisions: tuple[Decision, ...] = ()
    if len(ordered) == 1:
        distance, decisions = _thickness(series)
    else:
        distance = _slice_distance(series, np.diff(ordered @ normal))
        decisions = _deviation(series, ordered, normal * distance)
    affine = np.eye(4)
    affine[:3, 0] = normal * distance
    affine[:3, 1] = column * first.row_spacing_mm
    affine[:3, 2] = row * first.column_spacing_mm
    affine[:3, 3] = ordered[0]
    grid = Grid(
        shape=(len(order), first.rows, first.columns),
        affine=affine,
        frame_of_reference_uid=series.frame_of_reference_uid,
    )
    return SliceStack(images=tuple(series.images[k] for k in order), grid=grid, decisions=decisions)


def _check_uniform(series: Series) -> None:
    first = series.images[0]
    for image in series.images:
        if image.position_mm is None or image.row_direction is None or image.column_direction is None:
            what = _stands_there(image, "ImagePosition", "ImageOrientation") or "no position or orientation"
            sentence = f"{series.name}: an image has {what}, so its place in the head is unknown"
            raise BrokenGeometry(ConversionReason.MISSING_POSITION, sentence)
        if image.row_spacing_mm <= 0 or image.column_spacing_mm <= 0:
            what = _stands_there(image, "PixelSpacing") or "no PixelSpacing"
            sentence = f"{series.name}: an image has {what}, so its size is unknown"
            raise BrokenGeometry(ConversionReason.MISSING_SPACING, sentence)
        if not (same_size(first, image) and same_directions(first, image)):
            sentence = f"{series.name}: its images differ in size, spacing or orientation and are no single volume"
            raise BrokenGeometry(ConversionReason.MIXED_GEOMETRY, sentence)


def _axes(series: Series) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the directions of rows and columns: of length one, at right angles, the nearest to what is written.

    Headers write rounded numbers; what is left over of the right angle would lean in every tool in another way.
    """
    first = series.images[0]
    axes = np.array([first.row_direction, first.column_direction], np.float64)
    lengths = np.linalg.norm(axes, axis=1)
    if lengths.min() < DIRECTION_TOLERANCE or abs(axes[0] @ axes[1]) > RIGHT_ANGLE_TOLERANCE * lengths.prod():
        written = "\\".join(f"{value:g}" for value in axes.ravel())
        sentence = (
            f"{series.name}: ImageOrientationPatient {written} names no two directions at right angles, so its place "
            "in the head is unknown"
        )
        raise BrokenGeometry(ConversionReason.MISSING_POSITION, sentence)
    row, column = axes / lengths[:, np.newaxis]
    if row @ column == 0.0:
        return row, column
    between, across = (row + column) / np.linalg.norm(row + column), (row - column) / np.linalg.norm(row - column)
    return (between + across) / np.sqrt(2.0), (between - across) / np.sqrt(2.0)


def _check_values(series: Series) -> None:
    """Refuse a volume whose slices are scaled in different ways: one without a slope among others that have one."""
    scaled = {image.rescale.origin for image in series.images if not image.rescale.changes_nothing}
    plain = [image for image in series.images if image.rescale.origin == "none" and image.rescale.changes_nothing]
    if len(scaled) > 1 or (scaled and plain):
        which = (
            f"image {plain[0].number} has no RescaleSlope that means anything, others have one"
            if plain
            else "by several rules"
        )
        sentence = f"{series.name}: its slices are scaled differently ({which}), so their values do not compare"
        raise BrokenGeometry(ConversionReason.MIXED_VALUES, sentence)


def _stands_there(image: ImageHeader, *keywords: str) -> str:
    """Return what an image has where these attributes belong and cannot be read; empty where it has nothing there."""
    found = [said for said in image.unreadable if said.startswith(keywords)]
    return f"{' and '.join(found)}, which cannot be read" if found else ""


def _thickness(series: Series) -> tuple[float, tuple[Decision, ...]]:
    thickness = series.images[0].slice_thickness_mm or 0.0
    named = (
        f"its thickness, {thickness:g} mm," if thickness > 0 else f"for want of a thickness {UNKNOWN_THICKNESS_MM:g} mm"
    )
    thickness = thickness if thickness > 0 else UNKNOWN_THICKNESS_MM
    reason = f"one image only: {named} stands for the distance of slices, which no position tells"
    return thickness, (Decision(code="single_slice", subject=series.name, reason=reason, series_uid=series.series_uid),)


def _slice_distance(series: Series, gaps: NDArray[np.float64]) -> float:
    median = float(np.median(gaps))
    if float(gaps.min()) < SAME_POSITION_MM:
        doubled = int(np.argmin(gaps)) + 1
        sentence = (
            f"{series.name}: two different images at one position (slice {doubled} of {len(gaps) + 1}) and nothing in "
            "their headers tells them apart"
        )
        raise BrokenGeometry(ConversionReason.DOUBLED_SLICE, sentence)
    worst = int(np.argmax(gaps))
    if gaps[worst] > (1 + GAP_TOLERANCE) * median:
        missing = max(1, round(float(gaps[worst]) / median) - 1)
        sentence = (
            f"{series.name}: {missing} slice(s) missing after slice {worst + 1}: a gap of "
            f"{gaps[worst]:.2f} mm where slices lie {median:.2f} mm apart; send the missing images"
        )
        raise BrokenGeometry(ConversionReason.MISSING_SLICE, sentence)
    return float(gaps.mean())


def _deviation(series: Series, positions: NDArray[np.float64], step: NDArray[np.float64]) -> tuple[Decision, ...]:
    """Hold the slices' positions against the grid's, along the slice axis and sideways."""
    off = positions - positions[0] - np.outer(np.arange(len(positions)), step)
    normal = step / np.linalg.norm(step)
    along = np.abs(off @ normal)
    sideways = np.linalg.norm(off - np.outer(off @ normal, normal), axis=1)
    if float(sideways.max()) > EVEN_STACK_MM:
        sentence = (
            f"{series.name}: slices drift sideways by {sideways.max():.2f} mm (a sheared stack, as with a tilted "
            "gantry); its slices do not stand on each other"
        )
        raise BrokenGeometry(ConversionReason.SHEARED_STACK, sentence)
    if float(along.max()) > EVEN_STACK_MM:
        gaps = np.diff(positions @ normal)
        sentence = (
            f"{series.name}: slices are unevenly spaced ({gaps.min():.2f} to {gaps.max():.2f} mm), off an even "
            f"stack by up to {along.max():.2f} mm"
        )
        raise BrokenGeometry(ConversionReason.UNEVEN_SPACING, sentence)
    worst = float(np.linalg.norm(off, axis=1).max())
    if worst <= EXACT_MM:
        return ()
    reason = f"slice positions lie up to {worst:.3f} mm off an even stack, which is taken for them"
    return (Decision(code="uneven_positions", subject=series.name, reason=reason, series_uid=series.series_uid),)
