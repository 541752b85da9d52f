"""Whose study it is: what a message states about a study, from the database or from a header."""

from collections.abc import Mapping
from pathlib import Path

import pydicom
import sqlalchemy as sa
from sqlalchemy.orm import Session

from conversion.patient_identity import patient_id
from dicom_node.audit.events import StudyTouched
from dicom_node.database.engine import Database
from dicom_node.database.identity_tables import StudyIdentityRow
from dicom_node.database.tables import InstanceRow, StudyRow

__all__ = ["studies_brought", "study_named"]


def study_named(database: Database, folder: Path, name: str) -> StudyTouched | None:
    """Return a study by its UID or its key; None where the node has none of that name."""
    with database.session() as session:
        row = session.get(StudyRow, name) or session.scalar(sa.select(StudyRow).where(StudyRow.key == name))
        if row is None:
            return None
        return StudyTouched(study_uid=row.study_uid, key=row.key, patient_id=_patient(session, folder, row.study_uid))


def studies_brought(database: Database, folder: Path, callers: Mapping[str, str]) -> dict[str, list[StudyTouched]]:
    """Return the studies that associations brought, by calling AE title; for those whose listener was killed.

    Parameters
    ----------
    callers
        Calling AE title by association.
    """
    counts = (
        sa.select(
            InstanceRow.association_id, InstanceRow.study_uid, InstanceRow.sop_class_uid, sa.func.count().label("n")
        )
        .where(InstanceRow.association_id.in_(callers))
        .group_by(InstanceRow.association_id, InstanceRow.study_uid, InstanceRow.sop_class_uid)
    )
    found: dict[tuple[str, str], dict[str, int]] = {}
    brought: dict[str, list[StudyTouched]] = {}
    with database.session() as session:
        for row in session.execute(counts):
            found.setdefault((row.association_id, row.study_uid), {})[row.sop_class_uid] = row.n
        for (association_id, study_uid), classes in found.items():
            patient = _patient(session, folder, study_uid)
            study = StudyTouched(study_uid=study_uid, patient_id=patient, sop_classes=classes)
            brought.setdefault(callers[association_id], []).append(study)
    return brought


def _patient(session: Session, folder: Path, study_uid: str) -> str:
    identity = session.get(StudyIdentityRow, study_uid)
    if identity is not None:
        return identity.patient_id
    path = session.scalar(sa.select(InstanceRow.path).where(InstanceRow.study_uid == study_uid).limit(1))
    return _patient_of(folder / path) if path else ""


def _patient_of(path: Path) -> str:
    """Return the Patient ID of a file that a worker has not read yet; empty where it cannot be read."""
    try:
        ds = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=["SpecificCharacterSet", "PatientID"])
        return patient_id(ds)
    except Exception:  # noqa: BLE001 - a received file may raise any error, and the study is named all the same
        return ""
