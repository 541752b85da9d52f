"""All figures of one region of one case."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from inference.evaluation.calibration import Calibration
from inference.evaluation.lesions import LesionScore, score_lesions
from inference.evaluation.overlap import Counts, count, overlap
from inference.evaluation.surface import hd95, surface_dice

__all__ = ["OVERLAP", "Measure", "RegionFigures", "compare", "overlap_values"]

_NO_SPACING = np.ones(3)


class Measure(enum.StrEnum):
    """Names of the figures, as in the JSON document; those in `_mm` and `_ml` need the voxel size."""

    DICE = "dice"
    IOU = "iou"
    PRECISION = "precision"
    RECALL = "recall"
    SPECIFICITY = "specificity"
    F1 = "f1"
    ACCURACY = "accuracy"
    HD95 = "hd95_mm"
    SURFACE_DICE = "surface_dice"
    LESION_DICE = "lesion_dice"
    LESION_HD95 = "lesion_hd95_mm"
    VOLUME = "volume_ml"
    REFERENCE = "reference_ml"


OVERLAP = (
    Measure.DICE,
    Measure.IOU,
    Measure.PRECISION,
    Measure.RECALL,
    Measure.SPECIFICITY,
    Measure.F1,
    Measure.ACCURACY,
)
"""The figures that are computed from voxel counts and can therefore be pooled over cases."""


@dataclass(frozen=True, kw_only=True, eq=False)
class RegionFigures:
    """The figures of one region of one case.

    Attributes
    ----------
    values
        Every `Measure`; None where it needs a voxel size that is unknown.
    lesions
        Its HD95 is meaningless where the voxel size is unknown; `values` holds only what may be stated.
    calibration
        None where the model returned no probabilities.
    interval_ml
        The interval that the model predicted for the volume; None where it predicted none.
    delineated
        Whether the model delineated the region; if not, it counts as an empty prediction.
    """

    counts: Counts
    values: Mapping[Measure, float | None]
    lesions: LesionScore
    calibration: Calibration | None
    interval_ml: tuple[float, float] | None = None
    delineated: bool = True

    @property
    def interval_holds(self) -> bool | None:
        """Whether the experts' volume lies in the interval; None without one."""
        reference = self.values[Measure.REFERENCE]
        if self.interval_ml is None or reference is None:
            return None
        return self.interval_ml[0] <= reference <= self.interval_ml[1]


def compare(
    predicted: NDArray[np.bool_],
    reference: NDArray[np.bool_],
    spacing_mm: NDArray[np.float64] | None,
    calibration: Calibration | None = None,
) -> RegionFigures:
    """Compare one predicted region with the experts'.

    Parameters
    ----------
    predicted, reference
        Three axes, of equal shape.
    spacing_mm
        Along each axis; None where the set does not record it.
    """
    counts = count(predicted, reference)
    lesions = score_lesions(predicted, reference, _NO_SPACING if spacing_mm is None else spacing_mm)
    values: dict[Measure, float | None] = {**overlap_values(counts), Measure.LESION_DICE: lesions.dice}
    values |= dict.fromkeys(set(Measure) - set(values))
    if spacing_mm is not None:
        voxel_ml = float(np.prod(spacing_mm)) / 1000.0
        values |= {
            Measure.HD95: hd95(predicted, reference, spacing_mm),
            Measure.SURFACE_DICE: surface_dice(predicted, reference, spacing_mm),
            Measure.LESION_HD95: lesions.hd95_mm,
            Measure.VOLUME: counts.predicted * voxel_ml,
            Measure.REFERENCE: counts.reference * voxel_ml,
        }
    ordered = MappingProxyType({measure: values[measure] for measure in Measure})
    return RegionFigures(counts=counts, values=ordered, lesions=lesions, calibration=calibration)


def overlap_values(counts: Counts) -> dict[Measure, float]:
    """Return the figures that are computed from voxel counts."""
    return {Measure(name): value for name, value in vars(overlap(counts)).items()}
