"""The queue of uploads: a bounded number waits in the database, and each is seen by its owner alone."""

import enum
import json
import secrets
import shutil
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path

import sqlalchemy as sa
import structlog
from sqlalchemy.orm import Session

from dicom_node.database.engine import Database
from dicom_node.database.states import JobState
from dicom_node.database.tables import utc_now
from dicom_node.database.upload_tables import WorkbenchRow
from dicom_node.database.worker_slots import list_workers
from dicom_node.settings import WorkbenchSettings

__all__ = [
    "ARCHIVE",
    "EXAMPLE",
    "LONGEST_UPLOAD",
    "Job",
    "QueueCounts",
    "QueueFull",
    "Removal",
    "UploadedFile",
    "claim_job",
    "count_jobs",
    "end_job",
    "enter_step",
    "files_of",
    "find_job",
    "give_back_jobs",
    "input_folder",
    "is_computed",
    "jobs_of",
    "new_job_id",
    "put_back_job",
    "remove_expired",
    "remove_job",
    "remove_stopped",
    "result_folder",
    "submit",
]

ARCHIVE = "result.zip"
"""All files of a result, in its folder."""

MOST_ATTEMPTS = 2
"""An upload fails once it was begun twice and not finished: it may be why its process ended."""

LONGEST_UPLOAD = timedelta(hours=1)
"""A folder without a job is an upload that has not ended; after this it has broken off."""

_COUNTING = 0x776F726B
"""Key of PostgreSQL's advisory lock under which one process at a time counts who waits."""

_log = structlog.get_logger()


class QueueFull(Exception):  # noqa: N818 - named for what happened
    """As many uploads wait as may; the message is for the person who wants to add one."""


class Removal(enum.Enum):
    """What has come of the wish to remove a job."""

    DONE = enum.auto()
    BEGUN = enum.auto()  # a worker computes it: that is ended first
    NO_JOB = enum.auto()


@dataclass(frozen=True, kw_only=True)
class UploadedFile:
    """One file of an upload.

    Attributes
    ----------
    stored
        Its name in the input folder of the job, chosen by the node.
    name
        The last part of the name that the sender gave it.
    role
        The sequence that the sender says it is, or `role_names.GROUND_TRUTH`; empty where it is to be found out.
    folder
        The rest of that name, which may tell the sequence. It never leads to a file.
    pixel_mm
        Edge of a pixel of an image, as the sender states it.
    """

    stored: str
    name: str
    role: str = ""
    folder: str = ""
    pixel_mm: float | None = None


EXAMPLE = UploadedFile(stored="", name="Synthetic example", role="example")
"""Stands for the files of a job that its worker makes itself."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """One upload and what has come of it.

    Attributes
    ----------
    step
        What a worker is doing, while it runs.
    place
        Its place in the queue, 1 for the next; 0 unless it waits.
    """

    id: str
    files: tuple[UploadedFile, ...]
    state: JobState
    step: str
    reason: str
    place: int
    created_at: datetime
    expires_at: datetime


@dataclass(frozen=True, kw_only=True)
class QueueCounts:
    """How many uploads of all owners wait, and how many are computed."""

    waiting: int
    running: int


def count_jobs(database: Database) -> QueueCounts:
    """Count the uploads in the queue; whose they are, and what they are, only their owners see."""
    active = (JobState.WAITING, JobState.RUNNING, JobState.STOPPING)
    counted = sa.select(WorkbenchRow.state, sa.func.count()).where(WorkbenchRow.state.in_(active))
    with database.session() as session:
        found = {row[0]: row[1] for row in session.execute(counted.group_by(WorkbenchRow.state))}
    waiting = found.pop(JobState.WAITING, 0)
    return QueueCounts(waiting=waiting, running=sum(found.values()))


def new_job_id() -> str:
    """Return the name of a new job, which nobody can guess."""
    return secrets.token_hex(16)


def input_folder(folder: Path, job_id: str) -> Path:
    """Return the folder of a job's files as they were sent."""
    return folder / "workbench" / job_id / "input"


