"""Keyed hashes, by which logs and the database name a study or a patient without identifying them."""

import hashlib
import hmac
import secrets

from sqlalchemy.orm import Session

from dicom_node.database.engine import Database
from dicom_node.database.tables import SecretRow

__all__ = ["KeyedHash", "secret"]

_LENGTH = 12


def secret(session: Session, name: str) -> str:
    """Return a random secret of this installation in hexadecimal, made at first use."""
    row = session.get(SecretRow, name)
    if row is None:
        row = SecretRow(name=name, value=secrets.token_hex(32))
        session.add(row)
    return row.value


class KeyedHash:
    """Hashes identifiers with a secret of this installation, made at first use."""

    def __init__(self, database: Database) -> None:
        self._secret = bytes.fromhex(database.transact(lambda session: secret(session, "identifiers")))

    def __call__(self, *parts: str) -> str:
        """Return 12 hexadecimal characters that stand for the parts."""
        message = "\0".join(parts).encode()
        return hmac.new(self._secret, message, hashlib.sha256).hexdigest()[:_LENGTH]
