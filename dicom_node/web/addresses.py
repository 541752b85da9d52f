"""The addresses of panel and viewer as a browser knows them, and which of them a login may lead back to."""

from urllib.parse import quote, urlsplit

from starlette.requests import HTTPConnection

from dicom_node.settings import Settings

__all__ = ["login_address", "own_names", "panel_address", "viewer_address", "way_back"]

_ANY = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - read, not bound


def panel_address(settings: Settings) -> str:
    """Return the address of the panel for someone at the node's machine, where the settings state no other."""
    host = _ANY.get(settings.web.bind, settings.web.bind)
    return settings.web.address or f"{settings.web.scheme}://{_bracketed(host)}:{settings.web.port}"


def viewer_address(settings: Settings, request: HTTPConnection | None = None) -> str:
    """Return the address of the viewer for the browser of a request to the panel, or for someone at the machine."""
    if settings.viewer.address:
        return settings.viewer.address
    if request is None:
        host = _ANY.get(settings.viewer.bind, settings.viewer.bind)
        return f"{settings.web.scheme}://{_bracketed(host)}:{settings.viewer.port}"
    return f"{request.url.scheme}://{_bracketed(request.url.hostname or '127.0.0.1')}:{settings.viewer.port}"


def own_names(settings: Settings) -> list[str]:
    """Return the host names that the settings state; the viewer is served under them too."""
    stated = (settings.web.address, settings.viewer.address)
    return [name for name in (urlsplit(address).hostname for address in stated if address) if name]


def login_address(settings: Settings, request: HTTPConnection) -> str:
    """Return the panel's login for the browser of a request to the viewer, with the way back to what it asked for."""
    host = _bracketed(request.url.hostname or "127.0.0.1")
    panel = settings.web.address or f"{request.url.scheme}://{host}:{settings.web.port}"
    return f"{panel}/login?next={quote(str(request.url), safe='')}"


def way_back(settings: Settings, request: HTTPConnection, entered: str) -> str:
    """Return where a login leads: to an address of this panel or its viewer, and to the start for any other.

    An address is taken apart and put together again, so that a browser reads no other host in it than this function.
    """
    if not entered.isascii() or not entered.isprintable() or "\\" in entered:
        return "/"
    try:
        asked, viewer = urlsplit(entered), urlsplit(viewer_address(settings, request))
        same = (asked.scheme, asked.hostname, asked.port) == (viewer.scheme, viewer.hostname, viewer.port)
    except ValueError:
        return "/"
    path = "/" + asked.path.lstrip("/") + (f"?{asked.query}" if asked.query else "")
    if not asked.scheme and not asked.netloc and entered.startswith("/"):
        return path
    return f"{viewer.scheme}://{viewer.netloc}{path}" if same and asked.username is None else "/"


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
