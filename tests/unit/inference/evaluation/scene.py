"""Small annotated cases whose figures can be counted, and a segmenter that says what is bright."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from conversion.alignment import AlignedVolumes
from conversion.sequences import Role
from conversion.volume import Grid, ImageVolume, LabelVolume
from inference.cases.case import AnnotatedCase, CaseReference, CaseSet, SkippedCase
from inference.errors import InferenceReason, UnreadableCase, UnsuitableInput
from inference.evaluation.result import REGIONS
from inference.flags import Flag, FlagCode
from inference.postprocessing import label_regions
from inference.regions import Region
from inference.segmentation import ModelIdentity, Quality, Segmentation
from tests.support.dicom_series import axis_aligned

__all__ = ["ALL", "BALLS", "MODEL", "BrightSegmenter", "annotated", "ball", "case_set", "damaged", "reference_to"]

SHAPE = (14, 40, 48)
SPACING_MM = (2.0, 1.0, 1.0)
ALL = (Role.T1, Role.T1CE, Role.T2, Role.FLAIR)
BALLS = {Region.WT: 9.0, Region.TC: 6.0, Region.ET: 4.0}
"""Radius of each region in mm."""

SEEN_ON = {Region.WT: Role.FLAIR, Region.TC: Role.T1CE, Region.ET: Role.T1}
INTERVALS_ML = {Region.WT: (1.0, 100.0), Region.TC: (0.0, 0.01)}
"""The first holds the volume of every tumour that is drawn, the second of none."""

MODEL = ModelIdentity(name="bright", version="1.0", sha256="ab" * 32)


def ball(radius_mm: float, columns: int = 0) -> NDArray[np.bool_]:
    """Return a ball in the middle of the grid, moved by some columns."""
    index = np.indices(SHAPE).astype(float)
    centre = np.array([SHAPE[0] // 2, SHAPE[1] // 2, SHAPE[2] // 2 + columns], float)
    away = (index - centre.reshape(3, 1, 1, 1)) * np.reshape(SPACING_MM, (3, 1, 1, 1))
    return np.asarray((away**2).sum(axis=0) <= radius_mm**2)


def annotated(
    case_id: str,
    *,
    moved: int = 0,
    scale: float = 1.0,
    roles: Sequence[Role] = ALL,
    regions: Sequence[Region] = REGIONS,
    **fields: object,
) -> AnnotatedCase:
    """Return a case whose tumour the images show some columns away from where the experts drew it.

    Parameters
    ----------
    moved
        Columns between image and annotation.
    scale
        Of the annotation's radius; the images show no tumour at all where it is 0, nor do the experts draw one.
    """
    affine = axis_aligned("axial", SPACING_MM)
    grid = Grid(shape=SHAPE, affine=affine, frame_of_reference_uid="1.2.3")
    head = np.zeros(SHAPE, np.float32)
    head[:, 3:-3, 3:-3] = 100.0
    volumes = {}
    for role in roles:
        voxels = head.copy()
        for region, seen in SEEN_ON.items():
            if seen is role and scale:
                voxels[ball(BALLS[region], moved)] = 300.0
        volumes[role] = ImageVolume(grid=grid, voxels=voxels)
    reference = Role.T1CE if Role.T1CE in roles else roles[-1]
    drawn = {region: ball(scale * BALLS[region]) if scale else np.zeros(SHAPE, bool) for region in regions}
    known = {"patient": case_id, "site": "", "spacing_known": True} | fields
    return AnnotatedCase(
        case_id=case_id,
        volumes=AlignedVolumes(reference=reference, volumes=volumes, registrations={}, decisions=()),
        regions=drawn,
        patient=str(known["patient"]),
        site=str(known["site"]),
        spacing_known=bool(known["spacing_known"]),
    )


def reference_to(case: AnnotatedCase, read: Callable[[], AnnotatedCase] | None = None) -> CaseReference:
    """Return a reference that reads the case."""
    return CaseReference(case_id=case.case_id, patient=case.patient, site=case.site, read=read or (lambda: case))


def damaged(case_id: str) -> CaseReference:
    """Return a reference to a case whose file is damaged."""

    def read() -> AnnotatedCase:
        raise UnreadableCase(InferenceReason.UNREADABLE_CASE, f"{case_id}: the file is cut short")

    return CaseReference(case_id=case_id, patient=case_id, site="", read=read)


def case_set(*cases: AnnotatedCase | CaseReference, skipped: Sequence[SkippedCase] = ()) -> CaseSet:
    """Return a set of cases and references."""
    references = tuple(case if isinstance(case, CaseReference) else reference_to(case) for case in cases)
    return CaseSet(source="brats", cases=references, skipped=tuple(skipped))


@dataclass
class BrightSegmenter:
    """Says that a region is where its sequence is bright; WT from T1CE where FLAIR is missing.

    Attributes
    ----------
    given
        The volumes it was given, one after the other, by role and reference.
    spacings
        Whether their spacing was said to be known.
    """

    given: list[tuple[Role, ...]] = field(default_factory=list)
    spacings: list[bool] = field(default_factory=list)

    def segment(self, aligned: AlignedVolumes, *, spacing_known: bool = True) -> Segmentation:
        """Segment by brightness."""
        roles = aligned.volumes
        self.given.append((aligned.reference, *roles))
        self.spacings.append(spacing_known)
        if not {Role.FLAIR, Role.T1CE} & set(roles):
            raise UnsuitableInput(InferenceReason.SEQUENCES_MISSING, "the model needs FLAIR or T1CE")
        masks = {region: roles[role].voxels > 200 for region, role in SEEN_ON.items() if role in roles}
        wt = masks.get(Region.WT, masks.get(Region.TC))
        assert wt is not None
        core = (masks[Region.TC], masks.get(Region.ET, masks[Region.TC])) if Region.TC in masks else (None, None)
        told = (*REGIONS, Region.NCR, Region.ED) if Region.TC in masks else (Region.WT,)
        return Segmentation(
            label_volume=LabelVolume(grid=aligned.grid, labels=_labels(wt, *core)),
            regions=told,
            probabilities={Region.WT: np.where(wt, 0.9, 0.1).astype(np.float16)},
            model=MODEL,
            sequences=tuple(str(role) for role in ALL if role in roles),
            decisions=(),
            quality=Quality(looks=2, agreement={Region.WT: 0.8}, interval_ml=INTERVALS_ML, novelty=math.inf),
            flags=(Flag(code=FlagCode.LOW_AGREEMENT, sentence="the predictions differ"),),
        )


def _labels(*masks: NDArray[np.bool_] | None) -> NDArray[np.uint8]:
    wt, tc, et = (None if mask is None else torch.tensor(mask) for mask in masks)
    assert wt is not None
    labels: NDArray[np.uint8] = label_regions(wt, tc, et).numpy()
    return labels
