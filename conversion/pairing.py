"""Finds the series before contrast agent that matches one after it: the same technique, plane and voxels."""

from conversion.recognition.geometry_evidence import plane_of
from conversion.stack import stack_slices
from conversion.study import Series

__all__ = ["same_technique"]

SAME_TIME = 0.1
"""Share by which repetition, echo and inversion time may differ: consoles adapt them to the number of slices."""

SAME_SIZE = 0.1
"""Share by which the sides of a voxel may differ."""


def same_technique(first: Series, second: Series) -> bool:
    """Return whether two series differ in nothing but what happened between them, such as giving contrast agent.

    Both must form a volume.
    """
    a, b = first.acquisition, second.acquisition
    return (
        sorted(a.scanning_sequence) == sorted(b.scanning_sequence)
        and a.dimensions == b.dimensions
        and _alike(a.repetition_time_ms, b.repetition_time_ms)
        and _alike(a.echo_time_ms, b.echo_time_ms)
        and _alike(a.inversion_time_ms, b.inversion_time_ms)
        and plane_of(first) == plane_of(second)
        and all(
            abs(one - other) <= SAME_SIZE * max(one, other)
            for one, other in zip(
                stack_slices(first).grid.spacing_mm, stack_slices(second).grid.spacing_mm, strict=True
            )
        )
    )


def _alike(first: float | None, second: float | None) -> bool:
    if not first or not second:
        return (first or 0.0) == (second or 0.0)
    return abs(first - second) <= SAME_TIME * max(first, second)
