"""Delivery of a run's objects: what each destination has not accepted yet, sent again until it has."""

import hashlib
import threading
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import wait
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

import sqlalchemy as sa
import structlog
from pydicom.uid import DeflatedExplicitVRLittleEndian, ImplicitVRLittleEndian
from sqlalchemy.orm import Session

from dicom_node.database.engine import Database
from dicom_node.database.standing import finish, follow
from dicom_node.database.states import DeliveryState, RunState
from dicom_node.database.tables import DeliveryRow, ResultRow, RunRow, StudyRow, utc_now
from dicom_node.delivery.lanes import Lanes
from dicom_node.delivery.outcome import OPEN, call_off, is_unmade, outcome_of
from dicom_node.delivery.proof import Prover, SentObject
from dicom_node.peers.peer import Peer
from dicom_node.peers.query import ObjectPlace
from dicom_node.peers.registry import destinations
from dicom_node.settings import Settings
from viewer_integration.transport.delivery import DeliveryReceipt, send_files
from viewer_integration.transport.stow import store_over_web

__all__ = ["Outbox", "pause_after"]

_log = structlog.get_logger()

FIRST_PAUSE_S = 5.0
LONGEST_PAUSE_S = 900.0
"""A destination that is down is tried after 5, 10, 20 s and so on, at last every quarter of an hour, without end."""

CLAIM = timedelta(minutes=30)
"""A run with a delivery in a lane is looked at after this long again; a worker that dies gives it back at once
(`run_queue`), and one that has let twice as much pass by the database has lost it."""

LOOK_S = 2.0
"""How often the end of a delivery is noted again where the database cannot be reached."""


def pause_after(rounds: int) -> timedelta:
    """Return how long is waited after so many rounds in which not everything went through."""
    return timedelta(seconds=min(FIRST_PAUSE_S * 2.0 ** min(rounds - 1, 20), LONGEST_PAUSE_S))


