"""The error of a settings file or variable."""

__all__ = ["SettingsError"]


class SettingsError(ValueError):
    """A settings file or variable that cannot be used; the message states the key and what would work."""
