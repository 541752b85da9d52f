"""Forwards DICOMweb read requests to another origin, such as Orthanc, so that the same page shows its studies."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from urllib.parse import urlsplit

import httpx
import structlog
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

__all__ = ["DicomwebUpstream", "ForwardLimits"]

log = structlog.get_logger(__name__)

_ROOT = "/dicom-web"
_FORWARDED = ("accept", "host")  # an origin builds its bulk data addresses from the browser's Host
_RETURNED = ("content-type", "content-length", "etag", "last-modified", "warning")
_CONNECT_S = 10


@dataclass(frozen=True, kw_only=True)
class ForwardLimits:
    """How long the origin may take, and how much it may send for one request.

    Attributes
    ----------
    answer_s
        Until its answer begins, and between two pieces of it.
    whole_s
        Until its answer is complete: a study of 2 GB at 0.6 MB a second.
    largest_bytes
        Size of one answer. It is not stored, but a browser that requested a study waits for its end.
    """

    answer_s: float = 120.0
    whole_s: float = 3600.0
    largest_bytes: int = 8 * 2**30


class DicomwebUpstream:
    """Answers `/dicom-web` and `/wado` from another DICOMweb origin.

    Parameters
    ----------
    root
        Its DICOMweb root, such as ``http://127.0.0.1:8042/dicom-web``, with user and password if needed. Its path
        should be ``/dicom-web``, since the addresses of bulk data in its answers are not rewritten. WADO-URI is
        expected at ``/wado`` on the same host.
    limits
        Limits of each answer.
    """

    def __init__(self, root: str, limits: ForwardLimits = ForwardLimits()) -> None:
        parts = urlsplit(root)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            message = "the upstream DICOMweb root must be an http or https address"
            raise ValueError(message)
        self._root = root.rstrip("/")
        self._wado = f"{parts.scheme}://{parts.netloc}/wado"
        self._client = httpx.AsyncClient(timeout=httpx.Timeout(limits.answer_s, connect=_CONNECT_S), trust_env=False)
        self._limits = limits
        self._client.headers.clear()  # httpx would request compressed answers, which differ from the origin's bytes

    def routes(self) -> list[Route]:
        """Return the routes, which belong at the root of the viewer's port."""
        return [
            Route(_ROOT + "/{path:path}", self.forward, methods=["GET"]),
            Route("/wado", self.forward, methods=["GET"]),
        ]

    @contextlib.asynccontextmanager
    async def lifespan(self, _app: object) -> AsyncIterator[None]:
        """Close the connections when the application ends."""
        async with self._client:
            yield

    async def forward(self, request: Request) -> Response:
        """Pass a request on and stream the answer back."""
        path = request.scope["path"]
        if "/../" in f"{path}/":
            raise HTTPException(400, "The address must not leave the DICOMweb root.")
        target = self._wado if path == "/wado" else self._root + path.removeprefix(_ROOT)
        headers = {name: value for name, value in request.headers.items() if name in _FORWARDED}
        query = request.url.query.encode("ascii") or None
        outgoing = self._client.build_request("GET", httpx.URL(target, query=query), headers=headers)
        try:
            async with asyncio.timeout(self._limits.answer_s):  # httpx restarts its timeout with each byte
                answer = await self._client.send(outgoing, stream=True)
        except (httpx.TransportError, TimeoutError) as error:
            log.warning("dicomweb_upstream_unreachable", error=type(error).__name__)
            raise HTTPException(502, "The DICOMweb server behind this page does not answer.") from error
        return _Forwarded(answer, self._limits)


class _Forwarded(StreamingResponse):
    """An answer that is passed on as it arrives, and closed when the browser disconnects or a limit is reached."""

    def __init__(self, answer: httpx.Response, limits: ForwardLimits) -> None:
        kept = {name: value for name, value in answer.headers.items() if name in _RETURNED}
        super().__init__(self._pieces(), answer.status_code, kept | {"Cache-Control": "no-store"})
        self._answer, self._limits = answer, limits
        self._deadline = asyncio.timeout(limits.whole_s)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            async with self._deadline:
                await super().__call__(scope, receive, send)
        except TimeoutError:
            # An incomplete answer is not ended properly, so the server closes the connection and the browser notices.
            log.warning("dicomweb_upstream_cut", whole_s=self._limits.whole_s, largest=self._limits.largest_bytes)
        finally:
            await self._answer.aclose()

    async def _pieces(self) -> AsyncIterator[bytes]:
        size = 0
        async for piece in self._answer.aiter_raw():
            size += len(piece)
            if size > self._limits.largest_bytes:
                self._deadline.reschedule(0.0)
                await asyncio.Event().wait()  # until the deadline cancels this
            yield piece
