"""The search: starts far away are seen, the scanner's geometry is kept unless beaten, and the last tenths are found."""

from threading import Event

import numpy as np
import pytest

from conversion.registration.mutual_information import matrix_of, rigid_transform
from conversion.registration.pyramid import build_pyramid
from conversion.registration.search import FIRST_PLAN, Pair, SearchPlan, distances_mm, polished, search
from tests.support.moved_volumes import errors_mm, move, shifted_grid
from tests.support.small_head import CENTRE_MM, head_volume

FIXED = head_volume("axial", (3.0, 2.0, 2.0))
AWAY = move((16.0, -12.0, 18.0), (22.0, -15.0, 24.0), CENTRE_MM)
CORNERS = np.array([[x, y, z] for x in (-25, 25) for y in (-30, 30) for z in (-25, 25)]) + CENTRE_MM


@pytest.fixture(scope="module")
def pair() -> Pair:
    """Return the metric of the head and the same head moved far away, seen on another grid."""
    return Pair(build_pyramid(FIXED), build_pyramid(shifted_grid(head_volume("coronal", (2.5, 2.0, 2.0)), AWAY)))


def test_the_best_starts_are_those_near_the_place(pair: Pair) -> None:
    starts = pair.best_starts(FIRST_PLAN)
    assert len(starts) == FIRST_PLAN.coarse
    assert errors_mm(matrix_of(starts[0]), AWAY, CORNERS).max() < 15.0
    scores = [pair.score(start, 0) for start in starts]
    assert scores == sorted(scores, reverse=True)


def test_the_scanners_geometry_is_given_up_for_a_clearly_better_place(pair: Pair) -> None:
    found = search(pair, FIRST_PLAN, np.eye(4), Event())
    assert found is not None
    assert errors_mm(matrix_of(found), AWAY, CORNERS).max() < 1.5


def test_the_scanners_geometry_is_followed_where_it_is_right(pair: Pair) -> None:
    """The plan's own starts are all far beside: only the geometry leads there."""
    beside = SearchPlan(rotations_deg=(150.0,), heights_mm=(0.0,), coarse=1, middle=1)
    near = AWAY @ move((3.0, 3.0, -3.0), (3.0, -3.0, 3.0), CENTRE_MM)
    found = search(pair, beside, near, Event())
    assert found is not None
    assert errors_mm(matrix_of(found), AWAY, CORNERS).max() < 1.5


def test_the_polish_finds_the_last_tenths(pair: Pair) -> None:
    near = AWAY @ move((0.8, -0.6, 0.5), (0.6, -0.7, 0.5), CENTRE_MM)
    found = polished(pair.finest, near, pair.fixed.centre_mm, affine=False)
    assert errors_mm(found, AWAY, CORNERS).max() < 0.5 < errors_mm(near, AWAY, CORNERS).max()
    assert np.allclose(found[:3, :3] @ found[:3, :3].T, np.eye(3))
    assert pair.finest.score(found) > pair.finest.score(near)


def test_a_search_that_is_stopped_returns_at_once(pair: Pair) -> None:
    stop = Event()
    stop.set()
    assert search(pair, FIRST_PLAN, np.eye(4), stop) is None


def test_the_distance_of_two_moves_is_that_of_the_same_points() -> None:
    first, second = np.eye(4), move((0.0, 0.0, 90.0), (1.0, 0.0, 0.0), np.zeros(3))
    assert np.allclose(distances_mm(first, second, np.array([[10.0, 0.0, 0.0], [0.0, 0.0, 5.0]])), [np.hypot(9, 10), 1])
    assert len(distances_mm(first, second, np.zeros((4000, 3)))) == 500


def test_a_start_is_a_turn_about_the_middle_of_the_head(pair: Pair) -> None:
    start = rigid_transform(AWAY, pair.fixed.centre_mm)
    assert np.allclose(start.GetFixedParameters()[:3], pair.fixed.centre_mm)
    assert np.allclose(pair.fixed.centre_mm, CENTRE_MM, atol=2.0)
