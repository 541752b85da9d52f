"""The tables of connections: tests of a peer with a synthetic study, and the versions of the routing rules."""

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from dicom_node.database.states import ProbeState
from dicom_node.database.tables import Base, UtcDateTime, utc_now

__all__ = ["ConnectionTestRow", "RoutingVersionRow"]


class ConnectionTestRow(Base):
    """One test of the connection to a peer, with the answer to each of its steps."""

    __tablename__ = "connection_test"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    peer: Mapped[str] = mapped_column(sa.String(64), index=True)  # its name
    study_uid: Mapped[str] = mapped_column(sa.String(64))
    state: Mapped[str] = mapped_column(sa.String(8), default=ProbeState.RUNNING)
    steps: Mapped[list[dict[str, Any]]] = mapped_column(sa.JSON, default=list)  # of `retrieval.round_trip.Answered`
    began_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utc_now)
    ended_at: Mapped[datetime | None] = mapped_column(UtcDateTime, default=None)


class RoutingVersionRow(Base):
    """All routing rules as one save left them; rows are added and never changed, and the last one is in force."""

    __tablename__ = "routing_version"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    at: Mapped[datetime] = mapped_column(UtcDateTime, default=utc_now)
    who: Mapped[str] = mapped_column(sa.String(80))
    note: Mapped[str] = mapped_column(sa.Text, default="")
    rules: Mapped[list[dict[str, Any]]] = mapped_column(sa.JSON, default=list)  # of `routing.rule.RoutingRule`
