"""Delivery of a run's objects: what each destination has not accepted yet, sent again until it has."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

import sqlalchemy as sa

from dicom_node.closing import finish
from dicom_node.database import Database
from dicom_node.peers import Peer, destinations
from dicom_node.settings import Settings
from dicom_node.tables import DeliveryRow, DeliveryState, ResultRow, RunRow, RunState, utc_now
from inference.errors import InferenceReason
from viewer_integration.delivery import send_files

__all__ = ["Outbox", "pause_after"]

FIRST_PAUSE_S = 5.0
LONGEST_PAUSE_S = 900.0
"""A destination that is down is tried after 5, 10, 20 s and so on, at last every quarter of an hour, without end."""

CLAIM = timedelta(minutes=30)
"""A round of delivery is one worker's for this long; one that dies in it delays the next round no longer."""


def pause_after(rounds: int) -> timedelta:
    """Return how long is waited after so many rounds in which not everything went through."""
    return timedelta(seconds=min(FIRST_PAUSE_S * 2.0 ** min(rounds - 1, 20), LONGEST_PAUSE_S))


class Outbox:
    """Sends what is to be sent, and notes each answer."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self._settings = settings
        self._database = database
        self._folder = settings.node.folder

    def send_due(self, now: datetime) -> None:
        """Do a round for every run whose pause is over."""
        while (run_id := self._claim(now)) is not None:
            self.deliver(run_id)

    def deliver(self, run_id: str) -> None:
        """Send what is not yet accepted to every destination, and close the run or say when to try again."""
        for peer in destinations(self._database):
            self._send(run_id, peer)
        self._finish(run_id)

    def _claim(self, now: datetime) -> str | None:
        due = sa.select(RunRow).where(RunRow.state == RunState.UNDELIVERED, RunRow.deliver_at <= now)
        with self._database.session() as session:
            run = session.scalar(due.order_by(RunRow.deliver_at).limit(1).with_for_update(skip_locked=True))
            if run is None:
                return None
            run.deliver_at = now + CLAIM
            return run.run_id

    def _send(self, run_id: str, peer: Peer) -> None:
        waiting = self.waiting(run_id, peer.name)
        for receipt in send_files(list(waiting.values()), peer.remote, self._settings.node.ae_title):
            with self._database.session() as session:
                row = session.scalars(_delivery(receipt.sop_instance_uid, peer.name)).one()
                row.state = DeliveryState.ACCEPTED if receipt.accepted else DeliveryState.REFUSED
                row.status, row.reason, row.attempts = receipt.status, receipt.reason, row.attempts + 1

    def waiting(self, run_id: str, destination: str) -> dict[str, Path]:
        """Return what a destination has not accepted yet, SEG first."""
        with self._database.session() as session:
            results = session.scalars(sa.select(ResultRow).where(ResultRow.run_id == run_id).order_by(ResultRow.kind))
            waiting = {}
            for result in results.all():
                row = session.scalar(_delivery(result.sop_instance_uid, destination))
                if row is None:
                    row = DeliveryRow(run_id=run_id, sop_instance_uid=result.sop_instance_uid, destination=destination)
                    session.add(row)
                if row.state != DeliveryState.ACCEPTED:
                    waiting[result.sop_instance_uid] = self._folder / result.path
            return waiting

    def _finish(self, run_id: str) -> None:
        with self._database.session() as session:
            run = session.get_one(RunRow, run_id, with_for_update=True)
            rows = session.scalars(sa.select(DeliveryRow).where(DeliveryRow.run_id == run_id)).all()
            if run.state not in (RunState.RUNNING, RunState.UNDELIVERED):
                return  # a later revision or a person has closed it meanwhile
            state, code, reason = _outcome(rows, str(run.summary.get("withheld", "")))
            run.deliver_at = None
            if state is RunState.UNDELIVERED:
                run.rounds = max(row.attempts for row in rows)
                run.deliver_at = utc_now() + pause_after(run.rounds)
            finish(session, run, state, code, reason)


def _outcome(rows: Sequence[DeliveryRow], withheld: str) -> tuple[RunState, str, str]:
    open_rows = [row for row in rows if row.state != DeliveryState.ACCEPTED]
    if open_rows:
        reasons = sorted({f"{row.destination}: {row.reason}" for row in open_rows})
        return RunState.UNDELIVERED, "undelivered", "; ".join([withheld, *reasons] if withheld else reasons)
    if withheld:
        return RunState.REJECTED, InferenceReason.WITHHELD, withheld
    if not rows:
        return RunState.STORED, "", "no destination is configured: the results are kept on the node"
    return RunState.DELIVERED, "", ""


def _delivery(sop_instance_uid: str, destination: str) -> sa.Select[DeliveryRow]:
    return sa.select(DeliveryRow).where(
        DeliveryRow.sop_instance_uid == sop_instance_uid, DeliveryRow.destination == destination
    )
