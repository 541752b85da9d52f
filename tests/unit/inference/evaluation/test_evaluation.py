"""Cases go in, figures come out: every case counts, nothing is dropped silently, nothing stays in memory."""

import weakref
from dataclasses import replace

import numpy as np
import pytest

from conversion.sequences import Role
from inference.cases.case import AnnotatedCase, CaseReference, CaseSet
from inference.errors import InferenceReason, UnreadableCase, UnsuitableInput
from inference.evaluation.evaluation import GALLERY, evaluate
from inference.evaluation.figures import Measure
from inference.evaluation.overlap import count, overlap
from inference.evaluation.result import REGIONS, CaseResult, Evaluation
from inference.regions import Region
from tests.unit.inference.evaluation.scene import (
    BALLS,
    MODEL,
    BrightSegmenter,
    annotated,
    ball,
    case_set,
    damaged,
)

WT, TC, ET = REGIONS


def _evaluate(*cases: AnnotatedCase | CaseReference, sequences: tuple[Role, ...] = ()) -> Evaluation:
    return evaluate(BrightSegmenter(), case_set(*cases), sequences)


def _dice(region: Region, moved: int) -> float:
    return overlap(count(ball(BALLS[region], moved), ball(BALLS[region]))).dice


def _value(case: CaseResult, region: Region, measure: Measure = Measure.DICE) -> float | None:
    figures = case.regions[region]
    assert figures is not None
    return figures.values[measure]


@pytest.fixture(scope="module")
def three() -> Evaluation:
    """Return an evaluation of a perfect answer, one two columns off, and one where there is no tumour."""
    cases = annotated("a", site="X"), annotated("b", moved=2, site="Y"), annotated("c", scale=0, site="Y")
    return _evaluate(*cases)


def test_each_case_has_its_figures(three: Evaluation) -> None:
    for region in REGIONS:
        assert [_value(case, region) for case in three.cases] == [1, _dice(region, 2), 1]
        assert [_value(case, region, Measure.HD95) for case in three.cases] == [0, pytest.approx(2, abs=0.3), 0]
    volume_ml = ball(BALLS[WT]).sum() * 0.002
    assert _value(three.cases[0], WT, Measure.VOLUME) == pytest.approx(volume_ml)
    assert _value(three.cases[1], WT, Measure.REFERENCE) == pytest.approx(volume_ml)
    assert three.models == (MODEL,)


def test_a_mean_runs_over_all_cases_and_pooling_over_all_voxels(three: Evaluation) -> None:
    summary = three.regions[ET]
    dice, pooled = summary.mean[Measure.DICE], summary.pooled[Measure.DICE]
    assert dice is not None
    assert pooled is not None
    assert dice.value == pytest.approx((1 + _dice(ET, 2) + 1) / 3)
    counts = [count(ball(BALLS[ET], moved), ball(BALLS[ET])) for moved in (0, 2)]
    assert pooled.value == pytest.approx(overlap(counts[0] + counts[1]).dice)
    assert dice.low is not None
    assert dice.high is not None
    assert _dice(ET, 2) <= dice.low < dice.value < dice.high <= 1
    assert summary.cases == 3


def test_medians_are_medians(three: Evaluation) -> None:
    for region, measure in ((WT, Measure.DICE), (WT, Measure.HD95), (ET, Measure.LESION_DICE)):
        found = three.regions[region].median[measure]
        assert found is not None
        assert found.value == pytest.approx(np.median([_value(case, region, measure) for case in three.cases]))


def test_volumes_agree_as_counted(three: Evaluation) -> None:
    larger = annotated("d", scale=0.8)
    found = _evaluate(annotated("a"), larger, annotated("c", scale=0)).regions[WT].volume
    assert found.differences is not None
    difference_ml = 0.002 * (ball(9.0).sum() - ball(7.2).sum())
    assert found.differences.bias == pytest.approx(difference_ml / 3)
    assert found.concordance is not None
    assert 0.5 < found.concordance.value < 1
    perfect = three.regions[WT].volume.concordance
    assert perfect is not None
    assert perfect.value == pytest.approx(1)


