"""Records the associations that bring images; how one ended shows whether the sender was finished."""

import os
import secrets
import socket
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from weakref import WeakKeyDictionary, WeakSet

import sqlalchemy as sa
from pynetdicom.association import Association
from sqlalchemy.orm import Session

from dicom_node.database.engine import Database
from dicom_node.database.states import AssociationEnd, StudyState
from dicom_node.database.tables import AssociationRow, InstanceRow, StudyRow, utc_now
from dicom_node.reception.contract import VERIFICATION

__all__ = ["AssociationBook"]


class AssociationBook:
    """Records the associations of one listener process in the database."""

    def __init__(self, database: Database, clock: Callable[[], datetime] = utc_now) -> None:
        self._database = database
        self._clock = clock
        self._name = f"{socket.gethostname()[:50]}/{os.getpid()}"
        self._open: WeakKeyDictionary[Association, str] = WeakKeyDictionary()
        self._ended: WeakSet[Association] = WeakSet()

    def close_left_open(self) -> dict[str, str]:
        """Mark as lost the associations that killed listeners on this host left open; return their AE titles by id."""
        lost = {}
        with self._database.session() as session:
            rows = session.scalars(sa.select(AssociationRow).where(AssociationRow.end == AssociationEnd.OPEN)).all()
            for row in rows:
                host, _, pid = row.listener.rpartition("/")
                ours = row.listener == self._name  # a process that has just started has no association yet
                if ours or (host == self._name.rpartition("/")[0] and not Path("/proc", pid).exists()):
                    self._close(session, row, AssociationEnd.LOST)
                    lost[row.association_id] = row.calling_ae
        return lost

    def id_of(self, assoc: Association) -> str:
        """Return the id of an association, which is recorded at its first image."""
        known = self._open.get(assoc)
        if known is not None:
            return known
        row = self._row(assoc)
        with self._database.session() as session:
            session.add(row)
        self._open[assoc] = row.association_id
        return row.association_id

    def end(self, assoc: Association, end: AssociationEnd) -> None:
        """Record once how an association ended, and have the studies that it brought assessed again.

        Also record one that broke off before its first image: its sender has images that did not arrive.
        """
        association_id = self._open.pop(assoc, None)
        if assoc in self._ended or (association_id is None and not _broke_off(assoc, end)):
            return
        self._ended.add(assoc)
        with self._database.session() as session:
            if association_id is None:
                row = self._row(assoc)
                session.add(row)
            else:
                row = session.get_one(AssociationRow, association_id)
            self._close(session, row, end)

    def _row(self, assoc: Association) -> AssociationRow:
        return AssociationRow(
            association_id=secrets.token_hex(16),
            listener=self._name,
            calling_ae=assoc.requestor.ae_title.strip()[:16],
            called_ae=str(getattr(assoc.requestor.primitive, "called_ae_title", "")).strip()[:16],
            opened_at=self._clock(),
        )

    def _close(self, session: Session, row: AssociationRow, end: AssociationEnd) -> None:
        row.end, row.ended_at = end, self._clock()
        brought = sa.select(InstanceRow.study_uid).where(InstanceRow.association_id == row.association_id)
        session.execute(
            sa.update(StudyRow)
            .where(StudyRow.study_uid.in_(brought), StudyRow.state == StudyState.RECEIVING)
            .values(look_at=row.ended_at)
        )


def _broke_off(assoc: Association, end: AssociationEnd) -> bool:
    """Return whether an association that was opened to store instances ended by an abort."""
    stores = any(context.abstract_syntax != VERIFICATION for context in assoc.accepted_contexts)
    return end is AssociationEnd.ABORTED and stores
