"""The secret by which this node proves to the provider who it is."""

import os
import stat
from collections.abc import Mapping
from pathlib import Path

from dicom_node.oidc_settings import OidcSettings
from dicom_node.settings_error import SettingsError

__all__ = ["CLIENT_SECRET", "client_secret"]

CLIENT_SECRET = "GLIONODE_OIDC_CLIENT_SECRET"  # noqa: S105 - the name of a variable
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def client_secret(settings: OidcSettings, environment: Mapping[str, str] | None = None) -> str:
    """Return the secret, from the file of the settings or from the environment; empty for a client without one.

    Raises
    ------
    SettingsError
        When the file cannot be read, is empty, or others than its owner may read it.
    """
    if not settings.secret_file:
        return (os.environ if environment is None else environment).get(CLIENT_SECRET, "").strip()
    path = Path(settings.secret_file)
    try:
        if path.stat().st_mode & _OTHERS:
            message = f"oidc.secret_file {settings.secret_file!r}: others than its owner may read it; use chmod 600"
            raise SettingsError(message)
        secret = path.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a text"
        message = f"oidc.secret_file {settings.secret_file!r}: {reason}"
        raise SettingsError(message) from error
    if not secret:
        message = f"oidc.secret_file {settings.secret_file!r}: it is empty"
        raise SettingsError(message)
    return secret
