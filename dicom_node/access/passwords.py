"""Passwords: what one must be like, and their argon2 hashes."""

import functools
import threading
import unicodedata

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from dicom_node.invalid_entry import FieldProblem, InvalidEntryError

__all__ = ["LEAST_CHARACTERS", "MOST_CHARACTERS", "check_password", "hash_password", "is_password", "needs_new_hash"]

LEAST_CHARACTERS = 15
"""Of a password that is the only factor (NIST SP 800-63B-4, 3.1.1.2); length is what guards it, so no kinds of
characters are asked for."""

MOST_CHARACTERS = 256
LEAST_DIFFERENT = 5
"""Characters: the same one fifteen times would be guessed first."""

_HASHER = PasswordHasher(time_cost=3, memory_cost=64 * 1024, parallelism=4)
"""Argon2id with 64 MiB, the second choice of RFC 9106, section 4; the first takes 2 GiB."""

_AT_A_TIME = threading.BoundedSemaphore(2)
"""Computed at a time, so that many logins take the memory of two."""


def check_password(name: str, password: str, again: str) -> None:
    """Check a new password.

    Raises
    ------
    InvalidEntryError
        With a sentence for each field that has to change.
    """
    problems = []
    if not LEAST_CHARACTERS <= len(password) <= MOST_CHARACTERS:
        sentence = (
            f"A password has {LEAST_CHARACTERS} to {MOST_CHARACTERS} characters; a few words in a row are easy to keep."
        )
        problems.append(FieldProblem(field="password", sentence=sentence))
    elif len(set(password)) < LEAST_DIFFERENT or (name and name.lower() in password.lower()):
        sentence = f"Use at least {LEAST_DIFFERENT} different characters, and not the user's name."
        problems.append(FieldProblem(field="password", sentence=sentence))
    elif password != again:
        problems.append(FieldProblem(field="again", sentence="This differs from the password above."))
    if problems:
        raise InvalidEntryError(*problems)


def hash_password(password: str) -> str:
    """Return the hash that the database keeps, with its salt and parameters."""
    with _AT_A_TIME:
        return _HASHER.hash(_bytes(password))


def is_password(kept: str, password: str) -> bool:
    """Return whether a password is that of a hash. Without a hash it takes as long, and is never true."""
    with _AT_A_TIME:
        try:
            right = _HASHER.verify(kept or _nobody(), _bytes(password[:MOST_CHARACTERS]))
        except (VerificationError, InvalidHashError):
            return False
    return right and bool(kept)


def needs_new_hash(kept: str) -> bool:
    """Return whether a hash was made with other parameters than those of today."""
    return _HASHER.check_needs_rehash(kept)


@functools.cache
def _nobody() -> str:
    """Return a hash that stands for a user who is not there, so that a guess at a name takes as long."""
    return _HASHER.hash(b"nobody has this password")


def _bytes(password: str) -> bytes:
    """Return the same bytes for a letter however a keyboard composes it (NIST SP 800-63B-4, 3.1.1.2)."""
    return unicodedata.normalize("NFKC", password).encode("utf-8", "surrogatepass")
