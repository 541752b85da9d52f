"""How well a registration fits, and the gate that no poor one passes."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from conversion.registration.mutual_information import Metric

__all__ = ["Registration", "blurred", "doubts", "faults", "misfits", "sharpness"]

SHIFT_MM = 4.0
"""To each side along each axis: so far off no anatomy fits, while heads that only resemble each other fit as before."""

LEAST_SHARPNESS = 0.30
DOUBTFUL_SHARPNESS = 0.36
"""Measured on 208 right and 217 wrong pairs (benchmarks/registration.md): at least 0.35 where the anatomy is the same
(0.13 to 0.52 with 20 % of noise), at most 0.23 between two patients, 0.15 with noise, and 0.34 with one's mirror image.
"""

STEADY_MM = 0.7
"""There and back as exact as this, a volume without sharp anatomy (a smooth phantom) is doubtful and not refused; none
of the wrong pairs was."""

LEAST_OVERLAP = 0.10
DOUBTFUL_OVERLAP = 0.75

LARGEST_INCONSISTENCY_MM = 10.0
DOUBTFUL_INCONSISTENCY_MM = 4.0
"""At most 3.3 mm where both hold the head, 10 mm with a slab of 25 mm; a median of 6 mm where they do not fit."""

UNUSUAL_MOVE_MM = 60.0
UNUSUAL_TURN_DEG = 45.0
"""A head coil leaves no room for more."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Registration:
    """A move of one volume onto another and how well it fits.

    Attributes
    ----------
    matrix
        Shape (4, 4): LPS mm of the fixed volume to LPS mm of the moving volume.
    metric_before, metric_after
        Negative Mattes mutual information in nats; lower is better. Before: by the scanner's coordinates when both
        share a frame of reference, else with the centres of the heads together; 0 when nothing overlapped there.
    move_mm
        How far the move carries the centre of the fixed volume.
    rotation_deg
        Angle of its rotation.
    overlap
        Share of the fixed volume's tissue that lies within the moving volume.
    sharpness
        Share of the mutual information that is lost 4 mm away; near 0 where two heads merely resemble each other.
    inverse_consistency_mm
        How far tissue comes back from its place at most, there with this move and back with that of a second
        registration, from the moving volume and from elsewhere.
    shared_frame
        Whether both volumes name the same frame of reference.
    attempts
        1, or 2 when the first settings gave nothing that could be used.
    """

    matrix: NDArray[np.float64]
    metric_before: float
    metric_after: float
    move_mm: float
    rotation_deg: float
    overlap: float
    sharpness: float
    inverse_consistency_mm: float
    shared_frame: bool
    attempts: int


def sharpness(metric: Metric, matrix: NDArray[np.float64]) -> float:
    """Return the share of the mutual information at a move, shape (4, 4), that is lost 4 mm beside it."""
    here, _ = metric.value(matrix)
    if here <= 0:
        return 0.0
    beside = []
    for axis in range(3):
        for shift_mm in (-SHIFT_MM, SHIFT_MM):
            shifted = np.eye(4)
            shifted[axis, 3] = shift_mm
            beside.append(metric.value(matrix @ shifted)[0])
    return float(1.0 - np.mean(beside) / here)


def blurred(share: float, least: float = DOUBTFUL_SHARPNESS) -> str:
    """Return in words that a sharpness falls short; empty when it does not."""
    if share >= least:
        return ""
    what = f"only {share:.0%} of the mutual information is lost {SHIFT_MM:.0f} mm away"
    return f"{what}, where one anatomy loses {least:.0%} and more"


def faults(found: Registration) -> tuple[str, ...]:
    """Return why a registration must not be used; nothing when it may."""
    least = LEAST_SHARPNESS if found.inverse_consistency_mm > STEADY_MM else 0.0
    return (*_misfits(found, least, LARGEST_INCONSISTENCY_MM), *_gaps(found, LEAST_OVERLAP))


def doubts(found: Registration) -> tuple[str, ...]:
    """Return what a person should look at before relying on a registration; nothing when it is sound."""
    unusual = []
    if found.shared_frame and found.move_mm > UNUSUAL_MOVE_MM:
        unusual.append(f"a translation of {found.move_mm:.0f} mm is more than a head can make in a coil")
    if found.rotation_deg > UNUSUAL_TURN_DEG:
        unusual.append(f"a turn of {found.rotation_deg:.0f}° is more than a head can make in a coil")
    return (*misfits(found), *_gaps(found, DOUBTFUL_OVERLAP), *unusual)


def misfits(found: Registration) -> tuple[str, ...]:
    """Return the doubts that other settings might settle."""
    return _misfits(found, DOUBTFUL_SHARPNESS, DOUBTFUL_INCONSISTENCY_MM)


def _misfits(found: Registration, least_sharpness: float, largest_mm: float) -> tuple[str, ...]:
    said = [blur] if (blur := blurred(found.sharpness, least_sharpness)) else []
    if found.inverse_consistency_mm > largest_mm:
        what = f"there and back, tissue is {found.inverse_consistency_mm:.1f} mm from its place"
        said.append(f"{what} (more than {largest_mm:.0f} mm)")
    return tuple(said)


def _gaps(found: Registration, least: float) -> tuple[str, ...]:
    if found.overlap >= least:
        return ()
    return (f"it covers {found.overlap:.0%} of the reference's tissue (less than {least:.0%})",)
