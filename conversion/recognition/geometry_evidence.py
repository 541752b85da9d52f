"""Evidence from the number and the planes of images."""

from collections.abc import Iterable, Sequence

from conversion.decision import Evidence
from conversion.likeness import same_echo
from conversion.sequences import pulse_family
from conversion.study import Series

__all__ = ["MINIMUM_SLICES", "geometry_evidence", "plane_of"]

MINIMUM_SLICES = 8
"""Fewer slices than this do not cover a head: 150 mm at 10 mm are 15 slices."""

FEW_SLICES = 3
"""A localizer has one to three images in a plane."""

LOCALIZER_IMAGES = 25
"""Most images in one plane of a three-plane localizer; some sites acquire 15 to 20 thin ones."""

REPEATS = 8
"""From this many volumes at one place, a series is a time course; series of several echoes have fewer."""

PLANES = ("sagittal", "coronal", "axial")


def geometry_evidence(series: Series, siblings: Sequence[Series]) -> Iterable[Evidence]:
    """Return the evidence from a volume's images and from those of the other volumes of its DICOM series."""
    alike = [other for other in siblings if _same_place(series, other)]
    planes = {plane_of(each) for each in (series, *siblings)} - {""}
    if len(planes) > 1 and len(series.images) <= LOCALIZER_IMAGES and not alike:
        says = f"one DICOM series in several planes ({', '.join(sorted(planes))})"
        yield Evidence(source="geometry", kind="localizer", weight=4.0, says=says)
    if len(series.images) <= FEW_SLICES:
        yield Evidence(source="geometry", kind="localizer", weight=1.0, says=f"only {len(series.images)} image(s)")
    course = 1 + sum(_same_echo(series, other) for other in alike)
    if course >= REPEATS:
        says = f"one of {course} volumes at one place in its DICOM series"
        weights = (4.0, 4.0) if pulse_family(series) == "EP" else (10.0, 6.0)
        for kind, weight in zip(("perfusion", "functional"), weights, strict=True):
            yield Evidence(source="geometry", kind=kind, weight=weight, says=says)
    echoes = _echoes((series, *alike))
    if echoes > 1 and pulse_family(series) == "GR":
        says = f"one of {echoes} gradient echoes"
        for kind in ("T2*", "field map"):
            yield Evidence(source="geometry", kind=kind, weight=4.5, says=says)


def plane_of(series: Series) -> str:
    """Return ``axial``, ``coronal`` or ``sagittal``, whichever is nearest; empty if the orientation is missing."""
    image = series.images[0] if series.images else None
    if image is None or image.row_direction is None or image.column_direction is None:
        return ""
    (a, b, c), (d, e, f) = image.row_direction, image.column_direction
    normal = (abs(b * f - c * e), abs(c * d - a * f), abs(a * e - b * d))  # plain numbers: called for hundreds of pairs
    return PLANES[normal.index(max(normal))]


def _echoes(volumes: Iterable[Series]) -> int:
    """Return how many different echoes the volumes have."""
    found: list[Series] = []
    for one in volumes:
        if one.acquisition.echo_time_ms is not None and not any(_same_echo(one, each) for each in found):
            found.append(one)
    return len(found)


def _same_echo(first: Series, second: Series) -> bool:
    return same_echo(first.acquisition.echo_time_ms, second.acquisition.echo_time_ms)


def _same_place(first: Series, second: Series) -> bool:
    return len(first.images) == len(second.images) and plane_of(first) == plane_of(second)
