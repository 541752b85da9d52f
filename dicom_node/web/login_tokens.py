"""One-time links to the panel and its sessions: tokens, of which the database holds only hashes."""

import hashlib
import secrets
from datetime import timedelta
from urllib.parse import urlencode

import sqlalchemy as sa

from dicom_node.database.engine import Database
from dicom_node.database.tables import LoginTokenRow, utc_now

__all__ = ["is_valid", "new_login_link", "new_token", "token_sha256", "use_up"]

_LINK_VALID = timedelta(minutes=15)


def new_login_link(database: Database, base_url: str) -> str:
    """Make a link that opens the panel once, within 15 minutes.

    Parameters
    ----------
    base_url
        Address of the panel, such as ``http://127.0.0.1:8040``.
    """
    token = new_token(database, "link", _LINK_VALID)
    return f"{base_url.rstrip('/')}/login?{urlencode({'token': token})}"


def new_token(database: Database, kind: str, valid: timedelta) -> str:
    """Return a new token, and remove those that have expired.

    Parameters
    ----------
    kind
        ``link`` or ``session``: a token is good for nothing else.
    """
    token = secrets.token_urlsafe(32)
    now = utc_now()
    with database.session() as session:
        session.execute(sa.delete(LoginTokenRow).where(LoginTokenRow.expires_at <= now))
        session.add(LoginTokenRow(token_sha256=token_sha256(token), kind=kind, expires_at=now + valid))
    return token


def is_valid(database: Database, token: str, kind: str) -> bool:
    """Return whether a token of this kind exists and has not expired."""
    if not token:
        return False
    with database.session() as session:
        row = session.get(LoginTokenRow, token_sha256(token))
    return row is not None and row.kind == kind and row.expires_at > utc_now()


def use_up(database: Database, token: str, kind: str) -> bool:
    """Delete a token; return true to the one caller that deleted it while it was valid."""
    statement = sa.delete(LoginTokenRow).where(
        LoginTokenRow.token_sha256 == token_sha256(token),
        LoginTokenRow.kind == kind,
        LoginTokenRow.expires_at > utc_now(),
    )
    with database.session() as session:
        result = session.execute(statement)
    return bool(getattr(result, "rowcount", 0))


def token_sha256(token: str) -> str:
    """Return what the database holds of a token."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
