"""What was refused at the door, in the database: one row for each caller and reason code, how often and since when.

Who knocks costs nothing, and may call itself anything: a stranger that tries a thousand names fills a few rows, and
what was refused to a known peer stays to be seen.
"""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Session

from dicom_node.database.tables import PeerRow, RefusalRow

__all__ = ["MANY_NAMES", "note_refusal"]

NAMES_FOR_EACH_ADDRESS = 16
"""Rows of unknown callers from one address with one code; a host has one AE title, a scanner of names has many."""

MANY_NAMES = "(many names)"
"""Stands for further unknown callers from an address; no AE title a peer would have."""

ROWS = 1000
"""In all; beyond, what has not happened again for longest makes room, strangers before peers."""


def note_refusal(session: Session, refusal: RefusalRow, at: datetime) -> str:
    """Count a refusal; of those with the same caller, address and code the newest reason stands.

    Returns
    -------
    str
        Name of the peer that called; empty for a stranger.

    Parameters
    ----------
    refusal
        With caller, address, code and reason; not yet in a session.
    """
    peer = _peer(session, refusal.calling_ae)
    refusal.calling_ae = refusal.calling_ae if peer else _stranger(session, refusal)
    known = session.scalar(sa.select(RefusalRow).where(*_same(refusal)).order_by(RefusalRow.id.desc()).limit(1))
    if known is not None:
        known.at, known.reason, known.count = at, refusal.reason, RefusalRow.count + 1
        return peer
    _make_room(session)
    refusal.at = refusal.first_at = at
    refusal.count = 1
    session.add(refusal)
    return peer


def _same(refusal: RefusalRow) -> tuple[sa.ColumnElement[bool], ...]:
    return (
        RefusalRow.address == refusal.address,
        RefusalRow.code == refusal.code,
        RefusalRow.calling_ae == refusal.calling_ae,
    )


def _peer(session: Session, calling_ae: str) -> str:
    return session.scalar(sa.select(PeerRow.name).where(PeerRow.ae_title == calling_ae).limit(1)) or ""


def _stranger(session: Session, refusal: RefusalRow) -> str:
    """Return the caller, or what stands for it where an address has called under too many names."""
    names = session.scalars(
        sa.select(RefusalRow.calling_ae)
        .where(RefusalRow.address == refusal.address, RefusalRow.code == refusal.code)
        .limit(2 * NAMES_FOR_EACH_ADDRESS)
    ).all()
    return refusal.calling_ae if refusal.calling_ae in names or len(names) < NAMES_FOR_EACH_ADDRESS else MANY_NAMES


def _make_room(session: Session) -> None:
    if (session.scalar(sa.select(sa.func.count()).select_from(RefusalRow)) or 0) < ROWS:
        return
    is_peer = RefusalRow.calling_ae.in_(sa.select(PeerRow.ae_title))
    oldest = sa.select(RefusalRow.id).order_by(is_peer, RefusalRow.at).limit(1)
    session.execute(sa.delete(RefusalRow).where(RefusalRow.id == oldest.scalar_subquery()))
