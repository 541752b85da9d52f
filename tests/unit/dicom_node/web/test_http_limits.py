"""What a stranger may send: sizes and deadlines of both ports, over real sockets."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.types import Receive, Scope, Send

from dicom_node.database.engine import open_database
from dicom_node.settings import read_settings
from dicom_node.studies.holdings import Holdings
from dicom_node.web.app import panel_app
from dicom_node.web.guard import MOST_BODY_BYTES, Guard
from dicom_node.web.http_server import MOST_CONNECTIONS, Deadlines, http_server
from dicom_node.web.viewer import viewer_app
from tests.support.viewer_port import served
from tests.support.waiting import ANSWER_S
from tests.support.web_child import WebChild, web_child

_SHORT = Deadlines(request_s=0.5, write_s=0.5, idle_s=1)
_PATIENCE_S = 20.0
_PRODUCTION_S = 120.0
"""Within this the deadlines of production are over, on a busy machine too."""


@pytest.fixture(scope="module")
def child(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebChild]:
    with web_child(tmp_path_factory.mktemp("node")) as running:
        yield running


def _big_form(boundary: str, mib: int) -> Iterator[bytes]:
    yield f'--{boundary}\r\nContent-Disposition: form-data; name="token"; filename="a"\r\n\r\n'.encode()
    for _ in range(mib):
        yield b"x" * 2**20
    yield f"\r\n--{boundary}--\r\n".encode()


def test_a_large_file_without_a_login_takes_no_memory(child: WebChild) -> None:
    before = child.peak_mib()
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    with contextlib.suppress(httpx.TransportError):  # the node may close before it has heard all
        answer = httpx.post(f"{child.panel}/login", content=_big_form("b", 300), headers=headers, timeout=120)
        assert answer.status_code == 413
    assert child.peak_mib() - before < 32


@pytest.mark.parametrize("path", ["/login", "/peers", "/api/peers", "/rules", "/fetch", "/logout", "/studies/a/stat"])
def test_every_route_has_a_limit_of_its_body(child: WebChild, path: str) -> None:
    with child.logged_in() as client:
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        told = client.post(path, content=b"a" * (MOST_BODY_BYTES + 1), headers=headers)
        untold = client.post(path, content=iter([b"a" * 2**15] * 3), headers=headers)
        assert (told.status_code, untold.status_code) == (413, 413)
        assert told.headers["content-security-policy"]


def test_a_form_has_a_limit_of_fields_and_no_parts(child: WebChild) -> None:
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    login, parts = f"{child.panel}/login", {f"f{number}": b"x" for number in range(10)}
    assert httpx.post(login, content=b"a=1&" * 200, headers=headers, timeout=ANSWER_S).status_code == 413
    assert httpx.post(login, files=parts, timeout=ANSWER_S).status_code == 415


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/login?" + "a" * 9000, {}, 414),
        ("/login", {"X-Long": "a" * 15_000, "X-Longer": "a" * 15_000}, 431),
    ],
)
def test_addresses_and_headers_have_a_limit(child: WebChild, path: str, headers: dict[str, str], status: int) -> None:
    for port in (child.panel, child.viewer):
        assert httpx.get(port + path, headers=headers, timeout=ANSWER_S).status_code in (status, 400)


def test_headers_without_an_end_are_cut_off(child: WebChild) -> None:
    with _connected(child.panel) as client:
        with contextlib.suppress(OSError):
            for _ in range(2000):
                client.sendall(b"x" * 1024)
        assert _ends(client)
    assert child.peak_mib() < 400


# --- deadlines -------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _connected(url: str) -> Iterator[socket.socket]:
    at = httpx.URL(url)
    with socket.create_connection((at.host, at.port or 0), _PATIENCE_S) as client:
        yield client


def _ends(client: socket.socket) -> bool:
    """Read until the node has closed; a node that does not makes this fail by the socket's own deadline."""
    try:
        while client.recv(65536):
            pass
    except ConnectionError:
        pass
    return True


