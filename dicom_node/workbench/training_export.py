"""Makes a training set in the BraTS layout from studies whose SEG a person drew or corrected in a viewer.

The names of cases are pseudonyms made with a secret of this installation, so an outsider cannot link a case to its
study. Of the DICOM headers only the geometry is exported. Faces are not removed from the images.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import sqlalchemy as sa

from conversion.correction_classes import SEGMENTATIONS
from conversion.encoding import read_instance
from conversion.nifti import write_nifti
from conversion.recognition.site_rules import SiteRule
from conversion.segmentation_reading import segmentation_header
from conversion.sequences import Role
from conversion.volume import LabelVolume
from dicom_node.database.engine import Database
from dicom_node.database.keyed_hashes import KeyedHash
from dicom_node.database.states import StudyState
from dicom_node.database.tables import InstanceRow, StudyRow
from dicom_node.studies.received_corrections import from_outside
from inference.cases.brats import TRAINING_SET
from inference.cases.case import AnnotatedCase, SkippedCase
from inference.cases.dicom_studies import StudyCase, open_studies
from inference.errors import UnreadableCase
from inference.regions import Region
from viewer_integration.codes import SEGMENTS

__all__ = ["SEGMENT_CODES", "ExportedCase", "TrainingExport", "export_training_set"]

FORMAT = 1

SEGMENT_CODES = MappingProxyType(
    {(c.property_type.value, c.property_type.scheme_designator): c.region for c in SEGMENTS.values()}
)
"""Region of each coded property type that this node writes in its own SEGs."""

_BRATS_VALUES = ((Region.WT, 2), (Region.TC, 1), (Region.ET, 4))
"""In writing order, later over earlier: the remainder of WT is ED, the remainder of TC is NCR."""

_NOTICE = (
    "Pseudonymous, not anonymous: the images show complete heads with faces. Store and share them as patient data. "
    "Regions that 'annotated' does not list are unknown, not absent."
)


@dataclass(frozen=True, kw_only=True)
class ExportedCase:
    """One case of the set, as described in the manifest.

    Attributes
    ----------
    sequences
        The roles that were recognised and aligned to the grid of the reference.
    annotated
        The regions that the SEG annotates. In the label file, 1 is TC without ET, 2 is WT without TC, and 4 is ET.
    drawn_by
        Algorithm types of the segments: MANUAL, SEMIAUTOMATIC, AUTOMATIC.
    drawn_with
        Manufacturer as stated in the SEG.
    files
        SHA-256 by file name.
    """

    case: str
    sequences: tuple[str, ...]
    reference: str
    annotated: tuple[str, ...]
    drawn_by: tuple[str, ...]
    drawn_with: str
    segmentation_sha256: str
    files: dict[str, str]


@dataclass(frozen=True, kw_only=True)
class TrainingExport:
    """The cases that were written, and the studies that were left out, by their key in logs, with the reason.

    Attributes
    ----------
    studies
        Keys of the studies that the cases were made from.
    """

    cases: tuple[ExportedCase, ...]
    skipped: tuple[SkippedCase, ...]
    manifest: Path
    studies: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class _Corrected:
    """A study that contains a SEG which this node did not make."""

    key: str
    patient: str
    paths: tuple[Path, ...]


def export_training_set(
    database: Database,
    folder: Path,
    out: Path,
    rules: Sequence[SiteRule] = (),
    progress: Callable[[Sequence[Any]], Iterable[Any]] = iter,
) -> TrainingExport:
    """Write every study with a SEG that a person drew or corrected.

    Parameters
    ----------
    folder
        The node's folder, to which the paths in the database are relative.
    out
        Folder of the set, new or empty, so that sets are never mixed.
    rules
        The site's rules for its series.
    progress
        Wraps the list of studies, for a progress bar.

    Raises
    ------
    ValueError
        When `out` is not empty.
    """
    if out.exists() and any(out.iterdir()):
        raise ValueError(f"{out}: not empty; a training set needs a folder of its own")
    out.mkdir(parents=True, exist_ok=True)
    key = KeyedHash(database)
    cases: list[ExportedCase] = []
    skipped: list[SkippedCase] = []
    written: dict[str, None] = {}
    for study in progress(_corrected_studies(database, folder, key, skipped)):
        found = open_studies(folder, codes=SEGMENT_CODES, rules=rules, paths=study.paths, automatic=False)
        skipped += [replace(item, name=study.key) for item in found.skipped]
        for case in (each for each in found.cases if isinstance(each, StudyCase)):
            try:
                cases.append(_write(case, f"GlioNode-{study.patient}-{key('training study', study.key)}", out))
                written[study.key] = None
            except UnreadableCase as error:
                skipped.append(SkippedCase(name=study.key, reason=str(error)))
    manifest = out / TRAINING_SET
    manifest.write_text(json.dumps(_describe(cases, len({item.name for item in skipped})), indent=1), encoding="utf-8")
    return TrainingExport(cases=tuple(cases), skipped=tuple(skipped), manifest=manifest, studies=tuple(written))


def _corrected_studies(
    database: Database, folder: Path, key: KeyedHash, skipped: list[SkippedCase]
) -> list[_Corrected]:
    """Return the studies with a SEG from outside, without the objects that this node made itself."""
    held = from_outside()
    with_seg = sa.select(InstanceRow.study_uid).where(
        held, InstanceRow.sop_class_uid.in_([str(u) for u in SEGMENTATIONS])
    )
    found = []
    with database.session() as session:
        studies = session.scalars(
            sa.select(StudyRow).where(StudyRow.study_uid.in_(with_seg)).order_by(StudyRow.study_uid)
        )
        for study in studies.all():
            if study.state == StudyState.RECEIVING:
                skipped.append(
                    SkippedCase(name=study.key, reason="still being received; export it when it is complete")
                )
                continue
            rows = session.scalars(sa.select(InstanceRow).where(held, InstanceRow.study_uid == study.study_uid)).all()
            if len({row.patient_key for row in rows}) > 1:
                reason = "its images name several patients; correct that at the source"
                skipped.append(SkippedCase(name=study.key, reason=reason))
                continue
            of_patient = rows[0].patient_key
            anonymous = of_patient == key("")  # without an identifier, each study counts as a separate person
            patient = key("training patient", study.key if anonymous else of_patient)
            paths = tuple(sorted(folder / row.path for row in rows))
            found.append(_Corrected(key=study.key, patient=patient, paths=paths))
    return found


def _write(reference: StudyCase, name: str, out: Path) -> ExportedCase:
    case = reference.read()
    roles = [role for role in Role if role in case.volumes.volumes]
    paths = [out / name / f"{name}_{role.lower()}.nii.gz" for role in roles]
    for role, path in zip(roles, paths, strict=True):
        write_nifti(case.volumes.volumes[role], path)
    paths.append(out / name / f"{name}_seg.nii.gz")
    write_nifti(_labels(case), paths[-1])
    header = segmentation_header(read_instance(reference.segmentation, pixels=False))
    return ExportedCase(
        case=name,
        sequences=tuple(str(role) for role in roles),
        reference=str(case.volumes.reference),
        annotated=tuple(str(region) for region, _ in _BRATS_VALUES if region in case.regions),
        drawn_by=tuple(sorted({segment.algorithm_type for segment in header.segments})),
        drawn_with=header.manufacturer,
        segmentation_sha256=_sha256(reference.segmentation),
        files={path.name: _sha256(path) for path in paths},
    )


def _labels(case: AnnotatedCase) -> LabelVolume:
    labels = np.zeros(case.volumes.grid.shape, np.uint8)
    for region, value in _BRATS_VALUES:
        if region in case.regions:
            labels[case.regions[region]] = value
    return LabelVolume(grid=case.volumes.grid, labels=labels)


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _describe(cases: Sequence[ExportedCase], skipped: int) -> dict[str, Any]:
    """Return the manifest. It only counts skipped studies, because their reasons may quote text that people typed."""
    return {
        "format": FORMAT,
        "made_by": {"software": "GlioNode", "version": version("glionode")},
        "notice": _NOTICE,
        "layout": "brats",
        "labels": {"1": "TC without ET", "2": "WT without TC", "4": "ET"},
        "skipped_studies": skipped,
        "cases": [asdict(case) for case in cases],
    }
