"""Protects panel and viewer: limits requests, so that none exhausts memory, and answers unexpected errors."""

import re
from collections.abc import Mapping

import structlog
from starlette.requests import ClientDisconnect
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dicom_node.web.http_server import MOST_HEAD_BYTES

__all__ = ["BROKEN", "Guard"]

MOST_ADDRESS_BYTES = 8 * 1024
"""Limit of path and query: a viewer requests many studies by their UIDs of 64 characters."""

MOST_BODY_BYTES = 64 * 1024
"""Limit of the content: the largest form, that of a rule, has five patterns of 255 characters."""

MOST_FIELDS = 100

_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")

_NULS = (b"\0", b"%00", b"\\u0000")  # as written in forms and in JSON

_ONLY_HTTPS = (b"strict-transport-security", b"max-age=31536000")
"""For a year browsers come to this host name, on whatever port, by HTTPS alone (RFC 6797, 8.3)."""

BROKEN = "An error occurred. Please tell the administrator of the node; the cause is in the node's log."

_log = structlog.get_logger()


class Guard:
    """Passes on requests of a sensible size with their complete body, and logs unexpected errors.

    Parameters
    ----------
    app
        Panel or viewer.
    name
        Its name in logs.
    headers
        Headers of every answer, including refusals.
    uploads
        Address to which large content is sent, as a regular expression; the application reads it as it arrives, and
        limits it.
    strict_transport
        Whether answers by HTTPS keep browsers to it.
    """

    def __init__(
        self, app: ASGIApp, name: str, headers: Mapping[str, str], uploads: str = "", *, strict_transport: bool = False
    ) -> None:
        self._app = app
        self._uploads = uploads
        self._name = name
        self._strict_transport = strict_transport
        self._headers = [(key.lower().encode("ascii"), value.encode("ascii")) for key, value in headers.items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = False
        own_headers = [
            *self._headers,
            *([_ONLY_HTTPS] if self._strict_transport and scope.get("scheme") == "https" else []),
        ]

        async def send_with_headers(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                own = {key for key, _ in own_headers}
                kept = [(key, value) for key, value in message.get("headers", ()) if key.lower() not in own]
                message["headers"] = [*kept, *own_headers]
            await send(message)

        try:
            await _checked(self._app, scope, receive, send_with_headers, self._uploads)
        except ClientDisconnect:
            pass
        except Exception:  # noqa: BLE001 - the last resort: any error is logged, and the next request is answered
            # Log the name of the function, never the address: addresses contain study UIDs. A method may be any word.
            called = getattr(scope.get("endpoint"), "__qualname__", "")
            method = scope["method"] if scope["method"] in _METHODS else "another"
            _log.exception("web_defect", port=self._name, method=method, called=called)
            if not started:
                await PlainTextResponse(BROKEN + "\n", 500)(scope, receive, send_with_headers)


async def _checked(app: ASGIApp, scope: Scope, receive: Receive, send: Send, uploads: str) -> None:
    is_upload = scope["method"] == "POST" and re.fullmatch(uploads, scope["path"]) is not None
    refused = _too_large(scope, limited=not is_upload)
    if refused is None and not is_upload and scope["method"] not in ("GET", "HEAD"):
        body = await _body(receive)
        refused = _too_much(scope, body)
        receive = _replayed(body or b"", receive)
    await (refused or app)(scope, receive, send)


def _too_large(scope: Scope, *, limited: bool) -> Response | None:
    if len(scope["raw_path"]) + len(scope["query_string"]) > MOST_ADDRESS_BYTES:
        return PlainTextResponse("This address is too long.\n", 414)
    if sum(len(name) + len(value) for name, value in scope["headers"]) > MOST_HEAD_BYTES:
        return PlainTextResponse("The headers of this request are too long.\n", 431)
    if "\0" in scope["path"] or b"%00" in scope["query_string"]:
        return _with_nul()
    length = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
    return _body_too_large() if len(length) > 18 or (limited and int(length) > MOST_BODY_BYTES) else None


def _with_nul() -> Response:
    """Refuse a text with NUL, which PostgreSQL cannot look up."""
    return PlainTextResponse("This request contains a NUL character.\n", 400)


def _body_too_large() -> Response:
    return PlainTextResponse(f"A request may have at most {MOST_BODY_BYTES // 1024} KiB of content.\n", 413)


async def _body(receive: Receive) -> bytes | None:
    """Return the body, or None as soon as it is too large, whatever its Content-Length states."""
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        body += message.get("body", b"")
        if len(body) > MOST_BODY_BYTES:
            return None
        if not message.get("more_body", False):
            return bytes(body)


def _too_much(scope: Scope, body: bytes | None) -> Response | None:
    if body is None:
        return _body_too_large()
    if any(nul in body for nul in _NULS):
        return _with_nul()
    content_type = next((value for name, value in scope["headers"] if name == b"content-type"), b"").lower()
    if content_type.startswith(b"multipart/"):
        return PlainTextResponse("Send forms as application/x-www-form-urlencoded, without files.\n", 415)
    if content_type.startswith(b"application/x-www-form-urlencoded") and body.count(b"&") >= MOST_FIELDS:
        return PlainTextResponse(f"A form may have at most {MOST_FIELDS} fields.\n", 413)
    return None


def _replayed(body: bytes, receive: Receive) -> Receive:
    replayed = False

    async def again() -> Message:
        nonlocal replayed
        if replayed:
            return await receive()
        replayed = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again