class Outbox:
    """Sends what is to be sent, and notes each answer: each destination has a lane, so that a slow one delays itself.

    Parameters
    ----------
    executor
        Slot of the worker that has the runs whose deliveries are in its lanes; others leave these alone.
    """

    def __init__(self, settings: Settings, database: Database, executor: str = "") -> None:
        self._database = database
        self._executor = executor
        self._folder = settings.node.folder
        self._calling_ae = settings.node.ae_title
        self._prover = Prover(database, settings.node.ae_title)
        self._peers: list[Peer] | None = None
        self._lanes = Lanes()
        self._lock = threading.Lock()
        self._in_lanes: set[tuple[str, str]] = set()

    def send_due(self, now: datetime) -> None:
        """Begin a round for every run whose pause is over, and for those whose destination has come back."""
        peers = destinations(self._database)
        if peers != self._peers:
            for peer in peers:
                self._call_back(peer, now)
            self._peers = peers
        while not self._lanes.stopping.is_set() and (run_id := self._claim(now)) is not None:
            try:
                self._begin_round(run_id, peers)
            except Exception as error:  # noqa: BLE001 - the worker's loop: one run must not keep back those behind it
                _log.exception("delivery_defect", run=run_id)
                self._end(run_id, _broken_off(error))

    def stop(self) -> None:
        """Begin no delivery any more; the runs of those that wait in lanes are begun anew by whoever comes next."""
        self._lanes.stop()

    def join(self, timeout_s: float) -> None:
        """Wait until what is in the lanes is done, at most for some time."""
        self._lanes.join(timeout_s)

    def deliver(self, run_id: str) -> None:
        """Send what is not yet accepted to every destination, ask for proof, and close the run or try again later."""
        peers = destinations(self._database)
        parts = [self._lanes.put(peer.name, partial(self._bring, run_id, peer)) for peer in peers]
        wait(parts)
        for part in parts:
            part.result()
        self._finish(run_id, (RunState.RUNNING, RunState.UNDELIVERED))

    def _begin_round(self, run_id: str, peers: Sequence[Peer]) -> None:
        """Put a run into the lane of every destination that it has something to do with, where it is not already."""
        concerned = [peer.name for peer in peers if self.waiting(run_id, peer) or self._unproven(run_id, peer)]
        with self._lock:  # all of them before the first is done, which would take the round for over
            begun = [name for name in concerned if (run_id, name) not in self._in_lanes]
            self._in_lanes |= {(run_id, name) for name in begun}
        for name in begun:
            self._put(name, run_id)
        if not begun:
            self._end(run_id)

    def _put(self, name: str, run_id: str) -> None:
        try:
            self._lanes.put(name, partial(self._deliver_to, name, run_id))
        except RuntimeError:  # no thread could be started: it is begun with the run's next round
            _log.exception("no_lane", peer=name)
            self._leave(name, run_id)
            self._end(run_id)

    def _leave(self, name: str, run_id: str) -> None:
        with self._lock:
            self._in_lanes.discard((run_id, name))

    def _deliver_to(self, name: str, run_id: str) -> None:
        """Do one destination's part of a round, if the run is still this worker's and the destination still one."""
        reason = ""
        try:
            peer = next((peer for peer in destinations(self._database) if peer.name == name), None)
            if peer is not None and self._is_mine(run_id):
                self._bring(run_id, peer)
        except Exception as error:  # noqa: BLE001 - the worker's loop: one run must not keep back those behind it
            _log.exception("delivery_defect", run=run_id, peer=name)
            reason = f"{name}: {_broken_off(error)}"
        self._leave(name, run_id)
        self._end(run_id, reason)

    def _bring(self, run_id: str, peer: Peer) -> None:
        if self.waiting(run_id, peer):
            self._ask_first(run_id, peer)
            self._send(run_id, peer)
        self._prove(run_id, peer)

    def _end(self, run_id: str, broken: str = "") -> None:
        """Close a run or have it tried again later, as soon as the database can be reached."""
        while True:
            try:
                return self._finish(run_id, (RunState.UNDELIVERED,), broken)
            except sa.exc.DBAPIError as error:
                _log.warning("round_not_noted", run=run_id, error=type(error).__name__)
                if self._lanes.stopping.wait(LOOK_S):
                    return None
            except Exception:  # noqa: BLE001 - part of the worker's loop: the run is looked at again when its claim is over
                _log.exception("round_defect", run=run_id)
                return None

    def _is_mine(self, run_id: str) -> bool:
        with self._database.session() as session:
            run = session.get(RunRow, run_id)
            return run is not None and run.state == RunState.UNDELIVERED and run.executor == self._executor

    def _claim(self, now: datetime) -> str | None:
        """Take a run that is due and in no other worker's lanes, or in those of one that knows it no more."""
        free = sa.or_(RunRow.executor.in_(("", self._executor)), RunRow.deliver_at <= now - CLAIM)
        due = sa.select(RunRow).where(RunRow.state == RunState.UNDELIVERED, RunRow.deliver_at <= now, free)
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
        waiting = [result for result in self.waiting(run_id, peer) if self._is_whole(result, peer)]
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

    def _is_whole(self, result: ResultRow, peer: Peer) -> bool:
        """Tell whether a file is there as it was written; else note why it is not sent."""
        try:
            sha256 = hashlib.sha256((self._folder / result.path).read_bytes()).hexdigest()
        except OSError as error:
            reason = f"the file cannot be read ({type(error).__name__})"
        else:
            if sha256 == result.sha256:
                return True
            reason = "the file is not as it was written"
        self._note(result.sop_instance_uid, peer, state=DeliveryState.REFUSED, status=None, reason=reason + _ANEW)
        return False

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

    def _unproven(self, run_id: str, peer: Peer) -> list[SentObject]:
        """Return what a destination has accepted without proof."""
        with self._database.session() as session:
            return [
                SentObject(sop_class_uid=result.sop_class_uid, place=_place(result))
                for result, row in self._rows(session, run_id, peer)
                if row.state == DeliveryState.ACCEPTED and not row.proof
            ]

    def _prove(self, run_id: str, peer: Peer) -> None:
        """Ask for proof of what was accepted and is not proven; what is missing there is sent again."""
        unproven = self._unproven(run_id, peer)
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

    def _finish(self, run_id: str, states: Collection[RunState], broken: str = "") -> None:
        """Let a run stand as its deliveries do; one that is not in these states, or another worker's, is left alone."""
        peers = destinations(self._database)
        with self._database.session() as session:
            run = session.get_one(RunRow, run_id, with_for_update=True)
            is_another_s = run.state == RunState.UNDELIVERED and run.executor != self._executor
            if run.state not in states or is_another_s:
                return  # a later revision, a person or another worker has it now
            results = session.scalars(sa.select(ResultRow).where(ResultRow.run_id == run_id)).all()
            rows = session.scalars(sa.select(DeliveryRow).where(DeliveryRow.run_id == run_id)).all()
            call_off(rows, results, peers)
            told = [broken] if broken else []
            told += [f"{peer.name}: {_UNMADE}" for peer in peers if is_unmade(peer, rows, results)]
            with self._lock:
                in_lanes = {name for one, name in self._in_lanes if one == run_id}
            state, code, reason = outcome_of(rows, in_lanes, told, str(run.summary.get("withheld", "")))
            run.executor, due = self._executor if in_lanes else "", run.deliver_at
            run.deliver_at = None
            if told or any(row.state in OPEN and row.destination not in in_lanes for row in rows):
                if due is None or due > utc_now() + timedelta(
                    seconds=LONGEST_PAUSE_S
                ):  # else another lane was the first
                    run.rounds += 1
                    due = utc_now() + pause_after(run.rounds)
                run.deliver_at = due
            elif state is RunState.UNDELIVERED:
                run.deliver_at = utc_now() + CLAIM
            finish(session, run, state, code, reason)


_ANEW = "; not sent: `glionode replay --from-start` makes it anew"

_UNMADE = "wants another form of objects than was made; process the study anew"

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


def _broken_off(error: Exception) -> str:
    return f"its round of delivery broke off ({type(error).__name__}); see the node's log for the details"


def _delivery(sop_instance_uid: str, destination: str) -> sa.Select[DeliveryRow]:
    return sa.select(DeliveryRow).where(
        DeliveryRow.sop_instance_uid == sop_instance_uid, DeliveryRow.destination == destination
    )
