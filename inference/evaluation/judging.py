"""One case: the sequences given to the model, its segmentation, and the comparison with the experts' annotation."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from conversion.alignment import AlignedVolumes
from conversion.errors import ConversionError
from conversion.sequences import Role
from inference.cases.case import AnnotatedCase
from inference.errors import UnsuitableInput
from inference.evaluation.calibration import Calibration, calibrate, head_mask
from inference.evaluation.classification import confusion
from inference.evaluation.figures import RegionFigures, compare
from inference.evaluation.picture import CasePicture, take_picture
from inference.evaluation.result import LABELS, REGIONS, CaseResult
from inference.postprocessing import label_regions
from inference.regions import Region
from inference.segmentation import Quality, Segmentation

__all__ = ["Answer", "Segments", "ask", "judge", "show"]

_STAND_IN = (Role.T1CE, Role.FLAIR, Role.T1, Role.T2)
"""The order in which a sequence becomes the reference when the set's own is withheld. All are on one grid."""

Masks = Mapping[Region, NDArray[np.bool_]]


class Segments(Protocol):
    """Anything that segments a study, such as `inference.segmenter.Segmenter`."""

    def segment(self, aligned: AlignedVolumes, *, spacing_known: bool = True) -> Segmentation:
        """Segment one study; raise `UnsuitableInput` where that is not possible."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Answer:
    """The model's answer to a case.

    Attributes
    ----------
    segmentation
        None where there is none; `problem` states the reason.
    sequences, lacking
        As in `CaseResult`.
    """

    segmentation: Segmentation | None
    problem: str = ""
    sequences: tuple[str, ...]
    lacking: tuple[str, ...]


def ask(segmenter: Segments, case: AnnotatedCase, wanted: Sequence[Role]) -> Answer:
    """Segment a case from the wanted sequences, or from all of them when none is named."""
    volumes = case.volumes
    kept = [role for role in volumes.volumes if not wanted or role in wanted]
    lacking = tuple(str(role) for role in wanted if role not in volumes.volumes)
    if not kept:
        problem = f"the case has none of {', '.join(wanted)}"
        return Answer(segmentation=None, problem=problem, sequences=(), lacking=lacking)
    given = tuple(str(role) for role in Role if role in kept)
    try:
        segmentation = segmenter.segment(_restricted(volumes, kept), spacing_known=case.spacing_known)
    except (UnsuitableInput, ConversionError) as refusal:
        return Answer(segmentation=None, problem=str(refusal), sequences=given, lacking=lacking)
    return Answer(segmentation=segmentation, sequences=given, lacking=lacking)


def _restricted(volumes: AlignedVolumes, kept: Sequence[Role]) -> AlignedVolumes:
    if len(kept) == len(volumes.volumes):
        return volumes
    reference = volumes.reference if volumes.reference in kept else next(role for role in _STAND_IN if role in kept)
    chosen = MappingProxyType({role: volumes.volumes[role] for role in kept})
    registrations = {role: one for role, one in volumes.registrations.items() if role in kept}
    return replace(volumes, reference=reference, volumes=chosen, registrations=MappingProxyType(registrations))


def judge(case: AnnotatedCase, answer: Answer) -> CaseResult:
    """Compare an answer with the experts' annotation; a missing segmentation counts as an empty one."""
    predicted = _predicted(case, answer)
    spacing = case.volumes.grid.spacing_mm if case.spacing_known else None
    calibrated = _calibrated(case, answer)
    quality = answer.segmentation.quality if answer.segmentation else Quality()
    figures: dict[Region, RegionFigures] = {}
    for region in (one for one in REGIONS if one in case.regions):
        truth = case.regions[region]
        mask = predicted.get(region, np.zeros_like(truth))
        compared = compare(mask, truth, spacing, calibrated.get(region))
        delineated = region in predicted
        interval = quality.interval_ml.get(region) if case.spacing_known and delineated else None
        figures[region] = replace(compared, interval_ml=interval, delineated=delineated)
    return CaseResult(
        case_id=case.case_id,
        patient=case.patient,
        site=case.site,
        sequences=answer.sequences,
        lacking=answer.lacking,
        problem=answer.problem if figures else f"none of {', '.join(REGIONS)} is annotated",
        regions=MappingProxyType(figures),
        quality=quality if answer.segmentation else None,
        flags=answer.segmentation.flags if answer.segmentation else (),
        confusion=_confusion(case.regions, predicted),
    )


def show(case: AnnotatedCase, answer: Answer) -> CasePicture:
    """Return the picture of a case that the report may show."""
    known = answer.segmentation.probabilities if answer.segmentation is not None else {}
    reference = {region: case.regions[region] for region in REGIONS if region in case.regions}
    return take_picture(case.volumes, reference, _predicted(case, answer), known.get(Region.WT))


def _predicted(case: AnnotatedCase, answer: Answer) -> Masks:
    """Return the annotated regions as the model segmented them, without those that it did not delineate."""
    segmentation = answer.segmentation
    if segmentation is None:
        return {region: np.zeros_like(mask) for region, mask in case.regions.items()}
    return {region: segmentation.mask_of(region) for region in case.regions if region in segmentation.regions}


def _calibrated(case: AnnotatedCase, answer: Answer) -> Mapping[Region, Calibration]:
    if answer.segmentation is None:
        return {}
    inside = head_mask(case.volumes)
    return {
        region: calibrate(values, case.regions[region], inside)
        for region, values in answer.segmentation.probabilities.items()
        if region in case.regions
    }


def _confusion(reference: Masks, predicted: Masks) -> NDArray[np.int64] | None:
    if not (set(REGIONS) <= set(reference) and set(REGIONS) <= set(predicted)):
        return None
    truth, prediction = (
        label_regions(*(torch.tensor(masks[region]) for region in REGIONS)).numpy() for masks in (reference, predicted)
    )
    return confusion(prediction, truth, len(LABELS))