def test_calibration_is_pooled_inside_the_head(three: Evaluation) -> None:
    sums, error = three.regions[WT].calibration, three.regions[WT].calibration_error
    assert sums is not None
    assert error is not None
    assert sums.voxels.sum() == 3 * 14 * 34 * 42
    wrong = count(ball(9.0, 2), ball(9.0))
    gap = abs(0.9 * 2 * ball(9.0).sum() - (2 * ball(9.0).sum() - wrong.false_positive))
    low = sums.voxels[1]
    gap += abs(0.1 * low - wrong.false_negative)
    assert error.value == pytest.approx(gap / sums.voxels.sum(), abs=1e-3)


def test_reports_count_every_voxel(three: Evaluation) -> None:
    whole, labels = three.whole_tumour_report, three.label_report
    assert whole is not None
    assert labels is not None
    assert [line.name for line in labels.classes] == ["background", "NCR", "ED", "ET"]
    drawn = {region: int(ball(radius).sum()) for region, radius in BALLS.items()}
    support = {line.name: line.support for line in (*whole.classes, *labels.classes)}
    assert support["whole tumour"] == 2 * drawn[WT]
    assert (support["NCR"], support["ET"]) == (2 * (drawn[TC] - drawn[ET]), 2 * drawn[ET])
    assert whole.macro.support == labels.macro.support == 3 * 14 * 40 * 48


def test_a_case_that_cannot_be_read_stays_with_its_reason() -> None:
    found = _evaluate(annotated("a"), damaged("b"), annotated("c", moved=2))
    assert [case.case_id for case in found.cases] == ["a", "b", "c"]
    assert (found.cases[1].problem, dict(found.cases[1].regions)) == ("b: the file is cut short", {})
    assert found.regions[WT].cases == 2


def test_no_answer_counts_as_an_empty_one() -> None:
    found = _evaluate(annotated("a"), annotated("b", roles=(Role.T1, Role.T2)))
    refused = found.cases[1]
    assert refused.problem == "the model needs FLAIR or T1CE"
    assert (_value(refused, WT), _value(refused, ET, Measure.HD95)) == (0, 374)
    mean = found.regions[WT].mean[Measure.DICE]
    assert mean is not None
    assert mean.value == 0.5


def test_sequences_restrict_what_the_model_is_given() -> None:
    segmenter = BrightSegmenter()
    cases = annotated("a"), annotated("b", roles=(Role.T2, Role.FLAIR)), annotated("c", roles=(Role.T1, Role.T2))
    found = evaluate(segmenter, case_set(*cases), (Role.FLAIR, Role.T1CE))
    assert segmenter.given == [(Role.T1CE, Role.T1CE, Role.FLAIR), (Role.FLAIR, Role.FLAIR)]
    assert [case.sequences for case in found.cases] == [("T1CE", "FLAIR"), ("FLAIR",), ()]
    assert [case.lacking for case in found.cases] == [(), ("T1CE",), ("FLAIR", "T1CE")]
    assert found.cases[2].problem == "the case has none of FLAIR, T1CE"
    assert found.sequences == ("FLAIR", "T1CE")


def test_a_withheld_reference_is_stood_in_for() -> None:
    segmenter = BrightSegmenter()
    evaluate(segmenter, case_set(annotated("a")), (Role.FLAIR, Role.T2))
    assert segmenter.given == [(Role.FLAIR, Role.T2, Role.FLAIR)]


def test_a_reference_that_may_be_seen_stays() -> None:
    segmenter, case = BrightSegmenter(), annotated("a")
    on_flair = replace(case, volumes=replace(case.volumes, reference=Role.FLAIR))
    evaluate(segmenter, case_set(on_flair), (Role.FLAIR, Role.T1CE))
    assert segmenter.given == [(Role.FLAIR, Role.T1CE, Role.FLAIR)]


