"""Delivers the objects of a run: sends each object to each destination until the destination has accepted it."""

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

from dicom_node.audit.trail import AuditTrail
from dicom_node.database.engine import Database
from dicom_node.database.standing import finish, follow
from dicom_node.database.states import DeliveryState, RunState
from dicom_node.database.tables import DeliveryRow, ResultRow, RunRow, StudyRow, utc_now
from dicom_node.delivery.lanes import Lanes
from dicom_node.delivery.outcome import OPEN, call_off, hold, is_unmade, outcome_of
from dicom_node.delivery.proof import Prover, SentObject
from dicom_node.delivery.recorded import DeliveryRecord
from dicom_node.delivery.traced import traced_delivery
from dicom_node.peers.peer import Peer
from dicom_node.peers.query import ObjectPlace
from dicom_node.peers.registry import destinations, disabled_destinations
from dicom_node.routing.route import keeps
from dicom_node.settings import Settings
from viewer_integration.transport.delivery import DeliveryReceipt, send_files
from viewer_integration.transport.stow import store_over_web

__all__ = ["Outbox", "pause_after"]

_log = structlog.get_logger()

FIRST_PAUSE_S = 5.0
LONGEST_PAUSE_S = 900.0
"""A destination that is down is tried again after 5, 10, 20 s and so on, finally every 15 minutes, without end."""

CLAIM = timedelta(minutes=30)
"""A run with a delivery in a lane is checked again after this time. A worker that dies returns its runs at once
(`run_queue`); a worker that has not updated a run for twice this time has lost it."""

LOOK_S = 2.0
"""Pause between attempts to record the end of a delivery while the database cannot be reached."""


def pause_after(rounds: int) -> timedelta:
    """Return the pause after a number of rounds that did not deliver everything."""
    return timedelta(seconds=min(FIRST_PAUSE_S * 2.0 ** min(rounds - 1, 20), LONGEST_PAUSE_S))


