"""Compares a result with a ground truth: overlap, distances and the voxel-wise report, as one file for pages."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from conversion.alignment import AlignedVolumes
from conversion.errors import ConversionError
from conversion.nifti import write_nifti
from conversion.sequences import Role
from conversion.volume import Grid, LabelVolume
from dicom_node.workbench.ground_truth import Masks, TruthFile, place, read_ground_truth
from inference.cases.case import AnnotatedCase
from inference.evaluation.classification import report_text
from inference.evaluation.figures import Measure, RegionFigures
from inference.evaluation.judging import Answer, judge
from inference.evaluation.result import CaseResult
from inference.evaluation.surface import NO_SURFACE_MM
from inference.evaluation.voxel_reports import label_report, whole_tumour_report
from inference.regions import Label, Region
from inference.segmentation import Segmentation

__all__ = ["COMPARISON", "TRUTH", "Compared", "compare_with"]

COMPARISON, TRUTH = "comparison.json", "ground_truth.nii.gz"
"""Files of a result that has a ground truth: the figures, and the regions on the grid of the result."""

_SHOWN = (Measure.DICE, Measure.IOU, Measure.PRECISION, Measure.RECALL, Measure.HD95)
_LABELS = ((Region.WT, Label.WHOLE_TUMOUR), (Region.TC, Label.NCR), (Region.ET, Label.ET))
"""Label of what only one region has, in writing order."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Compared:
    """A result that a ground truth is compared with.

    Attributes
    ----------
    grids
        The grid that each sequence was acquired on.
    """

    aligned: AlignedVolumes
    segmentation: Segmentation
    grids: Mapping[Role, Grid]
    spacing_known: bool = True


def compare_with(truth: TruthFile, result: Compared, out: Path) -> list[Path]:
    """Write the figures of a result and the ground truth on its grid; return the files.

    A ground truth that cannot be used costs nobody the result: the file states why.
    """
    path = out / COMPARISON
    try:
        read = read_ground_truth(truth)
        masks, note = place(read, result.aligned, result.grids)
    except ConversionError as problem:
        path.write_text(json.dumps({"ground_truth": truth.name, "problem": str(problem)}, indent=1))
        return [path]
    case = judge(
        AnnotatedCase(
            case_id=truth.name,
            patient="",
            site="",
            volumes=result.aligned,
            regions=masks,
            spacing_known=result.spacing_known,
        ),
        Answer(segmentation=result.segmentation, sequences=result.segmentation.sequences, lacking=()),
    )
    path.write_text(json.dumps(_document(truth.name, note, case), indent=1))
    write_nifti(LabelVolume(grid=result.aligned.grid, labels=_labels(masks)), out / TRUTH)
    return [path, out / TRUTH]


def _document(name: str, note: str, case: CaseResult) -> dict[str, object]:
    report = label_report([case]) or whole_tumour_report([case])
    return {
        "ground_truth": name,
        "problem": "",
        "note": note,
        "regions": {region: _figures(figures) for region, figures in case.regions.items() if figures.delineated},
        "not_delineated": [region for region, figures in case.regions.items() if not figures.delineated],
        "report": report_text(report) if report else "",
        "hd95_of_an_empty_region_mm": NO_SURFACE_MM,
    }


def _figures(figures: RegionFigures) -> dict[str, float | int | None]:
    values = {measure: figures.values[measure] for measure in (*_SHOWN, Measure.VOLUME, Measure.REFERENCE)}
    known = {str(measure): _rounded(value) for measure, value in values.items()}
    return known | {"voxels": figures.counts.predicted, "reference_voxels": figures.counts.reference}


def _rounded(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else round(value, 4)


def _labels(masks: Masks) -> NDArray[np.uint8]:
    """Return one label map of regions that lie in each other."""
    complete = {Region.WT, Region.TC, Region.ET} <= masks.keys()
    labels = np.zeros(next(iter(masks.values())).shape, np.uint8)
    for region, label in _LABELS:
        if region in masks:
            labels[masks[region]] = Label.ED if complete and region is Region.WT else label
    return labels
