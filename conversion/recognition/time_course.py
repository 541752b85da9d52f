"""Phases of a dynamic series (a course): a volume that is acquired repeatedly while a contrast agent arrives.

Consoles name the contrast agent for all phases, including the first, which is acquired before it arrives.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from conversion.likeness import same_echo
from conversion.recognition.contrast_agent import same_protocol
from conversion.study import Series, SeriesUID

__all__ = ["Phase", "phases_of"]

SERIES_OF_A_COURSE = 3
"""From this many series of one description and protocol, they are the phases of a course. Two are as often a repeat.

Consoles number the phases in the description: "Ph2/AX DYN", "T1 DYN 3", "twist_TT=20.5s"."""

_NUMBER = re.compile(r"\d+(?:[.,]\d+)?")

SeriesKey = tuple[SeriesUID, str]


@dataclass(frozen=True, kw_only=True)
class Phase:
    """The place of a volume in its course.

    Attributes
    ----------
    course
        The same for all phases of one course, and for no other.
    place
        Counted from 0, in order of time.
    count
        Number of phases.
    began_at
        When the first was acquired, in seconds from a fixed day; 0 where no time is given.
    """

    course: int
    place: int
    count: int
    began_at: float


def phases_of(candidates: Sequence[Series]) -> Mapping[SeriesKey, Phase]:
    """Find the volumes that are phases of a course.

    A course is made of the parts of one DICOM series, or of series with one description.

    Parameters
    ----------
    candidates
        Volumes of one weighting.
    """
    courses: list[list[Series]] = []
    for series in candidates:
        course = next((course for course in courses if _of_one_course(course[0], series)), None)
        if course is None:
            courses.append([series])
        else:
            course.append(series)
    return {
        series.key: Phase(
            course=number, place=place, count=len(course), began_at=ordered[0].acquisition.acquired_at or 0.0
        )
        for number, course in enumerate(courses)
        if len(course) >= _fewest(course)
        for ordered in (sorted(course, key=_in_time),)
        for place, series in enumerate(ordered)
    }


def _fewest(course: Sequence[Series]) -> int:
    return 2 if len({series.series_uid for series in course}) == 1 else SERIES_OF_A_COURSE


def _of_one_course(first: Series, second: Series) -> bool:
    a, b = first.acquisition, second.acquisition
    together = first.series_uid == second.series_uid or _named_alike(a.description, b.description)
    return (
        together
        and same_protocol(first, second)
        and a.component == b.component
        and a.image_type == b.image_type
        and same_echo(a.inversion_time_ms, b.inversion_time_ms)
        and a.diffusion_b_value == b.diffusion_b_value
    )


def _named_alike(first: str, second: str) -> bool:
    return bool(first) and _NUMBER.sub("#", first) == _NUMBER.sub("#", second)


def _in_time(series: Series) -> tuple[float, ...]:
    first = series.images[0].traits
    return (
        float(first.temporal_position),
        first.trigger_time_ms or 0.0,
        series.acquisition.acquired_at or 0.0,
        float(first.acquisition_number),
        first.made_at or 0.0,
        float(series.number),
        float(min(image.instance_number for image in series.images)),
    )
