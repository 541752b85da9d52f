"""How the study of a connection test is told from a patient's: by its UIDs, and by its Patient ID."""

import secrets

__all__ = ["TEST_PATIENT_ID", "is_test_uid", "new_test_uids"]

TEST_PATIENT_ID = "GLIONODE-TEST"

_PREFIX = "2.25."
_MARK = int.from_bytes(b"gliono", "big")
"""First 48 bits of the UUID of every such UID (UUID version 8, RFC 9562 5.8: chosen by who makes it)."""

_RANDOM_BITS = 62
_MOST_DIGITS = 39
"""Of a number of 128 bits."""


def new_test_uids(number: int) -> list[str]:
    """Return new UIDs that no patient's object has (PS3.5 B.2)."""
    return [_new() for _ in range(number)]


def is_test_uid(uid: str) -> bool:
    """Return whether this node, or another of its kind, made the UID for a connection test."""
    digits = uid.removeprefix(_PREFIX)
    if not uid.startswith(_PREFIX) or not digits.isascii() or not digits.isdigit() or len(digits) > _MOST_DIGITS:
        return False
    return int(digits) >> 80 == _MARK


def _new() -> str:
    version, variant = 8 << 76, 2 << 62
    return f"{_PREFIX}{_MARK << 80 | version | variant | secrets.randbits(_RANDOM_BITS)}"
