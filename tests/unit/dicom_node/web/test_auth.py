"""Who may do what on the panel, decided from the request alone: its method, its path, its origin and its cookie."""

import asyncio
import hashlib
from datetime import timedelta

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import Response

from dicom_node.database.engine import Database
from dicom_node.database.tables import LoginTokenRow, utc_now
from dicom_node.web.auth import refusal
from dicom_node.web.login_tokens import new_login_link


def _keep(database: Database, token: str, kind: str = "session", valid: timedelta = timedelta(hours=1)) -> None:
    row = LoginTokenRow(
        token_sha256=hashlib.sha256(token.encode()).hexdigest(), kind=kind, expires_at=utc_now() + valid
    )
    with database.session() as session:
        session.add(row)


def _refusal(database: Database, path: str, method: str = "GET", **headers: str) -> Response | None:
    raw = [(name.encode(), value.encode()) for name, value in ({"host": "node:8040"} | headers).items()]
    scope = {"type": "http", "method": method, "path": path, "query_string": b"", "headers": raw}
    return asyncio.run(refusal(Request(scope), database, open_workbench=False))


def _status(answer: Response | None) -> int:
    return 200 if answer is None else answer.status_code


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/login", 200),
        ("/healthz", 200),
        ("/static/panel.css", 200),
        ("/static", 303),
        ("/login/", 303),
        ("/loginx", 303),
        ("/", 303),
        ("/peers", 303),
        ("/api", 303),
        ("/api/peers", 401),
        ("/api/", 401),
    ],
)
def test_without_a_session_only_the_login_its_style_and_the_health_check_are_open(
    database: Database, path: str, status: int
) -> None:
    assert [_status(_refusal(database, path, method)) for method in ("GET", "HEAD", "POST")] == [status] * 3


def test_a_session_opens_every_page_until_it_ends(database: Database) -> None:
    _keep(database, "open")
    _keep(database, "ended", valid=timedelta(seconds=-1))
    _keep(database, "link", kind="link")
    tokens = ("open", "ended", "link", "guessed", "")
    pages = [_status(_refusal(database, "/peers", cookie=f"glionode_session={token}")) for token in tokens]
    assert pages == [200, 303, 303, 303, 303]
    assert _status(_refusal(database, "/api/peers", cookie="glionode_session=open")) == 200
    assert _status(_refusal(database, "/peers", cookie="other=open")) == 303


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("http://node:8040", 200),
        ("https://node:8040", 200),
        ("http://node", 403),
        ("http://node:8041", 403),
        ("http://evil.example", 403),
        ("http://node:8040.evil.example", 403),
        ("null", 403),
        ("http://[", 403),
        ("", 403),
    ],
)
def test_what_changes_something_comes_from_a_page_of_the_panel_itself(
    database: Database, origin: str, status: int
) -> None:
    _keep(database, "open")
    cookie = "glionode_session=open"
    for method in ("POST", "PUT", "DELETE"):
        assert _status(_refusal(database, "/peers", method, cookie=cookie, origin=origin)) == status
    assert _status(_refusal(database, "/login", "POST", origin=origin)) == status
    assert _status(_refusal(database, "/peers", cookie=cookie, origin=origin)) == 200


def test_an_origin_of_nothing_is_not_the_same_as_a_host_of_nothing(database: Database) -> None:
    assert _status(_refusal(database, "/login", "POST", origin="null", host="")) == 403


def test_a_link_is_valid_for_a_quarter_of_an_hour_and_ended_ones_are_forgotten(database: Database) -> None:
    _keep(database, "ended", valid=timedelta(seconds=-1))
    before = utc_now()
    links = {httpx.URL(new_login_link(database, "http://127.0.0.1:8040/")) for _ in range(2)}
    assert {(link.host, link.port, link.path) for link in links} == {("127.0.0.1", 8040, "/login")}
    with database.session() as session:
        rows = session.query(LoginTokenRow).all()
    hashes = {hashlib.sha256(link.params["token"].encode()).hexdigest() for link in links}
    assert {(row.token_sha256, row.kind) for row in rows} == {(one, "link") for one in hashes}
    assert all(timedelta() <= row.expires_at - before - timedelta(minutes=15) < timedelta(minutes=1) for row in rows)