def _ends_while_dribbling(client: socket.socket) -> bool:
    """Send a byte now and then until the node has closed."""
    end = time.monotonic() + _PATIENCE_S
    client.settimeout(0.05)
    while time.monotonic() < end:
        try:
            client.sendall(b"a")
            if client.recv(4096) == b"":
                return True
        except TimeoutError:
            continue
        except ConnectionError:
            return True
    return False


_STREAM_ENDED = threading.Event()


def _endless() -> Iterator[bytes]:
    while True:
        yield b"x" * 65536


async def _app(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with what came, or with more than a client takes."""
    if scope["type"] != "http":
        return
    if scope["path"] == "/endless":
        try:
            await StreamingResponse(_endless())(scope, receive, send)
        finally:
            _STREAM_ENDED.set()
        return
    body = await Request(scope, receive).body()
    await PlainTextResponse(body)(scope, receive, send)


@pytest.fixture(scope="module")
def hasty() -> Iterator[str]:
    with served(Guard(_app, "test", {}), _SHORT) as url:
        yield url


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"GET / HT",
        b"GET / HTTP/1.1\r\nHost: a\r\nX-A:",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc",
    ],
)
def test_a_client_that_falls_silent_is_let_go(hasty: str, sent: bytes) -> None:
    with _connected(hasty) as client:
        client.sendall(sent)
        assert _ends(client)


@pytest.mark.parametrize(
    "head", [b"GET / HTTP/1.1\r\nHost: a\r\n", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9999\r\n\r\n"]
)
def test_a_client_that_dribbles_is_let_go(hasty: str, head: bytes) -> None:
    with _connected(hasty) as client:
        client.sendall(head)
        assert _ends_while_dribbling(client)


def test_a_client_that_does_not_read_is_let_go(hasty: str) -> None:
    with _connected(hasty) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.sendall(b"GET /endless HTTP/1.1\r\nHost: a\r\n\r\n")
        assert _STREAM_ENDED.wait(_PATIENCE_S)


def test_a_quick_client_keeps_its_connection(hasty: str) -> None:
    with httpx.Client(base_url=hasty, timeout=ANSWER_S) as client:
        assert [client.post("/", content=b"a" * 60_000).status_code for _ in range(20)] == [200] * 20


def test_a_second_request_has_a_deadline_too(hasty: str) -> None:
    with _connected(hasty) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert client.recv(65536).startswith(b"HTTP/1.1 200")
        client.sendall(b"GET / HTTP/1.1\r\nHo")
        assert _ends(client)


def test_the_ports_of_a_node_have_deadlines_that_end(child: WebChild) -> None:
    """Those of production, on the role as it is started; one after another they would take a minute."""
    whole, cut = (
        b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nab",
    )
    with contextlib.ExitStack() as held:
        waiting = []
        for port in (child.panel, child.viewer):
            for sent in (b"", cut, whole):
                waiting.append(held.enter_context(_connected(port)))
                waiting[-1].settimeout(_PRODUCTION_S)
                waiting[-1].sendall(sent)
        assert [_ends(client) for client in waiting] == [True] * 6


def test_a_server_that_is_given_no_deadlines_has_those_of_production() -> None:
    """That of writing lets a slow network take its minute, so it is looked up here and not waited for."""
    assert http_server(_app, "127.0.0.1", 0).config.http.deadlines == Deadlines()  # type: ignore[union-attr]
    assert 0 < Deadlines().write_s <= _PRODUCTION_S


def test_silent_connections_keep_nobody_out(tmp_path: Path) -> None:
    database = open_database(f"sqlite:///{tmp_path / 'node.sqlite'}")
    applications = (
        panel_app(read_settings(environment={}), database),
        viewer_app(Holdings(database, tmp_path), tmp_path, login=None),
    )
    for app in applications:
        with served(app) as url, contextlib.ExitStack() as held:
            for _ in range(MOST_CONNECTIONS + 20):
                held.enter_context(_connected(url))
            assert httpx.get(f"{url}/app-config.js", timeout=_PATIENCE_S).status_code in (200, 303)
    database.engine.dispose()
