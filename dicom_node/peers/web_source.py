"""Answers of a DICOMweb source, read in pieces and within limits, because the source may be faulty."""

import contextlib
import json
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from dicom_node.peers.peer import Peer
from dicom_node.peers.query_answers import MOST_ANSWERS, QueryFailed

__all__ = ["WebAnswer", "WebLimits", "asked_by_web", "json_answers"]

LARGEST_JSON_BYTES = 64 * 2**20
"""Limit for the answers to one query: 100,000 instances at 600 bytes each."""


@dataclass(frozen=True, kw_only=True)
class WebLimits:
    """Time limits for an answer of a source.

    Attributes
    ----------
    first_s
        Until the answer begins; an archive may first have to fetch a study from tape.
    whole_s
        Until the answer is complete.
    slowest_bytes_s
        Minimum rate over a window; a modem reached 7 kB a second.
    window_s
        Length of the window, in seconds of waiting for the source.
    """

    first_s: float = 600.0
    whole_s: float = 4 * 3600.0
    slowest_bytes_s: float = 4096.0
    window_s: float = 60.0


_WANTS_AUTHORISATION = (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN)

QUERY_LIMITS = WebLimits(first_s=20.0, whole_s=120.0)


class WebAnswer:
    """An answer whose body has not been read yet."""

    def __init__(self, answer: httpx.Response, name: str, kind: str, limits: WebLimits) -> None:
        self._answer, self._name, self._kind, self._limits = answer, name, kind, limits

    @property
    def content_type(self) -> str:
        """The stated content type; empty where there is none."""
        return str(self._answer.headers.get("content-type", ""))

    @property
    def is_empty(self) -> bool:
        """Whether the source states that there is no content."""
        return self._answer.status_code == httpx.codes.NO_CONTENT

    @property
    def is_partial(self) -> bool:
        """Whether the source states that it holds more results than it returned (PS3.18 8.3.4.4)."""
        return str(self._answer.headers.get("warning", "")).startswith("299")

    def chunks(self) -> Iterator[bytes]:
        """Yield the body as it arrives.

        Raises
        ------
        QueryFailed
            When the source is too slow.
        """
        pieces, waited, received = self._answer.iter_raw(), 0.0, 0
        while True:
            begun = time.monotonic()
            piece = next(pieces, None)
            if piece is None:
                return
            waited, received = waited + time.monotonic() - begun, received + len(piece)
            if waited >= self._limits.window_s:
                if received < waited * self._limits.slowest_bytes_s:
                    raise QueryFailed(f"{self._name} sent its answer to {self._kind} too slowly ({received} bytes)")
                waited, received = 0.0, 0
            yield piece


@contextmanager
def asked_by_web(peer: Peer, path: str, accept: str, kind: str, limits: WebLimits) -> Iterator[WebAnswer]:
    """Send a request to a DICOMweb source; the answer must be read inside the block.

    Redirects are not followed, so the authorisation for one address is never sent to another. Compressed answers are
    refused, because a few bytes could expand to gigabytes.

    Raises
    ------
    QueryFailed
        With a sentence that gives the reason why the request failed, or what is wrong with the answer.
    """
    headers = {"Accept": accept, "Accept-Encoding": "identity", **peer.web_headers}
    timeout = httpx.Timeout(limits.first_s, connect=min(limits.first_s, 15.0))
    watch, failed = _Watch(limits.first_s), f"could not be reached by {kind}"
    try:
        with (
            watch,
            httpx.Client(timeout=timeout, trust_env=False, follow_redirects=False) as client,
            client.stream("GET", f"{peer.dicomweb_url}/{path}", headers=headers, extensions=watch.extensions) as answer,
        ):
            watch.extend(limits.whole_s)
            if answer.status_code in _WANTS_AUTHORISATION and (withheld := peer.withheld_secret):
                raise QueryFailed(f"{peer.name} answered {answer.status_code} to {kind}; {withheld}")
            _check(answer, peer.name, kind)
            failed = f"broke off its answer to {kind}"
            yield WebAnswer(answer, peer.name, kind, limits)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        if watch.expired:
            raise QueryFailed(f"{peer.name} did not finish its answer to {kind} in time") from error
        raise QueryFailed(f"{peer.name} {failed} ({type(error).__name__})") from error


def _check(answer: httpx.Response, name: str, kind: str) -> None:
    if answer.is_redirect:
        sentence = f"{name} answered {answer.status_code} to {kind}: enter the address that it redirects to"
        raise QueryFailed(sentence)
    if not answer.is_success:
        raise QueryFailed(f"{name} answered {answer.status_code} to {kind}")
    if answer.headers.get("content-encoding", "identity").strip().lower() not in ("", "identity"):
        raise QueryFailed(f"{name} compressed its answer to {kind} although not asked to; switch that off there")


def json_answers(peer: Peer, path: str, limits: WebLimits = QUERY_LIMITS) -> list[Mapping[str, Any]]:
    """Return the items of a source's answer to a query.

    Raises
    ------
    QueryFailed
        With a sentence that gives the reason why the request failed, or what is wrong with the answer.
    """
    kind, body = "QIDO-RS", bytearray()
    with asked_by_web(peer, path, "application/dicom+json", kind, limits) as answer:
        if answer.is_empty:
            return []
        if answer.is_partial:
            raise QueryFailed(f"{peer.name} returned only part of its results; raise its limit for results")
        for chunk in answer.chunks():
            body += chunk
            if len(body) > LARGEST_JSON_BYTES:
                raise QueryFailed(f"{peer.name} answered {kind} with more than {LARGEST_JSON_BYTES // 2**20} MiB")
    try:
        found = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise QueryFailed(f"{peer.name} answered {kind} with text that is not JSON") from error
    if not isinstance(found, list) or len(found) > MOST_ANSWERS or not all(isinstance(one, dict) for one in found):
        raise QueryFailed(f"{peer.name} answered {kind} with JSON that is not a list of data sets")
    return found


class _Watch:
    """Closes a connection at its time limit, whatever it waits for; a limit for each read would not stop slow data."""

    def __init__(self, seconds: float) -> None:
        self.expired = False
        self._sockets: list[Any] = []
        self._timer = self._begin(seconds)

    @property
    def extensions(self) -> dict[str, Any]:
        """Request extensions that register its connection."""
        return {"trace": self._trace}

    def extend(self, seconds: float) -> None:
        """Restart the time with a new limit."""
        self._timer.cancel()
        self._timer = self._begin(seconds)

    def __enter__(self) -> None:
        """Do nothing: the time runs since the creation."""

    def __exit__(self, *_details: object) -> None:
        """Stop the timer."""
        self._timer.cancel()

    def _begin(self, seconds: float) -> threading.Timer:
        timer = threading.Timer(seconds, self._cut)
        timer.daemon = True
        timer.start()
        return timer

    def _trace(self, name: str, info: Mapping[str, Any]) -> None:
        if name in ("connection.connect_tcp.complete", "connection.start_tls.complete"):
            self._sockets.append(info["return_value"].get_extra_info("socket"))

    def _cut(self) -> None:
        self.expired = True
        for one in self._sockets:
            with contextlib.suppress(OSError):  # closed already
                one.shutdown(socket.SHUT_RDWR)
