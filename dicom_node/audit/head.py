"""What the database keeps of the audit trail: its key, and its last record, by which a cut at the end is noticed.

The codes of the records are made with a key (HMAC) rather than with a hash alone: whoever can write only to the file,
as on a file server or in a backup, could make a chain of plain hashes anew after any change. The key is a secret of the
installation beside that of the logs. On PostgreSQL it is on another machine with other rights; with SQLite whoever
has the node's folder has both, and only a copy of the trail or of its last code elsewhere shows a forgery.
"""

import sqlalchemy as sa
from sqlalchemy.orm import Session

from dicom_node.database.audit_tables import AuditHeadRow
from dicom_node.database.engine import Database
from dicom_node.database.keyed_hashes import secret

__all__ = ["audit_key", "known_head", "note_head"]

_ONLY = 1


def audit_key(database: Database) -> bytes:
    """Return the key of the trail, made at first use."""
    return bytes.fromhex(database.transact(lambda session: secret(session, "audit")))


def note_head(database: Database, sequence: int, code: str) -> None:
    """Note the last record; several processes may do so in another order than they wrote."""

    def work(session: Session) -> None:
        row = session.get(AuditHeadRow, _ONLY, with_for_update=True)
        if row is None:
            session.add(AuditHeadRow(id=_ONLY, sequence=sequence, code=code))
        elif row.sequence < sequence:
            row.sequence, row.code = sequence, code

    database.transact(work)


def known_head(database: Database) -> tuple[int, str]:
    """Return number and code of the last record that was noted; 0 where there is none."""
    with database.session() as session:
        row = session.scalar(sa.select(AuditHeadRow))
        return (0, "") if row is None else (row.sequence, row.code)
