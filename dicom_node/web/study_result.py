"""What the page of a study shows of its newest result: warnings, volumes, what became of the objects, the timeline."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import sqlalchemy as sa

from dicom_node.database.engine import Database
from dicom_node.database.history_tables import StepTimeRow
from dicom_node.database.tables import DeliveryRow, ResultRow, RunRow, StudyRow
from dicom_node.studies.run_folder import KeptRegistration, RunFolder
from dicom_node.studies.status import StudyStatus, shown_run
from inference.flags import FlagCode
from inference.regions import REGION_NAMES

__all__ = ["SentObject", "ShownResult", "ShownStep", "ShownVolume", "read_result"]


@dataclass(frozen=True, kw_only=True)
class ShownVolume:
    """One region, with the interval that contains the experts' volume in nine of ten patients."""

    name: str
    volume_ml: float
    interval_ml: tuple[float, float] | None


@dataclass(frozen=True, kw_only=True)
class SentObject:
    """One object and its delivery to one destination.

    Attributes
    ----------
    proof
        How it is known that the object is there: by storage commitment or by a query; empty while it is not.
    """

    kind: str
    destination: str
    state: str
    proof: str
    reason: str
    changed_at: datetime


@dataclass(frozen=True, kw_only=True)
class ShownStep:
    """One entry of the timeline.

    Attributes
    ----------
    took_s
        How long it took; None while it runs, and for what has no duration.
    """

    name: str
    at: datetime
    took_s: float | None = None


@dataclass(frozen=True, kw_only=True)
class ShownResult:
    """The newest result of a study, as far as there is one."""

    warnings: tuple[str, ...]
    volumes: tuple[ShownVolume, ...]
    sent: tuple[SentObject, ...]
    timeline: tuple[ShownStep, ...]
    registrations: tuple[KeptRegistration, ...]


def read_result(database: Database, folder: Path, study: StudyStatus) -> ShownResult:
    """Return what the page shows of a study's newest result."""
    codes, run_id = set(FlagCode), shown_run(database, study.key)
    warnings = [one.reason for one in study.decisions if one.code in codes and one.subject == "result"]
    volumes = study.summary.get("volumes_ml") or {}
    intervals = study.summary.get("intervals_ml") or {}
    shown = [
        ShownVolume(
            name=name, volume_ml=volumes[region], interval_ml=tuple(intervals[region]) if region in intervals else None
        )
        for region, name in REGION_NAMES.items()
        if region in volumes
    ]
    hidden = study.summary.get("withheld") or study.summary.get("no_tumour")
    return ShownResult(
        warnings=tuple(dict.fromkeys(_sentence(text) for text in warnings)),
        volumes=() if hidden else tuple(shown),
        sent=tuple(_sent(database, run_id)),
        timeline=tuple(_timeline(database, study.study_uid, run_id)),
        registrations=tuple(RunFolder(folder, run_id).load_registrations()) if run_id else (),
    )


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else ".")


def _sent(database: Database, run_id: str) -> Sequence[SentObject]:
    rows = (
        sa.select(ResultRow.kind, DeliveryRow)
        .join(DeliveryRow, DeliveryRow.sop_instance_uid == ResultRow.sop_instance_uid)
        .where(DeliveryRow.run_id == run_id)
        .order_by(DeliveryRow.destination, ResultRow.kind)
    )
    with database.session() as session:
        return [
            SentObject(
                kind=kind,
                destination=row.destination,
                state=row.state,
                proof=row.proof,
                reason=row.reason,
                changed_at=row.changed_at,
            )
            for kind, row in session.execute(rows).all()
        ]


def _timeline(database: Database, study_uid: str, run_id: str) -> Sequence[ShownStep]:
    """Return what happened with a study, from its first image to the end of its newest run."""
    with database.session() as session:
        study, run = session.get_one(StudyRow, study_uid), session.get(RunRow, run_id) if run_id else None
        received = (study.last_received_at - study.first_received_at).total_seconds()
        shown = [ShownStep(name="receive", at=study.first_received_at, took_s=received)]
        if run is None:
            return shown
        shown.append(ShownStep(name="ready", at=run.ready_at))
        rows = sa.select(StepTimeRow).where(StepTimeRow.run_id == run_id).order_by(StepTimeRow.id)
        for row in session.scalars(rows):
            took = (row.ended_at - row.began_at).total_seconds() if row.ended_at else None
            shown.append(ShownStep(name=row.step, at=row.began_at, took_s=took))
        if run.finished_at:
            shown.append(ShownStep(name=run.state, at=run.finished_at))
        return shown
