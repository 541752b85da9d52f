"""Figures over cases, with intervals that a slow bootstrap gives too: each drawn set of cases is written out."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from inference.evaluation.agreement import concordance
from inference.evaluation.figures import OVERLAP, Measure, RegionFigures
from inference.evaluation.intervals import Estimate, resample_patients
from inference.evaluation.overlap import Counts, overlap
from inference.evaluation.result import CaseResult, RegionSummary
from inference.evaluation.summary import region_means, summarise
from inference.regions import Region
from tests.unit.inference.evaluation.made_figures import VOXELS, calibration, case, figures

SEED = 4
PATIENTS = ("p", "q", "p", "r", "s", "t")
COUNTED = ((90, 100, 110), (10, 60, 20), (0, 5, 0), (300, 320, 300), (40, 40, 80), (70, 75, 90))
AWAY_MM = (1.0, 9.0, 374.0, 2.5, 4.0, 0.5)
FIGURES = [figures(*counts, hd95_mm=away) for counts, away in zip(COUNTED, AWAY_MM, strict=True)]


def _wt(found: Sequence[RegionFigures], patients: Sequence[str]) -> list[CaseResult]:
    pairs = enumerate(zip(found, patients, strict=True))
    return [case(str(number), (Region.WT, one), patient=patient) for number, (one, patient) in pairs]


def _summary(cases: Sequence[CaseResult]) -> RegionSummary:
    found = summarise(cases, Region.WT, SEED)
    assert found is not None
    return found


@pytest.fixture(scope="module")
def summary() -> RegionSummary:
    return _summary(_wt(FIGURES, PATIENTS))


def _slowly(figure: Callable[[list[int]], float]) -> tuple[float, float, float]:
    """Return a figure of all cases and its interval, from lists of the cases that each resample holds."""
    places = np.arange(len(PATIENTS))
    rows, times = np.unique(resample_patients(PATIENTS, seed=SEED).astype(int), axis=0, return_counts=True)
    drawn = np.repeat([figure(np.repeat(places, row).tolist()) for row in rows], times)
    low, high = np.nanpercentile(drawn, (2.5, 97.5))
    return figure(places.tolist()), float(low), float(high)


def _assert_close(found: Estimate | None, expected: tuple[float, float, float]) -> None:
    assert found is not None
    assert (found.value, found.low, found.high) == pytest.approx(expected)


def _values(measure: Measure) -> NDArray[np.float64]:
    return np.array([one.values[measure] for one in FIGURES], np.float64)


@pytest.mark.parametrize("measure", [Measure.DICE, Measure.HD95, Measure.VOLUME])
def test_mean_and_median_are_those_of_the_drawn_cases(summary: RegionSummary, measure: Measure) -> None:
    values = _values(measure)
    _assert_close(summary.mean[measure], _slowly(lambda cases: float(np.mean(values[cases]))))
    _assert_close(summary.median[measure], _slowly(lambda cases: float(np.median(values[cases]))))


def test_pooled_figures_are_those_of_the_added_voxels(summary: RegionSummary) -> None:
    def pooled(cases: list[int]) -> float:
        both, predicted, reference = (sum(COUNTED[one][part] for one in cases) for part in range(3))
        return 2 * both / (predicted + reference)

    _assert_close(summary.pooled[Measure.DICE], _slowly(pooled))
    assert set(summary.pooled) == set(OVERLAP)
    total = Counts(
        true_positive=510, false_positive=90, false_negative=90, true_negative=len(FIGURES) * VOXELS - 510 - 90 - 90
    )
    for measure, found in summary.pooled.items():
        assert found is not None
        assert found.value == pytest.approx(getattr(overlap(total), measure))


def test_volumes_are_the_model_s_minus_the_experts(summary: RegionSummary) -> None:
    away = np.array([-0.1, 0.4, 0.05, 0.2, -0.4, -0.15])
    _assert_close(summary.volume.bias, _slowly(lambda cases: float(np.mean(away[cases]))))
    assert summary.volume.differences is not None
    assert summary.volume.differences.bias == pytest.approx(0.0)
    half = 1.959964 * np.std(away, ddof=1)
    assert (summary.volume.differences.lower, summary.volume.differences.upper) == pytest.approx((-half, half))
    measured, reference = _values(Measure.VOLUME), _values(Measure.REFERENCE)
    _assert_close(
        summary.volume.concordance,
        _slowly(lambda cases: float(concordance(measured[cases], reference[cases], np.ones((1, len(cases))))[0])),
    )


def test_all_figures_have_their_place(summary: RegionSummary) -> None:
    assert list(summary.mean) == list(summary.median) == list(Measure)
    assert (summary.cases, summary.not_delineated) == (6, 0)
    assert (summary.lesions_found, summary.lesions_missed, summary.lesions_false) == (18, 12, 6)
    assert (summary.calibration, summary.calibration_error) == (None, None)


def test_only_cases_with_the_region_count(summary: RegionSummary) -> None:
    others = [case("unread"), case("core", (Region.TC, figures(1, 1, 1)))]
    mixed = _summary([*others, *_wt(FIGURES, PATIENTS)])
    assert mixed.cases == 6
    assert mixed.mean == summary.mean
    assert summarise(others, Region.WT, SEED) is None
    assert region_means(others, Region.WT, SEED) is None
    assert summarise([], Region.WT, SEED) is None


def test_means_alone_are_those_of_the_summary(summary: RegionSummary) -> None:
    assert region_means(_wt(FIGURES, PATIENTS), Region.WT, SEED) == summary.mean
    assert region_means(_wt(FIGURES, PATIENTS), Region.WT, SEED + 1) != summary.mean


def test_a_figure_that_one_case_lacks_has_no_mean() -> None:
    found = _summary(_wt([figures(90, 100, 110), figures(20, 40, 30, voxel_ml=None)], "pq"))
    for measure in (Measure.HD95, Measure.SURFACE_DICE, Measure.LESION_HD95, Measure.VOLUME, Measure.REFERENCE):
        assert found.mean[measure] is found.median[measure] is None
    assert found.mean[Measure.DICE] is not None
    assert (found.volume.differences, found.volume.bias) == (None, None)
    assert found.volume.concordance is not None
    # voxels 100, 40 and 110, 30: means 70 and 70, variances 900 and 1600, covariance 1200
    assert found.volume.concordance.value == pytest.approx(2 * 1200 / (900 + 1600))


def test_a_single_patient_has_figures_without_intervals() -> None:
    found = _summary(_wt([figures(50, 100, 100), figures(100, 100, 100)], "pp"))
    assert found.mean[Measure.DICE] == Estimate(value=0.75, low=None, high=None)
    assert found.median[Measure.DICE] == Estimate(value=0.75, low=None, high=None)
    assert found.pooled[Measure.DICE] == Estimate(value=0.75, low=None, high=None)
    assert found.volume.concordance is None


def test_intervals_are_counted_where_the_truth_is_known() -> None:
    told = [
        figures(1, 1, 100, interval_ml=(0.5, 1.0)),
        figures(1, 1, 100, interval_ml=(1.01, 2.0)),
        figures(1, 1, 100, interval_ml=(0.0, 9.0), voxel_ml=None),
        figures(1, 1, 100, delineated=False),
    ]
    found = _summary(_wt(told, "pqrs"))
    assert (found.cases, found.intervals, found.intervals_held, found.not_delineated) == (4, 2, 1, 1)


def test_calibration_is_that_of_the_cases_that_have_one() -> None:
    """Of 100 voxels at 0.9 and 0.8, 70 are tumour: 15 too few; of 300 at 0.1, 60 are: 30 too many."""
    told = [
        figures(1, 1, 1, calibration=calibration((13, 60, 54.0, 45.0), (1, 300, 30.0, 60.0))),
        figures(1, 1, 1),
        figures(1, 1, 1, calibration=calibration((13, 40, 31.0, 25.0))),
    ]
    found = _summary(_wt(told, "pqr"))
    assert found.calibration is not None
    assert found.calibration.voxels[[1, 13]].tolist() == [300, 100]
    assert found.calibration.probability[[1, 13]].tolist() == [30, 85]
    assert found.calibration.tumour[[1, 13]].tolist() == [60, 70]
    assert found.calibration.voxels.sum() == 400
    error = found.calibration_error
    assert error is not None
    assert error.value == pytest.approx((15 + 30) / 400)
    assert (error.low, error.high) == pytest.approx(((9 + 30) / 360, 6 / 40))
