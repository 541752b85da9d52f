"""Summarises the figures of all cases of a set, each with its bootstrap interval."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from inference.evaluation.agreement import bland_altman, concordance
from inference.evaluation.calibration import Calibration, expected_error
from inference.evaluation.figures import OVERLAP, Measure, RegionFigures, overlap_values
from inference.evaluation.intervals import Estimate, estimate, estimate_from, resample_patients
from inference.evaluation.overlap import Counts
from inference.evaluation.result import CaseResult, RegionSummary, VolumeAgreement
from inference.regions import Region

__all__ = ["region_means", "summarise"]

_Values = NDArray[np.float64]
_Middle = Callable[[_Values, _Values], _Values]
"""A mean or median. Takes values, shape (cases,), and how often each counts, shape (resamples, cases)."""


def summarise(cases: Sequence[CaseResult], region: Region, seed: int) -> RegionSummary | None:
    """Summarise one region over all cases that have figures of it; return None where no case has."""
    patients, figures = _with_figures(cases, region)
    if not figures:
        return None
    resamples = resample_patients(patients, seed=seed)
    return RegionSummary(
        cases=len(figures),
        not_delineated=sum(not found.delineated for found in figures),
        mean=_over_cases(figures, resamples, _mean),
        median=_over_cases(figures, resamples, _median),
        pooled=_pooled(figures, resamples),
        volume=_volume(figures, resamples),
        calibration=_calibration_sums(figures),
        calibration_error=_calibration_error(patients, figures, seed),
        lesions_found=sum(found.lesions.found for found in figures),
        lesions_missed=sum(found.lesions.missed for found in figures),
        lesions_false=sum(found.lesions.false for found in figures),
        intervals=sum(found.interval_holds is not None for found in figures),
        intervals_held=sum(found.interval_holds is True for found in figures),
    )


def region_means(cases: Sequence[CaseResult], region: Region, seed: int) -> Mapping[Measure, Estimate | None] | None:
    """Return the means only, for a part of the cases; None where no case has figures of the region."""
    patients, figures = _with_figures(cases, region)
    return _over_cases(figures, resample_patients(patients, seed=seed), _mean) if figures else None


def _with_figures(cases: Sequence[CaseResult], region: Region) -> tuple[list[str], list[RegionFigures]]:
    """Return patient and figures of every case that has figures of the region."""
    pairs = [(case.patient, figures) for case in cases if (figures := case.regions.get(region)) is not None]
    return [patient for patient, _ in pairs], [figures for _, figures in pairs]


def _over_cases(
    figures: Sequence[RegionFigures], resamples: _Values, middle: _Middle
) -> Mapping[Measure, Estimate | None]:
    def one(measure: Measure) -> Estimate | None:
        values = _column(figures, measure)
        return None if values is None else estimate(lambda weights: middle(values, weights), resamples)

    return MappingProxyType({measure: one(measure) for measure in Measure})


def _column(figures: Sequence[RegionFigures], measure: Measure) -> _Values | None:
    """Return one figure of all cases. None where a case lacks it, because a mean must cover all cases."""
    values = [found.values[measure] for found in figures]
    return None if None in values else np.asarray(values, np.float64)


def _mean(values: _Values, weights: _Values) -> _Values:
    return np.asarray(weights @ values / weights.sum(axis=1))


def _median(values: _Values, weights: _Values) -> _Values:
    order = np.argsort(values)
    reached = np.cumsum(weights[:, order], axis=1)
    half = reached[:, -1:] / 2
    low, high = (reached >= half).argmax(axis=1), (reached > half).argmax(axis=1)
    return np.asarray((values[order][low] + values[order][high]) / 2)


def _pooled(figures: Sequence[RegionFigures], resamples: _Values) -> Mapping[Measure, Estimate | None]:
    counts = np.array([_row(found.counts) for found in figures], np.float64)
    total = overlap_values(_counts(counts.sum(axis=0)))
    resampled = [overlap_values(_counts(row)) for row in resamples @ counts]
    return MappingProxyType(
        {measure: estimate_from(total[measure], np.array([one[measure] for one in resampled])) for measure in OVERLAP}
    )


def _row(counts: Counts) -> list[int]:
    return [counts.true_positive, counts.false_positive, counts.false_negative, counts.true_negative]


def _counts(row: _Values) -> Counts:
    tp, fp, fn, tn = (int(value) for value in row)
    return Counts(true_positive=tp, false_positive=fp, false_negative=fn, true_negative=tn)


def _volume(figures: Sequence[RegionFigures], resamples: _Values) -> VolumeAgreement:
    measured, reference = _column(figures, Measure.VOLUME), _column(figures, Measure.REFERENCE)
    if measured is None or reference is None:
        voxels = np.array([[found.counts.predicted, found.counts.reference] for found in figures], np.float64)
        return VolumeAgreement(
            differences=None, bias=None, concordance=_concordance(voxels[:, 0], voxels[:, 1], resamples)
        )
    difference = measured - reference
    return VolumeAgreement(
        differences=bland_altman(measured, reference),
        bias=estimate(lambda weights: _mean(difference, weights), resamples),
        concordance=_concordance(measured, reference, resamples),
    )


def _concordance(measured: _Values, reference: _Values, resamples: _Values) -> Estimate | None:
    return estimate(lambda weights: concordance(measured, reference, weights), resamples)


def _calibration_sums(figures: Sequence[RegionFigures]) -> Calibration | None:
    known = [found.calibration for found in figures if found.calibration is not None]
    if not known:
        return None
    return Calibration(
        voxels=np.sum([one.voxels for one in known], axis=0),
        probability=np.sum([one.probability for one in known], axis=0),
        tumour=np.sum([one.tumour for one in known], axis=0),
    )


def _calibration_error(patients: Sequence[str], figures: Sequence[RegionFigures], seed: int) -> Estimate | None:
    known = [
        (patient, found.calibration)
        for patient, found in zip(patients, figures, strict=True)
        if found.calibration is not None
    ]
    if not known:
        return None
    sums = np.array([[one.voxels, one.probability, one.tumour] for _, one in known])

    def statistic(weights: _Values) -> _Values:
        return expected_error(*(weights @ sums[:, part] for part in range(3)))

    return estimate(statistic, resample_patients([patient for patient, _ in known], seed=seed))
