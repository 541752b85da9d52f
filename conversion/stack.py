"""From the positions of slices to an ordered stack on one grid; what is no regular stack is refused."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from conversion.errors import BrokenGeometry, ConversionReason
from conversion.study import InstanceHeader, Series
from conversion.volume import Grid

__all__ = ["SliceStack", "stack_slices"]

GAP_TOLERANCE = 0.02
"""Allowed deviation of one slice distance from the median, as a share: header values are rounded to far
less, a missing slice is 100 %."""

SHEAR_TOLERANCE_MM = 0.5
"""Allowed sideways drift of slice positions over the whole stack; a gantry tilt of 1° over 100 mm makes 1.7 mm."""

DIRECTION_TOLERANCE = 1e-3
"""Allowed difference of direction cosines within a series (0.06°)."""


@dataclass(frozen=True, kw_only=True)
class SliceStack:
    """Instances ordered along the slice axis, and the grid they make."""

    instances: tuple[InstanceHeader, ...]
    grid: Grid


def stack_slices(series: Series) -> SliceStack:
    """Order the instances of a series by position and derive their grid.

    Spacing between slices comes from positions, never from SliceThickness or SpacingBetweenSlices.

    Raises
    ------
    BrokenGeometry
        For missing positions, mixed orientation or size, doubled, missing or uneven slices, and sheared stacks.
    """
    _check_uniform(series)
    first = series.instances[0]
    row, column = np.array(first.row_direction), np.array(first.column_direction)
    normal = np.cross(row, column)
    positions = np.array([instance.position_mm for instance in series.instances])
    order = np.argsort(positions @ normal, kind="stable")
    ordered = positions[order]
    distance = _slice_distance(series, np.diff(ordered @ normal))
    _check_straight(series, ordered, normal)
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
    return SliceStack(instances=tuple(series.instances[k] for k in order), grid=grid)


def _check_uniform(series: Series) -> None:
    first = series.instances[0]
    for instance in series.instances:
        if instance.position_mm is None or instance.row_direction is None or instance.column_direction is None:
            sentence = f"{series.name}: an image has no position or orientation, so its place in the head is unknown"
            raise BrokenGeometry(ConversionReason.MISSING_POSITION, sentence)
        same_size = (instance.rows, instance.columns) == (first.rows, first.columns)
        spacing = np.array([instance.row_spacing_mm, instance.column_spacing_mm])
        same_spacing = np.allclose(spacing, [first.row_spacing_mm, first.column_spacing_mm], rtol=1e-3)
        same_direction = np.allclose(
            [*instance.row_direction, *instance.column_direction],
            [*(first.row_direction or ()), *(first.column_direction or ())],
            atol=DIRECTION_TOLERANCE,
        )
        if not (same_size and same_spacing and same_direction):
            sentence = f"{series.name}: its images differ in size, spacing or orientation and are no single volume"
            raise BrokenGeometry(ConversionReason.MIXED_GEOMETRY, sentence)
    if len(series.instances) < 2:
        raise BrokenGeometry(ConversionReason.TOO_FEW_SLICES, f"{series.name}: one image is not a volume")


def _slice_distance(series: Series, gaps: NDArray[np.float64]) -> float:
    median = float(np.median(gaps))
    if float(gaps.min()) < 0.01 * max(median, 0.1):
        doubled = int(np.argmin(gaps)) + 1
        sentence = f"{series.name}: two images at one position (slice {doubled} of {len(gaps) + 1})"
        raise BrokenGeometry(ConversionReason.DOUBLED_SLICE, sentence)
    worst = int(np.argmax(np.abs(gaps - median)))
    if abs(gaps[worst] - median) > GAP_TOLERANCE * median:
        if gaps[worst] > 1.5 * median:
            missing = round(float(gaps[worst]) / median) - 1
            sentence = (
                f"{series.name}: {missing} slice(s) missing after slice {worst + 1}: a gap of "
                f"{gaps[worst]:.2f} mm where slices lie {median:.2f} mm apart; send the missing images"
            )
            raise BrokenGeometry(ConversionReason.MISSING_SLICE, sentence)
        sentence = f"{series.name}: slices are unevenly spaced ({gaps.min():.2f} to {gaps.max():.2f} mm)"
        raise BrokenGeometry(ConversionReason.MIXED_GEOMETRY, sentence)
    return float(gaps.mean())


def _check_straight(series: Series, positions: NDArray[np.float64], normal: NDArray[np.float64]) -> None:
    steps = positions - positions[0]
    sideways = np.linalg.norm(steps - np.outer(steps @ normal, normal), axis=1)
    if float(sideways.max()) > SHEAR_TOLERANCE_MM:
        sentence = f"{series.name}: slices drift sideways by {sideways.max():.1f} mm (gantry tilt)"
        raise BrokenGeometry(ConversionReason.SHEARED_STACK, sentence)
