"""The end of a run in the database, and the state that its study then has."""

from sqlalchemy.orm import Session

from dicom_node.database.states import RunState, StudyState
from dicom_node.database.tables import RunRow, StudyRow, utc_now

__all__ = ["finish", "follow"]


def finish(session: Session, run: RunRow, state: RunState, code: str = "", reason: str = "") -> None:
    """Close a run; its study gets the same state unless newer content has arrived meanwhile."""
    run.state, run.code, run.reason, run.finished_at = state, code, reason, utc_now()
    follow(session, run)


def follow(session: Session, run: RunRow) -> None:
    """Give the study the state of its run, unless newer content has arrived."""
    study = session.get_one(StudyRow, run.study_uid)
    if study.current_run == run.run_id and study.state != StudyState.RECEIVING:
        study.state, study.reason = StudyState(run.state), run.reason