class Outbox:
    """Sends objects and records each answer; each destination has a lane, so that a slow one delays only itself.

    Parameters
    ----------
    executor
        Slot of the worker that holds the runs whose deliveries are in its lanes; other workers leave these alone.
    """

    def __init__(self, settings: Settings, database: Database, executor: str = "") -> None:
        self._database = database
        self._executor = executor
        self._folder = settings.node.folder
        self._calling_ae = settings.node.ae_title
        trail = AuditTrail(settings.node.folder, settings.node.ae_title, database)
        self._record = DeliveryRecord(trail)
        self._prover = Prover(database, settings.node.ae_title, trail)
        self._peers: list[Peer] | None = None
        self._lanes = Lanes()
        self._lock = threading.Lock()
        self._in_lanes: set[tuple[str, str]] = set()

    def send_due(self, now: datetime) -> None:
        """Begin a round for every run whose pause is over, and for those whose destination is available again."""
        peers = destinations(self._database)
        if peers != self._peers:
            for peer in peers:
                self._call_back(peer, now)
                if self._peers is not None and peer not in self._peers:  # new, changed, or enabled again
                    self._wake(peer, now)
            self._peers = peers
        while not self._lanes.stopping.is_set() and (run_id := self._claim(now)) is not None:
            try:
                self._begin_round(run_id, peers)
            except Exception as error:  # noqa: BLE001 - the worker's loop: one run must not block those behind it
                _log.exception("delivery_defect", run=run_id)
                self._end(run_id, _broken_off(error))

    def stop(self) -> None:
        """Start no more deliveries; the next worker starts those that wait in lanes."""
        self._lanes.stop()

    def join(self, timeout_s: float) -> None:
        """Wait until the lanes are empty, up to a time limit."""
        self._lanes.join(timeout_s)

    def deliver(self, run_id: str) -> None:
        """Send every destination what it has not accepted yet, ask for proof, and close the run or schedule a retry.

        What is cancelled, because this worker stops, is left for the run's next round.
        """
        peers = self._routed(run_id, destinations(self._database))
        parts = [self._lanes.put(peer.name, partial(self._deliver_and_prove, run_id, peer)) for peer in peers]
        wait(parts)
        for part in (one for one in parts if not one.cancelled()):
            part.result()
        left = [peer.name for peer, part in zip(peers, parts, strict=True) if part.cancelled()]
        reason = "; ".join(f"{name}: not sent yet (the worker stopped)" for name in left)
        self._finish(run_id, (RunState.RUNNING, RunState.UNDELIVERED), reason)

    def _begin_round(self, run_id: str, peers: Sequence[Peer]) -> None:
        """Put a run into the lane of every destination with unfinished deliveries, unless it is there already."""
        peers = self._routed(run_id, peers)
        concerned = [peer.name for peer in peers if self.waiting(run_id, peer) or self._unproven(run_id, peer)]
        with self._lock:  # all at once: the first to finish would otherwise end the round
            begun = [name for name in concerned if (run_id, name) not in self._in_lanes]
            self._in_lanes |= {(run_id, name) for name in begun}
        for name in begun:
            self._put(name, run_id)
        if not begun:
            self._end(run_id)

    def _put(self, name: str, run_id: str) -> None:
        try:
            self._lanes.put(name, partial(self._deliver_to, name, run_id))
        except RuntimeError:  # no thread could be started: left for the run's next round
            _log.exception("no_lane", peer=name)
            self._leave(name, run_id)
            self._end(run_id)

    def _leave(self, name: str, run_id: str) -> None:
        with self._lock:
            self._in_lanes.discard((run_id, name))

    def _deliver_to(self, name: str, run_id: str) -> None:
        """Do one destination's part of a round, if the run is still this worker's and the peer still a destination."""
        reason = ""
        try:
            peers = self._routed(run_id, destinations(self._database))
            peer = next((peer for peer in peers if peer.name == name), None)
            if peer is not None and self._is_mine(run_id):
                self._deliver_and_prove(run_id, peer)
        except Exception as error:  # noqa: BLE001 - the worker's loop: one run must not block those behind it
            _log.exception("delivery_defect", run=run_id, peer=name)
            reason = f"{name}: {_broken_off(error)}"
        self._leave(name, run_id)
        self._end(run_id, reason)

    def _deliver_and_prove(self, run_id: str, peer: Peer) -> None:
        with traced_delivery(self._database, run_id, peer.name):
            if self.waiting(run_id, peer):
                self._ask_first(run_id, peer)
                self._send(run_id, peer)
            self._prove(run_id, peer)

    def _end(self, run_id: str, broken: str = "") -> None:
        """Close a run or schedule a retry, as soon as the database can be reached."""
        while True:
            try:
                return self._finish(run_id, (RunState.UNDELIVERED,), broken)
            except sa.exc.DBAPIError as error:
                _log.warning("round_not_noted", run=run_id, error=type(error).__name__)
                if self._lanes.stopping.wait(LOOK_S):
                    return None
            except Exception:  # noqa: BLE001 - part of the worker's loop: the run is checked again when its claim ends
                _log.exception("round_defect", run=run_id)
                return None

    def _routed(self, run_id: str, peers: Sequence[Peer]) -> list[Peer]:
        """Return the peers to which the routing rules send a run; all where no rule decides it."""
        with self._database.session() as session:
            route = session.get_one(RunRow, run_id).route
        return [peer for peer in peers if keeps(route, peer.name)]

    def _is_mine(self, run_id: str) -> bool:
        with self._database.session() as session:
            run = session.get(RunRow, run_id)
            return run is not None and run.state == RunState.UNDELIVERED and run.executor == self._executor

    def _claim(self, now: datetime) -> str | None:
        """Claim a run that is due and not in the lanes of another worker, unless that worker has lost it."""
        free = sa.or_(RunRow.executor.in_(("", self._executor)), RunRow.deliver_at <= now - CLAIM)
        due = sa.select(RunRow).where(RunRow.state == RunState.UNDELIVERED, RunRow.deliver_at <= now, free)
        with self._database.session() as session:
            run = session.scalar(due.order_by(RunRow.deliver_at).limit(1).with_for_update(skip_locked=True))
            if run is None:
                return None
            run.deliver_at, run.executor = now + CLAIM, self._executor
            return run.run_id

    def _call_back(self, peer: Peer, now: datetime) -> None:
        """Reopen deliveries that were called off while a peer was no destination or configured for other objects."""
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
        """Return the objects for a destination that it has not accepted yet, SEG first."""
        with self._database.session() as session:
            return [
                result
                for result, row in self._rows(session, run_id, peer)
                if row.state != DeliveryState.ACCEPTED and result.path
            ]

    def _rows(self, session: Session, run_id: str, peer: Peer) -> list[tuple[ResultRow, DeliveryRow]]:
        """Return the objects for a destination, each with the state of its delivery."""
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
        """Ask the destination whether it already holds objects whose answer never arrived; do not send these again."""
        with self._database.session() as session:
            unsure = [
                result
                for result, row in self._rows(session, run_id, peer)
                if row.attempts and row.status is None and row.state != DeliveryState.ACCEPTED
            ]
        held = self._prover.held(peer, [_place(result) for result in unsure]) if unsure else frozenset()
        proof = "" if peer.proof == "commitment" else "query"  # found by a query, not yet committed
        for sop_instance_uid in held:
            self._note(sop_instance_uid, peer, state=DeliveryState.ACCEPTED, proof=proof, reason="")

    def _send(self, run_id: str, peer: Peer) -> None:
        waiting = [result for result in self.waiting(run_id, peer) if self._is_whole(result, peer)]
        with self._database.session() as session:
            for result in waiting:
                row = session.scalars(_delivery(result.sop_instance_uid, peer.name)).one()
                row.state, row.attempts, row.status = DeliveryState.SENDING, row.attempts + 1, None
        accepted, answered = False, list[tuple[ResultRow, bool]]()
        by_uid = {result.sop_instance_uid: result for result in waiting}
        uids = {self._folder / result.path: result.sop_instance_uid for result in waiting}
        for receipt in self._receipts(list(uids), peer):
            state = DeliveryState.ACCEPTED if receipt.accepted else DeliveryState.REFUSED
            # By its path: a file that cannot be read has no UID.
            self._note(uids[receipt.path], peer, state=state, status=receipt.status, reason=receipt.reason)
            accepted = accepted or receipt.accepted
            answered.append((by_uid[uids[receipt.path]], receipt.accepted))
        self._record.sent(peer, answered)
        if accepted:
            self._wake(peer, utc_now())

    def _is_whole(self, result: ResultRow, peer: Peer) -> bool:
        """Return whether a file is unchanged since it was written; otherwise record why it is not sent."""
        try:
            sha256 = hashlib.sha256((self._folder / result.path).read_bytes()).hexdigest()
        except OSError as error:
            reason = f"the file cannot be read ({type(error).__name__})"
        else:
            if sha256 == result.sha256:
                return True
            reason = "the file has changed since it was written"
        self._note(result.sop_instance_uid, peer, state=DeliveryState.REFUSED, status=None, reason=reason + _NOT_SENT)
        return False

    def _wake(self, peer: Peer, now: datetime) -> None:
        """End the pause of all runs that wait for a destination, now that it accepts objects again."""
        open_rows = sa.select(DeliveryRow.run_id).where(
            DeliveryRow.destination == peer.name, DeliveryRow.state != DeliveryState.ACCEPTED
        )
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
        """Return the objects that a destination has accepted without proof."""
        with self._database.session() as session:
            return [
                SentObject(sop_class_uid=result.sop_class_uid, place=_place(result))
                for result, row in self._rows(session, run_id, peer)
                if row.state == DeliveryState.ACCEPTED and not row.proof
            ]

    def _prove(self, run_id: str, peer: Peer) -> None:
        """Ask for proof of accepted objects that lack it; objects that are not confirmed are sent again."""
        unproven = self._unproven(run_id, peer)
        proof = self._prover.prove(peer, unproven)
        for one in unproven:
            uid = one.place.sop_instance_uid
            if uid in proof.missing:
                reason = f"{peer.name} accepted it, but has not confirmed that it stored it: {proof.missing[uid]}"
                self._note(uid, peer, state=DeliveryState.REFUSED, status=None, reason=reason)
            elif uid in proof.proven or proof.kind == "none":
                self._note(uid, peer, proof=proof.kind)

    def _note(self, sop_instance_uid: str, peer: Peer, **facts: object) -> None:
        with self._database.session() as session:
            row = session.scalars(_delivery(sop_instance_uid, peer.name)).one()
            for key, value in facts.items():
                setattr(row, key, value)

    def _finish(self, run_id: str, states: Collection[RunState], broken: str = "") -> None:
        """Set the state of a run from its deliveries; skip a run in another state, or of another worker."""
        peers, disabled = destinations(self._database), disabled_destinations(self._database)
        with self._database.session() as session:
            run = session.get_one(RunRow, run_id, with_for_update=True)
            is_another_s = run.state == RunState.UNDELIVERED and run.executor != self._executor
            if run.state not in states or is_another_s:
                return  # a later revision, a person or another worker has taken it
            peers = [peer for peer in peers if keeps(run.route, peer.name)]
            disabled = [peer for peer in disabled if keeps(run.route, peer.name)]
            results = session.scalars(sa.select(ResultRow).where(ResultRow.run_id == run_id)).all()
            for peer in disabled:
                self._rows(session, run_id, peer)  # so that what is for it waits, and is shown to wait
            rows = session.scalars(sa.select(DeliveryRow).where(DeliveryRow.run_id == run_id)).all()
            call_off(rows, results, [*peers, *disabled])
            hold(rows, {peer.name for peer in disabled})
            problems = [broken] if broken else []
            problems += [f"{peer.name}: {_UNMADE}" for peer in peers if is_unmade(peer, rows, results)]
            with self._lock:
                in_lanes = {name for one, name in self._in_lanes if one == run_id}
            state, code, reason = outcome_of(rows, in_lanes, problems, str(run.summary.get("withheld", "")))
            run.executor, due = self._executor if in_lanes else "", run.deliver_at
            run.deliver_at = None
            if problems or any(row.state in OPEN and row.destination not in in_lanes for row in rows):
                if due is None or due > utc_now() + timedelta(
                    seconds=LONGEST_PAUSE_S
                ):  # otherwise another lane was first
                    run.rounds += 1
                    due = utc_now() + pause_after(run.rounds)
                run.deliver_at = due
            elif state is RunState.UNDELIVERED:
                run.deliver_at = utc_now() + CLAIM
            finish(session, run, state, code, reason)


