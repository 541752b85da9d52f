"""What is wrong at present, read from the database, the disk and files; its begin and its end become events."""

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import sqlalchemy as sa
import structlog
from sqlalchemy.orm import Session

from dicom_node.audit.files import TrailFiles
from dicom_node.database.engine import Database
from dicom_node.database.notice_tables import ConditionRow, EventRow
from dicom_node.database.states import DeliveryState, NodeEvent
from dicom_node.database.tables import DeliveryRow
from dicom_node.database.worker_slots import list_workers
from dicom_node.models.roles import production_model
from dicom_node.peers.registry import destinations
from dicom_node.settings import Settings
from dicom_node.storage.disk_space import free_bytes
from inference.errors import UnusableModel

__all__ = ["Conditions"]

_log = structlog.get_logger()

GIB = 2**30
SLOW_LOOK_S = 60.0
"""Interval at which the model and the certificate are looked at, which means reading files."""

ENOUGH = 1.1
"""Share of the limit from which the disk counts as free again: around the limit itself it would go to and fro."""

_OPEN = (DeliveryState.WAITING, DeliveryState.SENDING, DeliveryState.REFUSED)

_Found = tuple[NodeEvent, str, str]
"""Kind, subject, detail."""


class Conditions:
    """Looks at the node, and notes what has begun or ended."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self._settings, self._database = settings, database
        self._slow_at = -SLOW_LOOK_S
        self._slow: list[_Found] = []

    def look(self, now: datetime) -> None:
        """Compare what is wrong with what is known to be, in one transaction."""
        found = {(code, subject): detail for code, subject, detail in self._found(now)}
        self._database.transact(lambda session: self._note(session, found, now))

    def _note(self, session: Session, found: dict[tuple[NodeEvent, str], str], now: datetime) -> None:
        known = {(NodeEvent(row.code), row.subject): row for row in session.scalars(sa.select(ConditionRow))}
        for (code, subject), row in known.items():
            if (code, subject) not in found:
                if row.noted:
                    _change(session, code, subject, self._over(code), now, ended=True)
                session.delete(row)
        for (code, subject), detail in found.items():
            row = known.get((code, subject)) or ConditionRow(code=code, subject=subject, since=now, noted=False)
            row.detail = detail
            session.add(row)
            if not row.noted and now - row.since >= self._patience(code):
                row.noted = True
                _change(session, code, subject, detail, now, ended=False)

    def _patience(self, code: NodeEvent) -> timedelta:
        minutes = self._settings.notifications.silent_minutes
        return timedelta(minutes=minutes) if code is NodeEvent.DESTINATION_SILENT else timedelta()

    def _over(self, code: NodeEvent) -> str:
        return self._free() if code is NodeEvent.DISK_FULL else ""

    def _found(self, now: datetime) -> Iterator[_Found]:
        yield from self._destinations()
        yield from self._disk()
        yield from self._audit()
        for worker in list_workers(self._database):
            if not worker.alive:
                yield NodeEvent.WORKER_AWAY, worker.executor, ""
        if time.monotonic() - self._slow_at >= SLOW_LOOK_S:
            self._slow, self._slow_at = [*self._model(), *self._certificate(now)], time.monotonic()
        yield from self._slow

    def _destinations(self) -> Iterator[_Found]:
        names = [peer.name for peer in destinations(self._database)]
        tried = (DeliveryRow.state.in_(_OPEN), DeliveryRow.attempts > 0, DeliveryRow.destination.in_(names))
        chosen = sa.select(DeliveryRow.destination, sa.func.count(), sa.func.max(DeliveryRow.status))
        with self._database.session() as session:
            rows = session.execute(chosen.where(*tried).group_by(DeliveryRow.destination)).all()
        for name, count, status in rows:
            answer = "no answer" if status is None else f"answer 0x{status:04X}"
            yield NodeEvent.DESTINATION_SILENT, name, f"{count} {'object' if count == 1 else 'objects'}, {answer}"

    def _disk(self) -> Iterator[_Found]:
        with self._database.session() as session:
            known = session.get(ConditionRow, (NodeEvent.DISK_FULL, "disk")) is not None
        limit = self._settings.limits.free_disk_gib * GIB * (ENOUGH if known else 1)
        if free_bytes(self._settings.node.folder) < limit:
            yield NodeEvent.DISK_FULL, "disk", self._free()

    def _free(self) -> str:
        return f"{free_bytes(self._settings.node.folder) / GIB:.1f} GiB free"

    def _audit(self) -> Iterator[_Found]:
        if problem := _os_error(TrailFiles(self._settings.node.folder).check):
            yield NodeEvent.AUDIT_UNWRITABLE, "audit", problem

    def _model(self) -> Iterator[_Found]:
        try:
            production_model(self._database, self._settings)
        except UnusableModel as error:
            yield NodeEvent.MODEL_UNUSABLE, "model", str(error.reason)

    def _certificate(self, now: datetime) -> Iterator[_Found]:
        path = self._settings.web.certificate
        if path and (problem := _problem_of(Path(path), now)):
            yield NodeEvent.CERTIFICATE, "certificate", problem


def _change(session: Session, code: NodeEvent, subject: str, detail: str, now: datetime, *, ended: bool) -> None:
    """Note a begin or an end, unless its counterpart is not told yet: nobody needs to hear of what is over."""
    counterpart = sa.select(EventRow).where(
        ~EventRow.gathered, EventRow.code == code, EventRow.ended == (not ended), EventRow.subject == subject
    )
    row = session.scalar(counterpart.limit(1).with_for_update())
    if row is not None:
        session.delete(row)
    else:
        session.add(EventRow(at=now, code=code, ended=ended, subject=subject, detail=detail[:80]))
    _log.info("condition", code=str(code), about=subject, ended=ended)


def _os_error(check: Callable[[], None]) -> str:
    try:
        check()
    except OSError as error:
        return error.strerror or type(error).__name__
    return ""


def _problem_of(path: Path, now: datetime) -> str:
    """Return what is wrong with a certificate, to be read after its name."""
    from dicom_node.access.certificate import EARLY, expiry_of  # noqa: PLC0415 - only nodes with a certificate load it

    try:
        ends = expiry_of(path)
    except (OSError, ValueError) as error:
        return f"cannot be read ({type(error).__name__})"
    if ends - now >= EARLY:
        return ""
    return f"{'has ended' if ends <= now else 'ends'} on {ends.astimezone(UTC):%Y-%m-%d}"
