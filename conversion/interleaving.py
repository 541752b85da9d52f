"""Separates interleaved stacks: two acquisitions in one series, the second slightly offset.

Together, their positions look like a stack of which most slices are missing. They are separated only if each group is
an even stack by itself, all groups cover the same part of the head, and no even stack with gaps explains them together.
Slices that really are missing must be reported as missing.
"""

from collections.abc import Callable, Iterable, Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from conversion.likeness import EVEN_STACK_MM
from conversion.study import ImageHeader

__all__ = ["passes_along", "stacks_apart"]

SMALLEST_STACK = 3
"""From this many slices on, an even distance is meaningful."""

SHARED_EXTENT = 0.5
"""Share of the shorter stack that must overlap the other; blocks one behind the other are one stack."""

PACKAGES = 0.3
"""From this share of the slice distance on, positions can be the gaps of one stack: three packages that are acquired
one after the other lie a third of it apart."""

Groups = Callable[[tuple[ImageHeader, ...]], Sequence[tuple[ImageHeader, ...]]]


def stacks_apart(
    images: tuple[ImageHeader, ...], ways: Iterable[tuple[str, Groups]]
) -> tuple[str, list[tuple[ImageHeader, ...]]]:
    """Return the first way to group images that splits an uneven stack into several even ones, and its groups.

    Parameters
    ----------
    images
        Of one orientation, each at a different position.
    ways
        Names and functions that group images.

    Returns
    -------
    tuple
        An empty name and all images in one group if they are one stack, complete or not.
    """
    together = _along(images)
    if len(images) < 2 * SMALLEST_STACK or _is_even(together):
        return "", [images]
    for word, groups_of in ways:
        groups = list(groups_of(images))
        stacks = [_along(group) for group in groups]
        if len(groups) > 1 and all(map(_is_even, stacks)) and _overlap(stacks) and not _has_holes(together, stacks):
            return word, groups
    return "", [images]


def passes_along(images: tuple[ImageHeader, ...]) -> list[tuple[ImageHeader, ...]]:
    """Group images into passes through the head: a new pass begins where the next image lies far back."""
    ordered = sorted(images, key=lambda image: (image.instance_number, image.number))
    places = _positions(ordered)
    steps = np.diff(places)
    forward = np.sign(np.median(steps)) or 1.0
    cuts = np.flatnonzero(steps * forward < -SHARED_EXTENT * np.ptp(places)) + 1
    return [tuple(ordered[k] for k in part) for part in np.split(np.arange(len(ordered)), cuts)]


def _positions(images: Sequence[ImageHeader]) -> NDArray[np.float64]:
    """Return positions along the slice axis, in mm."""
    first = images[0]
    normal = np.cross(first.row_direction or (1, 0, 0), first.column_direction or (0, 1, 0))
    return np.array([image.position_mm for image in images], np.float64) @ normal


def _along(images: Sequence[ImageHeader]) -> NDArray[np.float64]:
    return np.sort(_positions(images))


def _is_even(stack: NDArray[np.float64]) -> bool:
    even = np.linspace(stack[0], stack[-1], len(stack))
    return len(stack) >= SMALLEST_STACK and float(np.abs(stack - even).max()) <= EVEN_STACK_MM


def _overlap(stacks: Iterable[NDArray[np.float64]]) -> bool:
    return all(
        min(a[-1], b[-1]) - max(a[0], b[0]) >= SHARED_EXTENT * min(np.ptp(a), np.ptp(b))
        for a, b in combinations(stacks, 2)
    )


def _has_holes(together: NDArray[np.float64], stacks: Sequence[NDArray[np.float64]]) -> bool:
    """Return whether all positions lie on one even stack of which some positions are empty."""
    step = float(np.diff(together).min())
    distance = min(float(np.ptp(stack)) / (len(stack) - 1) for stack in stacks)
    places = (together - together[0]) / step
    return step >= PACKAGES * distance and float(np.abs(places - np.round(places)).max()) * step <= EVEN_STACK_MM
