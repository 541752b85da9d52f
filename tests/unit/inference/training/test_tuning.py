"""Tuning on held-out answers: it finds what was planted, and counts no fold with what that fold chose."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from conversion.volume import Grid
from inference.manifest import ModelManifest, read_manifest
from inference.regions import Region
from inference.training.tuning import HeldOutAnswer, tune
from tests.support.detector_model import write_detector

SHAPE = (16, 24, 24)
GRID = Grid(shape=SHAPE, affine=np.diag([2.0, 2.0, 2.0, 1.0]), frame_of_reference_uid="1.2.3")


@pytest.fixture
def manifest(tmp_path: Path) -> ModelManifest:
    return read_manifest(str(write_detector(tmp_path, minimum_lesion_ml=0.3, minimum_share=0.1)))[1]


def _box(size: int) -> NDArray[np.bool_]:
    mask = np.zeros(SHAPE, bool)
    mask[4:12, 4 : 4 + size, 4 : 4 + size] = True
    return mask


def _answer(
    number: int, *, rim: float = 0.0, speck: float = 0.0, wt_alone: bool = False, kind: str = "slices"
) -> HeldOutAnswer:
    """Return an answer with a rim of two voxels too much at probability `rim`, and a speck of ET at `speck`."""
    size = 10 + number % 5
    truth, core, enhancing = _box(size), _box(size - 3), _box(size - 6)
    said = np.where(_box(size + 2), rim, 0.02)
    said[truth] = 0.9
    inner = np.where(enhancing, 0.9, 0.02)
    inner[5:7, size, 4:6] = speck
    probabilities = {Region.WT: said, Region.TC: np.where(core, 0.9, 0.02), Region.ET: inner}
    reference = {Region.WT: truth, Region.TC: core, Region.ET: enhancing}
    regions = [Region.WT] if wt_alone else list(reference)
    return HeldOutAnswer(
        case_id=f"p{number}-{kind}",
        patient=f"p{number}",
        fold=number % 3,
        kind=kind,
        grid=GRID,
        probabilities={region: probabilities[region].astype(np.float16) for region in regions},
        reference={region: reference[region] for region in regions},
        doubts_ml=dict.fromkeys(regions, 2.0 + number % 4),
        agreement=0.95 - 0.01 * number,
    )


def test_the_threshold_rises_above_what_is_too_much(manifest: ModelManifest) -> None:
    tuned = tune(manifest, [_answer(number, rim=0.57) for number in range(6)])
    assert tuned.networks[0].thresholds == (0.6, 0.5, 0.5)
    assert tuned.thresholds == manifest.thresholds
    assert tuned.metrics["cross-validated slices"] == {"WT mean Dice": 1.0, "TC mean Dice": 1.0, "ET mean Dice": 1.0}


def test_a_fold_is_counted_with_what_the_others_chose(manifest: ModelManifest) -> None:
    """One fold alone has a rim, so without it nothing warns of rims; chosen on all, it would be cut off."""
    answers = [_answer(number, rim=0.57 if number % 3 == 0 else 0.02) for number in range(6)]
    tuned = tune(manifest, answers)
    assert tuned.networks[0].thresholds is not None
    assert tuned.networks[0].thresholds[0] == 0.6
    assert tuned.metrics["cross-validated slices"]["WT mean Dice"] < 0.95


def test_specks_are_dropped_where_experts_drew_none(manifest: ModelManifest) -> None:
    tuned = tune(manifest, [_answer(number, speck=0.95) for number in range(6)])
    assert tuned.minimum_enhancing_ml == 0.05
    assert tune(manifest, [_answer(number) for number in range(6)]).minimum_enhancing_ml == 0.0


def test_intervals_need_enough_patients(manifest: ModelManifest) -> None:
    assert tune(manifest, [_answer(number) for number in range(6)]).networks[0].interval_factors == {}
    tuned = tune(manifest, [_answer(number, wt_alone=True) for number in range(24)])
    intervals = tuned.networks[0].interval_factors
    assert list(intervals) == ["WT"]
    low, high = intervals["WT"]
    assert low <= 0 <= high


def test_intervals_are_judged_by_those_of_the_other_folds(manifest: ModelManifest) -> None:
    """In one fold experts drew half of what they drew in the others, which tell nothing of that."""
    answers = [_answer(number, wt_alone=True) for number in range(60)]
    assert tune(manifest, answers).metrics["cross-validated intervals slices"] == {
        "WT held": 1.0,
        "WT median half width": 0.0,
    }
    halves = [replace(one, reference={Region.WT: _box(7)}) if one.fold == 0 else one for one in answers]
    figures = tune(manifest, halves).metrics["cross-validated intervals slices"]
    assert figures["WT held"] == pytest.approx(2 / 3, abs=1e-4)
    assert figures["WT median half width"] > 0.1


def test_the_tenth_that_agrees_least_is_flagged(manifest: ModelManifest) -> None:
    tuned = tune(manifest, [_answer(number) for number in range(11)])
    assert tuned.networks[0].agreement_flag == pytest.approx(0.86)
    assert tuned.networks[0].agreement_gate == pytest.approx(0.43)


def test_limits_belong_to_the_networks_that_answered(manifest: ModelManifest) -> None:
    slices = manifest.networks[0]
    both = replace(manifest, networks=(slices, replace(slices, name="v", weights="v.safetensors", input="volume")))
    answers = [_answer(number) for number in range(4)]
    answers += [_answer(number, rim=0.57, kind="volume") for number in range(24)]
    tuned = {one.input: one for one in tune(both, answers).networks}
    assert tuned["slices"].agreement_flag > tuned["volume"].agreement_flag > 0
    assert tuned["slices"].interval_factors == {}
    assert set(tuned["volume"].interval_factors) == {"WT", "TC", "ET"}
    assert tuned["volume"].thresholds is not None
    assert tuned["volume"].thresholds[0] == 0.6


def test_two_studies_of_one_patient_are_two_answers(manifest: ModelManifest) -> None:
    first = _answer(0)
    empty = {region: np.zeros(SHAPE, np.float16) for region in first.probabilities}
    second = replace(first, case_id="p0-later", probabilities=empty)
    metrics = tune(manifest, [first, second, _answer(1), _answer(2)]).metrics["cross-validated slices"]
    assert metrics["WT mean Dice"] == pytest.approx(0.75, abs=0.01)