def result_folder(folder: Path, job_id: str) -> Path:
    """Return the folder of a job's result."""
    return folder / "workbench" / job_id / "result"


def submit(
    database: Database, limits: WorkbenchSettings, job_id: str, owner: str, files: Sequence[UploadedFile]
) -> None:
    """Add an upload, whose files are stored, to the queue.

    Raises
    ------
    QueueFull
        When as many wait as the settings allow.
    """

    def add(session: Session) -> bool:
        if session.get_bind().dialect.name == "postgresql":  # SQLite has one writer at a time
            session.execute(sa.select(sa.func.pg_advisory_xact_lock(_COUNTING)))
        waiting = sa.select(sa.func.count()).where(WorkbenchRow.state == JobState.WAITING)
        if (session.scalar(waiting) or 0) >= limits.waiting:
            return False
        expires = utc_now() + timedelta(hours=limits.kept_hours)
        text = json.dumps([asdict(file) for file in files])
        session.add(WorkbenchRow(id=job_id, owner=owner, files=text, expires_at=expires))
        return True

    if not database.transact(add):
        raise QueueFull(f"{limits.waiting} uploads are waiting already; try again when one of them is done.")


def find_job(database: Database, job_id: str, owner: str) -> Job | None:
    """Return a job of this owner; None if there is none, or it belongs to somebody else."""
    with database.session() as session:
        row = session.get(WorkbenchRow, job_id)
        return _job(session, row) if row is not None and row.owner == owner else None


def jobs_of(database: Database, owner: str) -> list[Job]:
    """Return the jobs of an owner, newest first."""
    own = sa.select(WorkbenchRow).where(WorkbenchRow.owner == owner).order_by(WorkbenchRow.created_at.desc())
    with database.session() as session:
        return [_job(session, row) for row in session.scalars(own).all()]


def _job(session: Session, row: WorkbenchRow) -> Job:
    return Job(
        id=row.id,
        files=_files(row),
        state=JobState(row.state),
        step=row.step,
        reason=row.reason,
        place=_place(session, row),
        created_at=row.created_at,
        expires_at=row.expires_at,
    )


def _files(row: WorkbenchRow) -> tuple[UploadedFile, ...]:
    return tuple(UploadedFile(**file) for file in json.loads(row.files))


def _place(session: Session, row: WorkbenchRow) -> int:
    if row.state != JobState.WAITING:
        return 0
    earlier = sa.tuple_(WorkbenchRow.created_at, WorkbenchRow.id) <= sa.tuple_(
        sa.literal(row.created_at, WorkbenchRow.created_at.type), sa.literal(row.id)
    )
    return session.scalar(sa.select(sa.func.count()).where(WorkbenchRow.state == JobState.WAITING, earlier)) or 0


def claim_job(database: Database, executor: str) -> str | None:
    """Take the job that waits longest; return its name, or None."""
    waiting = sa.select(WorkbenchRow).where(WorkbenchRow.state == JobState.WAITING)
    oldest = waiting.order_by(WorkbenchRow.created_at, WorkbenchRow.id).limit(1)
    with database.session() as session:
        row = session.scalar(oldest.with_for_update(skip_locked=True))
        if row is None:
            return None
        row.state, row.executor, row.attempt = JobState.RUNNING, executor, row.attempt + 1
        return row.id


def files_of(database: Database, job_id: str) -> tuple[UploadedFile, ...]:
    """Return the files of a job."""
    with database.session() as session:
        return _files(session.get_one(WorkbenchRow, job_id))


def give_back_jobs(database: Database, executors: Collection[str]) -> None:
    """Return the jobs of workers that have ended to the queue."""
    left = sa.select(WorkbenchRow).where(
        WorkbenchRow.state == JobState.RUNNING, WorkbenchRow.executor.in_(list(executors))
    )
    with database.session() as session:
        for row in session.scalars(left.with_for_update(skip_locked=True)).all():
            row.state, row.executor, row.step = JobState.WAITING, "", ""
            _log.warning("job_given_back", job=row.id, attempt=row.attempt)
            if row.attempt >= MOST_ATTEMPTS:
                row.state, row.ended_at = JobState.FAILED, utc_now()
                row.reason = (
                    f"It was begun {row.attempt} times and not finished. Check the node's log, then send it again."
                )


