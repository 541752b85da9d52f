"""The queue as it is now: every run that waits or runs, studies that are being received, and what ended last."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Session

from dicom_node.database.engine import Database
from dicom_node.database.history_tables import StepTimeRow
from dicom_node.database.maintenance import in_maintenance
from dicom_node.database.states import Priority, RunState, StudyState
from dicom_node.database.tables import InstanceRow, RunRow, StudyRow
from dicom_node.database.worker_slots import WorkerStatus, list_workers
from dicom_node.studies.finding import StudyLabel, labels_of

__all__ = ["MOST_SHOWN", "LiveQueue", "QueueEntry", "read_queue"]

MOST_SHOWN = 100
"""Entries of one kind; more of them are counted."""

ENDED_SHOWN = 10
"""Studies of one final state."""

_NEEDS_A_LOOK = (StudyState.FAILED, StudyState.UNDELIVERED, StudyState.CANCELLED)
_FINISHED = (StudyState.DELIVERED, StudyState.STORED, StudyState.REJECTED, StudyState.KEPT_OUT)


@dataclass(frozen=True, kw_only=True)
class QueueEntry:
    """One run, or a study without one.

    Attributes
    ----------
    label
        By what a person recognises the study; patient data, only for pages behind the login.
    state
        Of the run, or of the study while it has none.
    since
        Since when it waits, runs or arrives; when it ended.
    step, step_since
        The step that runs, and since when; of an ended run the last one.
    awaited
        What it waits for, in sentences.
    images
        How many have arrived, of a study that is being received.
    worker
        That has it, or had it last.
    is_newest
        Whether it is the run of the study on which the buttons act.
    """

    key: str
    label: StudyLabel | None
    state: str
    reason: str
    since: datetime
    priority: Priority
    run_id: str = ""
    revision: int = 0
    step: str = ""
    step_since: datetime | None = None
    awaited: tuple[str, ...] = ()
    images: int = 0
    worker: str = ""
    is_newest: bool = True


@dataclass(frozen=True, kw_only=True)
class LiveQueue:
    """The queue at one moment.

    Attributes
    ----------
    more
        How many run, wait or arrive beside those that are listed.
    needs_a_look
        Studies that a person may have to do something about, newest first.
    """

    running: tuple[QueueEntry, ...]
    waiting: tuple[QueueEntry, ...]
    receiving: tuple[QueueEntry, ...]
    more: int
    needs_a_look: tuple[QueueEntry, ...]
    finished: tuple[QueueEntry, ...]
    workers: tuple[WorkerStatus, ...]
    maintenance: bool


def read_queue(database: Database) -> LiveQueue:
    """Read the queue, by indexes alone: it is as quick with many studies as with few."""
    maintenance = in_maintenance(database)
    listed = (replace(one, age_s=0.0) for one in list_workers(database))
    workers = tuple(replace(one, last_beat="") if one.alive else one for one in listed)
    with database.session() as session:
        running, more_running = _at_work(session, RunState.RUNNING)
        waiting, more_waiting = _at_work(session, RunState.QUEUED)
        receiving, more_receiving = _receiving(session)
        stopped, finished = _ended(session, _NEEDS_A_LOOK), _ended(session, _FINISHED)
        pairs = [*running, *waiting, *receiving, *stopped, *finished]
        labels = labels_of(session, [study.study_uid for study, _ in pairs])
        began = _steps_under_way(session, [run.run_id for _, run in running if run is not None])
        images = _counted(session, [study.study_uid for study, _ in receiving])
    idle = sum(worker.alive for worker in workers) - len(running)

    def shown(entries: Iterable[tuple[StudyRow, RunRow | None]]) -> tuple[QueueEntry, ...]:
        return tuple(_entry(study, run, labels.get(study.study_uid)) for study, run in entries)

    return LiveQueue(
        running=tuple(replace(one, step_since=began.get(one.run_id)) for one in shown(running)),
        waiting=tuple(
            replace(one, awaited=(_what_is_awaited(place, idle, maintenance=maintenance, workers=workers),))
            for place, one in enumerate(shown(waiting))
        ),
        receiving=tuple(_arriving(study, labels.get(study.study_uid), images) for study, _ in receiving),
        more=more_running + more_waiting + more_receiving,
        needs_a_look=shown(stopped),
        finished=shown(finished),
        workers=workers,
        maintenance=maintenance,
    )


_Pairs = Sequence[tuple[StudyRow, RunRow | None]]


def _at_work(session: Session, state: RunState) -> tuple[_Pairs, int]:
    """Return the runs in a state, in the order in which they are begun, and how many more there are."""
    chosen = (
        sa.select(StudyRow, RunRow)
        .join(StudyRow, StudyRow.study_uid == RunRow.study_uid)
        .where(RunRow.state == state)
        .order_by(RunRow.priority, RunRow.ready_at)
        .limit(MOST_SHOWN)
    )
    found = [(study, run) for study, run in session.execute(chosen)]
    return found, _more(session, sa.select(sa.func.count()).where(RunRow.state == state), found)


def _receiving(session: Session) -> tuple[_Pairs, int]:
    of_state = StudyRow.state == StudyState.RECEIVING
    newest = sa.select(StudyRow).where(of_state).order_by(StudyRow.last_received_at.desc()).limit(MOST_SHOWN)
    found = [(study, None) for study in session.scalars(newest)]
    return found, _more(session, sa.select(sa.func.count()).where(of_state), found)


def _more(session: Session, counted: sa.Select[int], found: _Pairs) -> int:
    return (session.scalar(counted) or 0) - len(found) if len(found) == MOST_SHOWN else 0


def _ended(session: Session, states: Sequence[StudyState]) -> _Pairs:
    """Return the newest studies in each of some states; one statement for each, as one index runs."""
    found: list[tuple[StudyRow, RunRow | None]] = []
    for state in states:
        chosen = (
            sa.select(StudyRow, RunRow)
            .outerjoin(RunRow, RunRow.run_id == StudyRow.current_run)
            .where(StudyRow.state == state)
            .order_by(StudyRow.last_received_at.desc(), StudyRow.study_uid.desc())
            .limit(ENDED_SHOWN)
        )
        found += [(study, run) for study, run in session.execute(chosen)]
    return sorted(found, key=lambda pair: pair[0].last_received_at, reverse=True)


def _steps_under_way(session: Session, run_ids: Sequence[str]) -> dict[str, datetime]:
    of_runs = (StepTimeRow.run_id.in_(run_ids), StepTimeRow.ended_at.is_(None))
    return {row.run_id: row.began_at for row in session.scalars(sa.select(StepTimeRow).where(*of_runs))}


def _counted(session: Session, uids: Sequence[str]) -> dict[str, int]:
    of_studies = sa.select(InstanceRow.study_uid, sa.func.count()).where(InstanceRow.study_uid.in_(uids))
    grouped = of_studies.where(InstanceRow.current).group_by(InstanceRow.study_uid)
    return {row[0]: row[1] for row in session.execute(grouped)}


def _entry(study: StudyRow, run: RunRow | None, label: StudyLabel | None) -> QueueEntry:
    if run is None:
        since, priority, reason = study.last_received_at, Priority(study.priority), study.reason
        return QueueEntry(key=study.key, label=label, state=study.state, reason=reason, since=since, priority=priority)
    awaited: tuple[str, ...] = ()
    if run.state == RunState.UNDELIVERED and run.deliver_at is not None:
        awaited = (f"the next attempt at {run.deliver_at:%H:%M:%S} UTC",)
    return QueueEntry(
        key=study.key,
        label=label,
        state=run.state,
        reason=run.reason,
        since=run.finished_at or run.ready_at,
        priority=Priority(run.priority),
        run_id=run.run_id,
        revision=run.revision,
        step=run.step,
        awaited=awaited,
        worker=run.executor,
        is_newest=study.current_run == run.run_id,
    )


def _arriving(study: StudyRow, label: StudyLabel | None, images: dict[str, int]) -> QueueEntry:
    entry = _entry(study, None, label)
    awaited = tuple(study.awaited) or ("more images, or the end of the association",)
    return replace(entry, since=study.first_received_at, awaited=awaited, images=images.get(study.study_uid, 0))


def _what_is_awaited(place: int, idle: int, *, maintenance: bool, workers: Sequence[WorkerStatus]) -> str:
    """Return why a run has not begun, the first reason first."""
    if maintenance:
        return "the end of maintenance"
    if not any(worker.alive for worker in workers):
        return "a worker: none is running"
    if place == 0:
        return "a worker, which begins it at once" if idle > 0 else "a worker that is free"
    return f"{place} {'study' if place == 1 else 'studies'} before it"
