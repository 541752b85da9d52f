"""Logs what happens with users, logins and tokens; the audit trail records the requests and commands themselves."""

import enum

import structlog

__all__ = ["COMMAND_LINE", "AccessEvent", "record"]

COMMAND_LINE = "command line"
"""Who changed something by a command; no user can be called so, since a user's name has no blank."""

_log = structlog.get_logger()


class AccessEvent(enum.StrEnum):
    """What happened."""

    LOGIN = "login"
    LOGIN_REFUSED = "login_refused"
    LOGOUT = "logout"
    USER_CHANGED = "user_changed"
    TOKEN_CHANGED = "token_changed"  # noqa: S105 - the word, not a secret


def record(event: AccessEvent, *, who: str, what: str = "", subject: str = "", address: str = "") -> None:
    """Record an event, after it has been stored.

    Parameters
    ----------
    who
        The user who did it, or `COMMAND_LINE`; empty for a name that no user has: people type their password, or a
        patient's name, into the wrong field.
    what
        What was done, or why it was refused, as a word such as ``disable``.
    subject
        The user or the token that it was done to.
    address
        Of the browser.
    """
    facts = {"who": who, "what": what, "subject": subject, "address": address}
    _log.info(f"access_{event}", **{key: value for key, value in facts.items() if value})
