"""The queue of runs in the database: which run is next, and what happens to the runs of dead workers."""

from collections.abc import Collection
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.orm import Session

from dicom_node.database.engine import Database
from dicom_node.database.standing import finish, follow
from dicom_node.database.states import RunState
from dicom_node.database.tables import RunRow, utc_now

__all__ = [
    "Start",
    "claim_next",
    "claim_shadow",
    "follow",
    "give_back_rounds",
    "has_work",
    "own_starts",
    "put_back",
    "requeue",
    "take_over",
    "workflow_id",
]

TAKE_OVERS = 10
"""If more workers than this die at one step of a run, the run fails: the next worker would die too."""


@dataclass(frozen=True, kw_only=True)
class Start:
    """One start of a run.

    Attributes
    ----------
    attempt
        Number of the start; what an earlier start still does is refused.
    first
        The step to begin with; empty for the first step.
    """

    run_id: str
    attempt: int
    first: str = ""

    @property
    def workflow_id(self) -> str:
        """Name of its durable workflow; the same name twice is one workflow."""
        return workflow_id(self.run_id, self.attempt)


def workflow_id(run_id: str, attempt: int) -> str:
    """Return the name of a run's durable workflow; for the first start it is the run's own name."""
    return f"{run_id}.{attempt}" if attempt else run_id


def claim_next(database: Database, executor: str) -> Start | None:
    """Take the next run: the most urgent, then the one that has waited longest."""
    queued = sa.select(RunRow).where(RunRow.state == RunState.QUEUED)
    with database.session() as session:
        first = queued.order_by(RunRow.priority, RunRow.ready_at).limit(1).with_for_update(skip_locked=True)
        run = session.scalar(first)
        if run is None:
            return None
        run.state, run.executor = RunState.RUNNING, executor
        return _start(run)


def claim_shadow(database: Database) -> str | None:
    """Take a run that production has finished and that is still due for the shadow model; return its id.

    Deliveries that are under way stay with the worker that performs them.
    """
    due = sa.select(RunRow).where(RunRow.shadow_due).order_by(RunRow.ready_at).limit(1)
    with database.session() as session:
        run = session.scalar(due.with_for_update(skip_locked=True))
        if run is None:
            return None
        run.shadow_due = False
        return run.run_id


def own_starts(database: Database, executor: str) -> list[Start]:
    """Return the runs that a worker had when it stopped, so that none is lost between two rows."""
    with database.session() as session:
        rows = session.scalars(_running_at([executor])).all()
        return [_start(run) for run in rows]


def has_work(database: Database, executor: str) -> bool:
    """Return whether a worker has a run at work."""
    with database.session() as session:
        return session.scalar(_running_at([executor]).limit(1)) is not None


def take_over(session: Session, dead: Collection[str]) -> list[Start]:
    """Put the runs of dead workers back into the queue, as `put_back` does, and make their delivery rounds due."""
    give_back_rounds(session, dead)
    return put_back(session, dead)


def put_back(session: Session, executors: Collection[str]) -> list[Start]:
    """Put runs back into the queue that no worker processes any more; return the starts that have ended."""
    over = []
    for run in session.scalars(_running_at(executors).with_for_update(skip_locked=True)).all():
        over.append(_start(run))
        run.takeovers += 1
        if run.takeovers > TAKE_OVERS:
            sentence = f"{run.takeovers} workers died during this run; check memory and the node's log, then replay it"
            finish(session, run, RunState.FAILED, "worker_killed", sentence)
        else:
            requeue(session, run)
    return over


def give_back_rounds(session: Session, executors: Collection[str]) -> None:
    """Make the delivery rounds due during which workers died."""
    of_theirs = (RunRow.state == RunState.UNDELIVERED, RunRow.executor.in_(list(executors)))
    session.execute(sa.update(RunRow).where(*of_theirs).values(deliver_at=utc_now(), executor=""))


def requeue(session: Session, run: RunRow) -> None:
    """Queue a run again at the step that it was in; what its earlier start still does is refused."""
    run.state, run.executor, run.code, run.reason, run.finished_at = RunState.QUEUED, "", "", "", None
    run.attempt += 1
    follow(session, run)


def _running_at(executors: Collection[str]) -> sa.Select[RunRow]:
    return sa.select(RunRow).where(RunRow.state == RunState.RUNNING, RunRow.executor.in_(list(executors)))


def _start(run: RunRow) -> Start:
    return Start(run_id=run.run_id, attempt=run.attempt, first=run.step)
