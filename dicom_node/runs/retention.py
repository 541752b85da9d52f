"""Cleaning by the site's policy: pixels, results and history of finished studies, but nothing undelivered."""

import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import sqlalchemy as sa
import structlog
from sqlalchemy.orm import Session

from dicom_node.audit.trail import AuditTrail
from dicom_node.database.engine import Database
from dicom_node.database.history_tables import OpinionRow, StepTimeRow
from dicom_node.database.identity_tables import StudyIdentityRow
from dicom_node.database.states import AssociationEnd, DeliveryState, RunState, StudyState
from dicom_node.database.tables import (
    AssociationRow,
    CommitmentRow,
    DecisionRow,
    DeliveryRow,
    InstanceRow,
    RecognitionRow,
    RefusalRow,
    ResultRow,
    RunRow,
    ShadowRow,
    StudyRow,
)
from dicom_node.delivery.proof import ANSWER_COUNTS
from dicom_node.notifications.notices import forget
from dicom_node.settings import Settings
from dicom_node.studies.run_folder import RunFolder

__all__ = ["Cleaned", "Retention"]

_log = structlog.get_logger()

EVERY = timedelta(hours=1)

_DONE = (StudyState.DELIVERED, StudyState.REJECTED, StudyState.KEPT_OUT)
"""States in which everything that was to be sent was sent, or nothing ever will be. Not `STORED`: results without a
destination are the only copy."""

_UNJUDGED = sa.and_(StudyRow.state == StudyState.FAILED, StudyRow.current_run.is_(None))
"""A study that could not be judged (`assembly.NOT_JUDGED`): there is nothing to send, and it may never be replayed."""

_Remove = Callable[[Session, StudyRow, Sequence[RunRow]], bool]

_REMOVED = {
    "_remove_pixels": "received instances",
    "_remove_results": "results and files of the steps",
    "_remove_history": "entries in the database",
}
"""What the audit trail says was removed."""

_RUN_DONE = (RunState.DELIVERED, RunState.REJECTED, RunState.UNCHANGED, RunState.SUPERSEDED)

_REPLACEABLE = (RunState.FAILED, RunState.CANCELLED, RunState.STORED)
"""Also done if the study has the state of another run whose result was delivered."""


@dataclass(frozen=True, kw_only=True)
class Cleaned:
    """Number of studies that each kind of cleaning changed."""

    pixels: int
    results: int
    history: int


