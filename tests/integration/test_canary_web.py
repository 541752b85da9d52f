"""Panel and viewer of a real node, asked with a patient in every part of a request: nothing of that is written."""

import socket
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, urlsplit

import httpx
import pytest
import sqlalchemy as sa

from tests.support.canary import CANARIES, TEXT, UID, leaks
from tests.support.faults import Faults
from tests.support.web_child import WebChild, web_child

NAME = CANARIES["PatientName"]
PATH = quote(TEXT.replace("/", "-"), safe="")
QUERY = quote(f"PatientName={NAME}&{TEXT}", safe="=&^")
TRACES = {
    "User-Agent": NAME,
    "Referer": f"http://127.0.0.1/{PATH}",
    "Authorization": f"Basic {NAME}",
    "X-Forwarded-For": NAME,
    "Cookie": f"glionode_session={UID}; {CANARIES['PatientID']}={UID}",
}
FORM = dict.fromkeys(("study_uid", "source", "priors", "name", "ae_title", "token", "text", "first", TEXT), TEXT)
LARGE = TEXT.encode() * 1000
NUL = {"content": f"name={PATH}%00"}
MULTIPART = {"files": {NAME: (NAME, TEXT.encode())}}

PANEL: list[tuple[str, str, int, dict[str, Any]]] = [
    ("GET", f"/{PATH}", 404, {}),
    ("GET", f"/static/{PATH}.css", 404, {}),
    ("GET", f"/studies/{PATH}", 404, {}),
    ("GET", f"/api/{PATH}", 404, {}),
    ("DELETE", f"/api/peers/{PATH}/{PATH}", 404, {}),
    ("PUT", f"/studies/{PATH}", 405, {}),
    (CANARIES["PatientID"], "/studies", 405, {}),
    ("POST", f"/studies/{PATH}/{PATH}", 422, {"data": FORM}),
    ("POST", f"/studies/{PATH}/cancel", 409, {"data": FORM}),
    ("POST", "/studies", 422, {"data": FORM}),
    ("POST", "/studies", 200, {"data": {"text": NAME}}),
    ("POST", "/fetch", 422, {"data": FORM}),
    ("POST", "/peers", 422, {"data": FORM}),
    ("POST", "/rules", 422, {"data": FORM}),
    ("POST", "/api/peers", 422, {"json": FORM}),
    ("POST", "/api/peers", 422, {"content": TEXT.encode(), "headers": {"Content-Type": "application/json"}}),
    ("POST", "/login", 403, {"data": {"token": TEXT}}),
    ("POST", "/login", 403, {"data": {"name": TEXT, "password": TEXT, "next": TEXT}}),
    ("POST", "/fetch", 403, {"data": FORM, "headers": {"Origin": f"http://{PATH}"}}),
    ("POST", "/fetch", 413, {"content": LARGE}),
    ("POST", "/fetch", 415, MULTIPART),
    ("POST", "/fetch", 400, NUL),
    ("GET", f"/{PATH * 100}", 414, {}),
    ("GET", "/studies", 431, {"headers": {"X-Long": PATH * 100}}),
]
VIEWER: list[tuple[str, str, int, dict[str, Any]]] = [
    ("GET", f"/dicom-web/{PATH}", 404, {}),
    ("GET", f"/dicom-web/studies/{PATH}/metadata", 400, {}),
    ("GET", f"/dicom-web/studies/{UID}/series/{UID}/metadata", 404, {}),
    ("GET", f"/dicom-web/studies/{UID}/series/{UID}/instances/{UID}/frames/{PATH}", 400, {}),
    ("GET", f"/dicom-web/studies?limit={PATH}", 400, {}),
    ("GET", f"/wado?requestType=WADO&studyUID={UID}&objectUID={PATH}", 400, {}),
    ("GET", f"/{PATH}.js", 404, {}),
    ("POST", f"/dicom-web/studies/{PATH}", 403, {"content": TEXT.encode()}),
    ("POST", f"/dicom-web/studies/{PATH}/series", 405, {"content": TEXT.encode()}),
    (CANARIES["PatientID"], "/dicom-web/studies", 405, {}),
    ("GET", "/dicom-web/studies", 421, {"headers": {"Host": NAME}}),
    ("GET", "/dicom-web/studies", 403, {"headers": {"Origin": f"http://{PATH}"}}),
    ("GET", f"/{PATH * 100}", 414, {}),
]
REPEATED = (200, 409, 422)
"""A form comes back to who filled it in, with what stood in it, if it cannot be used or searches."""


@pytest.fixture(scope="module")
def faults(tmp_path_factory: pytest.TempPathFactory) -> Faults:
    return Faults(tmp_path_factory.mktemp("faults"), ".html")


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory, faults: Faults) -> Iterator[WebChild]:
    folder = tmp_path_factory.mktemp("web")
    (folder / "ohif").mkdir()
    (folder / "ohif" / "index.html").write_text("a viewer", "utf-8")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in faults.environment.items():
            patch.setenv(name, value)
        with web_child(folder) as started:
            yield started


@pytest.mark.parametrize(("method", "address", "status", "parts"), PANEL)
def test_what_the_panel_refuses_is_written_nowhere(
    web: WebChild, method: str, address: str, status: int, parts: dict[str, Any]
) -> None:
    size = len(web.log_text())
    with web.logged_in() as client:
        answer = _ask(client, method, address, parts, cookies=True)
    assert answer.status_code == status
    assert status in REPEATED or leaks(answer.content, str(answer.headers)) == []
    assert leaks(web.log_text()[size:]) == []


