"""What a DICOMweb source answers, taken piece by piece and within limits: others' machines may be broken."""

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
"""Answers to one query: 100,000 instances at 600 bytes each."""


@dataclass(frozen=True, kw_only=True)
class WebLimits:
    """How long a source may take.

    Attributes
    ----------
    first_s
        Until its answer begins; an archive may have to fetch a study from tape first.
    whole_s
        Until its answer is through.
    slowest_bytes_s
        It may not be slower than this over a window; a modem brought 7 kB a second.
    window_s
        That window, in seconds of waiting for the source.
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
        """What it says it is; empty where it does not."""
        return str(self._answer.headers.get("content-type", ""))

    @property
    def is_empty(self) -> bool:
        """Tell whether the source says that there is nothing."""
        return self._answer.status_code == httpx.codes.NO_CONTENT

    @property
    def is_partial(self) -> bool:
        """Tell whether the source says that it holds more than it tells (PS3.18 8.3.4.4)."""
        return str(self._answer.headers.get("warning", "")).startswith("299")

    def chunks(self) -> Iterator[bytes]:
        """Yield the body as it comes.

        Raises
        ------
        QueryFailed
            When the source is too slow.
        """
        pieces, waited, came = self._answer.iter_raw(), 0.0, 0
        while True:
            begun = time.monotonic()
            piece = next(pieces, None)
            if piece is None:
                return
            waited, came = waited + time.monotonic() - begun, came + len(piece)
            if waited >= self._limits.window_s:
                if came < waited * self._limits.slowest_bytes_s:
                    raise QueryFailed(f"{self._name} sent its answer to {self._kind} too slowly ({came} bytes)")
                waited, came = 0.0, 0
            yield piece


@contextmanager
def asked_by_web(peer: Peer, path: str, accept: str, kind: str, limits: WebLimits) -> Iterator[WebAnswer]:
    """Ask a DICOMweb source; the answer is to be read inside the block.

    Redirects are not followed: what authorises the node at one address is not shown at another. Compressed answers are
    not taken: some bytes would become gigabytes.

    Raises
    ------
    QueryFailed
        With a sentence that says why it could not be asked, or what is wrong with its answer.
    """
    headers = {"Accept": accept, "Accept-Encoding": "identity", **peer.web_headers}
    timeout = httpx.Timeout(limits.first_s, connect=min(limits.first_s, 15.0))
    watch, failed = _Watch(limits.first_s), f"could not be asked by {kind}"
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
            raise QueryFailed(f"{peer.name} did not come to an end with its answer to {kind}") from error
        raise QueryFailed(f"{peer.name} {failed} ({type(error).__name__})") from error


def _check(answer: httpx.Response, name: str, kind: str) -> None:
    if answer.is_redirect:
        sentence = f"{name} answered {answer.status_code} to {kind}: enter the address that it redirects to"
        raise QueryFailed(sentence)
    if not answer.is_success:
        raise QueryFailed(f"{name} answered {answer.status_code} to {kind}")
    if answer.headers.get("content-encoding", "identity").strip().lower() not in ("", "identity"):
        raise QueryFailed(f"{name} answered {kind} compressed, which it was asked not to do; switch that off there")


def json_answers(peer: Peer, path: str, limits: WebLimits = QUERY_LIMITS) -> list[Mapping[str, Any]]:
    """Return the items that a source answers a query with.

    Raises
    ------
    QueryFailed
        With a sentence that says why it could not be asked, or what is wrong with its answer.
    """
    kind, body = "QIDO-RS", bytearray()
    with asked_by_web(peer, path, "application/dicom+json", kind, limits) as answer:
        if answer.is_empty:
            return []
        if answer.is_partial:
            raise QueryFailed(f"{peer.name} tells of only a part of what it holds; raise its limit of results")
        for chunk in answer.chunks():
            body += chunk
            if len(body) > LARGEST_JSON_BYTES:
                raise QueryFailed(f"{peer.name} answered {kind} with more than {LARGEST_JSON_BYTES // 2**20} MiB")
    try:
        found = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise QueryFailed(f"{peer.name} answered {kind} with what is no JSON") from error
    if not isinstance(found, list) or len(found) > MOST_ANSWERS or not all(isinstance(one, dict) for one in found):
        raise QueryFailed(f"{peer.name} answered {kind} with JSON that is no list of data sets")
    return found


class _Watch:
    """Cuts a connection when its time is over, whatever it is waiting for: a limit for each read is none for a drip."""

    def __init__(self, seconds: float) -> None:
        self.expired = False
        self._sockets: list[Any] = []
        self._timer = self._begin(seconds)

    @property
    def extensions(self) -> dict[str, Any]:
        """What a request needs for its connection to be watched."""
        return {"trace": self._trace}

    def extend(self, seconds: float) -> None:
        """Let the time begin anew."""
        self._timer.cancel()
        self._timer = self._begin(seconds)

    def __enter__(self) -> None:
        """Watch from the beginning on."""

    def __exit__(self, *_details: object) -> None:
        """Watch no longer."""
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
            with contextlib.suppress(OSError):  # closed by now
                one.shutdown(socket.SHUT_RDWR)
