"""Subgroups: which case belongs where, at the limits too, and that each has the mean of its own cases."""

from collections.abc import Sequence

import pytest

from inference.evaluation.figures import Measure
from inference.evaluation.result import CaseResult, Subgroup
from inference.evaluation.subgroups import BANDS_ML, make_subgroups
from inference.regions import Region
from tests.unit.inference.evaluation.made_figures import case, figures


def _wt(name: str, reference: int, *, voxel_ml: float | None = 0.01, site: str = "", sequences: str = "") -> CaseResult:
    found = figures(0, 0, reference, voxel_ml=voxel_ml)
    return case(name, (Region.WT, found), site=site, sequences=sequences)


def _named(cases: Sequence[CaseResult], kind: str) -> list[tuple[str, int]]:
    return [(group.name, group.cases) for group in make_subgroups(cases, 0) if group.kind == kind]


def _mean(group: Subgroup, region: Region, measure: Measure = Measure.DICE) -> float:
    found = group.regions[region][measure]
    assert found is not None
    return found.value


@pytest.mark.parametrize(
    ("voxels", "band"),
    [
        (0, "no tumour"),
        (1, "under 1 ml"),
        (127, "under 1 ml"),
        (128, "1 to 10 ml"),
        (1279, "1 to 10 ml"),
        (1280, "10 to 50 ml"),
        (6399, "10 to 50 ml"),
        (6400, "50 ml and more"),
        (9999, "50 ml and more"),
    ],
)
def test_a_lesion_belongs_to_the_band_that_begins_with_its_volume(voxels: int, band: str) -> None:
    assert BANDS_ML == (1.0, 10.0, 50.0)
    assert _named([_wt("a", voxels, voxel_ml=1 / 128)], "lesion size") == [(band, 1)]


def test_sizes_stand_from_small_to_large_and_empty_bands_are_left_out() -> None:
    cases = [_wt(str(voxels), voxels) for voxels in (9000, 0, 20, 6000, 50, 500)]
    assert _named(cases, "lesion size") == [
        ("no tumour", 1),
        ("under 1 ml", 2),
        ("1 to 10 ml", 1),
        ("50 ml and more", 2),
    ]


def test_without_a_voxel_size_sizes_are_thirds_of_the_counted_voxels() -> None:
    cases = [_wt(f"c{number}", 7 * number % 31, voxel_ml=None) for number in range(1, 31)]  # 1 to 30, in disorder
    groups = [group for group in make_subgroups(cases, 0) if group.kind == "lesion size"]
    assert [(group.name, group.cases) for group in groups] == [
        ("smallest third", 10),
        ("middle third", 10),
        ("largest third", 10),
    ]
    mixed = [*cases, _wt("empty", 0, voxel_ml=None), _wt("known", 500)]
    assert [name for name, _ in _named(mixed, "lesion size")] == [
        "no tumour",
        "1 to 10 ml",
        "smallest third",
        "middle third",
        "largest third",
    ]


def test_sites_stand_by_name_and_a_case_of_unknown_site_in_none() -> None:
    cases = [_wt("a", 200, site="Zürich"), _wt("b", 200), _wt("c", 200, site="Aachen"), _wt("d", 200, site="Zürich")]
    assert _named(cases, "site") == [("Aachen", 1), ("Zürich", 2)]
    assert _named(cases[1:2], "site") == []


def test_cases_that_were_given_the_same_sequences_are_one_group() -> None:
    cases = [_wt("a", 200, sequences="T1CE FLAIR"), _wt("b", 200, sequences="FLAIR"), _wt("c", 200)]
    cases.append(_wt("d", 200, sequences="T1CE FLAIR"))
    assert _named(cases, "sequences") == [("FLAIR", 1), ("T1CE, FLAIR", 2), ("none", 1)]


def test_a_case_without_figures_is_in_no_group() -> None:
    unread = case("unread", site="X", sequences="FLAIR")
    assert make_subgroups([unread], 0) == ()
    assert _named([unread, _wt("a", 200, site="Y")], "site") == [("Y", 1)]


def test_a_case_whose_whole_tumour_was_not_drawn_has_no_size() -> None:
    core = case("core", (Region.TC, figures(1, 2, 3)), site="X")
    groups = make_subgroups([core], 0)
    assert [(group.kind, group.name) for group in groups] == [("site", "X"), ("sequences", "none")]
    assert list(groups[0].regions) == [Region.TC]


def test_a_group_has_the_means_of_its_own_cases() -> None:
    dice = {"a": ("X", 50), "b": ("X", 100), "c": ("Y", 20)}
    cases = [
        case(name, (Region.WT, figures(both, 100, 100)), (Region.ET, figures(both // 2, 50, 50)), site=site)
        for name, (site, both) in dice.items()
    ]
    cases.append(case("d", (Region.WT, figures(80, 100, 100)), site="Y"))
    one, other = (group for group in make_subgroups(cases, 0) if group.kind == "site")
    assert (_mean(one, Region.WT), _mean(one, Region.ET)) == pytest.approx((0.75, 0.75))
    assert (_mean(other, Region.WT), _mean(other, Region.ET)) == pytest.approx((0.5, 0.2))
    assert list(one.regions) == [Region.WT, Region.ET]
    found = one.regions[Region.WT][Measure.DICE]
    assert found is not None
    assert (found.low, found.high) == (0.5, 1.0)
    single = other.regions[Region.ET][Measure.DICE]
    assert single is not None
    assert (single.low, single.high) == (None, None)
