"""Decides how two series of different planes are shown side by side: the finer one is reformatted in the other's plane.

A sagittal volume of 1 mm beside axial slices of 5 mm, say: two such stacks cannot be scrolled in step.
"""

from dataclasses import dataclass
from enum import StrEnum

from pydicom import Dataset

from conversion.attributes import Attributes
from conversion.study import Vector

__all__ = ["Place", "Reformat", "SeriesPlane", "reformat", "series_plane"]

PARALLEL = 0.9
"""Cosine between the normals of two series that are scrolled in step as they are; `ohif_first_view.js` has the same."""

FINE_MM = 2.0
"""Limit for the distance of the slices of a series that is reformatted. Three-dimensional sequences of a brain have
1 mm, seldom 2 mm; slices of 3 mm and more show steps in every other plane."""


class Place(StrEnum):
    """Where a series is shown."""

    REFERENCE = "reference"
    BESIDE = "beside"


@dataclass(frozen=True, kw_only=True)
class SeriesPlane:
    """How the slices of a series lie in the patient.

    Attributes
    ----------
    row, column
        Directions of its rows and columns (PS3.3 C.7.6.2.1.1), LPS.
    distance_mm
        Between neighbouring slices.
    """

    row: Vector
    column: Vector
    distance_mm: float


@dataclass(frozen=True, kw_only=True)
class Reformat:
    """Which series is shown in the plane of the other one, and the rows and columns of that plane."""

    place: Place
    row: Vector
    column: Vector


def series_plane(ds: Dataset) -> SeriesPlane | None:
    """Return the plane of a series from the header of one of its images; None if the header states none."""
    image = next(Attributes.of_frames(ds), None) or Attributes(ds)
    directions = image.directions()
    distance_mm = image.number("SpacingBetweenSlices") or image.number("SliceThickness")
    if directions is None or distance_mm is None:
        return None
    return SeriesPlane(row=directions[0], column=directions[1], distance_mm=abs(distance_mm))


def reformat(reference: SeriesPlane | None, beside: SeriesPlane | None) -> Reformat | None:
    """Return which of two series is reformatted; None if both lie alike, or if none has slices that are fine enough."""
    if reference is None or beside is None or abs(_cosine(reference, beside)) > PARALLEL:
        return None
    if min(reference.distance_mm, beside.distance_mm) > FINE_MM:
        return None
    if reference.distance_mm <= beside.distance_mm:
        return Reformat(place=Place.REFERENCE, row=beside.row, column=beside.column)
    return Reformat(place=Place.BESIDE, row=reference.row, column=reference.column)


def _cosine(one: SeriesPlane, other: SeriesPlane) -> float:
    return sum(a * b for a, b in zip(_normal(one), _normal(other), strict=True))


def _normal(plane: SeriesPlane) -> Vector:
    (a, b, c), (d, e, f) = plane.row, plane.column
    return b * f - c * e, c * d - a * f, a * e - b * d
