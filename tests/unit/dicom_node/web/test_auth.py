"""Who may do what on the panel: every route of the application, tried without login, with each role and each token."""

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from fastapi.templating import Jinja2Templates
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount

from dicom_node.access.tokens import add_token
from dicom_node.access.users import set_enabled
from dicom_node.database.engine import Database
from dicom_node.database.states import TokenScope, UserRole
from dicom_node.settings import read_settings
from dicom_node.web.app import panel_app
from dicom_node.web.audited import Recorded
from dicom_node.web.auth import Door
from dicom_node.web.guard import Guard
from dicom_node.web.rights import RIGHTS, Right, right_to
from tests.support.panel_client import log_in
from tests.support.viewer_port import served
from tests.support.waiting import ANSWER_S

FILLED = {"{state}": "on", "{action}": "stat", "{path:path}": "x.css"}
"""Values of parameters that take only some; others take `absent`."""


def _application(app: object) -> FastAPI:
    assert isinstance(app, Guard)
    recorded = app._app
    assert isinstance(recorded, Recorded)
    inner = recorded._app
    assert isinstance(inner, FastAPI)
    return inner


def routes_of(app: FastAPI) -> list[str]:
    """Return every route of an application as the table of rights writes it."""
    found = []
    for route in iter_route_contexts(app.routes):
        mounted = isinstance(route.original_route, Mount)
        path = f"{route.path}/{{path:path}}" if mounted else route.path
        found += [f"{method} {path}" for method in ({"GET"} if mounted else route.methods or ()) if method != "HEAD"]
    return found


def _filled(line: str) -> tuple[str, str]:
    method, path = line.split(" ")
    return method, re.sub(r"{[^}]+}", lambda found: FILLED.get(found[0], "absent"), path)


@pytest.fixture
def app(database: Database, tmp_path: Path) -> Guard:
    made = panel_app(read_settings(environment={"GLIONODE_NODE_FOLDER": str(tmp_path)}), database)
    assert isinstance(made, Guard)
    return made


@pytest.fixture
def panel(app: Guard) -> Iterator[str]:
    with served(app) as url:
        yield url


def test_every_route_has_a_line_in_the_table_and_every_line_a_route(app: Guard) -> None:
    routes = routes_of(_application(app))
    assert len(routes) > 40
    assert sorted(routes) == sorted(RIGHTS)


def test_every_address_gets_the_right_of_its_own_line() -> None:
    for line, right in RIGHTS.items():
        assert right_to(*_filled(line)) is right, line


def _refused(client: httpx.Client, line: str, **asked: object) -> int:
    """Return the status with which a route is refused; 0 where the request came to the route itself."""
    method, path = _filled(line)
    with client.stream(method, path, **asked) as answer:  # type: ignore[arg-type]
        if answer.headers.get("content-type", "").startswith("text/event-stream"):
            return 0  # it would go on
        answer.read()
    if answer.status_code == 303 and answer.headers["location"] == "/login" and "set-cookie" not in answer.headers:
        return 303  # a logout leads there too, and takes the cookie away
    if answer.status_code in (401, 403) and ("Log in first" in answer.text or "does not have the scope" in answer.text):
        return answer.status_code
    return 403 if answer.status_code == 403 and "This needs the role" in answer.text else 0


def _login_asked(line: str) -> int:
    return 401 if " /api/" in line or line == "GET /metrics" else 303


def test_without_a_login_only_what_is_open_is_open(panel: str) -> None:
    with httpx.Client(base_url=panel, timeout=ANSWER_S) as stranger:
        answers = {line: _refused(stranger, line) for line in RIGHTS}
    assert answers == {line: 0 if right.least is None else _login_asked(line) for line, right in RIGHTS.items()}
    assert {line for line, right in RIGHTS.items() if right.least is None} == {
        "GET /healthz",
        "GET /readyz",
        "GET /login",
        "POST /login",
        "GET /static/{path:path}",
    }


@pytest.mark.parametrize("role", list(UserRole))
def test_each_role_may_do_what_its_line_says_and_no_more(panel: str, database: Database, role: UserRole) -> None:
    ranks = list(UserRole)
    answers = {}
    with httpx.Client(base_url=panel, timeout=ANSWER_S) as client:
        log_in(client, database, role, f"a-{role}")
        for line in RIGHTS:
            answers[line] = _refused(client, line)
            if "logout" in line:
                log_in(client, database, role, f"a-{role}")
    allowed = {
        line: right.least is None or ranks.index(role) >= ranks.index(right.least) for line, right in RIGHTS.items()
    }
    assert answers == {line: 0 if may else 403 for line, may in allowed.items()}


@pytest.mark.parametrize("scope", list(TokenScope))
def test_a_token_may_do_what_its_scope_says_and_opens_no_page(
    panel: str, database: Database, scope: TokenScope
) -> None:
    token = {"Authorization": f"Bearer {add_token(database, 'program', [scope])}"}
    with httpx.Client(base_url=panel, timeout=ANSWER_S, headers=token) as program:
        answers = {line: _refused(program, line) for line in RIGHTS}

    def expected(line: str, right: Right) -> int:
        if right.least is None or right.scope is scope:
            return 0
        return 403 if right.scope is not None else _login_asked(line)

    assert answers == {line: expected(line, right) for line, right in RIGHTS.items()}
    if scope in (TokenScope.WORKBENCH, TokenScope.PEERS):
        assert 0 in {answers[line] for line, right in RIGHTS.items() if right.scope}


