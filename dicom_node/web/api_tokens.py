"""Tokens by which programs call the API of the workbench; the database holds only their hashes."""

import re
import secrets
from collections.abc import Sequence

import sqlalchemy as sa

from dicom_node.database.engine import Database
from dicom_node.database.upload_tables import ApiTokenRow
from dicom_node.invalid_entry import FieldProblem, InvalidEntryError
from dicom_node.web.login_tokens import token_sha256

__all__ = ["add_token", "list_tokens", "remove_token", "token_name"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,63}")


def add_token(database: Database, name: str) -> str:
    """Return a new token. It is shown this once.

    Raises
    ------
    InvalidEntryError
        For a name that cannot be used or is used already.
    """
    if _NAME.fullmatch(name) is None:
        sentence = f"{name!r}: a name has up to 64 letters, digits, blanks, dots, hyphens and underscores."
        raise InvalidEntryError(FieldProblem(field="name", sentence=sentence))
    token = secrets.token_urlsafe(32)
    with database.session() as session:
        if session.get(ApiTokenRow, name) is not None:
            sentence = f"There is a token named {name} already. Remove it first, or choose another name."
            raise InvalidEntryError(FieldProblem(field="name", sentence=sentence))
        session.add(ApiTokenRow(name=name, token_sha256=token_sha256(token)))
    return token


def list_tokens(database: Database) -> Sequence[ApiTokenRow]:
    """Return the tokens by name."""
    with database.session() as session:
        return session.scalars(sa.select(ApiTokenRow).order_by(ApiTokenRow.name)).all()


def remove_token(database: Database, name: str) -> None:
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


def token_name(database: Database, token: str) -> str:
    """Return the name of a token; empty if it is not one."""
    with database.session() as session:
        found = sa.select(ApiTokenRow.name).where(ApiTokenRow.token_sha256 == token_sha256(token))
        return session.scalar(found) or ""
