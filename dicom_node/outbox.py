"""Delivery of a run's objects: what each destination has not accepted yet, sent again until it has."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path

import sqlalchemy as sa
import structlog
from pydicom.uid import DeflatedExplicitVRLittleEndian, ImplicitVRLittleEndian
from sqlalchemy.orm import Session

from dicom_node.closing import finish, follow
from dicom_node.database import Database
from dicom_node.peer import Peer
from dicom_node.peers import destinations
from dicom_node.proof import Prover, SentObject
from dicom_node.query import ObjectPlace
from dicom_node.settings import Settings
from dicom_node.states import DeliveryState, RunState
from dicom_node.tables import DeliveryRow, ResultRow, RunRow, StudyRow, utc_now
from inference.errors import InferenceReason
from viewer_integration.delivery import DeliveryReceipt, send_files
from viewer_integration.stow import store_over_web

__all__ = ["Outbox", "pause_after"]

_log = structlog.get_logger()

FIRST_PAUSE_S = 5.0
LONGEST_PAUSE_S = 900.0
"""A destination that is down is tried after 5, 10, 20 s and so on, at last every quarter of an hour, without end."""

CLAIM = timedelta(minutes=30)
"""A round of delivery is one worker's for this long; a worker that dies in it gives it back at once (`run_queue`)."""


def pause_after(rounds: int) -> timedelta:
    """Return how long is waited after so many rounds in which not everything went through."""
    return timedelta(seconds=min(FIRST_PAUSE_S * 2.0 ** min(rounds - 1, 20), LONGEST_PAUSE_S))


