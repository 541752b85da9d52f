"""Another DICOMweb origin behind the viewer's page: passed on as it comes, but not without end."""

import itertools
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler

import httpx
import pytest
from starlette.applications import Starlette

from dicom_node.web.dicomweb_upstream import DicomwebUpstream, ForwardLimits
from tests.support.viewer_port import served
from tests.support.web_source import WebSource, serving_web

LIMITS = ForwardLimits(answer_s=2.0, whole_s=3.0, largest_bytes=2**20)


@pytest.fixture
def web() -> Iterator[WebSource]:
    with serving_web() as running:
        yield running


@pytest.fixture
def page(web: WebSource) -> Iterator[str]:
    upstream = DicomwebUpstream(web.root, LIMITS)
    with served(Starlette(routes=upstream.routes(), lifespan=upstream.lifespan)) as url:
        yield f"{url}/dicom-web"


def _drip() -> Iterator[bytes]:
    for _ in range(300):  # ends on its own after 30 s, so that a missing limit is a failure and no hang
        time.sleep(0.1)
        yield b"x"


def test_an_answer_is_passed_on(page: str, web: WebSource) -> None:
    web.answers("/studies", [b"a" * 2**19, b"b" * 2**19], "application/dicom+json")
    answer = httpx.get(f"{page}/studies", timeout=30)
    assert answer.content == b"a" * 2**19 + b"b" * 2**19
    assert answer.headers["content-type"] == "application/dicom+json"


@pytest.mark.parametrize("pieces", ["drip", "flood"])
def test_an_answer_without_end_is_cut_and_not_ended_as_if_it_were_whole(page: str, web: WebSource, pieces: str) -> None:
    body = _drip() if pieces == "drip" else itertools.repeat(bytes(2**16), 1000)
    web.answers("/studies", body, "application/dicom+json")
    with pytest.raises(httpx.RemoteProtocolError):
        httpx.get(f"{page}/studies", timeout=60)


def test_an_answer_whose_head_does_not_end_is_not_waited_for(page: str, web: WebSource) -> None:
    def reply(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nX: ")
        for piece in _drip():
            handler.wfile.write(piece)
        handler.wfile.write(b"\r\nContent-Length: 4\r\n\r\nlate")  # whoever waited for it has a whole answer

    web.replies["/studies"] = reply
    answer = httpx.get(f"{page}/studies", timeout=60)
    assert answer.status_code == 502
    assert "does not answer" in answer.text
