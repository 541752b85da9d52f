"""Status from the database: every study with its state, reason, decisions and deliveries, and what was refused."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from conversion.decision import Decision
from dicom_node.database.engine import Database
from dicom_node.database.tables import DecisionRow, DeliveryRow, InstanceRow, RefusalRow, ResultRow, RunRow, StudyRow

__all__ = [
    "NodeStatus",
    "RefusalStatus",
    "StudyStatus",
    "read_refusals",
    "read_status",
    "read_study_status",
    "shown_run",
    "status_lines",
    "statuses",
]

REFUSALS_SHOWN = 20
_AT_ONCE = 500
"""Studies of one statement; SQLite takes 32,766 values in one (SQLITE_MAX_VARIABLE_NUMBER)."""


@dataclass(frozen=True, kw_only=True)
class StudyStatus:
    """One study with the state of its newest run.

    Attributes
    ----------
    awaited
        What the node waits for while the study is being received, in sentences.
    ready_because
        Why the study counted as ready for its newest run.
    decisions
        Everything that was left out, preferred or assumed, with the evidence for it.
    results
        (kind, SOP instance UID, path relative to the node's folder).
    deliveries
        (SOP instance UID, destination, state, C-STORE status or None, reason).
    """

    study_uid: str
    key: str
    state: str
    reason: str
    step: str
    revision: int
    instances: int
    last_received_at: str
    awaited: tuple[str, ...]
    ready_because: str
    summary: dict[str, Any]
    decisions: tuple[Decision, ...]
    results: tuple[tuple[str, str, str], ...]
    deliveries: tuple[tuple[str, str, str, int | None, str], ...]


@dataclass(frozen=True, kw_only=True)
class RefusalStatus:
    """Refusals of one caller with one code: the newest time and reason, how often, and since when."""

    at: str
    first_at: str
    count: int
    calling_ae: str
    code: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class NodeStatus:
    """The database at one moment, newest first.

    Attributes
    ----------
    more_studies, more_refusals
        Number of older ones in the database that are not listed here.
    """

    studies: tuple[StudyStatus, ...]
    refusals: tuple[RefusalStatus, ...]
    more_studies: int = 0
    more_refusals: int = 0


def read_status(database: Database, limit: int | None = 100) -> NodeStatus:
    """Read the newest studies and refusals.

    Parameters
    ----------
    limit
        Maximum number of studies; None for all.
    """
    newest = sa.select(StudyRow).order_by(StudyRow.last_received_at.desc(), StudyRow.study_uid).limit(limit)
    with database.session() as session:
        studies = session.scalars(newest).all()
        parts = (studies[start : start + _AT_ONCE] for start in range(0, len(studies), _AT_ONCE))
        refusals, more_refusals = _refusals(session)
        return NodeStatus(
            studies=tuple(study for part in parts for study in statuses(session, part)),
            refusals=refusals,
            more_studies=_count(session, StudyRow) - len(studies),
            more_refusals=more_refusals,
        )


def read_refusals(database: Database) -> tuple[tuple[RefusalStatus, ...], int]:
    """Read the newest refusals, and how many older ones there are."""
    with database.session() as session:
        return _refusals(session)


def _refusals(session: Session) -> tuple[tuple[RefusalStatus, ...], int]:
    newest = sa.select(RefusalRow).order_by(RefusalRow.at.desc(), RefusalRow.id.desc()).limit(REFUSALS_SHOWN)
    refusals = tuple(
        RefusalStatus(
            at=row.at.isoformat(timespec="seconds"),
            first_at=(row.first_at or row.at).isoformat(timespec="seconds"),
            count=row.count,
            calling_ae=row.calling_ae,
            code=row.code,
            reason=row.reason,
        )
        for row in session.scalars(newest)
    )
    return refusals, _count(session, RefusalRow) - len(refusals)


def _count(session: Session, table: type[StudyRow | RefusalRow]) -> int:
    return session.scalar(sa.select(sa.func.count()).select_from(table)) or 0


def shown_run(database: Database, key: str) -> str:
    """Return the run whose result a study's page shows; empty where there is none."""
    with database.session() as session:
        return session.scalar(sa.select(StudyRow.current_run).where(StudyRow.key == key)) or ""


def read_study_status(database: Database, key: str) -> StudyStatus | None:
    """Read one study by the keyed hash that names it in pages and logs; None when there is none."""
    with database.session() as session:
        row = session.scalar(sa.select(StudyRow).where(StudyRow.key == key))
        return statuses(session, [row])[0] if row else None


def statuses(session: Session, studies: Sequence[StudyRow], *, details: bool = True) -> list[StudyStatus]:
    """Return the status of each study, with a few statements for all: a long list is as quick as a short one.

    Parameters
    ----------
    details
        Whether to read decisions, results and deliveries, which a list does not show.
    """
    run_ids = [study.current_run for study in studies if study.current_run]
    runs = {run.run_id: run for run in session.scalars(sa.select(RunRow).where(RunRow.run_id.in_(run_ids)))}
    counted = (
        sa.select(InstanceRow.study_uid, sa.func.count())
        .where(InstanceRow.study_uid.in_([study.study_uid for study in studies]), InstanceRow.current)
        .group_by(InstanceRow.study_uid)
    )
    instances = {row[0]: row[1] for row in session.execute(counted)}
    run_ids = run_ids if details else []
    decisions = _by_run(session, DecisionRow, run_ids, DecisionRow.ordinal)
    results = _by_run(session, ResultRow, run_ids, ResultRow.kind)
    deliveries = _by_run(session, DeliveryRow, run_ids, DeliveryRow.id)
    return [
        _study(
            study,
            runs.get(study.current_run or ""),
            instances.get(study.study_uid, 0),
            tuple(_decision(row) for row in decisions.get(study.current_run or "", ())),
            tuple((row.kind, row.sop_instance_uid, row.path) for row in results.get(study.current_run or "", ())),
            tuple(
                (row.sop_instance_uid, row.destination, row.state, row.status, row.reason)
                for row in deliveries.get(study.current_run or "", ())
            ),
        )
        for study in studies
    ]


def _study(
    study: StudyRow,
    run: RunRow | None,
    instances: int,
    decisions: tuple[Decision, ...],
    results: tuple[tuple[str, str, str], ...],
    deliveries: tuple[tuple[str, str, str, int | None, str], ...],
) -> StudyStatus:
    return StudyStatus(
        study_uid=study.study_uid,
        key=study.key,
        state=study.state,
        reason=study.reason,
        step=run.step if run else "",
        revision=run.revision if run else 0,
        instances=instances,
        last_received_at=study.last_received_at.isoformat(timespec="seconds"),
        awaited=tuple(study.awaited),
        ready_because=run.ready_because if run else "",
        summary=run.summary if run else {},
        decisions=decisions,
        results=results,
        deliveries=deliveries,
    )


def _decision(row: DecisionRow) -> Decision:
    keys = ("code", "subject", "reason", "series_uid", "evidence")
    return Decision.restored({key: getattr(row, key) for key in keys})


def _by_run(session: Session, table: Any, run_ids: Sequence[str], order: Any) -> dict[str, list[Any]]:  # noqa: ANN401
    """Return the rows of any table that belong to runs, by run."""
    found: dict[str, list[Any]] = {}
    chosen = sa.select(table).where(table.run_id.in_(run_ids)).order_by(order)
    for row in session.scalars(chosen) if run_ids else ():
        found.setdefault(row.run_id, []).append(row)
    return found


def status_lines(status: NodeStatus) -> list[str]:
    """Return the database as text for a terminal."""
    lines = []
    for study in status.studies:
        lines.append(f"{study.study_uid}  {study.state}  {study.instances} instances  revision {study.revision}")
        if study.reason:
            lines.append(f"    reason: {study.reason}")
        lines += [f"    awaited: {sentence}" for sentence in study.awaited]
        intervals = {
            region: f" ({low:.2f} to {high:.2f})"
            for region, (low, high) in study.summary.get("intervals_ml", {}).items()
        }
        volumes = ", ".join(
            f"{region} {ml:.2f} ml{intervals.get(region, '')}"
            for region, ml in study.summary.get("volumes_ml", {}).items()
        )
        flags = ", ".join(study.summary.get("flags", ()))
        sequences = ", ".join(f"{role} = {series}" for role, series in study.summary.get("sequences", {}).items())
        found = study.summary.get("no_tumour") or volumes
        lines += [f"    {text}" for text in (sequences, found, f"flags: {flags}" if flags else "") if text]
        lines += [f"    {decision.subject}: {decision.reason}" for decision in study.decisions]
        lines += [
            f"    {destination}: {state} {reason}".rstrip() for _, destination, state, _, reason in study.deliveries
        ]
    if not status.studies:
        lines.append("no studies yet: send one to the node's AE title, or try `glionode demo`")
    if status.more_studies:
        lines.append(f"and {status.more_studies} older studies")
    lines += [f"refused {r.at} from {r.calling_ae or '?'}: {r.reason}{_how_often(r)}" for r in status.refusals]
    if status.more_refusals:
        lines.append(f"and {status.more_refusals} older refusals")
    return lines


def _how_often(refusal: RefusalStatus) -> str:
    return f" ({refusal.count} times since {refusal.first_at})" if refusal.count > 1 else ""
