"""Which series gets which role: whole studies as tables, with the decisions that explain them."""

from dataclasses import replace
from typing import Any

import pytest

from conversion.decision import Decision
from conversion.errors import BrokenGeometry, ConversionReason, UnusableStudy
from conversion.recognition.recognise import recognise
from conversion.selection import SeriesSelection, best_of_each_role, select_series
from conversion.sequences import Role
from conversion.study import Derivation, Series
from tests.support.series_headers import headers_of, no_pixels, recognised, series_of, study_of

T1, T1CE, T2, FLAIR = Role.T1, Role.T1CE, Role.T2, Role.FLAIR
SE_T1: dict[str, Any] = {"tr": 550.0, "te": 12.0, "seq": "SE", "dims": "2D"}
SE_KM: dict[str, Any] = SE_T1 | {"description": "t1 gd"}
TSE_T2: dict[str, Any] = {"tr": 4500.0, "te": 100.0, "seq": "SE", "dims": "2D"}
TIRM: dict[str, Any] = {"tr": 9000.0, "te": 110.0, "ti": 2500.0, "seq": "IR", "dims": "2D"}
DWI: dict[str, Any] = {"tr": 6000.0, "te": 90.0, "seq": "EP", "b": 1000.0}
MPR = "DERIVED\\SECONDARY\\MPR"


def _broken(series: Series) -> Series:
    return replace(series, images=series.images[:5] + series.images[6:])


def _select(*series: Series, reference: Role = T1CE) -> SeriesSelection:
    study = study_of(*series)
    return select_series(study, recognise(study, no_pixels), reference)


def _roles(selection: SeriesSelection) -> dict[Role, int]:
    return {role: series.number for role, series in selection.series.items()}


def _decisions(selection: SeriesSelection, subject: str) -> dict[str, str]:
    """Return reason by code of what was decided on a series."""
    return {decision.code: decision.reason for decision in selection.decisions if decision.subject == subject}


def test_each_role_gets_its_series_and_says_why() -> None:
    selection = _select(
        series_of(2, **SE_KM),
        series_of(1, description="t1 nativ", **SE_T1),
        series_of(3, **TSE_T2),
        series_of(4, **TIRM),
    )
    assert _roles(selection) == {T1: 1, T1CE: 2, T2: 3, FLAIR: 4}
    assert selection.reference is T1CE
    assert selection.study_uid == "1.2"
    reason = _decisions(selection, "series 2")["role"]
    assert reason.startswith("T1CE (9")
    assert "TR 550 ms, TE 12 ms" in reason
    assert "description contains 't1 gd'" in reason


def test_a_role_carries_all_its_evidence() -> None:
    study = study_of(series_of(1, **SE_KM))
    (recognition,) = recognise(study, no_pixels)
    (decision,) = [d for d in select_series(study, (recognition,)).decisions if d.code == "role"]
    assert decision.evidence == recognition.evidence
    assert {e.source for e in decision.evidence} == {"timing", "description"}
    assert decision.series_uid == "1.1"


@pytest.mark.parametrize(("preferred", "expected"), [(T1CE, T1CE), (FLAIR, FLAIR)])
def test_the_preferred_reference_is_taken_when_there(preferred: Role, expected: Role) -> None:
    selection = _select(series_of(1, **SE_KM), series_of(2, **TIRM), reference=preferred)
    assert selection.reference is expected


@pytest.mark.parametrize("preferred", [T1CE, FLAIR])
def test_the_other_reference_is_taken_when_the_preferred_is_missing(preferred: Role) -> None:
    only_flair = _select(series_of(2, **TIRM), series_of(3, **TSE_T2), reference=preferred)
    only_t1ce = _select(series_of(1, **SE_KM), series_of(3, **TSE_T2), reference=preferred)
    assert (only_flair.reference, only_t1ce.reference) == (FLAIR, T1CE)


