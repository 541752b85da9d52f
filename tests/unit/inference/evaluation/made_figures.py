"""Figures of cases as they would be found, made from counts alone."""

import numpy as np

from inference.evaluation.calibration import BINS, Calibration
from inference.evaluation.figures import Measure, RegionFigures, overlap_values
from inference.evaluation.lesions import LesionScore
from inference.evaluation.overlap import Counts
from inference.evaluation.result import CaseResult
from inference.regions import Region

__all__ = ["calibration", "case", "figures"]

VOXELS = 10_000


def figures(
    both: int,
    predicted: int,
    reference: int,
    *,
    voxel_ml: float | None = 0.01,
    hd95_mm: float = 1.0,
    calibration: Calibration | None = None,
    interval_ml: tuple[float, float] | None = None,
    delineated: bool = True,
) -> RegionFigures:
    """Return the figures of a region in a grid of `VOXELS`.

    Parameters
    ----------
    both, predicted, reference
        Voxels marked by model and experts, by the model, and by the experts.
    voxel_ml
        None where the voxel size is unknown.
    """
    counts = Counts(
        true_positive=both,
        false_positive=predicted - both,
        false_negative=reference - both,
        true_negative=VOXELS - predicted - reference + both,
    )
    known = voxel_ml is not None
    size = voxel_ml or 0.0
    values: dict[Measure, float | None] = {
        **overlap_values(counts),
        Measure.LESION_DICE: 0.5,
        Measure.HD95: hd95_mm if known else None,
        Measure.SURFACE_DICE: 0.75 if known else None,
        Measure.LESION_HD95: 187.0 if known else None,
        Measure.VOLUME: predicted * size if known else None,
        Measure.REFERENCE: reference * size if known else None,
    }
    return RegionFigures(
        counts=counts,
        values=values,
        lesions=LesionScore(dice=0.5, hd95_mm=187.0, found=3, missed=2, false=1),
        calibration=calibration,
        interval_ml=interval_ml,
        delineated=delineated,
    )


def case(
    name: str, *regions: tuple[Region, RegionFigures], patient: str = "", site: str = "", sequences: str = ""
) -> CaseResult:
    """Return a case; its patient has its name where no other is given."""
    return CaseResult(
        case_id=name, patient=patient or name, site=site, sequences=tuple(sequences.split()), regions=dict(regions)
    )


def calibration(*bins: tuple[int, float, float, float]) -> Calibration:
    """Return sums over the voxels of some bins: number of the bin, voxels, sum of probabilities, tumour voxels."""
    sums = np.zeros((3, BINS))
    for number, *values in bins:
        sums[:, number] = values
    return Calibration(voxels=sums[0], probability=sums[1], tumour=sums[2])
