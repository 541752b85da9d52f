"""Notifications on their way: made of events, sent until they are taken or given up, forgotten after a while."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
import structlog
from sqlalchemy.orm import Session

from dicom_node.database.engine import Database
from dicom_node.database.notice_tables import EventRow, NoticeRow
from dicom_node.database.states import NodeEvent, NoticeState
from dicom_node.notifications.document import LISTED, document, merged, new_id
from dicom_node.notifications.wording import Happened
from dicom_node.settings import Settings

__all__ = ["Answer", "Due", "claim_due", "forget", "gather", "note_answer"]

_log = structlog.get_logger()

FIRST_PAUSE_S = 10.0
LONGEST_PAUSE_S = 900.0
"""A receiver that is away is tried again after 10, 20, 40 s and so on, finally every 15 minutes."""

GIVEN_UP_AFTER = timedelta(days=2)
CLAIM = timedelta(minutes=5)
"""A notification that was being sent is sent again after this time: the process that sent it has died."""

STALE = timedelta(days=1)
"""Events that nobody has gathered for this long are from a time without notifications; nobody wants to hear of them."""

KEPT = timedelta(days=30)
"""How long settled notifications are shown."""

EVENTS_AT_ONCE = 10_000


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What became of one attempt; the sentence holds nothing that the receiver wrote beyond a status."""

    ok: bool
    sentence: str


@dataclass(frozen=True, kw_only=True)
class Due:
    """A notification that is to be sent now."""

    notice_id: str
    content: dict[str, Any]


def gather(settings: Settings, database: Database, now: datetime) -> int:
    """Make notifications of the events that are due, and return how many events they tell."""
    return database.transact(lambda session: _gather(settings, session, now))


def _gather(settings: Settings, session: Session, now: datetime) -> int:
    kinds = (
        sa.select(EventRow.code, EventRow.ended, sa.func.min(EventRow.at))
        .where(~EventRow.gathered)
        .group_by(EventRow.code, EventRow.ended)
    )
    return sum(
        _gather_kind(settings, session, NodeEvent(code), now, ended=ended)
        for code, ended, first in session.execute(kinds).all()
        if first <= now - timedelta(seconds=settings.notifications.gather_s)
    )


def _gather_kind(settings: Settings, session: Session, code: NodeEvent, now: datetime, *, ended: bool) -> int:
    channels = _interested(settings, code)
    if channels and _pauses(settings, session, code, now, ended=ended):
        return 0
    chosen = sa.select(EventRow).where(~EventRow.gathered, EventRow.code == code, EventRow.ended == ended)
    rows = session.scalars(chosen.order_by(EventRow.id).limit(EVENTS_AT_ONCE).with_for_update()).all()
    for row in rows:
        row.gathered = True
    fresh = [row for row in rows if row.at > now - STALE]
    if len(fresh) < len(rows):
        _log.info("events_from_before_not_told", code=str(code), events=len(rows) - len(fresh))
    size = LISTED if code is NodeEvent.RESULTS_DELIVERED else EVENTS_AT_ONCE  # of deliveries, none is only counted
    for channel in channels:
        for first in range(0, len(fresh), size):
            _add(settings, session, channel, fresh[first : first + size], now)
    return len(fresh) if channels else 0


def _interested(settings: Settings, code: NodeEvent) -> list[str]:
    told = settings.notifications
    delivered = code is NodeEvent.RESULTS_DELIVERED
    mail = ["mail"] if told.recipients and not delivered else []
    return mail + (["webhook"] if told.webhook and (told.webhook_delivered or not delivered) else [])


def _pauses(settings: Settings, session: Session, code: NodeEvent, now: datetime, *, ended: bool) -> bool:
    if code is NodeEvent.RESULTS_DELIVERED:
        return False
    newest = sa.select(sa.func.max(NoticeRow.made_at)).where(NoticeRow.code == code, NoticeRow.ended == ended)
    made_at = session.scalar(newest)
    return made_at is not None and now < made_at + timedelta(minutes=settings.notifications.pause_minutes)


def _add(settings: Settings, session: Session, channel: str, rows: Sequence[EventRow], now: datetime) -> None:
    """Add a notification; one of its kind that waits to be sent again is told with it."""
    code, ended = NodeEvent(rows[0].code), rows[0].ended
    things = [Happened(subject=row.subject, detail=row.detail) for row in rows]
    content = document(settings, code, things, at=rows[0].at, ended=ended)
    notice = NoticeRow(
        notice_id=new_id(), channel=channel, code=code, ended=ended, made_at=now, waits_since=now, next_at=now
    )
    if code is not NodeEvent.RESULTS_DELIVERED:
        same = (NoticeRow.channel == channel, NoticeRow.code == code, NoticeRow.ended == ended)
        waiting = sa.select(NoticeRow).where(*same, NoticeRow.state == NoticeState.WAITING, NoticeRow.attempts > 0)
        for older in session.scalars(waiting.order_by(NoticeRow.made_at.desc()).with_for_update()).all():
            content, older.state = merged(settings, older.content, content), NoticeState.MERGED
            notice.waits_since, notice.next_at, notice.attempts = older.waits_since, older.next_at, older.attempts
    notice.content = content
    session.add(notice)


def claim_due(database: Database, channel: str, now: datetime) -> Due | None:
    """Take the notification of a channel that is due first; what its sender then notes ends the claim."""
    due = (NoticeRow.state.in_((NoticeState.WAITING, NoticeState.SENDING)), NoticeRow.next_at <= now)
    chosen = sa.select(NoticeRow).where(NoticeRow.channel == channel, *due).order_by(NoticeRow.next_at).limit(1)
    with database.session() as session:
        row = session.scalar(chosen.with_for_update(skip_locked=True))
        if row is None:
            return None
        row.state, row.next_at, row.attempts = NoticeState.SENDING, now + CLAIM, row.attempts + 1
        return Due(notice_id=row.notice_id, content=row.content)


def note_answer(database: Database, notice_id: str, answer: Answer, now: datetime) -> NoticeState:
    """Note what became of an attempt: sent, to be tried again, or given up; return which."""
    with database.session() as session:
        row = session.get_one(NoticeRow, notice_id, with_for_update=True)
        row.answer = answer.sentence[:200]
        if answer.ok:
            row.state = NoticeState.SENT
            _wake(session, row.channel, now)
        elif now >= row.waits_since + GIVEN_UP_AFTER:
            row.state = NoticeState.GIVEN_UP
        else:
            pause_s = min(FIRST_PAUSE_S * 2.0 ** min(row.attempts - 1, 20), LONGEST_PAUSE_S)
            row.state, row.next_at = NoticeState.WAITING, now + timedelta(seconds=pause_s)
        return NoticeState(row.state)


def _wake(session: Session, channel: str, now: datetime) -> None:
    """End the pauses of a receiver that takes notifications again."""
    waiting = (NoticeRow.channel == channel, NoticeRow.state == NoticeState.WAITING, NoticeRow.next_at > now)
    session.execute(sa.update(NoticeRow).where(*waiting).values(next_at=now))


def forget(database: Database, now: datetime) -> None:
    """Remove old events, and notifications that were settled long ago."""
    settled = NoticeRow.state.in_((NoticeState.SENT, NoticeState.MERGED, NoticeState.GIVEN_UP))
    with database.session() as session:
        session.execute(sa.delete(EventRow).where(EventRow.at < now - KEPT, EventRow.gathered))
        session.execute(sa.delete(EventRow).where(EventRow.at < now - 2 * STALE))
        session.execute(sa.delete(NoticeRow).where(settled, NoticeRow.made_at < now - KEPT))
