"""Connection tests that people start on the panel: they run beside it, and each step can be looked at as it ends."""

import threading
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
import structlog
from sqlalchemy.orm import Session

from dicom_node.database.connection_tables import ConnectionTestRow
from dicom_node.database.engine import Database
from dicom_node.database.states import ProbeState
from dicom_node.database.tables import utc_now
from dicom_node.invalid_entry import FieldProblem
from dicom_node.peers.peer import Peer, PeerError
from dicom_node.peers.registry import get_peer
from dicom_node.retrieval.round_trip import Answered, Patience, RoundTrip
from dicom_node.settings import Settings

__all__ = ["CannotTest", "ConnectionTest", "newest_tests", "start_test"]

SHOWN = 5
MOST_AT_ONCE = 4
"""Tests that run at the same time, of all peers together: each has a thread and an association."""

KEPT = 50
"""Tests of one peer that are kept."""

LONGEST = timedelta(minutes=15)
"""No test takes this long; one that has not ended by then was left by a process that was stopped."""

BROKEN_OFF = "The node was restarted during this test; start it again."

_log = structlog.get_logger()


class CannotTest(PeerError):  # noqa: N818 - named for what happened
    """A test that cannot be started; the sentence says why."""

    def __init__(self, sentence: str) -> None:
        super().__init__(FieldProblem(field="name", sentence=sentence))


@dataclass(frozen=True, kw_only=True)
class ConnectionTest:
    """A test as it stands."""

    id: int
    peer: str
    state: ProbeState
    began_at: datetime
    ended_at: datetime | None
    steps: tuple[Answered, ...]


def start_test(
    settings: Settings,
    database: Database,
    name: str,
    patience: Patience = Patience(),  # noqa: B008 - frozen
) -> int:
    """Begin to test the connection to a peer in a thread, and return the id of the test.

    Raises
    ------
    UnknownPeer
        When no peer has that name.
    CannotTest
        When it is disabled, cannot be sent to, or is being tested.
    """
    peer = get_peer(database, name)
    _check(peer)
    notes = _Notes(database)
    trip = RoundTrip(settings, database, peer, notes.add, patience)
    notes.begin(peer.name, trip.study_uid)
    threading.Thread(target=_run, args=(trip, notes), name="connection-test", daemon=True).start()
    _log.info("connection_test", peer=peer.name)
    return notes.id


def newest_tests(database: Database, name: str) -> Sequence[ConnectionTest]:
    """Return the newest tests of a peer, newest first."""
    newest = sa.select(ConnectionTestRow).where(ConnectionTestRow.peer == name)
    with database.session() as session:
        rows = session.scalars(newest.order_by(ConnectionTestRow.id.desc()).limit(SHOWN)).all()
    return [_test(row) for row in rows]


def _check(peer: Peer) -> None:
    if not peer.enabled:
        raise CannotTest(f"{peer.name} is disabled: nothing is sent to it. Enable it first.")
    if not peer.host and peer.send_by == "c-store":
        raise CannotTest(f"{peer.name} has no host: nothing can be sent to it.")
    if not peer.dicomweb_url and peer.send_by == "stow-rs":
        raise CannotTest(f"{peer.name} has no DICOMweb address: nothing can be sent to it.")


def _run(trip: RoundTrip, notes: "_Notes") -> None:
    try:
        passed = trip.run()
    except Exception as error:  # noqa: BLE001 - a thread: whatever happened, the page shows that it did not pass
        _log.exception("connection_test_defect")
        sentence = f"The test itself failed ({type(error).__name__}); see the node's log."
        notes.add(Answered(step="compare", ok=False, sentence=sentence))
        passed = False
    notes.end(ProbeState.PASSED if passed else ProbeState.FAILED)


class _Notes:
    """Writes what comes of a test."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.id = 0

    def begin(self, name: str, study_uid: str) -> None:
        since = utc_now() - LONGEST
        running = sa.select(ConnectionTestRow.peer).where(
            ConnectionTestRow.state == ProbeState.RUNNING, ConnectionTestRow.began_at > since
        )
        with self._database.session() as session:
            at_work = session.scalars(running).all()
            if name in at_work:
                raise CannotTest(f"{name} is being tested; wait until that test has ended.")
            if len(at_work) >= MOST_AT_ONCE:
                raise CannotTest(f"{len(at_work)} peers are being tested; wait until one of these tests has ended.")
            row = ConnectionTestRow(peer=name, study_uid=study_uid, state=ProbeState.RUNNING, steps=[])
            session.add(row)
            session.flush()
            self.id = row.id
            _forget(session, name)

    def add(self, answered: Answered) -> None:
        with self._database.session() as session:
            row = session.get(ConnectionTestRow, self.id)
            if row is not None:
                row.steps = [*row.steps, asdict(answered)]

    def end(self, state: ProbeState) -> None:
        with self._database.session() as session:
            row = session.get(ConnectionTestRow, self.id)
            if row is not None:
                row.state, row.ended_at = state, utc_now()


def _forget(session: Session, name: str) -> None:
    of_peer = sa.select(ConnectionTestRow.id).where(ConnectionTestRow.peer == name)
    kept = session.scalars(of_peer.order_by(ConnectionTestRow.id.desc()).limit(KEPT)).all()
    old = (ConnectionTestRow.peer == name, ConnectionTestRow.id < min(kept))
    session.execute(sa.delete(ConnectionTestRow).where(*old))


def _test(row: ConnectionTestRow) -> ConnectionTest:
    steps = tuple(Answered(**step) for step in row.steps)
    state = ProbeState(row.state)
    if state is ProbeState.RUNNING and row.began_at < utc_now() - LONGEST:
        state, steps = ProbeState.FAILED, (*steps, Answered(step="compare", ok=False, sentence=BROKEN_OFF))
    return ConnectionTest(
        id=row.id, peer=row.peer, state=state, began_at=row.began_at, ended_at=row.ended_at, steps=steps
    )