_NOT_SENT = "; not sent: `glionode replay --from-start` creates it again"

_UNMADE = "needs another form of objects than was made; process the study again"

_ENDED = (RunState.DELIVERED, RunState.STORED, RunState.REJECTED)

_SYNTAXES = {"explicit": None, "implicit": ImplicitVRLittleEndian, "deflated": DeflatedExplicitVRLittleEndian}
"""Results are stored in Explicit VR Little Endian, so for that syntax they are sent unchanged."""


def _place(result: ResultRow) -> ObjectPlace:
    return ObjectPlace(
        study_uid=result.study_uid, series_uid=result.series_uid, sop_instance_uid=result.sop_instance_uid
    )


def _wanted(peer: Peer) -> tuple[sa.ColumnElement[bool], ...]:
    """Return the conditions for the objects that a destination receives."""
    return ResultRow.profile == peer.profile.key, ResultRow.kind.in_(peer.kinds)


def _broken_off(error: Exception) -> str:
    return f"delivery broke off ({type(error).__name__}); see the node's log for the details"


def _delivery(sop_instance_uid: str, destination: str) -> sa.Select[DeliveryRow]:
    return sa.select(DeliveryRow).where(
        DeliveryRow.sop_instance_uid == sop_instance_uid, DeliveryRow.destination == destination
    )
