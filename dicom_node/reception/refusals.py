"""Records what the listener refused: one row for each caller and reason code, with the count and the first time.

Any machine can connect, under any AE title. An unknown caller that tries a thousand titles therefore gets only a few
rows, so that the refusals of known peers remain visible.
"""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Session

from dicom_node.database.tables import PeerRow, RefusalRow

__all__ = ["MANY_NAMES", "note_refusal"]

NAMES_FOR_EACH_ADDRESS = 16
"""Rows of unknown callers from one address with one code: a host has one AE title, a program that guesses has many."""

MANY_NAMES = "(many names)"
"""Replaces the AE titles of further unknown callers from an address; no peer would have this title."""

ROWS = 1000
"""Limit in all; beyond it, the refusal that has not happened for longest is deleted, unknown callers before peers."""


def note_refusal(session: Session, refusal: RefusalRow, at: datetime) -> str:
    """Count a refusal; of those with the same caller, address and code keep the newest reason.

    Returns
    -------
    str
        Name of the peer that called; empty for an unknown caller.

    Parameters
    ----------
    refusal
        Row with caller, address, code and reason; not yet in a session.
    """
    peer = _peer(session, refusal.calling_ae)
    refusal.calling_ae = refusal.calling_ae if peer else _unknown_caller(session, refusal)
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


def _unknown_caller(session: Session, refusal: RefusalRow) -> str:
    """Return the AE title, or `MANY_NAMES` where its address has called under too many."""
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
