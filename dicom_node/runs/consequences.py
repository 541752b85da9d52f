"""What follows from each kind of error in a step: the one table of the worker."""

import enum
import errno

import sqlalchemy as sa

from conversion.errors import ConversionError
from inference.errors import UnreadableCase, UnsuitableInput, UnusableModel
from viewer_integration.errors import ProofFailed, UnusableSource

__all__ = ["OUTAGES", "Consequence", "UnreadableStudy", "consequence_of", "is_foreseen", "reason_of"]


class Consequence(enum.StrEnum):
    """What the worker does next."""

    RETRY = "retry"  # a temporary fault: the step is tried again with back-off, then the run fails
    REJECT = "reject"  # the study itself cannot give a result; trying again would not help
    FAIL = "fail"  # the node is at fault; the run can be repeated once the fault is fixed


class UnreadableStudy(Exception):  # noqa: N818 - named for what happened
    """Something in a study's files cannot be interpreted, for an unforeseen reason."""


_TABLE: tuple[tuple[type[Exception], Consequence, str], ...] = (
    (ConversionError, Consequence.REJECT, ""),
    (UnsuitableInput, Consequence.REJECT, ""),
    (UnreadableCase, Consequence.REJECT, ""),  # in a step: when a bias field cannot be estimated
    (UnusableSource, Consequence.REJECT, ""),
    (UnreadableStudy, Consequence.REJECT, "unreadable_study"),
    (UnusableModel, Consequence.FAIL, ""),
    (ProofFailed, Consequence.FAIL, ""),
    (MemoryError, Consequence.FAIL, "out_of_memory"),
    (OSError, Consequence.RETRY, "input_output"),
    (sa.exc.OperationalError, Consequence.RETRY, "database"),
)


OUTAGES = ("disk_full", "database_away")
"""Codes of faults that affect every study and are no study's fault; the worker waits until they are over."""

_AWAY = ("08", "57P")
"""SQLSTATEs of a lost connection, and of a server that shuts down or starts (PostgreSQL, appendix A)."""


def consequence_of(error: BaseException) -> Consequence:
    """Return what follows; an unforeseen error is a defect of the node and fails the run."""
    return next((consequence for kind, consequence, _ in _TABLE if isinstance(error, kind)), Consequence.FAIL)


def is_foreseen(error: Exception) -> bool:
    """Return whether an error has a line in the table."""
    return isinstance(error, tuple(kind for kind, _, _ in _TABLE))


def reason_of(error: BaseException) -> tuple[str, str]:
    """Return a stable code and a sentence without patient data."""
    if _is_full(error):
        return "disk_full", "the node's disk is full"
    if _is_away(error):
        return "database_away", "the database cannot be reached"
    code = next((code for kind, _, code in _TABLE if isinstance(error, kind)), "defect")
    if not code:
        return str(getattr(error, "reason", "defect")), str(error)
    if isinstance(error, UnreadableStudy):
        return code, str(error)
    return code, f"{type(error).__name__}: see the node's log for the details"


def _is_full(error: BaseException) -> bool:
    """Return whether a disk is full, under a file or under SQLite."""
    if isinstance(error, sa.exc.OperationalError):
        return "disk is full" in str(error.orig)
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


def _is_away(error: BaseException) -> bool:
    """Return whether PostgreSQL cannot be reached; a failed connection has the SQLSTATE None, SQLite has none."""
    if not isinstance(error, sa.exc.OperationalError):
        return False
    state = getattr(error.orig, "sqlstate", "")
    return state is None or state.startswith(_AWAY)
