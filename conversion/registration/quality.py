"""The quality of a registration, and the gate that refuses poor ones."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from conversion.registration.mutual_information import Metric

__all__ = ["Registration", "blurred", "doubts", "faults", "misfits", "sharpness"]

SHIFT_MM = 4.0
"""Offset to each side along each axis. At this offset the same anatomy no longer fits, while heads that only resemble
each other fit as well as before."""

LEAST_SHARPNESS = 0.30
DOUBTFUL_SHARPNESS = 0.36
"""Measured on 208 right and 217 wrong pairs (benchmarks/registration.md): at least 0.35 where the anatomy is the same
(0.13 to 0.52 with 20 % of noise); at most 0.23 between two patients, 0.15 with noise, and 0.34 with a head's mirror
image."""

STEADY_MM = 0.7
"""If the inverse consistency is at least as good as this, a volume without sharp anatomy (a smooth phantom) is doubtful
and not refused. None of the wrong pairs was that consistent."""

LEAST_OVERLAP = 0.10
DOUBTFUL_OVERLAP = 0.75

LARGEST_INCONSISTENCY_MM = 10.0
DOUBTFUL_INCONSISTENCY_MM = 4.0
"""At most 3.3 mm where both volumes contain the head, and 10 mm with a slab of 25 mm. The median is 6 mm where they do
not fit."""

UNUSUAL_TRANSLATION_MM = 60.0
UNUSUAL_ROTATION_DEG = 45.0
"""A head coil leaves no room for more."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Registration:
    """The transform that aligns one volume with another, and how well it fits.

    Attributes
    ----------
    matrix
        Shape (4, 4): LPS mm of the fixed volume to LPS mm of the moving volume.
    metric_before, metric_after
        Negative Mattes mutual information in nats; lower is better. Before: at the scanner's coordinates when both
        volumes share a frame of reference, otherwise with the centres of the heads aligned; 0 when nothing overlaps
        there.
    move_mm
        Translation of the centre of the fixed volume.
    rotation_deg
        Angle of the rotation.
    overlap
        Share of the fixed volume's tissue that lies within the moving volume.
    sharpness
        Share of the mutual information that is lost at an offset of 4 mm; near 0 where two heads merely resemble each
        other.
    inverse_consistency_mm
        Largest distance of tissue from its place after this transform and that of a second registration, which goes in
        the opposite direction and starts elsewhere.
    shared_frame
        Whether both volumes have the same frame of reference.
    attempts
        1, or 2 when the first settings gave no usable result.
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
    """Return the share of the mutual information at a transform, shape (4, 4), that is lost at an offset of 4 mm."""
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
    """Return in words that the sharpness is too low; empty when it is not."""
    if share >= least:
        return ""
    lost = f"an offset of {SHIFT_MM:.0f} mm loses only {share:.0%} of the mutual information"
    return f"the anatomy does not match clearly ({lost}, limit {least:.0%})"


def faults(found: Registration) -> tuple[str, ...]:
    """Return why a registration must not be used; empty when it may be."""
    least = LEAST_SHARPNESS if found.inverse_consistency_mm > STEADY_MM else 0.0
    return (*_misfits(found, least, LARGEST_INCONSISTENCY_MM), *_gaps(found, LEAST_OVERLAP))


def doubts(found: Registration) -> tuple[str, ...]:
    """Return what a person should check before relying on a registration; empty when it is sound."""
    unusual = []
    if found.shared_frame and found.move_mm > UNUSUAL_TRANSLATION_MM:
        unusual.append(f"a translation of {found.move_mm:.0f} mm is more than a head coil leaves room for")
    if found.rotation_deg > UNUSUAL_ROTATION_DEG:
        unusual.append(f"a rotation of {found.rotation_deg:.0f}° is more than a head coil leaves room for")
    return (*misfits(found), *_gaps(found, DOUBTFUL_OVERLAP), *unusual)


def misfits(found: Registration) -> tuple[str, ...]:
    """Return the doubts that other settings might resolve."""
    return _misfits(found, DOUBTFUL_SHARPNESS, DOUBTFUL_INCONSISTENCY_MM)


def _misfits(found: Registration, least_sharpness: float, largest_mm: float) -> tuple[str, ...]:
    reasons = [blur] if (blur := blurred(found.sharpness, least_sharpness)) else []
    if found.inverse_consistency_mm > largest_mm:
        far = f"up to {found.inverse_consistency_mm:.1f} mm apart, limit {largest_mm:.0f} mm"
        reasons.append(f"registering in the opposite direction gives a different result ({far})")
    return tuple(reasons)


def _gaps(found: Registration, least: float) -> tuple[str, ...]:
    if found.overlap >= least:
        return ()
    return (f"it covers only {found.overlap:.0%} of the reference's tissue (limit {least:.0%})",)
