"""The viewer on its own port: OHIF, its configuration, and DICOMweb to read images and to store corrections."""

import ipaddress
import re
import socket
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Receive, Scope, Send

from dicom_node.audit.trail import AuditTrail
from dicom_node.reception.corrections import Corrections
from dicom_node.studies.holdings import Holdings
from dicom_node.web.audit_table import VIEWER, RouteTable
from dicom_node.web.audited import Recorded
from dicom_node.web.dicomweb_origin import DicomwebOrigin
from dicom_node.web.dicomweb_upstream import DicomwebUpstream
from dicom_node.web.guard import BROKEN, Guard
from dicom_node.web.opening import opening_routes
from dicom_node.web.origins import origin_host
from dicom_node.web.stow import STORE_ADDRESSES, store_routes
from dicom_node.web.viewer_door import DATA, ViewerDoor, ViewerLogin
from viewer_integration.ohif import CONTENT_SECURITY_POLICY, DataSource, app_config, with_notice

__all__ = ["NodeServices", "viewer_app"]

_READING = ("GET", "HEAD")
_FIRST_VIEW = Path(__file__).parent / "static" / "ohif_first_view.js"
_HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_NOT_INSTALLED = "The OHIF viewer is not installed here. Install it with: make viewer"
_READ_ONLY = "This address is read-only (GET and HEAD). Send images to the node by DICOM C-STORE."
_OTHER_PAGE = "Only the viewer's own page can load images, not other web pages."
_OTHER_HOST = "This page is not served under this host name."


@dataclass(frozen=True, kw_only=True)
class NodeServices:
    """What the node does behind the viewer's port, besides showing what it holds.

    Attributes
    ----------
    corrections
        Where segmentations and reports go that are stored by STOW-RS.
    trail
        Where every look is recorded.
    """

    corrections: Corrections
    trail: AuditTrail


def viewer_app(
    source: Holdings | str,
    ohif_folder: Path,
    *,
    login: ViewerLogin | None,
    services: NodeServices | None = None,
    title: str = "GlioNode",
    host_names: Collection[str] = (),
) -> ASGIApp:
    """Return the application that serves OHIF and the images it shows.

    Parameters
    ----------
    source
        The stored studies, or the DICOMweb root of another origin, such as ``http://127.0.0.1:8042/dicom-web``.
    ohif_folder
        Folder of the built OHIF; while it is missing, the page explains how to install it.
    login
        Where it is looked up who is logged in to the panel; None: anyone who reaches the port sees every study, and
        nobody may store anything.
    services
        None for images that are another server's, which takes and records for itself.
    title
        Name of the data source in the page's header.
    host_names
        Host names of the page besides IP addresses, ``localhost`` and this machine's own name. Any other name is
        refused, so that no web page can reach the images through a name of its own (DNS rebinding).
    """
    config = app_config(DataSource(title=title)) + _FIRST_VIEW.read_text(encoding="utf-8")

    def configuration(_request: Request) -> Response:
        return Response(config, media_type="text/javascript", headers={"Cache-Control": "no-cache"})

    origin = DicomwebUpstream(source) if isinstance(source, str) else DicomwebOrigin(source)
    application = Starlette(
        routes=[
            *origin.routes(),
            *(store_routes(services.corrections) if services else []),
            *(opening_routes(source) if isinstance(source, Holdings) else []),
            Route("/dicom-web/{path:path}", _unknown, methods=["GET"]),
            Route("/app-config.js", configuration, methods=["GET"]),
            Mount("/", _Pages(ohif_folder)),
        ],
        exception_handlers={HTTPException: _http_error, Exception: _broken},
        lifespan=origin.lifespan if isinstance(origin, DicomwebUpstream) else None,
    )
    own_names = {"localhost", socket.gethostname().lower(), socket.getfqdn().lower()}
    door = ViewerDoor(application, login)
    uploads = STORE_ADDRESSES if services else ""
    readers = _Readers(door, frozenset(own_names | {name.lower() for name in host_names}), uploads)
    recorded = Recorded(readers, services.trail, RouteTable(VIEWER), nobody="viewer") if services else readers
    return Guard(recorded, "viewer", _HEADERS, uploads=uploads)


class _Pages(StaticFiles):
    """OHIF's files; an address without a file returns the single page itself."""

    def __init__(self, folder: Path) -> None:
        super().__init__(directory=folder, check_dir=False)
        self._index = folder / "index.html"

    async def check_config(self) -> None:
        """Check nothing at start: the folder may be installed while the server runs."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        """Return the file, the page for an address inside it, or a message when OHIF is not installed."""
        if not self._index.is_file():
            return PlainTextResponse(_NOT_INSTALLED + "\n", 503)
        try:
            response = self._page() if path == self._index.name else await super().get_response(path, scope)
        except HTTPException as error:
            if error.status_code != 404 or Path(path).suffix:
                raise
            response = self._page()
        response.headers["Cache-Control"] = "no-cache"
        return response

    def _page(self) -> Response:
        return HTMLResponse(with_notice(self._index.read_text(encoding="utf-8")))


class _Readers:
    """Allows only read requests and uploads, for a known host name, and images only to the viewer's own page."""

    def __init__(self, app: ASGIApp, host_names: frozenset[str], uploads: str) -> None:
        self._app, self._uploads = app, uploads
        self._host_names = host_names

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await (self._refusal(scope) or self._app)(scope, receive, send)

    def _refusal(self, scope: Scope) -> Response | None:
        if scope["type"] != "http":
            return None
        storing = scope["method"] == "POST" and re.fullmatch(self._uploads, scope["path"])
        if scope["method"] not in _READING and not storing:
            return PlainTextResponse(_READ_ONLY + "\n", 405, headers={"Allow": ", ".join(_READING)})
        headers = Headers(scope=scope)
        if not self._is_own(headers.get("host", "")):
            return PlainTextResponse(_OTHER_HOST + "\n", 421)
        if scope["path"].startswith(DATA) and not _is_from_own_page(headers):
            return PlainTextResponse(_OTHER_PAGE + "\n", 403)
        return None

    def _is_own(self, host: str) -> bool:
        try:
            name = urlsplit(f"//{host}").hostname or ""
            if name not in self._host_names:
                ipaddress.ip_address(name)
        except ValueError:
            return False
        return True


def _is_from_own_page(headers: Headers) -> bool:
    """Return whether a request is from this page, an address bar or a program; browsers name any other page."""
    if headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
        return False
    return "origin" not in headers or origin_host(headers["origin"]) == headers.get("host")


def _unknown(_request: Request) -> Response:
    raise HTTPException(404, "This DICOMweb service is not supported here.")


async def _broken(_request: Request, _error: Exception) -> Response:
    return PlainTextResponse(BROKEN + "\n", 500, headers={"Cache-Control": "no-store"})


def _http_error(_request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    return PlainTextResponse(f"{error.detail}\n", error.status_code, headers=error.headers)
