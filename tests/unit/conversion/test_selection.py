"""Which series gets which role: whole studies as tables, with the decisions that explain them."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from conversion.decision import Decision
from conversion.errors import BrokenGeometry, ConversionReason, UnusableStudy
from conversion.selection import SeriesSelection, select_series
from conversion.sequences import Role
from conversion.study import Acquisition, ImageHeader, Series, SeriesUID, Study, StudyUID

T1, T1CE, T2, FLAIR = Role.T1, Role.T1CE, Role.T2, Role.FLAIR
SE_T1: dict[str, Any] = {"repetition_time_ms": 550.0, "echo_time_ms": 12.0, "scanning_sequence": ("SE",)}
TSE_T2: dict[str, Any] = {"repetition_time_ms": 4500.0, "echo_time_ms": 100.0, "scanning_sequence": ("SE",)}
TIRM: dict[str, Any] = {"repetition_time_ms": 9000.0, "echo_time_ms": 110.0, "inversion_time_ms": 2500.0}


def _series(
    number: int, *, slices: int = 24, voxel_mm: float = 1.0, distance_mm: float = 5.0, **header: object
) -> Series:
    """Return an axial series; `header` are fields of its `Acquisition`."""
    instances = tuple(
        ImageHeader(
            path=Path(f"{number}-{k}"),
            sop_instance_uid=f"1.{number}.{k}",
            instance_number=k + 1,
            rows=8,
            columns=8,
            position_mm=(0.0, 0.0, k * distance_mm),
            row_direction=(1.0, 0.0, 0.0),
            column_direction=(0.0, 1.0, 0.0),
            row_spacing_mm=voxel_mm,
            column_spacing_mm=voxel_mm,
        )
        for k in range(slices)
    )
    return Series(
        series_uid=SeriesUID(f"1.{number}"),
        number=number,
        sop_class_uid="1",
        frame_of_reference_uid="1.2.3",
        acquisition=Acquisition(**header),  # type: ignore[arg-type]
        images=instances,
    )


def _broken(series: Series) -> Series:
    return replace(series, images=series.images[:5] + series.images[6:])


def _select(*series: Series, reference: Role = T1CE) -> SeriesSelection:
    return select_series(Study(study_uid=StudyUID("1.2"), series=series, decisions=()), reference)


def _roles(selection: SeriesSelection) -> dict[Role, int]:
    return {role: series.number for role, series in selection.series.items()}


def _reasons(selection: SeriesSelection, subject: str) -> list[str]:
    return [decision.reason for decision in selection.decisions if decision.subject == subject]


@pytest.mark.parametrize(
    ("pre", "post"),
    [
        ("t1 se tra", "t1 se tra nach km"),
        ("ax t1", "ax t1 +c"),
        ("sag t1 pre", "sag t1 post"),
        ("t1w se", "t1w se gado"),
        ("t1 eg sans injection", "t1 eg apres injection"),
    ],
    ids=["Siemens, German", "GE", "generic", "Philips", "French"],
)
def test_descriptions_tell_before_from_after_contrast(pre: str, post: str) -> None:
    selection = _select(
        _series(2, text=post, **SE_T1), _series(1, text=pre, **SE_T1), _series(3, **TSE_T2), _series(4, **TIRM)
    )
    assert _roles(selection) == {T1: 1, T1CE: 2, T2: 3, FLAIR: 4}
    assert selection.reference is T1CE
    assert any(reason.startswith("T1CE: TR 550 ms") for reason in _reasons(selection, "series 2"))


def test_the_contrast_tag_tells_before_from_after() -> None:
    selection = _select(_series(1, **SE_T1), _series(2, contrast_agent=True, **SE_T1))
    assert _roles(selection) == {T1: 1, T1CE: 2}


def test_without_tag_and_text_the_later_of_two_equal_t1_is_after_contrast() -> None:
    selection = _select(_series(9, acquired_at=36000.0, **SE_T1), _series(4, acquired_at=37200.0, **SE_T1))
    assert _roles(selection) == {T1: 9, T1CE: 4}
    assert "series 9 repeated 20 min later" in _reasons(selection, "series 4")[0]


@pytest.mark.parametrize(
    "change",
    [
        {"acquired_at": None},
        {"acquired_at": 36000.0},
        {"repetition_time_ms": 700.0},
        {"echo_time_ms": 9.0},
        {"scanning_sequence": ("GR",)},
        {"slices": 20},
    ],
    ids=lambda change: next(iter(change)),
)
def test_two_t1_that_are_no_repetition_are_not_taken_as_before_and_after(change: dict[str, Any]) -> None:
    later = {"acquired_at": 37200.0} | SE_T1 | change
    selection = _select(_series(1, acquired_at=36000.0, **SE_T1), _series(2, **later), _series(3, **TIRM))
    assert T1CE not in selection.series
    assert selection.reference is FLAIR


def test_the_time_pair_does_not_overrule_a_series_marked_as_after_contrast() -> None:
    selection = _select(
        _series(1, acquired_at=36000.0, **SE_T1),
        _series(2, acquired_at=36600.0, **SE_T1),
        _series(3, acquired_at=36900.0, text="t1 gd", **SE_T1),
    )
    assert _roles(selection) == {T1: 1, T1CE: 3}


@pytest.mark.parametrize(("preferred", "expected"), [(T1CE, T1CE), (FLAIR, FLAIR)])
def test_the_preferred_reference_is_taken_when_there(preferred: Role, expected: Role) -> None:
    selection = _select(_series(1, text="t1 gd", **SE_T1), _series(2, **TIRM), reference=preferred)
    assert selection.reference is expected


@pytest.mark.parametrize("preferred", [T1CE, FLAIR])
def test_the_other_reference_is_taken_when_the_preferred_is_missing(preferred: Role) -> None:
    only_flair = _select(_series(2, **TIRM), _series(3, **TSE_T2), reference=preferred)
    only_t1ce = _select(_series(1, text="t1 gd", **SE_T1), _series(3, **TSE_T2), reference=preferred)
    assert (only_flair.reference, only_t1ce.reference) == (FLAIR, T1CE)


def test_flair_alone_is_enough() -> None:
    assert _roles(_select(_series(5, **TIRM))) == {FLAIR: 5}


def test_neither_t1_after_contrast_nor_flair_is_refused_with_what_was_found() -> None:
    with pytest.raises(UnusableStudy) as caught:
        _select(_series(1, **TSE_T2), _series(2, **SE_T1))
    assert caught.value.reason is ConversionReason.NO_REFERENCE
    assert "series 1 T2, series 2 T1" in str(caught.value)


def test_what_has_no_role_is_named_with_its_evidence() -> None:
    selection = _select(_series(1, **TIRM), _series(2, text="ax dwi", **TSE_T2), _series(3, slices=3))
    assert _reasons(selection, "series 2") == ["not used: DWI (description says 'dwi')"]
    assert "localizer" in _reasons(selection, "series 3")[0]
    assert set(selection.series) == {FLAIR}


def test_every_series_has_at_least_one_decision() -> None:
    series = [_series(1, **TIRM), _series(2, **TIRM), _series(3, **TSE_T2), _series(4), _series(5, slices=2, **SE_T1)]
    selection = _select(*series)
    assert {decision.subject for decision in selection.decisions} == {each.name for each in series}


def test_decisions_of_reading_are_kept() -> None:
    before = Decision(code="not_mr", subject="series 8", reason="CT")
    study = Study(study_uid=StudyUID("1.2"), series=(_series(1, **TIRM),), decisions=(before,))
    selection = select_series(study)
    assert selection.decisions[0] is before
    assert selection.study_uid == "1.2"


def test_a_broken_candidate_is_replaced_by_another_and_named() -> None:
    broken = _broken(_series(1, voxel_mm=0.5, **TIRM))
    selection = _select(broken, _series(2, **TIRM))
    assert _roles(selection) == {FLAIR: 2}
    decision = next(d for d in selection.decisions if d.subject == "series 1")
    assert decision.code == ConversionReason.MISSING_SLICE
    assert "1 slice(s) missing" in decision.reason


@pytest.mark.parametrize("role", [{"text": "t1 gd", **SE_T1}, TSE_T2, TIRM], ids=["T1CE", "T2", "FLAIR"])
def test_a_broken_series_without_alternative_is_refused(role: dict[str, Any]) -> None:
    healthy = [_series(1, text="t1 gd", **SE_T1), _series(2, **TSE_T2), _series(3, **TIRM)]
    kept = [series for series in healthy if series.acquisition != Acquisition(**role)]
    with pytest.raises(BrokenGeometry, match="series 9") as caught:
        _select(*kept, _broken(_series(9, **role)))
    assert caught.value.reason is ConversionReason.MISSING_SLICE


@pytest.mark.parametrize(
    ("worse", "better"),
    [
        ({"image_type": ("DERIVED", "SECONDARY", "MPR"), "voxel_mm": 0.5}, {}),
        ({"image_type": ("ORIGINAL", "PRIMARY", "REFORMATTED"), "voxel_mm": 0.5}, {}),
        ({"slices": 10, "voxel_mm": 0.5}, {}),
        ({"voxel_mm": 1.0}, {"voxel_mm": 0.9}),
        ({"distance_mm": 6.0}, {"distance_mm": 5.0}),
        ({"acquired_at": 500.0}, {"acquired_at": 400.0}),
    ],
    ids=["derived", "reformatted", "thin slab", "larger pixels", "thicker slices", "later"],
)
def test_of_two_candidates_the_better_one_is_taken(worse: dict[str, Any], better: dict[str, Any]) -> None:
    for numbers in ((1, 2), (2, 1)):
        selection = _select(
            *sorted((_series(numbers[0], **TIRM | worse), _series(numbers[1], **TIRM | better)), key=lambda s: s.number)
        )
        assert _roles(selection) == {FLAIR: numbers[1]}
        assert f"series {numbers[1]} is preferred" in _reasons(selection, f"series {numbers[0]}")[0]