def test_flair_alone_is_enough() -> None:
    assert _roles(_select(series_of(5, **TIRM))) == {FLAIR: 5}


def test_neither_t1_after_contrast_nor_flair_is_refused_with_what_was_found_and_what_would_help() -> None:
    with pytest.raises(UnusableStudy) as caught:
        _select(series_of(1, **TSE_T2), series_of(2, **SE_T1), series_of(3, protocol="t1 gd", **SE_T1))
    assert caught.value.reason is ConversionReason.NO_REFERENCE
    assert "neither T1 after contrast nor FLAIR was recognised" in str(caught.value)
    assert "series 1 T2, series 2 T1, series 3 perhaps T1" in str(caught.value)
    assert "what would help: a contrast tag" in str(caught.value)
    with pytest.raises(UnusableStudy, match="what would help: such a series, or a site rule that names one"):
        _select(series_of(1, **TSE_T2))


def test_what_has_no_role_is_named_with_its_evidence() -> None:
    selection = _select(series_of(1, **TIRM), series_of(2, **DWI), series_of(4))
    assert _decisions(selection, "series 2")["not_used"].startswith("not used: DWI (100%): b-value 1000 s/mm²")
    left_open = _decisions(selection, "series 4")["abstained"]
    assert "at least 70% needed); what would help: a repetition time; an echo time" in left_open
    assert set(selection.series) == {FLAIR}


def test_every_series_has_at_least_one_decision() -> None:
    acquired = [series_of(1, **TIRM), series_of(2, **TIRM), series_of(3, **TSE_T2)]
    series = [*acquired, series_of(4), series_of(5, slices=2, **SE_T1)]
    selection = _select(*series)
    assert {decision.subject for decision in selection.decisions} == {each.name for each in series}


def test_many_volumes_of_one_series_share_a_decision() -> None:
    parts = [series_of(7, part=f"direction {k}", **DWI) for k in range(64)]
    selection = _select(series_of(1, **TIRM), *parts)
    told = [decision for decision in selection.decisions if decision.series_uid == "1.7"]
    assert len(told) == 1
    assert told[0].subject == "series 7"
    assert "64 volumes" in told[0].reason


def test_decisions_of_reading_are_kept_in_front() -> None:
    before = Decision(code="not_mr", subject="series 8", reason="CT")
    study = replace(study_of(series_of(1, **TIRM)), decisions=(before,))
    assert select_series(study, recognise(study, no_pixels)).decisions[0] is before


def test_pixels_that_were_not_judged_are_told() -> None:
    assert "no pixels" in _decisions(_select(series_of(1, **TIRM)), "series 1")["pixels_not_judged"]


def test_t1_is_the_counterpart_of_t1_after_contrast_where_there_is_one() -> None:
    """As in a Philips study: a 3D T1 beside the spin echo that was repeated after the agent."""
    volume = series_of(
        5, tr=7.0, te=3.2, flip=8.0, seq="GR", dims="3D", description="t1 3d", distance_mm=1.0, slices=160
    )
    before = series_of(9, description="t1 se nativ", **SE_T1)
    after = series_of(12, **SE_KM | {"tr": 575.0})
    selection = _select(volume, before, after)
    assert _roles(selection) == {T1: 9, T1CE: 12}
    assert "same technique as T1 after contrast" in _decisions(selection, "series 5")["not_used"]


@pytest.mark.parametrize(
    "other", [{"plane": "sagittal"}, {"voxel_mm": 1.3}, {"distance_mm": 7.0}], ids=["plane", "matrix", "slices"]
)
def test_what_is_cut_otherwise_is_no_counterpart(other: dict[str, Any]) -> None:
    volume = series_of(
        5, tr=7.0, te=3.2, flip=8.0, seq="GR", dims="3D", description="t1 3d", distance_mm=1.0, slices=160
    )
    before = series_of(9, description="t1 se nativ", **SE_T1, **other)
    assert _roles(_select(volume, before, series_of(12, **SE_KM)))[T1] == 5


