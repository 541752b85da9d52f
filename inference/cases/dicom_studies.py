"""DICOM studies with a Segmentation (SEG) by experts, written by this node or by other software.

The sequences are recognised and resampled onto the grid of the series that the SEG was drawn on, as the node does with
every study. The SEG is read by its geometry. Names of patients, studies and folders appear nowhere: persons and
studies are named by hashes of their identifiers.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.uid import EnhancedMRImageStorage, LegacyConvertedEnhancedMRImageStorage, MRImageStorage

from conversion.alignment import AlignedVolumes, align
from conversion.attributes import Attributes
from conversion.correction_classes import SEGMENTATIONS
from conversion.decision import Decision
from conversion.encoding import read_instance
from conversion.errors import ConversionError
from conversion.patient_identity import identity, patient_id
from conversion.reading import dicom_files, read_series, read_study
from conversion.recognition.recognise import Recognition, recognise
from conversion.recognition.site_rules import SiteRule
from conversion.segmentation_reading import segment_masks
from conversion.selection import best_of_each_role
from conversion.sequences import Role
from conversion.study import Series
from conversion.values import identifier, text
from conversion.volume import ImageVolume
from inference.cases.annotations import Annotation, Codes, choose_annotation
from inference.cases.case import AnnotatedCase, CaseSet, SkippedCase
from inference.cases.segment_regions import annotated_regions
from inference.cases.stored_case import StoredCase, unreadable
from inference.regions import Region

__all__ = ["LAYOUT", "StudyCase", "open_studies"]

LAYOUT = (
    "a folder of DICOM files in any order, in which a study has MR series and at least one SEG drawn on one of them"
)

_MR = (MRImageStorage, EnhancedMRImageStorage, LegacyConvertedEnhancedMRImageStorage)
_LENGTH = 12
"""Hexadecimal digits of a name: among a million studies, two share a name with a probability of 0.2 %."""


@dataclass(frozen=True, kw_only=True)
class StudyCase(StoredCase):
    """A study with the SEG that annotates it.

    Attributes
    ----------
    meaning
        What determines the case besides its files: the regions of the segments and the site rules, as text.
    """

    segmentation: Path
    meaning: str

    def fingerprint(self) -> str:
        """Return the SHA-256 of the files' names, sizes and times, and of their interpretation (`meaning`)."""
        return hashlib.sha256(f"{super().fingerprint()} {self.meaning}".encode()).hexdigest()


@dataclass(kw_only=True)
class _Files:
    """The files of one study, sorted by their headers."""

    images: list[Path] = field(default_factory=list)
    segmentations: list[Path] = field(default_factory=list)
    series_of: dict[str, str] = field(default_factory=dict)
    patients: set[tuple[str, ...]] = field(default_factory=set)
    patient_id: str = ""
    site: str = ""


def open_studies(
    root: Path,
    *,
    codes: Codes = MappingProxyType({}),
    rules: Sequence[SiteRule] = (),
    paths: Iterable[Path] | None = None,
    automatic: bool = True,
    progress: Callable[[Iterable[Path]], Iterable[Path]] = iter,
) -> CaseSet:
    """Find the studies with a SEG; pixels are read only when a study is needed.

    Parameters
    ----------
    codes
        Region of a coded property type, by code value and coding scheme designator.
    rules
        The site's rules for its series.
    paths
        The files below `root` to use; by default all.
    automatic
        Whether a SEG that no person drew or corrected is used.
    progress
        Wraps the iteration over files.
    """
    studies, unread = _scan(progress(dicom_files(root) if paths is None else sorted(paths)))
    skipped = [SkippedCase(name="files", reason=f"{unread} could not be read as DICOM")] if unread else []
    cases = []
    for study_uid, files in studies.items():
        case_id = _name("study", study_uid)
        if not files.images or not files.segmentations:
            what = "SEG" if files.images else "MR images"
            skipped.append(SkippedCase(name=case_id, reason=f"no {what} in the study; MR images and a SEG are needed"))
            continue
        if len(files.patients) > 1:
            reason = f"its files name {len(files.patients)} different patients; correct that at the source"
            skipped.append(SkippedCase(name=case_id, reason=reason))
            continue
        chosen, reasons = choose_annotation(files.segmentations, files.series_of, codes, automatic=automatic)
        skipped += [SkippedCase(name=case_id, reason=reason) for reason in reasons]
        if chosen is not None:
            patient = _name("patient", files.patient_id or study_uid)
            cases.append(
                StudyCase(
                    case_id=case_id,
                    patient=patient,
                    site=files.site,
                    read=partial(_read, case_id, patient, files, chosen, tuple(rules)),
                    root=root,
                    files=(*files.images, chosen.path),
                    segmentation=chosen.path,
                    meaning=repr((sorted(chosen.regions.items()), tuple(rules))),
                )
            )
    ordered = sorted(cases, key=lambda case: case.case_id)
    return CaseSet(source="dicom", cases=tuple(ordered), skipped=tuple(skipped))


