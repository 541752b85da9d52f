"""The steps and the end of a run in the database, and the state that its study then has."""

from collections.abc import Mapping
from types import MappingProxyType

import sqlalchemy as sa
from sqlalchemy.orm import Session

from dicom_node.database.history_tables import StepTimeRow
from dicom_node.database.notice_tables import note_event
from dicom_node.database.states import NodeEvent, RunState, StudyState
from dicom_node.database.tables import RunRow, StudyRow, utc_now

__all__ = ["enter", "finish", "follow"]


_TOLD: Mapping[RunState, NodeEvent] = MappingProxyType(
    {RunState.FAILED: NodeEvent.STUDY_STOPPED, RunState.DELIVERED: NodeEvent.RESULTS_DELIVERED}
)
"""Ends of runs of which somebody may want to be told."""


def finish(session: Session, run: RunRow, state: RunState, code: str = "", reason: str = "") -> None:
    """Close a run; its study gets the same state unless newer content has arrived meanwhile."""
    changed = run.state != state
    run.state, run.code, run.reason, run.finished_at = state, code, reason, utc_now()
    _close_steps(session, run)
    follow(session, run)
    if changed and state in _TOLD:
        note_event(session, _TOLD[state], session.get_one(StudyRow, run.study_uid).key, code)


def enter(session: Session, run: RunRow, step: str) -> None:
    """Note that a step of a run has begun, which ends the one before; a step that goes on elsewhere began once."""
    open_rows = sa.select(StepTimeRow).where(StepTimeRow.run_id == run.run_id, StepTimeRow.ended_at.is_(None))
    if any(row.step == step for row in session.scalars(open_rows)):
        return
    _close_steps(session, run)
    session.add(StepTimeRow(run_id=run.run_id, step=step))


def _close_steps(session: Session, run: RunRow) -> None:
    open_steps = sa.update(StepTimeRow).where(StepTimeRow.run_id == run.run_id, StepTimeRow.ended_at.is_(None))
    session.execute(open_steps.values(ended_at=utc_now()))


def follow(session: Session, run: RunRow) -> None:
    """Give the study the state of its run, unless newer content has arrived."""
    study = session.get_one(StudyRow, run.study_uid)
    if study.current_run == run.run_id and study.state != StudyState.RECEIVING:
        study.state, study.reason = StudyState(run.state), run.reason
