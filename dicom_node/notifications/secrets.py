"""Secrets of mail server and webhook, from the environment or from files that it names."""

import os
from pathlib import Path

__all__ = ["MissingSecret", "secret_of"]

_PREFIX = "GLIONODE_NOTIFY_"


class MissingSecret(Exception):  # noqa: N818 - named for what happened
    """A file of a secret cannot be read; says which variable names it, never what is in it."""


def secret_of(name: str) -> str:
    """Return a secret, or nothing where none is given.

    It is read each time that it is needed, so that a file can be changed while the node runs.

    Parameters
    ----------
    name
        ``SMTP_USER``, ``SMTP_PASSWORD`` or ``WEBHOOK_SECRET``. The variable GLIONODE_NOTIFY_<name> holds it, or
        GLIONODE_NOTIFY_<name>_FILE is the path of a file that does.

    Raises
    ------
    MissingSecret
        When that file cannot be read.
    """
    if path := os.environ.get(f"{_PREFIX}{name}_FILE"):
        try:
            return Path(path).read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            message = f"the file that {_PREFIX}{name}_FILE names cannot be read ({type(error).__name__})"
            raise MissingSecret(message) from error
    return os.environ.get(f"{_PREFIX}{name}", "")
