"""The JSON document is a contract for scripts."""

import json
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from conversion.sequences import Role
from inference.cases.case import SkippedCase
from inference.evaluation.document import evaluation_json
from inference.evaluation.evaluation import evaluate
from inference.evaluation.figures import Measure
from inference.evaluation.result import REGIONS, Evaluation
from inference.regions import Region
from tests.unit.inference.evaluation.scene import BrightSegmenter, annotated, case_set, damaged


def _evaluation() -> Evaluation:
    flair_only = annotated("c", roles=(Role.FLAIR,), site="X")
    skipped = SkippedCase(name="notes.txt", reason="no case")
    return evaluate(
        BrightSegmenter(),
        case_set(annotated("a", moved=2), damaged("b"), flair_only, annotated("d", scale=0), skipped=[skipped]),
        (Role.FLAIR, Role.T1CE, Role.T1),
    )


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(evaluation_json(_evaluation()))
    return found


def _leaves(value: object, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], object]]:
    if isinstance(value, dict):
        for key, part in value.items():
            yield from _leaves(part, (*path, key))
    elif isinstance(value, list):
        for place, part in enumerate(value):
            yield from _leaves(part, (*path, str(place)))
    else:
        yield path, value


def test_regions_of_cases_pooled_and_mean_stand_where_scripts_look(document: dict[str, Any]) -> None:
    first = document["cases"][0]
    assert first["id"] == "a"
    assert {"dice", "iou", "precision", "recall", "hd95_mm", "volume_ml", "reference_ml"} <= set(first["regions"]["WT"])
    assert set(first["regions"]) == set(document["pooled"]) == set(document["mean"]) == {"WT", "TC", "ET"}
    assert {"dice", "iou", "precision", "recall"} <= set(document["pooled"]["WT"])
    dice = [case["regions"]["WT"]["dice"] for case in document["cases"] if case["regions"]]
    assert document["mean"]["WT"]["dice"] == pytest.approx(sum(dice) / 3)
    assert document["mean"]["WT"]["hd95_mm"] == pytest.approx(
        sum(case["regions"]["WT"]["hd95_mm"] for case in document["cases"] if case["regions"]) / 3
    )
    assert document["model"] == {"name": "bright", "version": "1.0", "sha256": "ab" * 32, "others": []}


def test_pooled_figures_follow_from_the_counts_of_the_cases(document: dict[str, Any]) -> None:
    cases = [case["regions"]["WT"] for case in document["cases"] if case["regions"]]
    tp, fp, fn = (sum(case[key] for case in cases) for key in ("true_positive", "false_positive", "false_negative"))
    assert document["pooled"]["WT"]["iou"] == pytest.approx(tp / (tp + fp + fn))
    assert document["pooled"]["WT"]["precision"] == pytest.approx(tp / (tp + fp))


def test_every_case_is_there_with_what_happened_to_it(document: dict[str, Any]) -> None:
    assert [(case["id"], case["problem"]) for case in document["cases"]] == [
        ("a", None),
        ("b", "b: the file is cut short"),
        ("c", None),
        ("d", None),
    ]
    assert document["cases"][1]["regions"] == {}
    assert document["cases"][2]["regions"]["TC"]["told"] is False
    assert document["cases"][2]["regions"]["TC"]["dice"] == 0
    assert document["cases"][0]["regions"]["TC"]["told"] is True
    assert document["cases"][2]["lacking"] == ["T1CE", "T1"]
    assert document["data"] == {
        "dataset": "brats",
        "sequences": ["FLAIR", "T1CE", "T1"],
        "cases": 4,
        "patients": 4,
        "not_read": 1,
        "not_segmented": 0,
    }
    assert document["skipped"] == [{"name": "notes.txt", "reason": "no case"}]
    assert document["counts"]["TC"] == {"cases": 3, "untold": 1}


def test_each_aggregate_has_its_interval(document: dict[str, Any]) -> None:
    for part in ("mean", "median", "pooled"):
        for region in REGIONS:
            for name, value in document[part][region].items():
                low, high = document["intervals"][part][region][name]
                assert low <= value + 1e-12
                assert value <= high + 1e-12
    assert set(document["mean"]["WT"]) == set(Measure)
    assert document["volume"]["WT"]["bias_ml"]["low"] <= document["volume"]["WT"]["bias_ml"]["value"]
    assert document["calibration"]["WT"]["ece"]["value"] > 0
    assert sum(one["voxels"] for one in document["calibration"]["WT"]["bins"]) == 3 * 14 * 34 * 42


def test_subgroups_and_reports_are_there(document: dict[str, Any]) -> None:
    groups = {(group["kind"], group["name"]): group for group in document["subgroups"]}
    assert groups["site", "X"]["mean"]["WT"]["dice"] == 1
    assert groups["site", "X"]["mean"]["TC"]["dice"] == 0
    report = document["classification"]
    assert [line["name"] for line in report["labels"]["classes"]] == ["background", "NCR", "ED", "ET"]
    assert report["whole_tumour"]["weighted"]["support"] == 3 * 14 * 40 * 48
    assert document["settings"]["surface_tolerance"] == 1.0


def test_without_spacing_each_mm_and_ml_is_null() -> None:
    cases = [
        annotated(name, moved=moved, spacing_known=False, regions=(Region.WT,)) for name, moved in (("a", 0), ("b", 3))
    ]
    found = json.loads(evaluation_json(evaluate(BrightSegmenter(), case_set(*cases))))
    measured = [(path, value) for path, value in _leaves(found) if any(key.endswith(("_mm", "_ml")) for key in path)]
    assert len(measured) > 20
    assert {value for _, value in measured} == {None}
    assert list(found["mean"]) == ["WT"]
    assert found["volume"]["WT"]["concordance_of"] == "voxels"
    assert found["mean"]["WT"]["lesion_dice"] > 0.5


def test_the_same_evaluation_is_the_same_document() -> None:
    assert evaluation_json(_evaluation()) == evaluation_json(_evaluation())


def test_doubt_stands_beside_each_case_and_the_intervals_are_counted(document: dict[str, Any]) -> None:
    """Of three cases that were answered one has no tumour drawn: 0 ml lies in the core's interval, not in the other."""
    answered = [case for case in document["cases"] if case["regions"]]
    assert [case["agreement"] for case in answered] == [0.8] * 3
    assert {case["novelty"] for case in answered} == {sys.float_info.max}
    assert [case["flags"] for case in answered] == [["low_agreement"]] * 3
    assert answered[0]["regions"]["WT"]["interval_ml"] == [1.0, 100.0]
    assert answered[0]["regions"]["ET"]["interval_ml"] is None
    counted = {region: (volume["intervals_held"], volume["intervals"]) for region, volume in document["volume"].items()}
    cores = sum(case["regions"]["TC"]["told"] for case in answered)
    assert counted == {"WT": (2, 3), "TC": (1, cores), "ET": (0, 0)}
    (unread,) = [case for case in document["cases"] if not case["regions"]]
    assert (unread["agreement"], unread["novelty"], unread["flags"]) == (None, None, [])
