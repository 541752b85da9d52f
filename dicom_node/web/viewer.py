"""The viewer's own port: OHIF, its configuration, and a DICOMweb origin that can only be read."""

import ipaddress
import logging
import socket
from collections.abc import Collection
from pathlib import Path
from urllib.parse import urlsplit

import uvicorn
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dicom_node.holdings import Holdings
from dicom_node.web.dicomweb_origin import DicomwebOrigin
from dicom_node.web.dicomweb_upstream import DicomwebUpstream
from viewer_integration.ohif import CONTENT_SECURITY_POLICY, DataSource, app_config

__all__ = ["viewer_app", "viewer_server"]

_READING = ("GET", "HEAD")
_HEADERS = (
    ("Content-Security-Policy", CONTENT_SECURITY_POLICY),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
)
_NOT_INSTALLED = "The viewer OHIF is not installed here. Install it with: make viewer"
_READ_ONLY = "This address can only be read (GET and HEAD). Images reach the node by DICOM C-STORE."
_OTHER_HOST = "This page is not served under this host name."


def viewer_app(
    source: Holdings | str, ohif_folder: Path, *, title: str = "GlioNode", host_names: Collection[str] = ()
) -> ASGIApp:
    """Return the application that serves OHIF and what it shows.

    Parameters
    ----------
    source
        What the node holds, or the DICOMweb root of another origin, such as ``http://127.0.0.1:8042/dicom-web``.
    ohif_folder
        Folder of the built OHIF; while it is missing, the page says how to install it.
    title
        Name of the data source in the page's header.
    host_names
        Names under which the page may be asked for, beside IP addresses, ``localhost`` and this machine's own
        name. Any other is refused, so that no web page can reach the images through a name of its own.
    """
    config = app_config(DataSource(title=title))

    def configuration(_request: Request) -> Response:
        return Response(config, media_type="text/javascript", headers={"Cache-Control": "no-cache"})

    origin = DicomwebUpstream(source) if isinstance(source, str) else DicomwebOrigin(source)
    application = Starlette(
        routes=[
            *origin.routes(),
            Route("/dicom-web/{path:path}", _unknown, methods=["GET"]),
            Route("/app-config.js", configuration, methods=["GET"]),
            Mount("/", _Pages(ohif_folder)),
        ],
        exception_handlers={HTTPException: _sentence},
        lifespan=origin.lifespan if isinstance(origin, DicomwebUpstream) else None,
    )
    own_names = {"localhost", socket.gethostname().lower(), socket.getfqdn().lower()}
    return _Guard(application, frozenset(own_names | {name.lower() for name in host_names}))


def viewer_server(app: ASGIApp, bind: str, port: int) -> uvicorn.Server:
    """Return a server for the application that writes no access log: its addresses hold study UIDs.

    Parameters
    ----------
    app
        What `viewer_app` returned.
    bind
        Address to listen on.
    port
        Port to listen on; 0 takes a free one.
    """
    logging.getLogger("httpx").setLevel(logging.WARNING)  # it would log each forwarded address
    return uvicorn.Server(
        uvicorn.Config(app, host=bind, port=port, access_log=False, log_config=None, server_header=False)
    )


class _Pages(StaticFiles):
    """OHIF's files; an address of its single page that is no file gives the page itself."""

    def __init__(self, folder: Path) -> None:
        super().__init__(directory=folder, check_dir=False)
        self._index = folder / "index.html"

    async def check_config(self) -> None:
        """Nothing to check at start: the folder may be installed while the server runs."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        """Return the file, the page for an address inside it, or a sentence when OHIF is not installed."""
        if not self._index.is_file():
            return PlainTextResponse(_NOT_INSTALLED + "\n", 503)
        try:
            response = await super().get_response(path, scope)
        except HTTPException as error:
            if error.status_code != 404 or Path(path).suffix:
                raise
            response = FileResponse(self._index)
        response.headers["Cache-Control"] = "no-cache"
        return response


class _Guard:
    """Lets only reading requests for a known host through, and adds the security headers to each answer."""

    def __init__(self, app: ASGIApp, host_names: frozenset[str]) -> None:
        self._app = app
        self._host_names = host_names

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                added = [(name.lower().encode("ascii"), value.encode("ascii")) for name, value in _HEADERS]
                message["headers"] = [*message.get("headers", ()), *added]
            await send(message)

        await self._chosen(scope)(scope, receive, send_with_headers)

    def _chosen(self, scope: Scope) -> ASGIApp:
        if scope["method"] not in _READING:
            return PlainTextResponse(_READ_ONLY + "\n", 405, headers={"Allow": ", ".join(_READING)})
        if not self._is_own(Headers(scope=scope).get("host", "")):
            return PlainTextResponse(_OTHER_HOST + "\n", 421)
        return self._app

    def _is_own(self, host: str) -> bool:
        try:
            name = urlsplit(f"//{host}").hostname or ""
            if name not in self._host_names:
                ipaddress.ip_address(name)
        except ValueError:
            return False
        return True


def _unknown(_request: Request) -> Response:
    raise HTTPException(404, "This DICOMweb service is not offered here.")


def _sentence(_request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    return PlainTextResponse(f"{error.detail}\n", error.status_code, headers=error.headers)
