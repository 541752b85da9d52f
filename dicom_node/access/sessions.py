"""Sessions: each belongs to a user, ends when it is not used or too old, and with any change of the user's rights."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.orm import Session

from dicom_node.access.caller import Caller, Credential
from dicom_node.access.links import token_sha256
from dicom_node.database.access_tables import SessionRow, UserRow
from dicom_node.database.engine import Database
from dicom_node.database.states import UserRole

__all__ = ["SessionLimits", "begin_session", "caller_of", "end_all", "end_session", "goes_on", "sessions_of"]

_SEEN_EVERY = timedelta(minutes=1)
"""How often it is written that a session is in use: not with each of a viewer's hundreds of requests."""


@dataclass(frozen=True, kw_only=True)
class SessionLimits:
    """How long a session lasts: when nobody uses it, and at most."""

    idle: timedelta
    longest: timedelta


def begin_session(database: Database, name: str, limits: SessionLimits, address: str = "") -> str:
    """Begin a session, remove those that have ended, and return the value of its cookie.

    Raises
    ------
    sqlalchemy.exc.NoResultFound
        When there is no such user.
    """
    token = secrets.token_urlsafe(32)
    with database.session() as session:
        now = database.now(session)
        session.execute(sa.delete(SessionRow).where(_ended(now, limits)))
        session.get_one(UserRow, name).seen_at = now
        facts = {"created_at": now, "seen_at": now, "expires_at": now + limits.longest}
        session.add(SessionRow(token_sha256=token_sha256(token), user=name, address=address, **facts))
    return token


def caller_of(database: Database, token: str, limits: SessionLimits) -> Caller | None:
    """Return the user of a session by its cookie; None if it has ended, or its user is disabled."""
    if not token:
        return None
    with database.session() as session:
        now = database.now(session)
        found = session.execute(
            sa.select(SessionRow, UserRow)
            .join(UserRow, UserRow.name == SessionRow.user)
            .where(SessionRow.token_sha256 == token_sha256(token), UserRow.enabled, sa.not_(_ended(now, limits)))
        ).one_or_none()
        if found is None:
            return None
        row, user = found
        if now - row.seen_at >= _SEEN_EVERY:
            row.seen_at = now
        return Caller(
            name=user.name,
            kind=Credential.SESSION,
            owner=f"user:{user.name}",
            role=UserRole(user.role),
            session=row.token_sha256,
            has_password=bool(user.password_hash),
            is_provided=user.subject_sha256 is not None,
        )


def goes_on(database: Database, session_sha256: str, limits: SessionLimits) -> bool:
    """Return whether a session has not ended, without counting as use: a page that is only left open does not keep it.

    Parameters
    ----------
    session_sha256
        As `Caller.session` states it.
    """
    with database.session() as session:
        row = session.get(SessionRow, session_sha256)
        if row is None or not session.get_one(UserRow, row.user).enabled:
            return False
        now = database.now(session)
        return now < row.expires_at and now - row.seen_at < limits.idle


def sessions_of(database: Database, name: str, limits: SessionLimits) -> Sequence[SessionRow]:
    """Return the sessions of a user that go on, the last used first."""
    with database.session() as session:
        going_on = sa.not_(_ended(database.now(session), limits))
        chosen = sa.select(SessionRow).where(SessionRow.user == name, going_on)
        return session.scalars(chosen.order_by(SessionRow.seen_at.desc(), SessionRow.token_sha256)).all()


def end_session(database: Database, token: str) -> None:
    """End the session of a cookie, if there is one."""
    with database.session() as session:
        session.execute(sa.delete(SessionRow).where(SessionRow.token_sha256 == token_sha256(token)))


def end_all(session: Session, name: str) -> None:
    """End all sessions of a user, within the transaction that changes what the user may do."""
    session.execute(sa.delete(SessionRow).where(SessionRow.user == name))


def _ended(now: datetime, limits: SessionLimits) -> sa.ColumnElement[bool]:
    return sa.or_(SessionRow.expires_at <= now, SessionRow.seen_at <= now - limits.idle)
