"""Proof that a destination has stored what it accepted: its storage commitment, else its answer to a query."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

import sqlalchemy as sa
import structlog
from pydicom.uid import generate_uid

from dicom_node.audit.queries import record_query
from dicom_node.audit.trail import AuditTrail
from dicom_node.database.engine import Database
from dicom_node.database.tables import CommitmentRow, utc_now
from dicom_node.peers.peer import Peer
from dicom_node.peers.query import ObjectPlace, QueryFailed, held_of
from viewer_integration.transport.commitment import CommitmentAnswer, request_commitment

__all__ = ["ANSWER_COUNTS", "Proof", "Prover", "SentObject", "note_commitment"]

ANSWER_S = 10.0
"""How long to wait for a commitment; Orthanc answers within a second. After that the destination is queried."""

ANSWER_COUNTS = timedelta(days=7)
"""How late an answer still counts: some archives commit overnight or after the weekend."""

LOOK_S = 0.05
LEFT_ALONE_S = 60.0
"""How long a destination without commitment, or that did not answer, is not asked for it again, if a query suffices."""

_log = structlog.get_logger()


@dataclass(frozen=True, kw_only=True)
class Proof:
    """Result of asking a destination for proof.

    Attributes
    ----------
    kind
        ``commitment`` or ``query``; ``none`` where a destination supports neither.
    proven
        SOP Instance UIDs that it has certainly stored.
    missing
        Those that it has not confirmed, with the reason.
    """

    kind: str
    proven: frozenset[str] = frozenset()
    missing: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class SentObject:
    """An object that a destination accepted."""

    sop_class_uid: str
    place: ObjectPlace


def note_commitment(database: Database, answer: CommitmentAnswer) -> bool:
    """Record a storage commitment result, whichever process received it; return whether the node requested it."""
    with database.session() as session:
        row = session.get(CommitmentRow, answer.transaction_uid)
        if row is None:
            return False
        if row.answered_at is not None:
            return True  # a repeated report is nothing new, and its parts may be used already
        row.answered_at, row.committed, row.failed = utc_now(), list(answer.committed), dict(answer.failed)
        return True


class Prover:
    """Asks destinations for proof."""

    def __init__(self, database: Database, calling_ae: str, trail: AuditTrail) -> None:
        self._database = database
        self._trail = trail
        self._calling_ae = calling_ae
        self._silent_until: dict[str, float] = {}

    def held(self, peer: Peer, objects: Sequence[ObjectPlace]) -> frozenset[str]:
        """Return the objects that a destination holds by a late commitment or a query; a failed query finds none."""
        late = self._late(peer, frozenset(place.sop_instance_uid for place in objects), use=False)
        try:
            return late | self._shown(peer, [one for one in objects if one.sop_instance_uid not in late])
        except QueryFailed as failure:
            _log.info("destination_not_asked", peer=peer.name, reason=str(failure))
            return late

    def _shown(self, peer: Peer, places: Sequence[ObjectPlace]) -> frozenset[str]:
        for study_uid in dict.fromkeys(place.study_uid for place in places):
            keys = {"StudyInstanceUID": study_uid}
            record_query(self._trail, peer.ae_title, peer.host, keys, by_web=bool(peer.dicomweb_url))
        return held_of(peer, self._calling_ae, places)

    def prove(self, peer: Peer, objects: Sequence[SentObject]) -> Proof:
        """Ask a destination for proof that it has stored what it accepted."""
        if peer.proof == "none" or not objects:
            return Proof(kind="none")
        commitment = self._ask(peer, objects)
        if commitment is not None:
            return commitment
        if peer.proof == "commitment":
            sentence = "it has not answered the request for storage commitment"
            return Proof(kind="commitment", missing={one.place.sop_instance_uid: sentence for one in objects})
        return self._query(peer, [one.place for one in objects])

    def _ask(self, peer: Peer, objects: Sequence[SentObject]) -> Proof | None:
        """Return the commitment of a destination, now or to an earlier request; None where it gives none."""
        if peer.proof == "query":
            return None
        late = self._late(peer, frozenset(one.place.sop_instance_uid for one in objects), use=True)
        open_ones = [one for one in objects if one.place.sop_instance_uid not in late]
        is_left_alone = peer.proof != "commitment" and time.monotonic() < self._silent_until.get(peer.name, 0.0)
        answer = None
        if open_ones and peer.host and not is_left_alone:
            answer = self._commitment(peer, open_ones)
        if answer is not None:
            return Proof(kind="commitment", proven=late | set(answer.committed), missing=answer.failed)
        return Proof(kind="commitment", proven=late) if late else None

    def _late(self, peer: Peer, uids: frozenset[str], *, use: bool) -> frozenset[str]:
        """Return the objects that a destination committed to after the wait had ended; with `use`, each counts once.

        So an earlier commitment does not prove an object that is sent again on purpose, because the archive lost it.
        """
        if peer.proof not in ("auto", "commitment"):
            return frozenset()
        since = utc_now() - ANSWER_COUNTS
        answered = sa.select(CommitmentRow).where(
            CommitmentRow.destination == peer.name,
            CommitmentRow.answered_at.is_not(None),
            CommitmentRow.asked_at >= since,
        )
        found: set[str] = set()
        with self._database.session() as session:
            for row in session.scalars(answered):
                counted = uids.intersection(row.committed)
                found |= counted
                if use and counted:
                    row.committed = [uid for uid in row.committed if uid not in counted]
        return frozenset(found)

    def _query(self, peer: Peer, places: Sequence[ObjectPlace]) -> Proof:
        try:
            held = self._shown(peer, places)
        except QueryFailed as failure:
            _log.info("destination_not_asked", peer=peer.name, reason=str(failure))
            return Proof(kind="none")
        absent = {place.sop_instance_uid for place in places} - held
        return Proof(kind="query", proven=held, missing=dict.fromkeys(absent, "a query does not find it yet"))

    def _commitment(self, peer: Peer, objects: Sequence[SentObject]) -> CommitmentAnswer | None:
        """Request commitment, and wait for the answer over this association or at any listener of the node."""
        transaction_uid = str(generate_uid(prefix=None))
        with self._database.session() as session:
            session.add(CommitmentRow(transaction_uid=transaction_uid, destination=peer.name))
        wanted = [(one.sop_class_uid, one.place.sop_instance_uid) for one in objects]

        def answered(answer: CommitmentAnswer) -> None:
            note_commitment(self._database, answer)

        refusal = request_commitment(peer.remote, self._calling_ae, wanted, transaction_uid, answered)
        if refusal:
            self._silent_until[peer.name] = time.monotonic() + LEFT_ALONE_S
            _log.info("no_commitment", peer=peer.name, reason=refusal)
            return None
        deadline = time.monotonic() + ANSWER_S
        while time.monotonic() < deadline:
            if (answer := self._answer(transaction_uid)) is not None:
                return answer
            time.sleep(LOOK_S)
        self._silent_until[peer.name] = time.monotonic() + LEFT_ALONE_S
        return None

    def _answer(self, transaction_uid: str) -> CommitmentAnswer | None:
        """Return the answer to a request, once."""
        with self._database.session() as session:
            row = session.get_one(CommitmentRow, transaction_uid)
            if row.answered_at is None:
                return None
            committed, row.committed = tuple(row.committed), []
            return CommitmentAnswer(transaction_uid=transaction_uid, committed=committed, failed=row.failed)