def put_back_job(database: Database, job_id: str, executor: str) -> None:
    """Return the job of a worker that stops to the queue; that counts as no attempt."""
    with database.session() as session:
        row = session.get(WorkbenchRow, job_id, with_for_update=True)
        if row is not None and (row.state, row.executor) == (JobState.RUNNING, executor):
            row.state, row.executor, row.step, row.attempt = JobState.WAITING, "", "", row.attempt - 1


def enter_step(database: Database, job_id: str, step: str) -> None:
    """Note what the worker is doing."""
    with database.session() as session:
        session.execute(sa.update(WorkbenchRow).where(WorkbenchRow.id == job_id).values(step=step))


def end_job(database: Database, job_id: str, executor: str, problem: str = "") -> None:
    """Note the end of a job, unless another worker has it by now.

    Parameters
    ----------
    problem
        Why there is no result; empty if there is one.
    """
    with database.session() as session:
        row = session.get(WorkbenchRow, job_id, with_for_update=True)
        if row is None or (row.state, row.executor) != (JobState.RUNNING, executor):
            return
        row.state = JobState.FAILED if problem else JobState.DONE
        row.step, row.reason, row.ended_at = "", problem, utc_now()


def is_computed(database: Database, job_id: str, executor: str) -> bool:
    """Return whether a job is still this worker's, and wanted."""
    with database.session() as session:
        row = session.get(WorkbenchRow, job_id)
        return row is not None and (row.state, row.executor) == (JobState.RUNNING, executor)


def remove_job(database: Database, folder: Path, job_id: str, owner: str) -> Removal:
    """Remove a job of this owner with all its files; one that a living worker computes once that has been ended."""
    alive = {worker.executor for worker in list_workers(database) if worker.alive}
    with database.session() as session:
        row = session.get(WorkbenchRow, job_id, with_for_update=True)
        if row is None or row.owner != owner:
            return Removal.NO_JOB
        if row.state in (JobState.RUNNING, JobState.STOPPING) and row.executor in alive:
            row.state = JobState.STOPPING
            return Removal.BEGUN
        session.delete(row)
    shutil.rmtree(folder / "workbench" / job_id, ignore_errors=True)
    return Removal.DONE


def remove_stopped(database: Database, folder: Path, executors: Collection[str]) -> None:
    """Remove the jobs that their owners wanted removed while these workers computed them, which they do no longer."""
    unwanted = sa.select(WorkbenchRow).where(
        WorkbenchRow.state == JobState.STOPPING, WorkbenchRow.executor.in_(list(executors))
    )
    with database.session() as session:
        rows = session.scalars(unwanted.with_for_update(skip_locked=True)).all()
        names = [row.id for row in rows]
        for row in rows:
            session.delete(row)
    for name in names:
        shutil.rmtree(folder / "workbench" / name, ignore_errors=True)
        _log.info("job_stopped", job=name)


def remove_expired(database: Database, folder: Path, now: datetime) -> int:
    """Remove jobs whose time has passed, and uploads that broke off; return how many folders were removed."""
    with database.session() as session:
        expired = sa.select(WorkbenchRow).where(WorkbenchRow.expires_at < now, WorkbenchRow.state != JobState.RUNNING)
        gone = session.scalars(expired.with_for_update(skip_locked=True)).all()
        names = {row.id for row in gone}
        for row in gone:
            session.delete(row)
        session.flush()
        known = set(session.scalars(sa.select(WorkbenchRow.id)).all())
    root = folder / "workbench"
    broken_off = (now - LONGEST_UPLOAD).timestamp()
    for path in root.iterdir() if root.is_dir() else ():
        with suppress(FileNotFoundError):  # an upload that is refused meanwhile
            if path.name not in known and path.stat().st_mtime < broken_off:
                names.add(path.name)
    for name in names:
        shutil.rmtree(root / name, ignore_errors=True)
    return len(names)
