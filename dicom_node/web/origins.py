"""Reads which page a browser names as the origin of a request."""

from urllib.parse import urlsplit

__all__ = ["origin_host"]


def origin_host(origin: str) -> str:
    """Return host and port of an Origin header; empty for ``null`` and for an invalid address."""
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return ""
