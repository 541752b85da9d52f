"""The result of an evaluation, from the single case to the complete set; values only."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from inference.cases.case import SkippedCase
from inference.evaluation.agreement import BlandAltman
from inference.evaluation.calibration import Calibration
from inference.evaluation.classification import ClassificationReport
from inference.evaluation.figures import Measure, RegionFigures
from inference.evaluation.intervals import Estimate
from inference.evaluation.picture import CasePicture
from inference.flags import Flag
from inference.regions import Label, Region
from inference.segmentation import ModelIdentity, Quality

__all__ = ["LABELS", "REGIONS", "CaseResult", "Evaluation", "RegionSummary", "Shown", "Subgroup", "VolumeAgreement"]

REGIONS = (Region.WT, Region.TC, Region.ET)
"""The regions that are evaluated, as far as the set annotates them."""

LABELS = (Label.BACKGROUND, Label.NCR, Label.ED, Label.ET)
"""Classes of the report by label. Their values are their rows and columns in a confusion matrix."""


@dataclass(frozen=True, kw_only=True, eq=False)
class CaseResult:
    """One case.

    Attributes
    ----------
    sequences
        The sequences that the model was given.
    lacking
        Sequences that were requested and that the case does not have.
    problem
        Why the case could not be read or segmented; empty without a problem. A case that was read but not segmented
        counts as an empty prediction. A case that was not read has no reference and no figures.
    regions
        Figures of the annotated regions. A region that the model did not delineate counts as an empty prediction.
    quality, flags
        What the model itself found doubtful; None and empty without a segmentation.
    confusion
        Voxels of background, NCR, ED and ET, shape (4 of the reference, 4 of the prediction); None where one of the
        regions is not annotated or not delineated.
    """

    case_id: str
    patient: str
    site: str
    sequences: tuple[str, ...] = ()
    lacking: tuple[str, ...] = ()
    problem: str = ""
    regions: Mapping[Region, RegionFigures]
    quality: Quality | None = None
    flags: tuple[Flag, ...] = ()
    confusion: NDArray[np.int64] | None = None

    @property
    def dice(self) -> float | None:
        """Dice of the largest region that has figures. Cases are ranked by it."""
        largest = next(iter(self.regions.values()), None)
        return None if largest is None else largest.values[Measure.DICE]


@dataclass(frozen=True, kw_only=True)
class VolumeAgreement:
    """Agreement of the model's volumes with the experts'.

    Attributes
    ----------
    differences
        In ml; None where a voxel size is unknown.
    bias
        Mean difference with its interval, in ml; None where a voxel size is unknown.
    concordance
        Lin's coefficient of the volumes in ml, or of voxel counts where a voxel size is unknown. None where it is
        undefined.
    """

    differences: BlandAltman | None
    bias: Estimate | None
    concordance: Estimate | None


@dataclass(frozen=True, kw_only=True, eq=False)
class RegionSummary:
    """One region over all cases.

    Attributes
    ----------
    cases
        Number of cases behind the figures: all in which experts drew the region.
    not_delineated
        In how many of these cases the model did not delineate the region, which counts as an empty prediction.
    mean, median
        Over cases; None where the figure is unknown for one of them.
    pooled
        Over the voxels of all cases together.
    lesions_found, lesions_missed, lesions_false
        Sums over cases.
    intervals, intervals_held
        Number of cases with a volume interval, and number of these intervals that contain the experts' volume.
    """

    cases: int
    not_delineated: int
    mean: Mapping[Measure, Estimate | None]
    median: Mapping[Measure, Estimate | None]
    pooled: Mapping[Measure, Estimate | None]
    volume: VolumeAgreement
    calibration: Calibration | None
    calibration_error: Estimate | None
    lesions_found: int
    lesions_missed: int
    lesions_false: int
    intervals: int = 0
    intervals_held: int = 0


@dataclass(frozen=True, kw_only=True, eq=False)
class Subgroup:
    """Cases that share a property.

    Attributes
    ----------
    kind
        ``site``, ``sequences`` or ``lesion size``.
    regions
        Means over the cases of the subgroup, by region and figure.
    """

    kind: str
    name: str
    cases: int
    regions: Mapping[Region, Mapping[Measure, Estimate | None]]


@dataclass(frozen=True, kw_only=True, eq=False)
class Shown:
    """A case that the report shows."""

    case: CaseResult
    picture: CasePicture


@dataclass(frozen=True, kw_only=True, eq=False)
class Evaluation:
    """The evaluation of a model on a set of annotated cases.

    Attributes
    ----------
    sequences
        The sequences that the model was restricted to; empty for all.
    models
        Every model that returned a segmentation; one, unless the model depends on the input.
    regions
        The regions with at least one case.
    whole_tumour_report
        Background and whole tumour, over the voxels of all cases; None without a case.
    label_report
        Background, NCR, ED and ET, over the cases in which all are known; None without such a case.
    worst, best
        By Dice, starting with the worst and with the best case respectively.
    """

    source: str
    sequences: tuple[str, ...]
    models: tuple[ModelIdentity, ...]
    cases: tuple[CaseResult, ...]
    skipped: tuple[SkippedCase, ...]
    regions: Mapping[Region, RegionSummary]
    subgroups: tuple[Subgroup, ...]
    whole_tumour_report: ClassificationReport | None
    label_report: ClassificationReport | None
    worst: tuple[Shown, ...]
    best: tuple[Shown, ...]
