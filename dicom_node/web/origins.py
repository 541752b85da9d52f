"""Which page a browser says that a request comes from."""

from urllib.parse import urlsplit

__all__ = ["origin_host"]


def origin_host(origin: str) -> str:
    """Return host and port of an Origin header; empty for ``null`` and for what is no address."""
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return ""
