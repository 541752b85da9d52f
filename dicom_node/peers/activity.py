"""What a peer has done and what waits for it: its associations, deliveries, refusals and requests."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Session

from dicom_node.database.engine import Database
from dicom_node.database.states import DeliveryState, FetchState
from dicom_node.database.tables import AssociationRow, DeliveryRow, FetchRow, InstanceRow, RefusalRow, RunRow, StudyRow
from dicom_node.peers.peer import Peer

__all__ = ["Activity", "Arrival", "Sent", "Waiting", "activity_of", "waiting_for"]

SHOWN = 10

_OPEN = (DeliveryState.WAITING, DeliveryState.SENDING, DeliveryState.REFUSED)


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """What hangs on a peer: objects that it has not accepted, their studies, and studies to be fetched from it."""

    objects: int
    studies: int
    fetches: int

    @property
    def nothing(self) -> bool:
        """Whether nothing hangs on it."""
        return not self.objects and not self.fetches


@dataclass(frozen=True, kw_only=True)
class Arrival:
    """An association that the peer opened to send images."""

    at: datetime
    end: str
    images: int


@dataclass(frozen=True, kw_only=True)
class Sent:
    """An object for the peer, with the key of its study."""

    study_key: str
    state: str
    proof: str
    reason: str
    at: datetime


@dataclass(frozen=True, kw_only=True)
class Activity:
    """The newest of each, newest first."""

    arrivals: Sequence[Arrival]
    deliveries: Sequence[Sent]
    refusals: Sequence[RefusalRow]


def waiting_for(database: Database, name: str) -> Waiting:
    """Return what hangs on a peer."""
    mine = sa.and_(DeliveryRow.destination == name, DeliveryRow.state.in_(_OPEN))
    studies = sa.func.count(sa.distinct(RunRow.study_uid))
    fetches = (FetchRow.source == name, FetchRow.state.in_((FetchState.WAITING, FetchState.RUNNING)))
    with database.session() as session:
        objects = session.scalar(sa.select(sa.func.count()).select_from(DeliveryRow).where(mine)) or 0
        of = session.scalar(sa.select(studies).join(DeliveryRow, DeliveryRow.run_id == RunRow.run_id).where(mine)) or 0
        asked = session.scalar(sa.select(sa.func.count()).select_from(FetchRow).where(*fetches)) or 0
    return Waiting(objects=objects, studies=of, fetches=asked)


def activity_of(database: Database, peer: Peer) -> Activity:
    """Return what a peer did last."""
    refused = sa.select(RefusalRow).where(RefusalRow.calling_ae == peer.ae_title).order_by(RefusalRow.at.desc())
    with database.session() as session:
        return Activity(
            arrivals=_arrivals(session, peer.ae_title),
            deliveries=_deliveries(session, peer.name),
            refusals=session.scalars(refused.limit(SHOWN)).all(),
        )


def _arrivals(session: Session, ae_title: str) -> list[Arrival]:
    newest = sa.select(AssociationRow).where(AssociationRow.calling_ae == ae_title)
    rows = session.scalars(newest.order_by(AssociationRow.opened_at.desc()).limit(SHOWN)).all()
    ids = [row.association_id for row in rows]
    counted = sa.select(InstanceRow.association_id, sa.func.count()).where(InstanceRow.association_id.in_(ids))
    images = {one: count for one, count in session.execute(counted.group_by(InstanceRow.association_id))}  # noqa: C416 - rows are no pairs to mypy
    return [Arrival(at=row.opened_at, end=row.end, images=images.get(row.association_id, 0)) for row in rows]


def _deliveries(session: Session, name: str) -> list[Sent]:
    """Return the newest deliveries; asked state by state, so that an index answers however many there are."""
    found: list[DeliveryRow] = []
    for state in DeliveryState:
        of_state = sa.select(DeliveryRow).where(DeliveryRow.destination == name, DeliveryRow.state == state)
        found += session.scalars(of_state.order_by(DeliveryRow.changed_at.desc()).limit(SHOWN)).all()
    rows = sorted(found, key=lambda row: row.changed_at, reverse=True)[:SHOWN]
    of_run = sa.select(RunRow.run_id, StudyRow.key).join(StudyRow, StudyRow.study_uid == RunRow.study_uid)
    found_keys = session.execute(of_run.where(RunRow.run_id.in_([row.run_id for row in rows])))
    keys = {run_id: key for run_id, key in found_keys}  # noqa: C416 - rows are no pairs to mypy
    return [
        Sent(study_key=keys.get(row.run_id, ""), state=row.state, proof=row.proof, reason=row.reason, at=row.changed_at)
        for row in rows
    ]
