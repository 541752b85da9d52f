"""The table of the connection tests: a synthetic study sent to a peer and back."""

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from dicom_node.database.states import ProbeState
from dicom_node.database.tables import Base, UtcDateTime, utc_now

__all__ = ["ConnectionTestRow"]


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