def test_what_the_model_cannot_tell_counts_as_an_empty_answer() -> None:
    """A mean runs over all cases: one that leaves out what was not answered would flatter."""
    found = _evaluate(annotated("a"), annotated("b", roles=(Role.FLAIR,)))
    assert not found.cases[1].regions[TC].delineated
    assert _value(found.cases[1], TC) == 0
    assert found.regions[TC].mean[Measure.DICE].value == pytest.approx(_value(found.cases[0], TC) / 2)
    assert found.cases[1].confusion is None
    assert (found.regions[TC].cases, found.regions[TC].not_delineated) == (2, 1)
    assert (found.regions[WT].cases, found.regions[WT].not_delineated) == (2, 0)


def test_what_the_experts_did_not_draw_is_absent() -> None:
    found = _evaluate(annotated("a", regions=(WT,)))
    assert list(found.cases[0].regions) == [WT]
    assert list(found.regions) == [WT]
    assert found.label_report is None


def test_a_case_without_any_of_the_regions_says_so() -> None:
    found = _evaluate(annotated("a"), annotated("b", regions=()))
    assert (found.cases[1].problem, dict(found.cases[1].regions)) == ("none of WT, TC, ET is annotated", {})


def test_without_spacing_nothing_is_said_in_mm_or_ml() -> None:
    found = _evaluate(annotated("a", spacing_known=False), annotated("b", scale=0.8, spacing_known=False))
    summary = found.regions[WT]
    unknown = {name for name in Measure if name.endswith(("_mm", "_ml"))} | {Measure.SURFACE_DICE}
    for figures in (figures for case in found.cases for figures in case.regions.values()):
        assert figures is not None
        assert {name for name, value in figures.values.items() if value is None} == unknown
    assert summary.mean[Measure.HD95] is None
    assert (summary.volume.bias, summary.volume.differences) == (None, None)
    assert summary.volume.concordance is not None


def test_a_mean_that_one_case_cannot_give_is_unknown() -> None:
    found = _evaluate(annotated("a"), annotated("b", spacing_known=False)).regions[WT]
    assert found.mean[Measure.HD95] is None
    assert found.mean[Measure.DICE] is not None


def test_subgroups_by_site_sequences_and_size(three: Evaluation) -> None:
    cases = annotated("a", site="X"), annotated("b", moved=2, site="Y"), annotated("c", site="Y", roles=(Role.FLAIR,))
    found = _evaluate(*cases, annotated("d", scale=0), annotated("e", scale=0.5))
    assert [(group.kind, group.name, group.cases) for group in found.subgroups] == [
        ("site", "X", 1),
        ("site", "Y", 2),
        ("sequences", "FLAIR", 1),
        ("sequences", "T1, T1CE, T2, FLAIR", 4),
        ("lesion size", "no tumour", 1),
        ("lesion size", "under 1 ml", 1),
        ("lesion size", "1 to 10 ml", 3),
    ]
    at_y = found.subgroups[1].regions
    dice = at_y[WT][Measure.DICE]
    assert dice is not None
    assert dice.value == pytest.approx((_dice(WT, 2) + 1) / 2)
    assert Region.TC in at_y
    assert [group.name for group in three.subgroups if group.kind == "site"] == ["X", "Y"]


def test_without_spacing_sizes_are_thirds_of_the_set() -> None:
    sizes = {"a": 0.5, "b": 0.7, "c": 0.9, "d": 1.1, "e": 1.3, "f": 1.5}
    cases = [annotated(name, scale=scale, regions=(WT,), spacing_known=False) for name, scale in sizes.items()]
    found = _evaluate(*cases)
    groups = [(group.name, group.cases) for group in found.subgroups if group.kind == "lesion size"]
    assert groups == [("smallest third", 2), ("middle third", 2), ("largest third", 2)]