class Retention:
    """Removes what the policy no longer keeps."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self._policy = settings.retention
        self._folder = settings.node.folder
        self._database = database
        self._trail = AuditTrail(settings.node.folder, settings.node.ae_title, database)
        self._next: datetime | None = None

    def clean_when_due(self, now: datetime) -> Cleaned | None:
        """Clean once an hour."""
        if self._next is not None and now < self._next:
            return None
        self._next = now + EVERY
        return self.clean(now)

    def clean(self, now: datetime) -> Cleaned:
        """Remove everything whose time has passed, the pixels first.

        If it is killed midway, files are removed but their rows are still there; the next cleaning completes it.
        """
        done = Cleaned(
            pixels=self._each(self._policy.pixels_days, now, self._remove_pixels),
            results=self._each(self._policy.results_days, now, self._remove_results),
            history=self._each(self._policy.history_days, now, self._remove_history),
        )
        self._forget_commitments(now)
        self._forget_connections(now)
        forget(self._database, now)
        if done != Cleaned(pixels=0, results=0, history=0):
            _log.info("cleaned", pixels=done.pixels, results=done.results, history=done.history)
        return done

    def _each(self, days: float, now: datetime, remove: _Remove) -> int:
        if not days:
            return 0
        before = now - timedelta(days=days)
        with self._database.session() as session:
            done = sa.or_(StudyRow.state.in_(_DONE), _UNJUDGED)
            uids = session.scalars(sa.select(StudyRow.study_uid).where(done, StudyRow.last_received_at < before)).all()
        return sum(self._clean_or_log(uid, before, remove) for uid in uids)

    def _clean_or_log(self, study_uid: str, before: datetime, remove: _Remove) -> bool:
        """Clean one study; files that cannot be removed keep their rows and are tried again."""
        try:
            study = self._trail.study(study_uid)
            done = self._clean(study_uid, before, remove)
            if done:
                self._trail.record(self._trail.report.deleted(study, _REMOVED[remove.__name__]))
            return done  # noqa: TRY300 - as the others
        except OSError as error:
            _log.warning("not_cleaned", error=type(error).__name__)
            return False

    def _clean(self, study_uid: str, before: datetime, remove: _Remove) -> bool:
        """Clean one study, unless something has happened to it since it was chosen."""
        with self._database.session() as session:
            study = session.get(StudyRow, study_uid, with_for_update=True)
            if study is None or not _is_done(study) or study.last_received_at >= before:
                return False
            runs = session.scalars(sa.select(RunRow).where(RunRow.study_uid == study_uid)).all()
            done = _RUN_DONE + (_REPLACEABLE if _is_replaced(study, runs) else ())
            ended = all(run.state in done and (run.finished_at is None or run.finished_at < before) for run in runs)
            return ended and not _undelivered(session, study, runs) and remove(session, study, runs)

    def _remove_pixels(self, session: Session, study: StudyRow, _runs: Sequence[RunRow]) -> bool:
        rows = session.scalars(sa.select(InstanceRow).where(InstanceRow.study_uid == study.study_uid)).all()
        if not rows:
            return False
        _remove_all([self._folder / "inbox" / study.study_uid])
        for row in rows:
            session.delete(row)
        return True

    def _remove_results(self, session: Session, study: StudyRow, runs: Sequence[RunRow]) -> bool:
        rows = session.scalars(
            sa.select(ResultRow).where(ResultRow.study_uid == study.study_uid, ResultRow.path != "")
        ).all()
        folders = [
            self._folder / "results" / study.study_uid,
            *(RunFolder(self._folder, r.run_id).folder for r in runs),
        ]
        removed = _remove_all(folders)
        for row in rows:
            row.path = ""  # its UIDs stay: a later report names the one that it replaces
        return bool(rows) or removed

    def _remove_history(self, session: Session, study: StudyRow, runs: Sequence[RunRow]) -> bool:
        held = sa.select(sa.func.count()).where(InstanceRow.study_uid == study.study_uid)
        kept = sa.select(sa.func.count()).where(ResultRow.study_uid == study.study_uid, ResultRow.path != "")
        if session.scalar(held) or session.scalar(kept):
            return False  # files go first, by their own policies
        ids = [run.run_id for run in runs]
        for table in (OpinionRow, StepTimeRow, DecisionRow, RecognitionRow, ShadowRow, DeliveryRow, ResultRow, RunRow):
            session.execute(sa.delete(table).where(table.run_id.in_(ids)))
        session.execute(sa.delete(StudyIdentityRow).where(StudyIdentityRow.study_uid == study.study_uid))
        session.delete(study)
        return True

    def _forget_commitments(self, now: datetime) -> None:
        """Remove requests for storage commitment whose answer would no longer count, whatever the policy is."""
        with self._database.session() as session:
            session.execute(sa.delete(CommitmentRow).where(CommitmentRow.asked_at < now - ANSWER_COUNTS))

    def _forget_connections(self, now: datetime) -> None:
        """Remove refusals, and associations that nothing refers to any more."""
        if not self._policy.history_days:
            return
        before = now - timedelta(days=self._policy.history_days)
        used = sa.select(InstanceRow.association_id)
        with self._database.session() as session:
            session.execute(sa.delete(RefusalRow).where(RefusalRow.at < before))
            old = (AssociationRow.end != AssociationEnd.OPEN, AssociationRow.opened_at < before)
            session.execute(sa.delete(AssociationRow).where(*old, AssociationRow.association_id.not_in(used)))


def _is_done(study: StudyRow) -> bool:
    """Return whether everything of a study that was to be sent was sent, or nothing will be: as `_each` chooses."""
    return study.state in _DONE or (study.state == StudyState.FAILED and study.current_run is None)


def _is_replaced(study: StudyRow, runs: Sequence[RunRow]) -> bool:
    """Return whether the current result was delivered; it replaces what other runs of the study have left."""
    return any(run.run_id == study.current_run and run.state == RunState.DELIVERED for run in runs)


def _undelivered(session: Session, study: StudyRow, runs: Sequence[RunRow]) -> bool:
    """Return whether any object of the study's current result was not delivered."""
    current = [run.run_id for run in runs if run.run_id == study.current_run]
    open_rows = sa.select(DeliveryRow.id).where(
        DeliveryRow.run_id.in_(current),
        DeliveryRow.state.not_in((DeliveryState.ACCEPTED, DeliveryState.CALLED_OFF)),
    )
    return session.scalar(open_rows.limit(1)) is not None


def _remove_all(folders: Iterable[Path]) -> bool:
    """Remove folders with what is in them; return whether there was one."""
    present = [folder for folder in folders if folder.exists()]
    for folder in present:
        shutil.rmtree(folder)
    return bool(present)
