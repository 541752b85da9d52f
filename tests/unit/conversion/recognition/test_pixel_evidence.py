"""Which series are looked at, and which pairs are compared."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conversion.errors import BrokenGeometry
from conversion.recognition.pixel_evidence import MAXIMUM_PAIRS, next_pair, shows_enough
from conversion.study import Series
from tests.support.series_headers import series_of

SE_T1: dict[str, Any] = {"tr": 550.0, "te": 12.0, "seq": "SE", "dims": "2D"}
TFE: dict[str, Any] = {"tr": 7.6, "te": 3.5, "seq": "GR", "dims": "3D"}


@pytest.mark.parametrize(
    ("slices", "distance_mm", "enough"), [(24, 6.0, True), (8, 7.5, True), (7, 20.0, False), (50, 1.0, False)]
)
def test_a_thin_slab_shows_too_little(slices: int, distance_mm: float, *, enough: bool) -> None:
    assert shows_enough(series_of(slices=slices, distance_mm=distance_mm)) is enough


def test_a_broken_stack_is_not_judged() -> None:
    series = series_of()
    with pytest.raises(BrokenGeometry, match="missing"):
        shows_enough(replace(series, images=series.images[:5] + series.images[6:]))


CANDIDATES = (
    series_of(502, slices=49, distance_mm=3.0, **TFE),
    series_of(901, **SE_T1),
    series_of(1103, slices=55, distance_mm=3.0, **TFE | {"tr": 9.0}),
    series_of(1201, **SE_T1),
)


def _all_pairs(candidates: list[Series], unsettled: set[int]) -> list[tuple[int, int]]:
    keys = {series.key for series in candidates if series.number in unsettled}
    compared: list[Any] = []
    numbers = []
    while (pair := next_pair(candidates, keys, compared)) is not None:
        compared.append((pair[0].key, pair[1].key))
        numbers.append((pair[0].number, pair[1].number))
    return numbers


@settings(deadline=None)
@given(st.permutations(CANDIDATES))
def test_the_most_alike_are_compared_first_and_each_once_before_any_twice(candidates: list[Series]) -> None:
    pairs = _all_pairs(candidates, {502, 901, 1103, 1201})
    assert pairs[:2] == [(901, 1201), (502, 1103)]
    assert len(pairs) == MAXIMUM_PAIRS


def test_what_is_settled_is_compared_once_and_no_more() -> None:
    assert _all_pairs(list(CANDIDATES), set()) == [(901, 1201)]
    assert _all_pairs(list(CANDIDATES), {502})[:2] == [(901, 1201), (502, 1103)]


@pytest.mark.parametrize("count", [0, 1])
def test_one_series_makes_no_pair(count: int) -> None:
    assert _all_pairs(list(CANDIDATES[:count]), {502}) == []


def test_planes_and_sizes_decide_where_protocols_differ() -> None:
    axial = series_of(1, **SE_T1)
    others = [series_of(2, plane="coronal", **TFE), series_of(3, voxel_mm=2.0, slices=30, **TFE)]
    pair = next_pair([axial, *others], set(), ())
    assert pair is not None
    assert [series.number for series in pair] == [1, 3]