def test_a_counterpart_that_shows_a_slab_alone_is_not_preferred() -> None:
    volume = series_of(
        5, tr=7.0, te=3.2, flip=8.0, seq="GR", dims="3D", description="t1 3d", distance_mm=1.0, slices=160
    )
    slab = series_of(9, description="t1 se nativ", slices=12, **SE_T1)
    assert _roles(_select(volume, slab, series_of(12, **SE_KM)))[T1] == 5


def test_a_broken_candidate_is_replaced_by_another_and_named() -> None:
    selection = _select(_broken(series_of(1, voxel_mm=0.5, **TIRM)), series_of(2, **TIRM))
    assert _roles(selection) == {FLAIR: 2}
    told = _decisions(selection, "series 1")
    assert "1 slice(s) missing" in told[ConversionReason.MISSING_SLICE]
    assert "pixels_not_judged" not in told  # for the same reason, which is told once


@pytest.mark.parametrize("role", [SE_KM, TSE_T2, TIRM], ids=["T1CE", "T2", "FLAIR"])
def test_a_broken_series_without_alternative_is_refused(role: dict[str, Any]) -> None:
    healthy = [series_of(1, **SE_KM), series_of(2, **TSE_T2), series_of(3, **TIRM)]
    kept = [series for series in healthy if series.acquisition != headers_of(**role)]
    with pytest.raises(BrokenGeometry, match="series 9") as caught:
        _select(*kept, _broken(series_of(9, **role)))
    assert caught.value.reason is ConversionReason.MISSING_SLICE


def test_one_broken_role_costs_the_others_nothing_where_a_part_is_wanted() -> None:
    study = study_of(series_of(1, **SE_KM), series_of(2, **TSE_T2), _broken(series_of(3, **TIRM)))
    best = best_of_each_role(recognise(study, no_pixels))
    assert {role: series.number for role, series in best.series.items()} == {T1CE: 1, T2: 2}
    assert {role: error.reason for role, error in best.broken.items()} == {FLAIR: ConversionReason.MISSING_SLICE}


def test_a_reformat_is_used_only_where_no_acquired_series_has_its_role() -> None:
    acquired, reformat = series_of(1, **SE_KM), series_of(2, itype=MPR, voxel_mm=0.5, **SE_KM)
    both, alone = _select(acquired, reformat), _select(reformat)
    assert _roles(both) == {T1CE: 1}
    assert "series 1 is preferred" in _decisions(both, "series 2")["not_used"]
    assert _roles(alone) == {T1CE: 2}
    assert "no acquired series" in _decisions(alone, "series 2")["reformat_used"]
    assert "reformat_used" not in _decisions(both, "series 1")


def test_a_reformat_steps_in_for_a_broken_series() -> None:
    selection = _select(_broken(series_of(1, **SE_KM)), series_of(2, itype=MPR, **SE_KM))
    assert _roles(selection) == {T1CE: 2}


def test_a_broken_reformat_alone_stops_nothing() -> None:
    selection = _select(series_of(1, **TIRM), _broken(series_of(2, itype=MPR, **SE_KM)))
    assert _roles(selection) == {FLAIR: 1}
    assert ConversionReason.MISSING_SLICE in _decisions(selection, "series 2")


@pytest.mark.parametrize("words", ["T1 KM MIP", "T1 KM SUB"])
def test_projections_and_subtractions_are_never_chosen(words: str) -> None:
    assert _roles(_select(series_of(1, **TIRM), series_of(2, **SE_T1 | {"description": words}))) == {FLAIR: 1}


