"""What repetition, echo and inversion time tell of a contrast, in the ranges of the textbooks."""

from itertools import product
from typing import Any

import pytest

from conversion.recognition.timing_evidence import timing_evidence
from tests.support.series_headers import series_of


def _weights(**header: Any) -> dict[str, float]:  # noqa: ANN401
    found = timing_evidence(series_of(**header))
    assert {e.source for e in found} <= {"timing"}
    return {e.kind: e.weight for e in found if e.weight > 0}


def _against(**header: Any) -> list[tuple[str, str]]:  # noqa: ANN401
    return [(e.kind, e.says) for e in timing_evidence(series_of(**header)) if e.weight < 0]


@pytest.mark.parametrize(
    ("kind", "header"),
    [
        ("T1", {"seq": "SE", "tr": 500.0, "te": 12.0}),
        ("T1", {"seq": "SE\\IR", "tr": 2000.0, "te": 10.0, "ti": 860.0}),
        ("T1", {"seq": "GR\\IR", "tr": 2300.0, "te": 3.0, "ti": 900.0, "dims": "3D", "flip": 9.0}),
        ("T1", {"seq": "GR", "tr": 250.0, "te": 2.5, "dims": "2D", "flip": 70.0}),
        ("T2", {"seq": "SE", "tr": 4000.0, "te": 100.0, "dims": "3D"}),
        ("PD", {"seq": "SE", "tr": 3000.0, "te": 20.0}),
        ("FLAIR", {"seq": "SE\\IR", "tr": 9000.0, "te": 120.0, "ti": 2500.0}),
        ("STIR", {"seq": "SE\\IR", "tr": 4000.0, "te": 40.0, "ti": 160.0}),
        ("T2*", {"seq": "GR", "tr": 700.0, "te": 20.0, "dims": "2D", "flip": 20.0}),
        ("SWI", {"seq": "GR", "tr": 28.0, "te": 20.0, "dims": "3D", "flip": 15.0}),
        ("steady state", {"seq": "GR", "tr": 6.0, "te": 3.0, "flip": 60.0, "dims": "3D"}),
        ("localizer", {"seq": "GR", "tr": 8.0, "te": 3.0, "dims": "2D", "flip": 20.0}),
        ("DWI", {"seq": "EP", "tr": 6000.0, "te": 90.0, "dims": "2D"}),
        ("functional", {"seq": "EP", "tr": 3500.0, "te": 30.0, "dims": "2D"}),
    ],
)
def test_the_times_of_textbook_protocols_tell_their_contrast(kind: str, header: dict[str, Any]) -> None:
    found = _weights(**header)
    assert max(found, key=lambda name: found[name]) == kind


def test_without_repetition_and_echo_time_nothing_is_told() -> None:
    assert timing_evidence(series_of(seq="SE\\IR", ti=2500.0, flip=90.0)) == ()
    assert timing_evidence(series_of(seq="SE", tr=0.0, te=0.0)) == ()


def test_a_time_that_is_missing_halves_the_weight_and_a_family_takes_its_share() -> None:
    full = _weights(seq="SE", tr=500.0, te=12.0)["T1"]
    assert _weights(seq="SE", te=12.0)["T1"] == full / 2
    assert _weights(seq="SE", tr=500.0)["T1"] == full / 2
    assert _weights(tr=500.0, te=12.0)["T1"] == pytest.approx(0.7 * full)


def test_a_flip_angle_counts_where_it_decides() -> None:
    fast = {"seq": "GR", "tr": 6.0, "te": 3.0}
    balanced = _weights(**fast, flip=60.0)
    assert set(balanced) == {"steady state"}
    assert _weights(**fast)["steady state"] == balanced["steady state"] / 2
    assert "steady state" not in _weights(**fast, flip=12.0)


def test_an_echo_too_short_for_a_spin_echo_is_a_gradient_echo() -> None:
    assert _weights(tr=8.0, te=3.0, dims="3D", flip=12.0) == _weights(seq="GR", tr=8.0, te=3.0, dims="3D", flip=12.0)
    assert "T2*" in _weights(tr=700.0, te=20.0)
    assert _weights(tr=500.0, te=5.9) == _weights(seq="GR", tr=500.0, te=5.9)
    assert _weights(tr=500.0, te=6.0) != _weights(seq="GR", tr=500.0, te=6.0)


@pytest.mark.parametrize("inversion_ms", [None, 0.0, 50.0])
def test_an_inversion_that_no_scanner_makes_is_none(inversion_ms: float | None) -> None:
    assert "T2" in _weights(seq="SE", tr=4000.0, te=100.0, ti=inversion_ms)


def test_an_inversion_leaves_no_plain_t2() -> None:
    assert set(_weights(seq="SE\\IR", tr=9000.0, te=120.0, ti=2500.0)) == {"FLAIR"}


@pytest.mark.parametrize("dimensions", ["", "2D", "3D", "4D"])
def test_dimensions_that_are_not_known_are_like_none(dimensions: str) -> None:
    found = _weights(seq="SE", tr=5000.0, te=90.0, dims=dimensions)
    assert ("DWI" in found) == (dimensions != "3D")


@pytest.mark.parametrize(
    ("echo_ms", "kinds", "says"),
    [
        (19.9, ["T2", "FLAIR"], "TE 19.9 ms is too short for T2 contrast"),
        (20.0, [], ""),
        (60.0, [], ""),
        (61.0, ["T1"], "TE 61 ms is too long for T1 contrast"),
        (0.0, [], ""),
        (None, [], ""),
    ],
)
def test_an_echo_time_rules_out_what_it_cannot_show(echo_ms: float | None, kinds: list[str], says: str) -> None:
    assert _against(seq="SE", tr=1000.0, te=echo_ms) == [(kind, says) for kind in kinds]


@pytest.mark.parametrize(
    ("header", "times"),
    [
        ({"tr": 9000.0, "te": 119.6, "ti": 2500.0, "seq": "SE"}, "TR 9000 ms, TE 120 ms, TI 2500 ms: "),
        ({"tr": 7.888, "te": 3.018, "seq": "GR", "dims": "3D", "flip": 9.0}, "TR 7.89 ms, TE 3.02 ms: "),
        ({"te": 100.0, "seq": "SE"}, "TE 100 ms: "),
    ],
)
def test_times_are_written_as_a_person_would(header: dict[str, Any], times: str) -> None:
    says = [e.says for e in timing_evidence(series_of(**header)) if e.weight > 0]
    assert says
    assert all(sentence.startswith(times) for sentence in says)


def test_no_times_speak_for_and_against_one_kind() -> None:
    ranges = ((None, 5.0, 30.0, 600.0, 2000.0, 9000.0), (None, 2.0, 12.0, 30.0, 55.0, 100.0), (None, 160.0, 900.0))
    for (tr, te, ti), family in product(product(*ranges), ("SE", "GR", "EP", "")):
        kinds = [e.kind for e in timing_evidence(series_of(slices=1, seq=family, tr=tr, te=te, ti=ti))]
        assert len(kinds) == len(set(kinds)), (tr, te, ti, family)