def test_the_roles_are_those_that_were_agreed_on() -> None:
    """Hold what each role is for, whatever the table says."""
    least = {line: right.least for line, right in RIGHTS.items()}
    for line in ("GET /studies", "GET /workbench", "POST /studies/{key}/opinion", "GET /help"):
        assert least[line] is UserRole.VIEWER
    for line in ("POST /fetch", "POST /studies/{key}/{action}", "POST /rules"):
        assert least[line] is UserRole.OPERATOR
    for line in ("POST /peers", "DELETE /api/peers/{name}", "POST /users", "POST /tokens", "POST /maintenance/{state}"):
        assert least[line] is UserRole.ADMINISTRATOR


def test_a_route_that_the_table_does_not_know_is_refused(app: Guard, database: Database) -> None:
    @_application(app).get("/new")
    def new() -> dict[str, str]:
        return {"opened": "yes"}

    with served(app) as url, httpx.Client(base_url=url, timeout=ANSWER_S) as client:
        assert client.get("/new").headers["location"] == "/login"
        log_in(client, database)
        answer = client.get("/new")
    assert (answer.status_code, "opened" in answer.text) == (404, False)


def test_a_refused_page_says_which_role_is_needed_and_whom_to_ask(panel: str, database: Database) -> None:
    with httpx.Client(base_url=panel, timeout=ANSWER_S) as client:
        log_in(client, database)  # an administrator, anna
        log_in(client, database, UserRole.VIEWER, "vera")
        page = client.get("/peers")
        api = client.get("/api/peers")
    sentence = "This needs the role administrator; you have the role viewer. An administrator can change that: anna."
    assert (page.status_code, sentence in page.text) == (403, True)
    assert (api.status_code, api.json()) == (403, {"detail": sentence})


def test_the_navigation_shows_what_the_role_may_open(panel: str, database: Database) -> None:
    shown = {}
    with httpx.Client(base_url=panel, timeout=ANSWER_S) as client:
        for role in UserRole:
            log_in(client, database, role, f"a-{role}")
            page = client.get("/studies").text
            shown[role] = re.findall(r'<a href="(/[a-z]+)"', page.split("<nav")[1].split("</nav>")[0])
            for path in shown[role]:
                assert client.get(path).status_code == 200
    everyone = ["/studies", "/work", "/workbench", "/help"]
    assert shown[UserRole.VIEWER] == everyone
    assert shown[UserRole.OPERATOR] == ["/studies", "/work", "/workbench", "/fetch", "/rules", "/help"]
    assert shown[UserRole.ADMINISTRATOR] == [
        *(
            "/studies",
            "/work",
            "/workbench",
            "/fetch",
            "/rules",
            "/routing",
            "/peers",
            "/users",
            "/tokens",
            "/system",
            "/help",
        )
    ]


def test_an_unknown_address_and_method_are_said_to_be_so(panel: str, database: Database) -> None:
    with httpx.Client(base_url=panel, timeout=ANSWER_S) as client:
        log_in(client, database)
        answers = [client.get("/none"), client.get("/api/none"), client.put("/peers"), client.get("/peers/")]
    assert [answer.status_code for answer in answers] == [404, 404, 405, 404]
    assert answers[2].headers["allow"] == "GET, POST"


def _refusal(database: Database, path: str, method: str = "GET", **headers: str) -> Response | None:
    raw = [
        (name.replace("_", "-").encode(), value.encode()) for name, value in ({"host": "node:8040"} | headers).items()
    ]
    scope = {"type": "http", "method": method, "path": path, "query_string": b"", "headers": raw}
    door = Door(read_settings(environment={}), database, Jinja2Templates(Path(__file__).parent))
    return asyncio.run(door.refusal(Request(scope)))


def _status(answer: Response | None) -> int:
    return 200 if answer is None else answer.status_code


@pytest.mark.parametrize(
    ("path", "status"),
    [
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
    assert [_status(_refusal(database, path, method)) for method in ("GET", "HEAD")] == [status] * 2


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
    assert _status(_refusal(database, "/login", "POST", origin=origin)) == status
    for method in ("POST", "PUT", "DELETE"):  # who is not logged in is told so
        assert _status(_refusal(database, "/peers", method, origin=origin)) == (303 if status == 200 else 403)
    assert _status(_refusal(database, "/login", origin=origin)) == 200


@pytest.mark.parametrize(
    ("site", "status"), [("same-origin", 200), ("same-site", 403), ("cross-site", 403), ("none", 403), ("", 403)]
)
def test_a_page_on_another_port_of_the_host_is_no_page_of_the_panel(database: Database, site: str, status: int) -> None:
    assert _status(_refusal(database, "/login", "POST", sec_fetch_site=site)) == status
    own = {"sec_fetch_site": site, "origin": "http://node:8040"}
    assert _status(_refusal(database, "/login", "POST", **own)) == status
    assert _status(_refusal(database, "/login", "GET", sec_fetch_site=site)) == 200


def test_an_origin_of_nothing_is_not_the_same_as_a_host_of_nothing(database: Database) -> None:
    assert _status(_refusal(database, "/login", "POST", origin="null", host="")) == 403


def test_a_disabled_user_is_out_at_once(panel: str, database: Database) -> None:
    with httpx.Client(base_url=panel, timeout=ANSWER_S) as client:
        log_in(client, database, UserRole.VIEWER, "vera")
        assert client.get("/studies").status_code == 200
        set_enabled(database, "vera", "test", enabled=False)
        assert client.get("/studies").headers["location"] == "/login"
