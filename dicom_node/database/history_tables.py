"""The tables of what happened with a result: when each step ran, and what people think of it."""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from dicom_node.database.tables import Base, UtcDateTime, utc_now

__all__ = ["OpinionRow", "StepTimeRow"]


class StepTimeRow(Base):
    """One start of a step; a step that is begun again by another worker goes on in its row."""

    __tablename__ = "step_time"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    run_id: Mapped[str] = mapped_column(sa.String(100), sa.ForeignKey("run.run_id"), index=True)
    step: Mapped[str] = mapped_column(sa.String(16))
    began_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utc_now)
    ended_at: Mapped[datetime | None] = mapped_column(UtcDateTime, default=None)


class OpinionRow(Base):
    """What a person thinks of a result; the comment is free text, which may name the patient."""

    __tablename__ = "opinion"
    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    study_uid: Mapped[str] = mapped_column(sa.String(64), sa.ForeignKey("study.study_uid"), index=True)
    run_id: Mapped[str] = mapped_column(sa.String(100), sa.ForeignKey("run.run_id"), index=True)
    verdict: Mapped[str] = mapped_column(sa.String(8))  # of `dicom_node.database.states.Verdict`
    comment: Mapped[str] = mapped_column(sa.Text, default="")
    who: Mapped[str] = mapped_column(sa.String(80))
    at: Mapped[datetime] = mapped_column(UtcDateTime, default=utc_now)
