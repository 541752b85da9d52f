"""What an evaluation comes to: values only, from the single case to the whole set."""

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
"""What is evaluated, as far as the set annotates it."""

LABELS = (Label.BACKGROUND, Label.NCR, Label.ED, Label.ET)
"""Classes of the report by labels; their values are their places in a confusion matrix."""


@dataclass(frozen=True, kw_only=True, eq=False)
class CaseResult:
    """One case.

    Attributes
    ----------
    sequences
        What the model was given.
    lacking
        What was asked for and the case does not have.
    problem
        Why the case could not be read or segmented; empty when all is well. A case that was read and not segmented
        counts as an empty answer; one that was not read has no truth and no figures.
    regions
        The annotated ones; where the model could not tell the region from the rest of the tumour, as an empty answer.
    quality, flags
        What the model itself found doubtful; None and empty without an answer.
    confusion
        Voxels of background, NCR, ED and ET, shape (4 of the reference, 4 of the prediction); None where one of the
        regions is not annotated or not told.
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
        """Dice of the largest region that has figures; what cases are ranked by."""
        found = next(iter(self.regions.values()), None)
        return None if found is None else found.values[Measure.DICE]


@dataclass(frozen=True, kw_only=True)
class VolumeAgreement:
    """Volumes of the model against those of the experts.

    Attributes
    ----------
    differences
        In ml; None where a voxel size is unknown.
    bias
        The mean difference with its interval, in ml; None likewise.
    concordance
        Lin's coefficient, of ml or else of voxel counts; None where it is undefined.
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
        How many the figures rest on: all whose experts drew the region.
    untold
        In how many of them the model could not tell it, which counts as an empty answer.
    mean, median
        Over cases; None where a figure is unknown for one of them.
    pooled
        Of the voxels of all cases together.
    lesions_found, lesions_missed, lesions_false
        Sums over cases.
    intervals, intervals_held
        For how many cases the model told a volume interval, and how many of these hold the experts' volume.
    """

    cases: int
    untold: int
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
    """The cases that have something in common.

    Attributes
    ----------
    kind
        ``site``, ``sequences`` or ``lesion size``.
    regions
        Means over the subgroup's cases, by region and figure.
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
    """A model on a set of annotated cases.

    Attributes
    ----------
    sequences
        What the model was restricted to; empty for all.
    models
        Every model that answered; one, unless the input decides.
    regions
        Those with at least one case.
    whole_tumour_report
        Background and whole tumour, over the voxels of all cases; None without a case.
    label_report
        Background, NCR, ED and ET, over the cases that have all; None without one.
    worst, best
        By Dice, the worst and the best first.
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
