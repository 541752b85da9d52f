"""A span of each round of a delivery to one destination, in the trace of its run."""

from contextlib import AbstractContextManager
from datetime import datetime

import sqlalchemy as sa

from dicom_node.database.engine import Database
from dicom_node.database.keyed_hashes import KeyedHash
from dicom_node.database.states import DeliveryState
from dicom_node.database.tables import DeliveryRow, RunRow, StudyRow
from dicom_node.telemetry.spans import Span, timed

__all__ = ["traced_delivery"]


def traced_delivery(database: Database, run_id: str, peer: str) -> AbstractContextManager[None]:
    """Record how long a block took, and how many objects the destination has then accepted."""
    return timed(lambda began_at, ended_at, ok: _span(database, run_id, peer, began_at, ended_at, ok=ok))


def _span(database: Database, run_id: str, peer: str, began_at: datetime, ended_at: datetime, *, ok: bool) -> Span:
    with database.session() as session:
        run = session.get_one(RunRow, run_id)
        key = session.get_one(StudyRow, run.study_uid).key
        chosen = sa.select(DeliveryRow.state).where(DeliveryRow.run_id == run_id, DeliveryRow.destination == peer)
        states = list(session.scalars(chosen).all())
    accepted = states.count(DeliveryState.ACCEPTED)
    return Span(
        name="delivery",
        began_at=began_at,
        ended_at=ended_at,
        attributes={
            "glionode.study": key,
            "glionode.peer": peer,
            "glionode.objects": len(states),
            "glionode.accepted": accepted,
        },
        ok=ok and accepted == len(states),
        trace=KeyedHash(database)("trace", run_id, str(run.attempt)),
    )
