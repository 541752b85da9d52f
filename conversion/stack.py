"""Orders slices by their positions into a stack on one grid; refuses irregular stacks."""

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
"""A slice distance that exceeds the median by this share means a missing slice, not an uneven stack."""

EXACT_MM = 0.01
"""Slices this close to their place on the grid count as exact: header values are rounded to about this."""

RIGHT_ANGLE_TOLERANCE = 2e-3
"""Cosine of the angle between rows and columns that can result from direction cosines with three decimals."""

UNKNOWN_THICKNESS_MM = 1.0
"""Extent of a single image of unknown thickness: it does not move the pixels, and the image gets no role."""


@dataclass(frozen=True, kw_only=True)
class SliceStack:
    """Images ordered along the slice axis, and the grid they form.

    Attributes
    ----------
    decisions
        What was assumed to compute the grid.
    """

    images: tuple[ImageHeader, ...]
    grid: Grid
    decisions: tuple[Decision, ...] = ()


def stack_slices(series: Series) -> SliceStack:
    """Order the images of a series by position and derive their grid.

    Spacing between slices is computed from positions, never from SliceThickness or SpacingBetweenSlices. Only a single
    image, which has no neighbour, gets its thickness as extent.

    Raises
    ------
    BrokenGeometry
        For missing positions, invalid directions, mixed orientation, size or scaling, duplicate, missing or uneven
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
            what = _unreadable(image, "ImagePosition", "ImageOrientation") or "no position or orientation"
            sentence = f"{series.name}: an image has {what}, so its position in the head is unknown"
            raise BrokenGeometry(ConversionReason.MISSING_POSITION, sentence)
        if image.row_spacing_mm <= 0 or image.column_spacing_mm <= 0:
            what = _unreadable(image, "PixelSpacing") or "no PixelSpacing"
            sentence = f"{series.name}: an image has {what}, so its size is unknown"
            raise BrokenGeometry(ConversionReason.MISSING_SPACING, sentence)
        if not (same_size(first, image) and same_directions(first, image)):
            sentence = f"{series.name}: its images differ in size, spacing or orientation and do not form one volume"
            raise BrokenGeometry(ConversionReason.MIXED_GEOMETRY, sentence)


def _axes(series: Series) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the directions of rows and columns: of length 1, at right angles, as close as possible to the header.

    Header values are rounded, and every tool would resolve the remaining deviation from a right angle differently.
    """
    first = series.images[0]
    axes = np.array([first.row_direction, first.column_direction], np.float64)
    lengths = np.linalg.norm(axes, axis=1)
    if lengths.min() < DIRECTION_TOLERANCE or abs(axes[0] @ axes[1]) > RIGHT_ANGLE_TOLERANCE * lengths.prod():
        written = "\\".join(f"{value:g}" for value in axes.ravel())
        sentence = (
            f"{series.name}: ImageOrientationPatient {written} does not contain two directions at right angles, so its "
            "position in the head is unknown"
        )
        raise BrokenGeometry(ConversionReason.MISSING_POSITION, sentence)
    row, column = axes / lengths[:, np.newaxis]
    if row @ column == 0.0:
        return row, column
    between, across = (row + column) / np.linalg.norm(row + column), (row - column) / np.linalg.norm(row - column)
    return (between + across) / np.sqrt(2.0), (between - across) / np.sqrt(2.0)


def _check_values(series: Series) -> None:
    """Refuse a volume whose slices are rescaled differently, such as one without a slope among others that have one."""
    scaled = {image.rescale.origin for image in series.images if not image.rescale.changes_nothing}
    plain = [image for image in series.images if image.rescale.origin == "none" and image.rescale.changes_nothing]
    if len(scaled) > 1 or (scaled and plain):
        which = f"image {plain[0].number} has no valid RescaleSlope, others have one" if plain else "by several rules"
        sentence = f"{series.name}: its slices are rescaled differently ({which}), so their values are not comparable"
        raise BrokenGeometry(ConversionReason.MIXED_VALUES, sentence)


def _unreadable(image: ImageHeader, *keywords: str) -> str:
    """Return the values of these attributes that cannot be read; empty if there are none."""
    found = [value for value in image.unreadable if value.startswith(keywords)]
    return f"{' and '.join(found)}, which cannot be read" if found else ""


def _thickness(series: Series) -> tuple[float, tuple[Decision, ...]]:
    thickness = series.images[0].slice_thickness_mm or 0.0
    assumed = (
        f"its thickness, {thickness:g} mm" if thickness > 0 else f"{UNKNOWN_THICKNESS_MM:g} mm (thickness unknown)"
    )
    thickness = thickness if thickness > 0 else UNKNOWN_THICKNESS_MM
    reason = f"one image only, so the slice distance cannot be measured; assumed: {assumed}"
    return thickness, (Decision(code="single_slice", subject=series.name, reason=reason, series_uid=series.series_uid),)


def _slice_distance(series: Series, gaps: NDArray[np.float64]) -> float:
    median = float(np.median(gaps))
    if float(gaps.min()) < SAME_POSITION_MM:
        duplicate = int(np.argmin(gaps)) + 1
        sentence = (
            f"{series.name}: two different images lie at one position (slice {duplicate} of {len(gaps) + 1}), and "
            "their headers do not distinguish them"
        )
        raise BrokenGeometry(ConversionReason.DOUBLED_SLICE, sentence)
    worst = int(np.argmax(gaps))
    if gaps[worst] > (1 + GAP_TOLERANCE) * median:
        missing = max(1, round(float(gaps[worst]) / median) - 1)
        sentence = (
            f"{series.name}: {missing} slice(s) missing after slice {worst + 1} (a gap of {gaps[worst]:.2f} mm where "
            f"slices lie {median:.2f} mm apart); send the missing images"
        )
        raise BrokenGeometry(ConversionReason.MISSING_SLICE, sentence)
    return float(gaps.mean())


def _deviation(series: Series, positions: NDArray[np.float64], step: NDArray[np.float64]) -> tuple[Decision, ...]:
    """Compare the positions of slices with those of the grid, along the slice axis and sideways."""
    off = positions - positions[0] - np.outer(np.arange(len(positions)), step)
    normal = step / np.linalg.norm(step)
    along = np.abs(off @ normal)
    sideways = np.linalg.norm(off - np.outer(off @ normal, normal), axis=1)
    if float(sideways.max()) > EVEN_STACK_MM:
        sentence = (
            f"{series.name}: slices are shifted sideways by up to {sideways.max():.2f} mm (a sheared stack, as with a "
            "tilted gantry)"
        )
        raise BrokenGeometry(ConversionReason.SHEARED_STACK, sentence)
    if float(along.max()) > EVEN_STACK_MM:
        gaps = np.diff(positions @ normal)
        sentence = (
            f"{series.name}: slices are unevenly spaced ({gaps.min():.2f} to {gaps.max():.2f} mm, up to "
            f"{along.max():.2f} mm off an even stack)"
        )
        raise BrokenGeometry(ConversionReason.UNEVEN_SPACING, sentence)
    worst = float(np.linalg.norm(off, axis=1).max())
    if worst <= EXACT_MM:
        return ()
    reason = f"slice positions deviate by up to {worst:.3f} mm from an even stack, which is used instead"
    return (Decision(code="uneven_positions", subject=series.name, reason=reason, series_uid=series.series_uid),)
