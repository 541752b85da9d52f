"""Workers and their heartbeats: which worker has which slot, which have died, and which one has a duty."""

import os
import secrets
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.orm import Session

from dicom_node.database.engine import Database
from dicom_node.database.tables import LeaseRow, WorkerRow

__all__ = ["BEAT_S", "DEAD_AFTER", "SlotLost", "WorkerBook", "WorkerStatus", "has_lease", "list_workers"]

BEAT_S = 2.0
DEAD_AFTER = timedelta(seconds=15)
"""Seven heartbeats: a worker that a busy machine delays for less does not count as dead."""

LEASE = timedelta(seconds=10)


class SlotLost(Exception):  # noqa: N818 - named for what happened
    """Another process has this worker's slot: the worker was silent for so long that it counted as dead."""


@dataclass(frozen=True, kw_only=True)
class WorkerStatus:
    """One worker in the database; `age_s` is the age of its heartbeat."""

    executor: str
    gpu: str
    alive: bool
    last_beat: str
    age_s: float = 0.0


class WorkerBook:
    """One worker's place in the database.

    Parameters
    ----------
    gpu
        The GPU that it works on, as ``CUDA_VISIBLE_DEVICES`` names it; empty for none or all.
    """

    def __init__(self, database: Database, gpu: str = "") -> None:
        self._database = database
        self._host, self._pid, self._token = socket.gethostname()[:60], os.getpid(), secrets.token_hex(16)
        self.executor = database.transact(lambda session: self._claim_slot(session, gpu))

    def beat(self) -> None:
        """Record that this worker is alive.

        Raises
        ------
        SlotLost
            When another process has the slot.
        """
        with self._database.session() as session:
            row = session.get_one(WorkerRow, self.executor, with_for_update=True)
            if row.token != self._token:
                raise SlotLost(self.executor)
            row.beat_at = self._database.now(session)

    def end(self) -> None:
        """Record that this worker stops, so that its slot is free at once."""
        with self._database.session() as session:
            row = session.get_one(WorkerRow, self.executor, with_for_update=True)
            if row.token == self._token:
                row.ended = True

    def has_lease(self, name: str) -> bool:
        """Take or keep a duty that only one worker has; return whether this worker has it now."""
        return has_lease(self._database, name, self.executor)

    def dead_executors(self, session: Session) -> Sequence[str]:
        """Return the slots whose workers have stopped or died."""
        alive_since = self._database.now(session) - DEAD_AFTER
        rows = session.scalars(sa.select(WorkerRow).where(WorkerRow.executor != self.executor)).all()
        return [row.executor for row in rows if row.ended or row.beat_at < alive_since or self._is_gone(row)]

    def _claim_slot(self, session: Session, gpu: str) -> str:
        """Take the first free slot on this host; it is stable, so that a restarted worker finds its own runs."""
        now = self._database.now(session)
        name, slot = f"gpu{gpu}-" if gpu else "", 0
        while True:
            executor = f"{self._host}/{name}{slot}"
            row = session.get(WorkerRow, executor, with_for_update=True)
            if row is None:
                row = WorkerRow(executor=executor, host=self._host, gpu=gpu)
                session.add(row)
                break
            if row.ended or row.beat_at < now - DEAD_AFTER or self._is_gone(row):
                break
            slot += 1
        row.pid, row.token, row.started_at, row.beat_at, row.ended = self._pid, self._token, now, now, False
        session.flush()
        return executor

    def _is_gone(self, row: WorkerRow) -> bool:
        """Return whether a worker of this host has died, without waiting for missing heartbeats."""
        return row.host == self._host and not Path("/proc", str(row.pid)).exists()


def has_lease(database: Database, name: str, holder: str) -> bool:
    """Take or keep a duty that only one process has; return whether this holder has it now."""

    def take(session: Session) -> bool:
        now = database.now(session)
        row = session.get(LeaseRow, name, with_for_update=True)
        if row is None:
            session.add(LeaseRow(name=name, holder=holder, until=now + LEASE))
            return True
        if row.holder != holder and row.until > now:
            return False
        row.holder, row.until = holder, now + LEASE
        return True

    return database.transact(take)


def list_workers(database: Database) -> list[WorkerStatus]:
    """Return every worker that has not stopped, and whether it is alive."""
    with database.session() as session:
        now = database.now(session)
        alive_since = now - DEAD_AFTER
        rows = session.scalars(sa.select(WorkerRow).where(~WorkerRow.ended).order_by(WorkerRow.executor)).all()
        return [
            WorkerStatus(
                executor=row.executor,
                gpu=row.gpu,
                alive=row.beat_at >= alive_since,
                last_beat=row.beat_at.isoformat(timespec="seconds"),
                age_s=max((now - row.beat_at).total_seconds(), 0.0),
            )
            for row in rows
        ]