@pytest.mark.parametrize(("address", "status"), [("/studies", 303), ("/api/peers", 401), (f"/login?token={PATH}", 200)])
def test_who_is_not_logged_in_is_written_nowhere(web: WebChild, address: str, status: int) -> None:
    with httpx.Client(base_url=web.panel, timeout=60) as client:
        assert _ask(client, "GET", address, {}).status_code == status
    assert leaks(web.log_text()) == []


@pytest.mark.parametrize(("method", "address", "status", "parts"), VIEWER)
def test_what_the_viewer_refuses_is_written_nowhere(
    web: WebChild, method: str, address: str, status: int, parts: dict[str, Any]
) -> None:
    with httpx.Client(base_url=web.viewer, timeout=60) as client:
        answer = _ask(client, method, address, parts)
    assert answer.status_code == status
    assert leaks(answer.content, str(answer.headers), web.log_text()) == []


@pytest.mark.parametrize("port", ["panel", "viewer"])
@pytest.mark.parametrize(
    "content",
    [TEXT.encode(), f"GET /{PATH} HTTP/9\r\n\r\n".encode(), f"GET /{NAME} HTTP/1.1\r\n{TEXT}\r\n\r\n".encode()],
)
def test_what_is_no_request_is_written_nowhere(web: WebChild, port: str, content: bytes) -> None:
    with socket.create_connection(("127.0.0.1", urlsplit(getattr(web, port)).port or 0), 30.0) as line:
        line.sendall(content)
        line.shutdown(socket.SHUT_WR)
        answer = b"".join(iter(lambda: line.recv(4096), b""))
    assert leaks(answer, web.log_text()) == []


UNFORESEEN = {
    "an error": "raise ValueError(TEXT)",
    "a group": "raise ExceptionGroup(TEXT, [ValueError(TEXT)]) from KeyError(TEXT)",
    "an error of the system": "raise OSError(5, TEXT, TEXT)",
}


@pytest.mark.parametrize("fault", UNFORESEEN.values(), ids=UNFORESEEN.keys())
@pytest.mark.parametrize(("port", "address"), [("panel", f"/workbench?{QUERY}"), ("viewer", f"/viewer?{QUERY}")])
def test_an_error_that_nobody_foresaw_is_told_without_its_text(
    web: WebChild, faults: Faults, port: str, address: str, fault: str
) -> None:
    before, size = len(web.events("web_defect")), len(web.log_text())
    with web.logged_in() as client:
        faults.set(f"TEXT = {TEXT!r}\n{fault}")
        with httpx.Client(base_url=getattr(web, port), timeout=60, cookies=client.cookies) as browser:
            try:
                assert leaks(_ask(browser, "GET", address, {}, cookies=True).content) == []
            except httpx.RemoteProtocolError:
                assert port == "viewer"  # the answer had begun
        faults.clear()
    event = _defect(web, before)
    assert (event["port"], event["method"]) == (port, "GET")
    assert event["exception"][0]["frames"]
    assert leaks(web.log_text()[size:]) == []


@pytest.mark.parametrize(
    ("table", "port", "method", "address"),
    [
        ("study", "panel", "GET", f"/studies/{PATH}?{QUERY}"),
        ("instance", "viewer", "GET", f"/dicom-web/studies/{UID}/series/{UID}/metadata"),
        ("peer", "panel", "DELETE", f"/api/peers/{PATH}"),
        ("panel_session", "panel", CANARIES["PatientID"], f"/{PATH}"),
    ],
)
def test_books_that_are_broken_are_told_without_what_was_asked(
    web: WebChild, table: str, port: str, method: str, address: str
) -> None:
    """An error of the database quotes the statement with its values."""
    before, size = len(web.events("web_defect")), len(web.log_text())
    with web.logged_in() as client:
        _rename(web, table, "gone")
        with httpx.Client(base_url=getattr(web, port), timeout=60, cookies=client.cookies) as browser:
            answer = _ask(browser, method, address, {}, cookies=True)
        _rename(web, "gone", table)
    assert answer.status_code == 500
    assert leaks(answer.content) == []
    event = _defect(web, before)
    assert event["exception"][0]["type"] == "OperationalError"
    assert leaks(web.log_text()[size:]) == []


def _defect(web: WebChild, before: int) -> dict[str, Any]:
    """Return the event of a defect, which is told when the answer is on its way already."""
    deadline = time.monotonic() + 30.0
    while len(found := web.events("web_defect")) == before:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    (event,) = found[before:]
    return event


def _rename(web: WebChild, table: str, name: str) -> None:
    with web.database.session() as session:
        session.execute(sa.text(f"ALTER TABLE {table} RENAME TO {name}"))


def _ask(
    client: httpx.Client, method: str, address: str, parts: dict[str, Any], *, cookies: bool = False
) -> httpx.Response:
    """Ask with a patient in the headers, too; with the client's own cookies if wanted."""
    headers = {**TRACES, **parts.get("headers", {})}
    if cookies:
        own = "; ".join(f"{name}={value}" for name, value in client.cookies.items())
        headers["Cookie"] = f"{CANARIES['PatientID']}={UID}; {own}"
    return client.request(method, address, **{**parts, "headers": headers})


def test_a_folder_of_the_node_holds_no_log_of_a_request(web: WebChild) -> None:
    """Not in the books either: what was asked for is nobody's business."""
    files = [path for path in web.settings.node.folder.rglob("*") if path.is_file()]
    assert {"web.jsonl", "glionode.sqlite"} <= {path.name for path in files}
    assert leaks(*(path.read_bytes() for path in files)) == []
