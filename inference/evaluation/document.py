"""The evaluation as one JSON document for scripts; its keys are a contract."""

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from inference.evaluation.calibration import BINS, Calibration, expected_error
from inference.evaluation.classification import ClassificationReport
from inference.evaluation.figures import Measure, RegionFigures
from inference.evaluation.intervals import COVERAGE, REPLICATES, Estimate
from inference.evaluation.lesions import DILATION_MM, LEAST_LESION_MM3
from inference.evaluation.result import CaseResult, Evaluation, RegionSummary
from inference.evaluation.surface import NO_SURFACE_MM, SURFACE_TOLERANCE_MM
from inference.regions import Region

__all__ = ["evaluation_json"]

_Document = dict[str, Any]


def evaluation_json(evaluation: Evaluation) -> str:
    """Return the document.

    `cases` lists every case. A region that the set does not annotate is absent from a case. A region that the model
    did not delineate has `told` false and counts as an empty prediction. A case that could not be read has no regions,
    and `problem` states the reason. `pooled`, `mean` and `median` hold plain numbers by region and figure. `intervals`
    holds the limits of their confidence intervals under the same keys. A figure that needs an unknown voxel size is
    null.
    """
    regions = evaluation.regions
    parts = {
        "mean": {region: found.mean for region, found in regions.items()},
        "median": {region: found.median for region, found in regions.items()},
        "pooled": {region: found.pooled for region, found in regions.items()},
    }
    content = {
        "model": _model(evaluation),
        "data": _data(evaluation),
        **{part: _by_region(content, _value) for part, content in parts.items()},
        "intervals": {part: _by_region(content, _interval) for part, content in parts.items()},
        "volume": {str(region): _volume(found) for region, found in regions.items()},
        "calibration": {str(region): _calibration(found) for region, found in regions.items()},
        "lesions": {
            str(region): {"found": f.lesions_found, "missed": f.lesions_missed, "false": f.lesions_false}
            for region, f in regions.items()
        },
        "counts": {str(region): {"cases": f.cases, "untold": f.not_delineated} for region, f in regions.items()},
        "subgroups": [
            {
                "kind": group.kind,
                "name": group.name,
                "cases": group.cases,
                "mean": _by_region(group.regions, _value),
                "intervals": _by_region(group.regions, _interval),
            }
            for group in evaluation.subgroups
        ],
        "classification": {
            "whole_tumour": _report(evaluation.whole_tumour_report),
            "labels": _report(evaluation.label_report),
        },
        "settings": _settings(),
        "skipped": [asdict(skipped) for skipped in evaluation.skipped],
        "cases": [_case(case) for case in evaluation.cases],
    }
    return json.dumps(content, indent=1, allow_nan=False) + "\n"


def _model(evaluation: Evaluation) -> _Document:
    first, *others = [asdict(identity) for identity in evaluation.models]
    return {**first, "others": others}


def _data(evaluation: Evaluation) -> _Document:
    return {
        "dataset": evaluation.source,
        "sequences": list(evaluation.sequences) or None,
        "cases": len(evaluation.cases),
        "patients": len({case.patient for case in evaluation.cases}),
        "not_read": sum(not case.regions for case in evaluation.cases),
        "not_segmented": sum(bool(case.regions and case.problem) for case in evaluation.cases),
    }


def _settings() -> _Document:
    return {
        "interval": {
            "coverage": COVERAGE,
            "replicates": REPLICATES,
            "unit": "patient",
            "method": "percentile bootstrap",
        },
        "lengths": "mm",
        "hd95_one_empty": NO_SURFACE_MM,
        "surface_tolerance": SURFACE_TOLERANCE_MM,
        "lesions": {"rule": "BraTS 2023", "dilation": DILATION_MM, "least_volume_mm3": LEAST_LESION_MM3},
    }


def _by_region(
    content: Mapping[Region, Mapping[Measure, Estimate | None]], show: Callable[[Estimate | None], Any]
) -> _Document:
    return {
        str(region): {str(measure): show(found) for measure, found in figures.items()}
        for region, figures in content.items()
    }


def _value(found: Estimate | None) -> float | None:
    return None if found is None else found.value


def _interval(found: Estimate | None) -> Sequence[float | None] | None:
    return None if found is None else (found.low, found.high)


def _estimate(found: Estimate | None) -> _Document | None:
    return None if found is None else asdict(found)


def _volume(summary: RegionSummary) -> _Document:
    agreement, differences = summary.volume, summary.volume.differences
    return {
        "intervals": summary.intervals,
        "intervals_held": summary.intervals_held,
        "bias_ml": _estimate(agreement.bias),
        "lower_ml": None if differences is None else differences.lower,
        "upper_ml": None if differences is None else differences.upper,
        "concordance": _estimate(agreement.concordance),
        "concordance_of": "ml" if differences is not None else "voxels",
    }


def _calibration(summary: RegionSummary) -> _Document | None:
    sums = summary.calibration
    if sums is None:
        return None
    bins = [
        {
            "from": place / BINS,
            "to": (place + 1) / BINS,
            "voxels": int(voxels),
            "probability": float(sums.probability[place] / voxels) if voxels else None,
            "tumour": float(sums.tumour[place] / voxels) if voxels else None,
        }
        for place, voxels in enumerate(sums.voxels)
    ]
    return {"ece": _estimate(summary.calibration_error), "bins": bins}


def _report(report: ClassificationReport | None) -> _Document | None:
    return None if report is None else asdict(report)


def _case(case: CaseResult) -> _Document:
    return {
        "id": case.case_id,
        "patient": case.patient,
        "site": case.site or None,
        "sequences": list(case.sequences),
        "lacking": list(case.lacking),
        "problem": case.problem or None,
        "novelty": _finite(case.quality.novelty) if case.quality else None,
        "agreement": case.quality.agreement.get(Region.WT) if case.quality else None,
        "flags": [flag.code for flag in case.flags],
        "regions": {str(region): _figures(found) for region, found in case.regions.items()},
    }


def _figures(figures: RegionFigures) -> _Document:
    counts, lesions = figures.counts, figures.lesions
    return {
        **{str(measure): value for measure, value in figures.values.items()},
        "told": figures.delineated,
        "interval_ml": None if figures.interval_ml is None else list(figures.interval_ml),
        "ece": None if figures.calibration is None else _error(figures.calibration),
        "voxels": counts.predicted,
        "reference_voxels": counts.reference,
        "true_positive": counts.true_positive,
        "false_positive": counts.false_positive,
        "false_negative": counts.false_negative,
        "true_negative": counts.true_negative,
        "lesions_found": lesions.found,
        "lesions_missed": lesions.missed,
        "lesions_false": lesions.false,
    }


def _finite(value: float | None) -> float | None:
    """Return a number that JSON can hold: an infinite novelty becomes the largest double."""
    return None if value is None else min(value, sys.float_info.max)


def _error(sums: Calibration) -> float:
    return float(expected_error(sums.voxels, sums.probability, sums.tumour))