class Outbox:
    """Sends what is to be sent, and notes each answer.

    Parameters
    ----------
    executor
        Slot of the worker, by which a round that it dies in is found.
    """

    def __init__(self, settings: Settings, database: Database, executor: str = "") -> None:
        self._database = database
        self._executor = executor
        self._folder = settings.node.folder
        self._calling_ae = settings.node.ae_title
        self._prover = Prover(database, settings.node.ae_title)
        self._peers: list[Peer] | None = None

    def send_due(self, now: datetime) -> None:
        """Do a round for every run whose pause is over, and for those whose destination has come back."""
        peers = destinations(self._database)
        if peers != self._peers:
            for peer in peers:
                self._call_back(peer, now)
            self._peers = peers
        while (run_id := self._claim(now)) is not None:
            try:
                self.deliver(run_id)
            except Exception:  # noqa: BLE001 - the worker's loop: one run must not keep back those behind it
                _log.exception("delivery_defect", run=run_id)
                self._put_off(run_id)

    def _put_off(self, run_id: str) -> None:
        """Have a run whose round broke off tried again after a pause, as one that was refused."""
        with self._database.session() as session:
            run = session.get_one(RunRow, run_id, with_for_update=True)
            if run.state == RunState.UNDELIVERED:
                run.rounds += 1
                run.deliver_at = utc_now() + pause_after(run.rounds)

    def deliver(self, run_id: str) -> None:
        """Send what is not yet accepted to every destination, ask for proof, and close the run or try again later."""
        peers = destinations(self._database)
        for peer in peers:
            if self.waiting(run_id, peer):
                self._ask_first(run_id, peer)
                self._send(run_id, peer)
            self._prove(run_id, peer)
        self._finish(run_id, peers)

    def _claim(self, now: datetime) -> str | None:
        due = sa.select(RunRow).where(RunRow.state == RunState.UNDELIVERED, RunRow.deliver_at <= now)
        with self._database.session() as session:
            run = session.scalar(due.order_by(RunRow.deliver_at).limit(1).with_for_update(skip_locked=True))
            if run is None:
                return None
            run.deliver_at, run.executor = now + CLAIM, self._executor
            return run.run_id

    def _call_back(self, peer: Peer, now: datetime) -> None:
        """Have sent what was called off while a destination was disabled, or wanted something else."""
        wanted = _wanted(peer)
        called_off = (
            sa.select(RunRow.run_id)
            .join(StudyRow, StudyRow.current_run == RunRow.run_id)
            .join(ResultRow, ResultRow.run_id == RunRow.run_id)
            .join(DeliveryRow, DeliveryRow.sop_instance_uid == ResultRow.sop_instance_uid)
            .where(DeliveryRow.destination == peer.name, DeliveryRow.state == DeliveryState.CALLED_OFF)
            .where(*wanted, ResultRow.path != "", RunRow.state.in_(_ENDED))
        )
        with self._database.session() as session:
            for run in session.scalars(sa.select(RunRow).where(RunRow.run_id.in_(called_off))).all():
                run.state, run.deliver_at, run.rounds = RunState.UNDELIVERED, now, 0
                follow(session, run)

    def waiting(self, run_id: str, peer: Peer) -> list[ResultRow]:
        """Return what a destination gets and has not accepted yet, SEG first."""
        with self._database.session() as session:
            return [
                result
                for result, row in self._rows(session, run_id, peer)
                if row.state != DeliveryState.ACCEPTED and result.path
            ]

    def _rows(self, session: Session, run_id: str, peer: Peer) -> list[tuple[ResultRow, DeliveryRow]]:
        """Return the objects that a destination gets, each with where its delivery stands."""
        wanted = sa.select(ResultRow).where(ResultRow.run_id == run_id, *_wanted(peer))
        found = []
        for result in session.scalars(wanted.order_by(ResultRow.kind)).all():
            row = session.scalar(_delivery(result.sop_instance_uid, peer.name))
            if row is None:
                row = DeliveryRow(
                    run_id=run_id,
                    sop_instance_uid=result.sop_instance_uid,
                    destination=peer.name,
                    state=DeliveryState.WAITING,
                )
                session.add(row)
                session.flush()
            found.append((result, row))
        return found

    def _ask_first(self, run_id: str, peer: Peer) -> None:
        """Look whether what may have arrived at an earlier try is there: it is not sent again then."""
        with self._database.session() as session:
            unsure = [
                result
                for result, row in self._rows(session, run_id, peer)
                if row.attempts and row.status is None and row.state != DeliveryState.ACCEPTED
            ]
        held = self._prover.held(peer, [_place(result) for result in unsure]) if unsure else frozenset()
        proof = "" if peer.proof == "commitment" else "query"  # what is seen there is not yet committed
        for sop_instance_uid in held:
            self._note(sop_instance_uid, peer, state=DeliveryState.ACCEPTED, proof=proof, reason="")

    def _send(self, run_id: str, peer: Peer) -> None:
        waiting = self.waiting(run_id, peer)
        with self._database.session() as session:
            for result in waiting:
                row = session.scalars(_delivery(result.sop_instance_uid, peer.name)).one()
                row.state, row.attempts, row.status = DeliveryState.SENDING, row.attempts + 1, None
        accepted = False
        uids = {self._folder / result.path: result.sop_instance_uid for result in waiting}
        for receipt in self._receipts(list(uids), peer):
            state = DeliveryState.ACCEPTED if receipt.accepted else DeliveryState.REFUSED
            # By its path: a file that cannot be read names nobody.
            self._note(uids[receipt.path], peer, state=state, status=receipt.status, reason=receipt.reason)
            accepted = accepted or receipt.accepted
        if accepted:
            self._wake(peer)

    def _wake(self, peer: Peer) -> None:
        """Have what waits for a destination sent at once, now that it takes something: its pause is over for all."""
        open_rows = sa.select(DeliveryRow.run_id).where(
            DeliveryRow.destination == peer.name, DeliveryRow.state != DeliveryState.ACCEPTED
        )
        now = utc_now()
        pausing = sa.and_(RunRow.deliver_at > now, RunRow.deliver_at <= now + timedelta(seconds=LONGEST_PAUSE_S))
        with self._database.session() as session:
            session.execute(
                sa.update(RunRow)
                .where(RunRow.state == RunState.UNDELIVERED, pausing, RunRow.run_id.in_(open_rows))
                .values(deliver_at=now)
            )

    def _receipts(self, paths: Sequence[Path], peer: Peer) -> Iterator[DeliveryReceipt]:
        if peer.send_by == "stow-rs":
            if withheld := peer.withheld_secret:
                _log.warning("authorisation_withheld", peer=peer.name, reason=withheld)
            return store_over_web(paths, peer.name, peer.dicomweb_url, peer.web_headers)
        return send_files(paths, peer.remote, self._calling_ae, _SYNTAXES[peer.transfer_syntax])

    def _prove(self, run_id: str, peer: Peer) -> None:
        """Ask for proof of what was accepted and is not proven; what is missing there is sent again."""
        with self._database.session() as session:
            unproven = [
                SentObject(sop_class_uid=result.sop_class_uid, place=_place(result))
                for result, row in self._rows(session, run_id, peer)
                if row.state == DeliveryState.ACCEPTED and not row.proof
            ]
        proof = self._prover.prove(peer, unproven)
        for one in unproven:
            uid = one.place.sop_instance_uid
            if uid in proof.missing:
                reason = f"{peer.name} accepted it, but {proof.missing[uid]}"
                self._note(uid, peer, state=DeliveryState.REFUSED, status=None, reason=reason)
            elif uid in proof.proven or proof.kind == "none":
                self._note(uid, peer, proof=proof.kind)

    def _note(self, sop_instance_uid: str, peer: Peer, **facts: object) -> None:
        with self._database.session() as session:
            row = session.scalars(_delivery(sop_instance_uid, peer.name)).one()
            for key, value in facts.items():
                setattr(row, key, value)

    def _finish(self, run_id: str, peers: Sequence[Peer]) -> None:
        with self._database.session() as session:
            run = session.get_one(RunRow, run_id, with_for_update=True)
            if run.state not in (RunState.RUNNING, RunState.UNDELIVERED):
                return  # a later revision or a person has closed it meanwhile
            results = session.scalars(sa.select(ResultRow).where(ResultRow.run_id == run_id)).all()
            rows = session.scalars(sa.select(DeliveryRow).where(DeliveryRow.run_id == run_id)).all()
            _call_off(rows, results, peers)
            unmade = [peer.name for peer in peers if _is_unmade(peer, rows, results)]
            state, code, reason = _outcome(rows, unmade, str(run.summary.get("withheld", "")))
            run.deliver_at = None
            if state is RunState.UNDELIVERED:
                run.rounds += 1
                run.deliver_at = utc_now() + pause_after(run.rounds)
            finish(session, run, state, code, reason)


