"""Phases of a dynamic series: the agent is named for all of them, and the first is made before it arrives."""

from dataclasses import replace

import pytest

from conversion.recognition.pixel_evidence import next_pair
from conversion.recognition.recognise import recognise
from conversion.recognition.time_course import phases_of
from conversion.selection import best_of_each_role
from conversion.sequences import Role
from conversion.study import Series, Traits
from conversion.volume import ImageVolume
from tests.support.phantom_volumes import phantom_volume
from tests.support.series_headers import no_pixels, series_of, study_of

MINUTE = 60.0


def _phase(place: int, number: int = 7, **header: object) -> Series:
    """Return one phase of a dynamic T1 for all of which the console names an agent."""
    told = {"tr": 550.0, "te": 12.0, "seq": "SE", "description": "T1 DYN KM", "agent": True} | header
    series = series_of(number, part=f"phase {place + 1}", at=1000.0 + MINUTE * place, **told)
    images = tuple(
        replace(image, instance_number=24 * place + k, traits=Traits(temporal_position=place + 1))
        for k, image in enumerate(series.images)
    )
    return replace(series, images=images)


COURSE = tuple(_phase(place) for place in range(4))


def _places(*series: Series) -> dict[str, int]:
    return {one: phase.place for (_, one), phase in phases_of(series).items()}


def test_phases_are_in_the_order_of_time() -> None:
    assert _places(*reversed(COURSE)) == {"phase 1": 0, "phase 2": 1, "phase 3": 2, "phase 4": 3}
    assert {phase.count for phase in phases_of(COURSE).values()} == {4}
    assert {phase.began_at for phase in phases_of(COURSE).values()} == {1000.0}


def test_other_echoes_and_other_protocols_are_no_phases() -> None:
    assert _places(COURSE[0], _phase(1, te=30.0)) == {}
    assert _places(COURSE[0], _phase(1, number=8, description="T1 SE")) == {}


def test_three_series_of_one_description_are_a_course_and_two_a_repeat() -> None:
    apart = [_phase(place, number=7 + place) for place in range(3)]
    assert _places(*apart) == {"phase 1": 0, "phase 2": 1, "phase 3": 2}
    assert _places(*apart[:2]) == {}


@pytest.mark.parametrize("description", ["T1 DYN KM {}", "Ph{}/AX T1 DYN", "t1_twist_TT={}.5s"])
def test_series_that_number_their_phases_are_a_course(description: str) -> None:
    apart = [_phase(k, number=7 + k, description=description.format(20 * k)) for k in range(3)]
    assert _places(*apart) == {"phase 1": 0, "phase 2": 1, "phase 3": 2}
    assert _places(*apart[:2], _phase(2, number=9, description="T1 SE 3")) == {}


def test_the_first_and_the_last_phase_are_compared_first() -> None:
    pair = next_pair(COURSE, {series.key for series in COURSE}, [])
    assert pair is not None
    assert {series.part for series in pair} == {"phase 1", "phase 4"}


def test_without_pixels_the_first_phase_stays_open() -> None:
    first, *later = recognise(study_of(*COURSE), no_pixels)
    assert first.abstained
    assert any("all 4 phases of a dynamic series" in evidence.says for evidence in first.evidence)
    assert [recognition.kind for recognition in later] == [Role.T1CE] * 3


def test_a_course_before_contrast_stays_before_it() -> None:
    course = [_phase(place, description="T1 DYN nativ", agent=False) for place in range(3)]
    assert {recognition.kind for recognition in recognise(study_of(*course), no_pixels)} == {Role.T1}


@pytest.mark.parametrize("tagged", [True, False])
def test_by_pixels_the_first_is_before_and_the_last_is_taken(tagged: bool) -> None:  # noqa: FBT001 - a parameter
    course = tuple(_phase(place, agent=tagged) for place in range(4))

    def read(series: Series) -> ImageVolume:
        return phantom_volume("T1" if series.part == "phase 1" else "T1CE")

    recognitions = recognise(study_of(*course), read)
    assert [recognition.kind for recognition in recognitions] == [Role.T1, *[Role.T1CE] * 3]
    chosen = best_of_each_role(recognitions).series
    assert (chosen[Role.T1].part, chosen[Role.T1CE].part) == ("phase 1", "phase 4")


def test_a_course_that_began_after_the_agent_gives_no_t1_before_it() -> None:
    recognitions = recognise(study_of(*COURSE), lambda _series: phantom_volume("T1CE"))
    assert recognitions[0].abstained
    chosen = best_of_each_role(recognitions).series
    assert Role.T1 not in chosen
    assert chosen[Role.T1CE].part == "phase 4"
