"""One-time links to the panel, and cookies of known browsers: tokens, of which the database holds only hashes."""

import hashlib
import secrets
from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import urlencode

import sqlalchemy as sa
from sqlalchemy.orm import Session

from dicom_node.database.engine import Database
from dicom_node.database.states import LinkKind
from dicom_node.database.tables import LoginTokenRow

__all__ = ["VALID", "Link", "find_link", "keep_token", "new_link", "remove_links", "token_sha256", "use_up"]

VALID = {
    LinkKind.FIRST: timedelta(minutes=15),  # printed again at each start
    LinkKind.OPEN: timedelta(hours=24),  # of the demonstration: opened once the node is served
    LinkKind.PASSWORD: timedelta(hours=24),  # handed from person to person
    LinkKind.PROVIDER: timedelta(minutes=10),  # to log in at a provider
    LinkKind.DEVICE: timedelta(days=90),
}
"""How long each is valid."""


@dataclass(frozen=True, kw_only=True)
class Link:
    """A link that is valid; `user` is empty for that of the first administrator."""

    kind: LinkKind
    user: str


def new_link(database: Database, base_url: str, kind: LinkKind, user: str = "", way_back: str = "") -> str:
    """Make a link that works once.

    Parameters
    ----------
    base_url
        Address of the panel, such as ``http://127.0.0.1:8040``.
    user
        Whom it is for; links of the same kind for this user that were made before become invalid.
    way_back
        Address to which the panel leads afterwards.
    """
    with database.session() as session:
        if user:
            remove_links(session, user, kind)
        token = keep_token(database, session, kind, user)
    query = {"token": token} | ({"next": way_back} if way_back else {})
    return f"{base_url.rstrip('/')}/login?{urlencode(query)}"


def keep_token(database: Database, session: Session, kind: LinkKind, user: str) -> str:
    """Return a new token, and remove those that have expired."""
    token = secrets.token_urlsafe(32)
    now = database.now(session)
    session.execute(sa.delete(LoginTokenRow).where(LoginTokenRow.expires_at <= now))
    row = LoginTokenRow(token_sha256=token_sha256(token), kind=kind, user=user or None, expires_at=now + VALID[kind])
    session.add(row)
    return token


def find_link(database: Database, token: str, *kinds: LinkKind) -> Link | None:
    """Return what a token is good for, if it is one of these kinds and has not expired."""
    if not token:
        return None
    with database.session() as session:
        row = session.get(LoginTokenRow, token_sha256(token))
        if row is None or row.kind not in kinds or row.expires_at <= database.now(session):
            return None
        return Link(kind=LinkKind(row.kind), user=row.user or "")


def use_up(database: Database, session: Session, token: str, kind: LinkKind, user: str = "") -> bool:
    """Delete a token of a user; return true to the one caller that deleted it while it was valid.

    With one link of the first administrator all of them go, in one statement, so that two people with two links do not
    both become that.
    """
    chosen = [LoginTokenRow.kind == kind, LoginTokenRow.expires_at > database.now(session)]
    if kind is not LinkKind.FIRST:
        chosen += [LoginTokenRow.token_sha256 == token_sha256(token), LoginTokenRow.user == user]
    deleted = session.scalars(sa.delete(LoginTokenRow).where(*chosen).returning(LoginTokenRow.token_sha256)).all()
    return token_sha256(token) in deleted


def remove_links(session: Session, user: str, *kinds: LinkKind) -> None:
    """Make links of a user invalid, within the transaction that changes what the user may do."""
    session.execute(sa.delete(LoginTokenRow).where(LoginTokenRow.user == user, LoginTokenRow.kind.in_(kinds)))


def token_sha256(token: str) -> str:
    """Return what the database holds of a token."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