_ENDED = (RunState.DELIVERED, RunState.STORED, RunState.REJECTED)

_SYNTAXES = {"explicit": None, "implicit": ImplicitVRLittleEndian, "deflated": DeflatedExplicitVRLittleEndian}
"""Results are stored in explicit VR little endian, so that one is sent as it is."""


def _place(result: ResultRow) -> ObjectPlace:
    return ObjectPlace(
        study_uid=result.study_uid, series_uid=result.series_uid, sop_instance_uid=result.sop_instance_uid
    )


def _wanted(peer: Peer) -> tuple[sa.ColumnElement[bool], ...]:
    """Return what holds of the objects that a destination gets."""
    return ResultRow.profile == peer.profile.key, ResultRow.kind.in_(peer.kinds)


def _call_off(rows: Sequence[DeliveryRow], results: Sequence[ResultRow], peers: Sequence[Peer]) -> None:
    """Wait no longer for who is no destination any more, nor to send what is not wanted any more."""
    wanted = {
        (result.sop_instance_uid, peer.name)
        for peer in peers
        for result in results
        if result.profile == peer.profile.key and result.kind in peer.kinds
    }
    for row in rows:
        if row.state != DeliveryState.ACCEPTED and (row.sop_instance_uid, row.destination) not in wanted:
            is_there = any(peer.name == row.destination for peer in peers)
            row.state = DeliveryState.CALLED_OFF
            row.reason = "it wants other objects now" if is_there else "it is no enabled destination any more"


def _is_unmade(peer: Peer, rows: Sequence[DeliveryRow], results: Sequence[ResultRow]) -> bool:
    """Tell whether a destination waits for another form than was made; who took what it wanted before does not."""
    if any(result.profile == peer.profile.key for result in results):
        return False
    kinds = {result.sop_instance_uid: result.kind for result in results}
    taken = {
        kinds.get(row.sop_instance_uid)
        for row in rows
        if row.destination == peer.name and row.state == DeliveryState.ACCEPTED
    }
    return not taken >= peer.kinds & set(kinds.values())


def _outcome(rows: Sequence[DeliveryRow], unmade: Sequence[str], withheld: str) -> tuple[RunState, str, str]:
    rows = [row for row in rows if row.state != DeliveryState.CALLED_OFF]
    reasons = sorted({f"{row.destination}: {row.reason}" for row in rows if row.state != DeliveryState.ACCEPTED})
    reasons += [f"{name}: wants another form of objects than was made; process the study anew" for name in unmade]
    if reasons:
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
