"""Proof that a destination holds what it accepted: its storage commitment, else what it answers to a query."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import structlog
from pydicom.uid import generate_uid

from dicom_node.database import Database
from dicom_node.peer import Peer
from dicom_node.query import ObjectPlace, QueryFailed, held_of
from dicom_node.tables import CommitmentRow, utc_now
from viewer_integration.commitment import CommitmentAnswer, request_commitment

__all__ = ["Proof", "Prover", "SentObject", "note_commitment"]

ANSWER_S = 10.0
"""How long a commitment is waited for; Orthanc's comes within a second. After that the destination is queried."""

LOOK_S = 0.05
LEFT_ALONE_S = 60.0
"""A destination that offers no commitment, or took the request and was silent, is not asked for it at every object."""

_log = structlog.get_logger()


@dataclass(frozen=True, kw_only=True)
class Proof:
    """What was found out.

    Attributes
    ----------
    kind
        ``commitment`` or ``query``; ``none`` where a destination can be asked by neither.
    proven
        SOP Instance UIDs that it holds for certain.
    missing
        Those that it says it does not hold, with the reason.
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
    """Note an answer, whichever process it came to; tell whether it was asked for."""
    with database.session() as session:
        row = session.get(CommitmentRow, answer.transaction_uid)
        if row is None:
            return False
        row.answered_at, row.committed, row.failed = utc_now(), list(answer.committed), dict(answer.failed)
        return True


class Prover:
    """Asks destinations."""

    def __init__(self, database: Database, calling_ae: str) -> None:
        self._database = database
        self._calling_ae = calling_ae
        self._silent_until: dict[str, float] = {}

    def held(self, peer: Peer, objects: Sequence[ObjectPlace]) -> frozenset[str]:
        """Return which objects a destination shows that it holds; none where it cannot be asked."""
        try:
            return held_of(peer, self._calling_ae, objects)
        except QueryFailed as failure:
            _log.info("destination_not_asked", peer=peer.name, reason=str(failure))
            return frozenset()

    def prove(self, peer: Peer, objects: Sequence[SentObject]) -> Proof:
        """Find out whether a destination holds what it accepted."""
        if peer.proof == "none" or not objects:
            return Proof(kind="none")
        if peer.proof != "query" and peer.host and time.monotonic() >= self._silent_until.get(peer.name, 0.0):
            answer = self._commitment(peer, objects)
            if answer is not None:
                return Proof(kind="commitment", proven=frozenset(answer.committed), missing=answer.failed)
        if peer.proof == "commitment":
            sentence = "it has not answered the request for storage commitment"
            return Proof(kind="commitment", missing={one.place.sop_instance_uid: sentence for one in objects})
        return self._query(peer, [one.place for one in objects])

    def _query(self, peer: Peer, places: Sequence[ObjectPlace]) -> Proof:
        try:
            held = held_of(peer, self._calling_ae, places)
        except QueryFailed as failure:
            _log.info("destination_not_asked", peer=peer.name, reason=str(failure))
            return Proof(kind="none")
        absent = {place.sop_instance_uid for place in places} - held
        return Proof(kind="query", proven=held, missing=dict.fromkeys(absent, "it does not show it yet"))

    def _commitment(self, peer: Peer, objects: Sequence[SentObject]) -> CommitmentAnswer | None:
        """Ask, and wait for the answer over this association or at any listener of the node."""
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
            with self._database.session() as session:
                row = session.get_one(CommitmentRow, transaction_uid)
            if row.answered_at is not None:
                return CommitmentAnswer(
                    transaction_uid=transaction_uid, committed=tuple(row.committed), failed=row.failed
                )
            time.sleep(LOOK_S)
        self._silent_until[peer.name] = time.monotonic() + LEFT_ALONE_S
        return None