def test_worst_and_best_are_shown_and_no_case_twice() -> None:
    cases = (annotated(str(moved), moved=moved, regions=(WT,)) for moved in (3, 0, 5, 1, 4, 2, 6, 8, 7, 9))
    found = _evaluate(*cases)
    assert [shown.case.case_id for shown in found.worst] == ["9", "8", "7", "6"]
    assert [shown.case.case_id for shown in found.best] == ["0", "1", "2", "3"]
    assert len(found.worst) == GALLERY
    few = _evaluate(annotated("0"), annotated("5", moved=5), annotated("2", moved=2))
    assert [[shown.case.case_id for shown in part] for part in (few.worst, few.best)] == [["5", "2"], ["0"]]


def test_a_picture_shows_the_slice_with_most_tumour_as_radiologists_look_at_it() -> None:
    (shown,) = _evaluate(annotated("a", moved=4)).worst
    picture = shown.picture
    assert (picture.slice_number, picture.pixel_aspect) == (14 // 2 + 1, 1.0)
    assert picture.shown_on == {WT: "FLAIR", TC: "T1CE", ET: "T1CE"}
    reference, predicted = (np.argwhere(masks[WT]).mean(axis=0) for masks in (picture.reference, picture.predicted))
    assert predicted - reference == pytest.approx([0, 4])
    assert picture.confidence is not None
    assert np.array_equal(picture.confidence > 0.5, picture.predicted[WT])
    for region, sequence in ((WT, "FLAIR"), (TC, "T1CE")):
        grey, drawn = picture.grey[sequence], picture.predicted[region]
        assert grey[drawn].min() > grey[~drawn].max()


def test_one_case_at_a_time_is_in_memory() -> None:
    read: list[weakref.ref[AnnotatedCase]] = []

    def reader(name: str, moved: int) -> CaseReference:
        def open_case() -> AnnotatedCase:
            assert all(earlier() is None for earlier in read)
            case = annotated(name, moved=moved)
            read.append(weakref.ref(case))
            return case

        return CaseReference(case_id=name, patient=name, site="", read=open_case)

    found = evaluate(BrightSegmenter(), case_set(reader("a", 0), damaged("x"), reader("b", 1), reader("c", 2)))
    assert [case.case_id for case in found.cases] == ["a", "x", "b", "c"]
    assert [earlier() for earlier in read] == [None] * 3


def test_progress_is_told_of_each_case() -> None:
    seen: list[tuple[str, float | None]] = []
    evaluate(
        BrightSegmenter(),
        case_set(annotated("a"), damaged("b")),
        progress=lambda case: seen.append((case.case_id, case.dice)),
    )
    assert seen == [("a", 1.0), ("b", None)]


def test_nothing_to_evaluate_is_an_error_that_says_why() -> None:
    with pytest.raises(UnreadableCase, match="no case could be evaluated: a: the file is cut short") as refusal:
        _evaluate(damaged("a"), damaged("b"))
    assert refusal.value.reason is InferenceReason.NO_CASES
    with pytest.raises(UnreadableCase, match="the set contains no cases"):
        evaluate(BrightSegmenter(), CaseSet(source="lgg", cases=(), skipped=()))
    with pytest.raises(UnsuitableInput, match="no case could be segmented: the case has none of T2"):
        _evaluate(annotated("a", roles=(Role.FLAIR,)), sequences=(Role.T2,))


def test_cases_of_one_patient_are_one_unit() -> None:
    twice = _evaluate(annotated("a", patient="p"), annotated("b", patient="p", moved=3)).regions[WT].mean[Measure.DICE]
    assert twice is not None
    assert (twice.low, twice.high) == (None, None)


def test_the_same_again_is_the_same(three: Evaluation) -> None:
    again = _evaluate(annotated("a", site="X"), annotated("b", moved=2, site="Y"), annotated("c", scale=0, site="Y"))
    assert dict(again.regions[WT].mean) == dict(three.regions[WT].mean)
    assert again.subgroups[0].regions[ET][Measure.DICE] == three.subgroups[0].regions[ET][Measure.DICE]


def test_the_model_is_told_where_the_voxel_size_is_unknown() -> None:
    segmenter = BrightSegmenter()
    evaluate(segmenter, case_set(annotated("a"), annotated("b", spacing_known=False)))
    assert segmenter.spacings == [True, False]
