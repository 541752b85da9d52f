"""The tables of notifications: what happened, what lasts, and what is on its way to whom."""

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, Session, mapped_column

from dicom_node.database.states import NodeEvent, NoticeState
from dicom_node.database.tables import Base, UtcDateTime, utc_now

__all__ = ["ConditionRow", "EventRow", "NoticeRow", "note_event"]


class EventRow(Base):
    """One thing that happened; it is told in a notification, and kept for some days."""

    __tablename__ = "node_event"
    __table_args__ = (sa.Index("ix_node_event_open", "gathered", "code", "ended"),)
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    at: Mapped[datetime] = mapped_column(UtcDateTime, default=utc_now, index=True)
    code: Mapped[str] = mapped_column(sa.String(32))  # of `dicom_node.database.states.NodeEvent`
    ended: Mapped[bool] = mapped_column(default=False)  # it is over
    subject: Mapped[str] = mapped_column(sa.String(80), default="")  # a study's key, a peer's name, a worker's slot
    detail: Mapped[str] = mapped_column(sa.String(80), default="")  # a code or a number, never a text from a header
    gathered: Mapped[bool] = mapped_column(default=False)  # whether a notification tells it, or nobody wants to know


class ConditionRow(Base):
    """Something that is wrong at present, since when, and whether an event was made of it."""

    __tablename__ = "node_condition"
    code: Mapped[str] = mapped_column(sa.String(32), primary_key=True)
    subject: Mapped[str] = mapped_column(sa.String(80), primary_key=True)
    since: Mapped[datetime] = mapped_column(UtcDateTime, default=utc_now)
    detail: Mapped[str] = mapped_column(sa.String(80), default="")
    noted: Mapped[bool] = mapped_column(default=False)


class NoticeRow(Base):
    """One notification to one receiver; its id and content stay as they are however often it is sent."""

    __tablename__ = "notice"
    __table_args__ = (sa.Index("ix_notice_due", "channel", "state", "next_at"),)
    notice_id: Mapped[str] = mapped_column(sa.String(36), primary_key=True)
    channel: Mapped[str] = mapped_column(sa.String(8))  # mail or webhook
    code: Mapped[str] = mapped_column(sa.String(32))
    ended: Mapped[bool] = mapped_column(default=False)
    content: Mapped[dict[str, Any]] = mapped_column(sa.JSON)  # of `dicom_node.notifications.document`
    state: Mapped[str] = mapped_column(sa.String(16), default=NoticeState.WAITING)
    made_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utc_now, index=True)
    waits_since: Mapped[datetime] = mapped_column(UtcDateTime, default=utc_now)  # of the oldest that it tells
    next_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utc_now)
    attempts: Mapped[int] = mapped_column(default=0)
    answer: Mapped[str] = mapped_column(sa.String(200), default="")  # to the last attempt


def note_event(session: Session, code: NodeEvent, subject: str, detail: str = "") -> None:
    """Note something in the transaction of what caused it, so that neither is kept without the other."""
    session.add(EventRow(code=code, subject=subject[:80], detail=detail[:80]))