def _name(kind: str, identifier: str) -> str:
    return f"{kind}-{hashlib.sha256(f'{kind} {identifier}'.encode()).hexdigest()[:_LENGTH]}"


def _scan(paths: Iterable[Path]) -> tuple[dict[str, _Files], int]:
    """Sort files into studies by their headers; the second value counts files that could not be read as DICOM."""
    studies: dict[str, _Files] = {}
    unread = 0
    for path in paths:
        try:
            ds = read_instance(path, pixels=False)
        except Exception:  # noqa: BLE001 - pydicom raises many kinds of errors for a broken file; each counts as unread
            unread += 1
            continue
        study_uid, series_uid = identifier(ds, "StudyInstanceUID"), identifier(ds, "SeriesInstanceUID")
        if not study_uid or not series_uid:
            unread += 1
            continue
        files = studies.setdefault(study_uid, _Files())
        files.patients.add(identity(ds))
        files.patient_id = files.patient_id or patient_id(ds)
        sop_class_uid = identifier(ds, "SOPClassUID")
        if sop_class_uid in SEGMENTATIONS:
            files.segmentations.append(path)
        elif sop_class_uid in _MR:
            files.images.append(path)
            files.series_of[identifier(ds, "SOPInstanceUID")] = series_uid
            files.site = files.site or text(ds, "InstitutionName")
    return studies, unread


def _read(
    case_id: str, patient: str, files: _Files, annotation: Annotation, rules: tuple[SiteRule, ...]
) -> AnnotatedCase:
    try:
        volumes = _aligned(files, annotation, rules)
        ds = read_instance(annotation.path)
        masks = segment_masks(ds, volumes.grid).masks
        if not any(mask.any() for mask in masks.values()) and _holds_anything(ds):
            raise unreadable(f"{case_id}: the whole segmentation lies outside the images it was drawn on")
    except ConversionError as error:
        raise unreadable(f"{case_id}: {error}") from error
    parts: dict[Region, NDArray[np.bool_]] = {}
    for number, region in annotation.regions.items():
        parts[region] = parts[region] | masks[number] if region in parts else masks[number]
    return AnnotatedCase(
        case_id=case_id, patient=patient, site=files.site, volumes=volumes, regions=annotated_regions(parts)
    )


def _holds_anything(ds: pydicom.Dataset) -> bool:
    return Attributes(ds).integer("NumberOfFrames") > 0 and any(mask.any() for mask in segment_masks(ds).masks.values())


def _aligned(files: _Files, annotation: Annotation, rules: tuple[SiteRule, ...]) -> AlignedVolumes:
    """Recognise the sequences and align them to the series that the SEG was drawn on."""
    study = read_study(files.images)
    recognitions = recognise(study, read_series, rules)
    best = best_of_each_role(recognitions)
    series = dict(best.series)
    reference = _reference(series, recognitions, annotation)
    decisions = list(best.decisions)
    volumes: dict[Role, ImageVolume] = {}
    for role, one in series.items():
        try:
            volumes[role] = read_series(one)
        except ConversionError as error:
            if role is reference:
                raise
            decisions.append(
                Decision(code="missing_sequence", subject=str(role), reason=f"{role} is left out: {error}")
            )
    _check_useful(volumes)
    aligned = align(volumes, reference, threads=1)
    _check_useful(aligned.volumes)
    return replace(aligned, decisions=(*decisions, *aligned.decisions))


def _check_useful(volumes: Mapping[Role, ImageVolume]) -> None:
    if not {Role.T1CE, Role.FLAIR} & volumes.keys():
        raise unreadable("neither T1 after contrast nor FLAIR could be recognised and aligned; one of them is needed")


def _reference(series: dict[Role, Series], recognitions: Sequence[Recognition], annotation: Annotation) -> Role:
    """Return the role of the series that the SEG was drawn on; it is used even if a better series of its role exists.

    If that series has no role, T1CE or FLAIR in the same frame of reference takes its place.
    """
    for recognition in recognitions:
        if recognition.series.series_uid == annotation.drawn_on and recognition.role is not None:
            series[recognition.role] = recognition.series
            return recognition.role
    for role in (Role.T1CE, Role.FLAIR):
        if role in series and series[role].frame_of_reference_uid == annotation.header.frame_of_reference_uid:
            return role
    raise unreadable(
        "the series that the SEG was drawn on is not recognised as T1, T1CE, T2 or FLAIR, and neither T1CE nor FLAIR "
        "shares its frame of reference"
    )
