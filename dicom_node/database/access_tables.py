"""The tables of who may use the node: users, their sessions, and how often a login failed."""

from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from dicom_node.database.tables import Base, UtcDateTime, utc_now

__all__ = ["LoginFailureRow", "SessionRow", "UserRow"]


class UserRow(Base):
    """A person who may use the panel."""

    __tablename__ = "panel_user"
    name: Mapped[str] = mapped_column(sa.String(64), primary_key=True)
    role: Mapped[str] = mapped_column(sa.String(16))  # of `dicom_node.database.states.UserRole`
    password_hash: Mapped[str] = mapped_column(sa.Text, default="")  # argon2; empty: no password is set
    enabled: Mapped[bool] = mapped_column(default=True)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utc_now)
    seen_at: Mapped[datetime | None] = mapped_column(UtcDateTime, default=None)  # the last login
    subject_sha256: Mapped[str | None] = mapped_column(sa.String(64), default=None, unique=True, index=True)
    """Of a user whom an identity provider states: hash of issuer and subject. None: a user of this node alone."""


class SessionRow(Base):
    """A session of a user; only the hash of its cookie is kept."""

    __tablename__ = "panel_session"
    token_sha256: Mapped[str] = mapped_column(sa.String(64), primary_key=True)
    user: Mapped[str] = mapped_column(sa.String(64), sa.ForeignKey("panel_user.name"), index=True)
    address: Mapped[str] = mapped_column(sa.String(64), default="")  # of the browser that logged in
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utc_now)
    seen_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utc_now)  # to within a minute
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)


class LoginFailureRow(Base):
    """How often logins failed since a moment: for one user name, one address or one known browser, each as a hash."""

    __tablename__ = "login_failure"
    key: Mapped[str] = mapped_column(sa.String(80), primary_key=True)
    count: Mapped[int]
    until: Mapped[datetime] = mapped_column(UtcDateTime, index=True)  # when the count begins anew
