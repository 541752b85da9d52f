"""What people do: put a study first, cancel or replay its run, and switch the node to maintenance."""

import enum

import sqlalchemy as sa
import structlog
from sqlalchemy.orm import Session

from dicom_node.artifacts import Artifacts
from dicom_node.closing import finish
from dicom_node.database import Database
from dicom_node.run_queue import requeue
from dicom_node.settings import Settings
from dicom_node.tables import Priority, RunRow, RunState, StudyRow, SwitchRow, utc_now

__all__ = ["Impossible", "cancel", "in_maintenance", "prioritise", "replay", "set_maintenance"]

_log = structlog.get_logger()

_MAINTENANCE = "maintenance"
_AT_WORK = (RunState.QUEUED, RunState.RUNNING)


class Problem(enum.StrEnum):
    """Why something cannot be done to a study."""

    UNKNOWN = "unknown"
    NO_RUN = "no_run"
    NOT_AT_WORK = "not_at_work"
    AT_WORK = "at_work"


class Impossible(Exception):  # noqa: N818 - named for what happened
    """Something that cannot be done to a study as it stands."""

    def __init__(self, problem: Problem, sentence: str) -> None:
        super().__init__(sentence)
        self.problem = problem


def prioritise(database: Database, study: str, priority: Priority) -> None:
    """Put a study's runs before or behind others, also one that waits already.

    Parameters
    ----------
    study
        Its UID, or the key that pages and logs name it by.

    Raises
    ------
    Impossible
        When there is no such study.
    """
    with database.session() as session:
        row = _found(session, study)
        row.priority = priority
        queued = sa.update(RunRow).where(RunRow.study_uid == row.study_uid, RunRow.state == RunState.QUEUED)
        session.execute(queued.values(priority=priority))
    _log.info("prioritised", study=row.key, priority=priority.name)


def cancel(database: Database, study: str) -> None:
    """Stop a study's run: one that waits at once, one that is at work before its next step.

    Raises
    ------
    Impossible
        When no run of it waits or works.
    """
    with database.session() as session:
        row = _found(session, study)
        run = _newest(session, row)
        if run.state not in _AT_WORK:
            raise Impossible(Problem.NOT_AT_WORK, f"its newest run is {run.state}: there is nothing to cancel")
        finish(session, run, RunState.CANCELLED, "cancelled", "cancelled by hand")
    _log.info("cancelled", study=row.key)


def replay(database: Database, settings: Settings, study: str, *, from_start: bool = False) -> str:
    """Put a study's newest run into the queue again, from the step that failed; return that step.

    Parameters
    ----------
    from_start
        Begin with recognition, so that site rules, the model and settings as they are now count. A run whose steps
        have been cleaned away begins there in any case.

    Raises
    ------
    Impossible
        When there is no run, or it waits or works.
    """
    with database.session() as session:
        row = _found(session, study)
        run = _newest(session, row)
        if run.state in _AT_WORK:
            raise Impossible(Problem.AT_WORK, f"its newest run is {run.state}; cancel it first")
        if from_start or not _can_go_on(settings, run):
            run.step = ""
        run.takeovers = 0
        requeue(session, run)
        step = run.step or "select"
    _log.info("replayed", study=row.key, step=step)
    return step


def in_maintenance(database: Database) -> bool:
    """Tell whether the node drains: new associations are turned away and no further run is begun."""
    with database.session() as session:
        row = session.get(SwitchRow, _MAINTENANCE)
        return row is not None and row.value == "on"


def set_maintenance(database: Database, who: str, *, on: bool) -> None:
    """Begin or end maintenance, for every process of the node."""
    with database.session() as session:
        session.merge(SwitchRow(name=_MAINTENANCE, value="on" if on else "off", who=who, at=utc_now()))
    _log.info("maintenance", on=on, who=who)


def _found(session: Session, study: str) -> StudyRow:
    row = session.get(StudyRow, study) or session.scalar(sa.select(StudyRow).where(StudyRow.key == study))
    if row is None:
        raise Impossible(Problem.UNKNOWN, "no study of this node has that UID or key; `glionode status` lists them")
    return row


def _newest(session: Session, study: StudyRow) -> RunRow:
    run = session.get(RunRow, study.current_run, with_for_update=True) if study.current_run else None
    if run is None:
        sentence = f"the study is {study.state} and has no run yet; `glionode status` says what it waits for"
        raise Impossible(Problem.NO_RUN, sentence)
    return run


def _can_go_on(settings: Settings, run: RunRow) -> bool:
    """Tell whether what the steps before left is still there."""
    artifacts = Artifacts(settings.node.folder, run.run_id)
    return run.step == "deliver" or artifacts.has_arrays_for(run.step)
