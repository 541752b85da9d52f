"""Tokens by which programs call the node, each for what its scopes say; the database holds only their hashes."""

import re
import secrets
from collections.abc import Collection, Sequence
from datetime import timedelta

import sqlalchemy as sa

from dicom_node.access.caller import Caller, Credential
from dicom_node.access.events import COMMAND_LINE, AccessEvent, record
from dicom_node.access.links import token_sha256
from dicom_node.database.access_tables import UserRow
from dicom_node.database.engine import Database
from dicom_node.database.states import TokenScope, UserRole
from dicom_node.database.upload_tables import ApiTokenRow
from dicom_node.invalid_entry import FieldProblem, InvalidEntryError

__all__ = ["MOST_DAYS", "add_token", "list_tokens", "program_of", "remove_token", "scopes_of"]

MOST_DAYS = 3650
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,63}")
_USED_EVERY = timedelta(minutes=1)
"""How often it is written that a token is in use."""


def add_token(
    database: Database,
    name: str,
    scopes: Collection[str] = (TokenScope.WORKBENCH,),
    *,
    user: str = "",
    by: str = COMMAND_LINE,
    days: int = 0,
) -> str:
    """Return a new token. It is shown this once.

    Parameters
    ----------
    user
        Whom it belongs to: it can do what this user may do, and goes with the user. Empty for the node itself.
    by
        Who makes it.
    days
        After which it expires; 0 for never.

    Raises
    ------
    InvalidEntryError
        For a name, scopes, days or a user that cannot be used, or a name that is used already.
    """
    chosen = [scope for scope in TokenScope if scope in scopes]
    token = secrets.token_urlsafe(32)
    with database.session() as session:
        owner = session.get(UserRow, user) if user else None
        problems = [*_problems(name, scopes, days), *_rights(user, owner, chosen)]
        if session.get(ApiTokenRow, name) is not None:
            sentence = f"There is a token named {name} already. Remove it first, or choose another name."
            problems.append(FieldProblem(field="name", sentence=sentence))
        if problems:
            raise InvalidEntryError(*problems)
        row = ApiTokenRow(name=name, token_sha256=token_sha256(token), scopes=",".join(chosen), user=user or None)
        row.expires_at = database.now(session) + timedelta(days=days) if days else None
        session.add(row)
    record(AccessEvent.TOKEN_CHANGED, who=by, what=f"add {','.join(chosen)}", subject=name)
    return token


def list_tokens(database: Database) -> Sequence[ApiTokenRow]:
    """Return the tokens by name."""
    with database.session() as session:
        return session.scalars(sa.select(ApiTokenRow).order_by(ApiTokenRow.name)).all()


def remove_token(database: Database, name: str, *, by: str = COMMAND_LINE) -> None:
    """Remove a token, which is refused from then on.

    Raises
    ------
    InvalidEntryError
        When there is no token of this name.
    """
    with database.session() as session:
        row = session.get(ApiTokenRow, name)
        if row is None:
            raise InvalidEntryError(FieldProblem(field="name", sentence=f"There is no token named {name}."))
        session.delete(row)
    record(AccessEvent.TOKEN_CHANGED, who=by, what="remove", subject=name)


def program_of(database: Database, token: str) -> Caller | None:
    """Return the program that has a token, with the scopes that its user may still have; None if it is not one."""
    with database.session() as session:
        row = session.scalar(sa.select(ApiTokenRow).where(ApiTokenRow.token_sha256 == token_sha256(token)))
        now = database.now(session)
        if row is None or (row.expires_at is not None and row.expires_at <= now):
            return None
        user = session.get(UserRow, row.user) if row.user is not None else None
        if row.user is not None and (user is None or not user.enabled):
            return None
        if row.used_at is None or now - row.used_at >= _USED_EVERY:
            row.used_at = now
        scopes = {scope for scope in scopes_of(row) if user is None or UserRole(user.role).covers(scope.needs)}
        name = row.user or row.name
        owner = f"token:{row.name}"
        return Caller(name=name, kind=Credential.TOKEN, owner=owner, token=row.name, scopes=frozenset(scopes))


def scopes_of(row: ApiTokenRow) -> list[TokenScope]:
    """Return the scopes that a token was made with."""
    return [scope for scope in TokenScope if scope in row.scopes.split(",")]


def _problems(name: str, scopes: Collection[str], days: int) -> list[FieldProblem]:
    problems = []
    if _NAME.fullmatch(name) is None:
        sentence = f"{name!r}: a name has up to 64 letters, digits, blanks, dots, hyphens and underscores."
        problems.append(FieldProblem(field="name", sentence=sentence))
    if not scopes or not set(scopes) <= set(TokenScope):
        sentence = f"Choose at least one of the scopes {', '.join(TokenScope)}."
        problems.append(FieldProblem(field="scopes", sentence=sentence))
    if not 0 <= days <= MOST_DAYS:
        problems.append(FieldProblem(field="days", sentence=f"A token expires after 1 to {MOST_DAYS} days, or never."))
    return problems


def _rights(user: str, owner: UserRow | None, scopes: Sequence[TokenScope]) -> list[FieldProblem]:
    if user and owner is None:
        return [FieldProblem(field="user", sentence=f"There is no user named {user}.")]
    beyond = [scope for scope in scopes if owner is not None and not UserRole(owner.role).covers(scope.needs)]
    if beyond:
        sentence = f"{user} is {owner.role if owner else ''}, which is not enough for {', '.join(beyond)}."
        return [FieldProblem(field="scopes", sentence=sentence)]
    return []
