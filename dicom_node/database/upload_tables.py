"""The tables of the workbench: uploads, and the tokens of programs that send them."""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from dicom_node.database.states import JobState, TokenScope
from dicom_node.database.tables import Base, UtcDateTime, utc_now

__all__ = ["ApiTokenRow", "WorkbenchRow"]


class WorkbenchRow(Base):
    """One upload to the workbench. Its files lie below ``<folder>/workbench/<id>``."""

    __tablename__ = "workbench_job"
    id: Mapped[str] = mapped_column(sa.String(32), primary_key=True)
    owner: Mapped[str] = mapped_column(sa.String(80), index=True)
    files: Mapped[str] = mapped_column(sa.Text)  # JSON, as `dicom_node.workbench.jobs` writes it
    state: Mapped[str] = mapped_column(sa.String(8), default=JobState.WAITING, index=True)
    step: Mapped[str] = mapped_column(sa.String(16), default="")  # what a worker is doing
    reason: Mapped[str] = mapped_column(sa.Text, default="")
    executor: Mapped[str] = mapped_column(sa.String(80), default="")  # the worker that has it
    attempt: Mapped[int] = mapped_column(default=0)  # how often it was started
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utc_now)
    ended_at: Mapped[datetime | None] = mapped_column(UtcDateTime, default=None)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)


class ApiTokenRow(Base):
    """A token by which a program calls the node; only its hash is kept."""

    __tablename__ = "api_token"
    name: Mapped[str] = mapped_column(sa.String(64), primary_key=True)
    token_sha256: Mapped[str] = mapped_column(sa.String(64), unique=True)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utc_now)
    user: Mapped[str | None] = mapped_column(sa.String(64), default=None)  # who made it; None: on the command line
    scopes: Mapped[str] = mapped_column(sa.Text, default=TokenScope.WORKBENCH, server_default=TokenScope.WORKBENCH)
    expires_at: Mapped[datetime | None] = mapped_column(UtcDateTime, default=None)
    used_at: Mapped[datetime | None] = mapped_column(UtcDateTime, default=None)
