"""The HTTP server of panel and viewer: uvicorn, with deadlines for clients and a limit on connections."""

import asyncio
import logging
import re
from dataclasses import dataclass
from typing import Any

import h11
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from dicom_node.web.forwarded import Forwarded, Network
from dicom_node.workbench.jobs import LONGEST_UPLOAD

__all__ = ["EVENTS", "MOST_CONNECTIONS", "MOST_HEAD_BYTES", "Deadlines", "Front", "http_server"]

EVENTS = "events"
"""Last part of the address of a stream of events, which goes on as long as what it tells of."""

MOST_HEAD_BYTES = 16 * 1024
"""Limit of a request's line and headers together."""

MOST_CONNECTIONS = 256
"""Limit of one port. Beyond it, a new connection closes the one that has sent no complete request for longest."""


@dataclass(frozen=True, kw_only=True)
class Deadlines:
    """How long a client may keep a connection waiting, in seconds.

    Attributes
    ----------
    request_s
        For a complete request, from its first byte to its last (the first: from the connection); a form is small. Of
        an upload, for each piece.
    upload_s
        For a complete upload.
    write_s
        For taking the data that waits to be sent, 64 KiB at most.
    idle_s
        Between an answer and the next request.
    """

    request_s: float = 15.0
    upload_s: float = LONGEST_UPLOAD.total_seconds()
    write_s: float = 60.0
    idle_s: int = 5


@dataclass(frozen=True, kw_only=True)
class Front:
    """What lies between browsers and the node: a certificate of the node's own, or proxies.

    Attributes
    ----------
    certificate, key
        PEM files; empty for plain HTTP.
    proxies
        Networks whose X-Forwarded headers are believed.
    """

    certificate: str = ""
    key: str = ""
    proxies: tuple[Network, ...] = ()


def http_server(
    app: ASGIApp, bind: str, port: int, deadlines: Deadlines | None = None, *, uploads: str = "", front: Front = Front()
) -> uvicorn.Server:
    """Return a server that writes no access log and no messages of its own, since addresses contain study UIDs.

    Parameters
    ----------
    app
        Panel or viewer.
    bind
        Address to listen on.
    port
        Port to listen on; 0 takes a free one.
    deadlines
        The defaults of `Deadlines` when None.
    uploads
        Address to which large content is sent, which takes its time, as a regular expression; the port that has one
        has streams of events too.
    front
        By default plain HTTP without a proxy.
    """
    chosen = deadlines or Deadlines()
    logging.getLogger("httpx").setLevel(logging.WARNING)  # it would log each forwarded address
    return uvicorn.Server(
        uvicorn.Config(
            Forwarded(app, front.proxies),
            host=bind,
            port=port,
            ssl_certfile=front.certificate or None,
            ssl_keyfile=front.key or None,
            proxy_headers=False,  # uvicorn's own would believe any program on this machine
            http=type("_Connection", (_Connection,), {"deadlines": chosen, "uploads": uploads}),
            ws="none",
            timeout_keep_alive=chosen.idle_s,
            h11_max_incomplete_event_size=MOST_HEAD_BYTES,
            access_log=False,
            log_config=None,
            log_level="critical",
            server_header=False,
        )
    )


class _Connection(H11Protocol):
    """One connection, which is closed when its client exceeds a deadline."""

    deadlines = Deadlines()
    uploads = ""
    _since = 0.0
    _began = 0.0
    _receiving: asyncio.TimerHandle | None = None
    _writing: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the deadline of the first request."""
        super().connection_made(transport)
        self._since = self._began = self.loop.time()
        self._receiving = self.loop.call_later(self.deadlines.request_s, transport.abort)
        if len(self.connections) > MOST_CONNECTIONS:
            self._oldest_waiting().transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel the deadlines."""
        self._received()
        self._written()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Start the deadline with the first byte of a request."""
        if self._receiving is None:
            self._began = self.loop.time()
            self._receiving = self.loop.call_later(self.deadlines.request_s, self.transport.abort)
        super().data_received(data)
        if self._receiving is not None and self._is_upload():
            self._receiving.cancel()
            left = self._began + self.deadlines.upload_s - self.loop.time()
            self._receiving = self.loop.call_later(max(0.0, min(self.deadlines.request_s, left)), self.transport.abort)

    def _is_upload(self) -> bool:
        """Return whether a large form arrives. The application answers at once where its sender is not logged in."""
        return self.scope is not None and re.fullmatch(self.uploads, self.scope["path"]) is not None

    def handle_events(self) -> None:
        """Cancel the deadline when a request is complete."""
        super().handle_events()
        if self.conn.their_state not in (h11.IDLE, h11.SEND_BODY):
            self._received()

    def shutdown(self) -> None:
        """Let answers be completed when the server stops, but for streams of events, which could go on for hours."""
        super().shutdown()
        if self._is_stream():
            self.transport.close()

    def _is_stream(self) -> bool:
        path = self.scope["path"] if self.scope is not None else ""
        return self.uploads != "" and path.endswith(f"/{EVENTS}")

    def on_response_complete(self) -> None:
        """Note when the client was answered."""
        self._since = self.loop.time()
        super().on_response_complete()

    def pause_writing(self) -> None:
        """Start the deadline of a client that does not take its answer."""
        if self._writing is None:
            self._writing = self.loop.call_later(self.deadlines.write_s, self.transport.abort)
        super().pause_writing()

    def resume_writing(self) -> None:
        """Cancel that deadline."""
        self._written()
        super().resume_writing()

    def _received(self) -> None:
        if self._receiving is not None:
            self._receiving.cancel()
            self._receiving = None

    def _written(self) -> None:
        if self._writing is not None:
            self._writing.cancel()
            self._writing = None

    def _oldest_waiting(self) -> "_Connection":
        others: set[Any] = self.connections - {self}
        waiting = [one for one in others if one.cycle is None or one.cycle.response_complete]
        return min(waiting, key=lambda one: float(one._since), default=self)  # noqa: SLF001 - same class
