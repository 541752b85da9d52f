"""A span of each request to the panel, by the line of `rights.py` that it matches: never by its address."""

from datetime import datetime

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dicom_node.telemetry.spans import Span, Value, timed
from dicom_node.web.rights import line_of

__all__ = ["Traced"]

_NOT_TRACED = ("/healthz", "/readyz", "/metrics", "/static/", "/niivue/", "/swagger/")
"""What programs ask again and again, and files."""


class Traced:
    """Passes requests on, and records how long each took."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http" or scope["path"].startswith(_NOT_TRACED):
            await self._app(scope, receive, send)
            return
        status = 500

        async def send_seen(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        def span(began_at: datetime, ended_at: datetime, ok: bool) -> Span:  # noqa: FBT001 - as `timed` calls it
            line = line_of(scope["method"], scope["path"]) or "other address"
            method, _, route = line.partition(" ")
            about: dict[str, Value] = {
                "http.request.method": method,
                "http.route": route,
                "http.response.status_code": status,
            }
            return Span(name=line, began_at=began_at, ended_at=ended_at, attributes=about, ok=ok and status < 500)

        with timed(span):
            await self._app(scope, receive, send_seen)