def test_a_subtraction_alone_leaves_the_study_without_t1_after_contrast_and_says_what_stands_in_the_file() -> None:
    made = series_of(2, **SE_KM, derivation=Derivation(codes=("113062",)))
    selection = _select(series_of(1, **TIRM), made)
    assert _roles(selection) == {FLAIR: 1}
    reason = _decisions(selection, "series 2")["not_used"]
    assert "subtraction" in reason
    assert "DerivationCodeSequence contains 113062 (Pixel by pixel subtraction)" in reason
    with pytest.raises(
        UnusableStudy, match=r"neither T1 after contrast nor FLAIR was recognised.*series 2 subtraction"
    ):
        _select(made)


@pytest.mark.parametrize(("slices", "distance_mm"), [(7, 20.0), (9, 6.0)])
def test_too_little_of_a_head_has_no_role(slices: int, distance_mm: float) -> None:
    selection = _select(series_of(1, **TIRM), series_of(2, slices=slices, distance_mm=distance_mm, **SE_KM))
    assert _roles(selection) == {FLAIR: 1}
    assert "too little of a head" in _decisions(selection, "series 2")["not_used"]


def test_what_was_assumed_to_stack_a_chosen_series_is_told() -> None:
    series = series_of(1, **TIRM)
    image = series.images[3]
    assert image.position_mm is not None
    moved = replace(image, position_mm=(0.0, 0.05, image.position_mm[2]))
    selection = _select(replace(series, images=(*series.images[:3], moved, *series.images[4:])))
    assert "up to 0.050 mm from" in _decisions(selection, "series 1")["uneven_positions"]


ISOTROPIC: dict[str, Any] = {"slices": 160, "distance_mm": 1.0, "voxel_mm": 1.0}


@pytest.mark.parametrize(
    ("worse", "better"),
    [
        ({"itype": MPR, "voxel_mm": 0.5}, {}),
        ({"itype": "ORIGINAL\\PRIMARY\\REFORMATTED", "voxel_mm": 0.5}, {}),
        ({"itype": "DERIVED\\SECONDARY", "voxel_mm": 0.5}, {}),
        ({"slices": 14, "voxel_mm": 0.5}, {}),
        ({"description": "FLAIR +C", "voxel_mm": 0.5}, {}),
        ({"voxel_mm": 0.4}, ISOTROPIC),
        ({"voxel_mm": 0.4}, ISOTROPIC | {"plane": "sagittal"}),
        ({"plane": "coronal"}, {}),
        ({"plane": "sagittal", "voxel_mm": 0.9}, {}),
        ({"voxel_mm": 1.0}, {"voxel_mm": 0.9}),
        ({"distance_mm": 6.0}, {"distance_mm": 5.0}),
        ({"at": 500.0}, {"at": 400.0}),
    ],
    ids=[
        "MPR", "reformatted", "derived", "thin slab", "after contrast", "thick slices", "thick, in plane", "coronal",
        "sagittal", "larger pixels", "thicker slices", "later",
    ],
)  # fmt: skip
def test_of_two_candidates_the_better_one_is_taken(worse: dict[str, Any], better: dict[str, Any]) -> None:
    for numbers in ((1, 2), (2, 1)):
        series = (series_of(numbers[0], **TIRM | worse), series_of(numbers[1], **TIRM | better))
        selection = _select(*sorted(series, key=lambda s: s.number))
        assert _roles(selection) == {FLAIR: numbers[1]}
        assert f"series {numbers[1]} is preferred" in _decisions(selection, f"series {numbers[0]}")["not_used"]


def test_a_series_that_never_became_whole_is_not_used_and_says_what_is_missing() -> None:
    flair = series_of(3, slices=22, description="FLAIR", tr=9000.0, te=120.0, ti=2500.0, seq="SE\\IR")
    study = study_of(flair)
    recognitions = list(recognised(flair).values())
    assert select_series(study, recognitions).series[Role.FLAIR] == flair
    missing = {flair.series_uid: "FLAIR (series 3): 22 of 26 slices"}
    with pytest.raises(BrokenGeometry, match=r"series 3 is incomplete \(FLAIR \(series 3\): 22 of 26 slices\)"):
        select_series(study, recognitions, incomplete=missing)
