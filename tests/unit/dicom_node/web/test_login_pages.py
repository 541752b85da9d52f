"""The pages to log in, of one's own account, of the users and of the tokens, over a real port."""

import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from dicom_node.access.attempts import PER_NAME, Attempt, admit
from dicom_node.access.links import new_link
from dicom_node.access.tokens import list_tokens, program_of
from dicom_node.access.users import add_user, change_password, has_administrator, list_users, new_password_link
from dicom_node.database.engine import Database
from dicom_node.database.states import LinkKind, TokenScope, UserRole
from dicom_node.settings import Settings, read_settings
from dicom_node.web.app import panel_app
from tests.support.panel_client import log_in
from tests.support.viewer_port import served
from tests.support.waiting import ANSWER_S

WORDS = "correct horse battery"
OTHERS = "another long sentence"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return read_settings(environment={"GLIONODE_NODE_FOLDER": str(tmp_path), "GLIONODE_VIEWER_PORT": "8041"})


@pytest.fixture
def stranger(settings: Settings, database: Database) -> Iterator[httpx.Client]:
    with (
        served(panel_app(settings, database)) as url,
        httpx.Client(base_url=url, timeout=ANSWER_S) as client,
    ):
        yield client


@pytest.fixture
def bert(database: Database) -> None:
    """Have a user with a password."""
    add_user(database, "bert", UserRole.VIEWER, "test")
    change_password(database, "bert", WORDS, WORDS)


@pytest.fixture
def administrator(stranger: httpx.Client, database: Database) -> httpx.Client:
    log_in(stranger, database)
    return stranger


def _token(link: str) -> str:
    return str(httpx.URL(link).params["token"])


def _enter(client: httpx.Client, name: str = "bert", password: str = WORDS, **more: str) -> httpx.Response:
    return client.post("/login", data={"name": name, "password": password, **more})


def test_the_first_administrator_chooses_name_and_password(stranger: httpx.Client, database: Database) -> None:
    assert "has no administrator yet" in stranger.get("/login").text
    link = new_link(database, str(stranger.base_url), LinkKind.FIRST)
    assert "Become administrator" in stranger.get(link).text
    form = {"token": _token(link), "name": "Anna", "password": "short", "again": "short"}
    wrong = stranger.post("/login", data=form)
    assert (wrong.status_code, 'id="password-problem"' in wrong.text) == (422, True)
    assert 'value="Anna"' in wrong.text
    assert "short" not in wrong.text  # a password is never shown again
    form |= {"password": WORDS, "again": WORDS}
    assert stranger.post("/login", data=form).headers["location"] == "/setup"
    assert has_administrator(database)
    assert stranger.get("/users").status_code == 200
    stranger.post("/logout")
    assert 'name="password"' in stranger.get("/login").text
    assert _enter(stranger, "ANNA").headers["location"] == "/"


def test_the_link_of_a_user_sets_a_password(stranger: httpx.Client, database: Database) -> None:
    add_user(database, "bert", UserRole.VIEWER, "test")
    link = new_password_link(database, str(stranger.base_url), "bert", "test")
    page = stranger.get(link).text
    assert "Set your password" in page
    assert "<strong>bert</strong>" in page
    form = {"token": _token(link), "name": "mallory", "password": WORDS, "again": WORDS}
    assert stranger.post("/login", data=form).status_code == 303
    assert [user.name for user in list_users(database)] == ["bert"]
    assert "bert" in stranger.get("/account").text
    again = stranger.post("/login", data=form)
    assert (again.status_code, "no longer valid" in again.text) == (403, True)


@pytest.mark.usefixtures("bert")
def test_a_wrong_password_is_told_in_one_sentence(stranger: httpx.Client) -> None:
    answer = _enter(stranger, password="wrong")  # noqa: S106
    assert (answer.status_code, "do not belong together" in answer.text) == (403, True)
    assert "set-cookie" not in answer.headers
    assert 'value="bert"' in answer.text
    assert stranger.get("/studies").headers["location"] == "/login"


@pytest.mark.usefixtures("bert")
def test_too_many_failures_are_answered_with_when_to_come_again(stranger: httpx.Client, database: Database) -> None:
    for _ in range(PER_NAME):
        admit(database, Attempt(name="bert", address="192.0.2.1"))
    answer = _enter(stranger)
    assert (answer.status_code, "Try again in 15 minutes" in answer.text) == (429, True)
    assert 840 < int(answer.headers["retry-after"]) <= 900


@pytest.mark.usefixtures("bert")
def test_a_login_ends_the_session_that_the_browser_had(stranger: httpx.Client) -> None:
    _enter(stranger)
    first = stranger.cookies["glionode_session"]
    _enter(stranger)
    assert stranger.cookies["glionode_session"] != first
    with httpx.Client(base_url=stranger.base_url, timeout=ANSWER_S, cookies={"glionode_session": first}) as other:
        assert other.get("/studies").headers["location"] == "/login"


@pytest.mark.usefixtures("bert")
@pytest.mark.parametrize(
    ("entered", "leads_to"),
    [
        ("", "/"),
        ("/studies/abc", "/studies/abc"),
        ("/studies?x=1", "/studies?x=1"),
        ("//evil.example/x", "/"),
        ("/\\evil.example", "/"),
        ("\\\\evil.example", "/"),
        ("///evil.example", "/evil.example"),
        ("/\t/evil.example", "/"),
        ("https://evil.example/", "/"),
        ("http://evil.example:8041/", "/"),
        ("http://127.0.0.1:8041@evil.example/", "/"),
        ("http://evil@127.0.0.1:8041/", "/"),
        ("http://127.0.0.1:8042/", "/"),
        ("https://127.0.0.1:8041/", "/"),
        ("javascript:alert(1)", "/"),
        ("data:text/html,x", "/"),
        ("http://[", "/"),
        ("http://127.0.0.1:x/", "/"),
        ("studies", "/"),
        ("/é", "/"),
    ],
)
def test_a_login_leads_back_within_the_node_only(stranger: httpx.Client, entered: str, leads_to: str) -> None:
    assert _enter(stranger, next=entered).headers["location"] == leads_to


@pytest.mark.usefixtures("bert")
def test_a_login_leads_back_to_the_viewer_by_a_page(stranger: httpx.Client) -> None:
    """A browser follows no redirect of a form to another origin, under the panel's content security policy."""
    address = "http://127.0.0.1:8041/open/abc?x=1"
    page = stranger.get("/login", params={"next": address}).text
    assert f'name="next" value="{address}"' in page
    answer = _enter(stranger, next=address)
    assert answer.status_code == 200
    assert f'<meta http-equiv="refresh" content="0; url={address}">' in answer.text
    assert f'<a href="{address}">' in answer.text
    assert "glionode_session" in answer.headers["set-cookie"]


@pytest.mark.usefixtures("bert")
def test_another_password_ends_every_other_session(stranger: httpx.Client) -> None:
    with httpx.Client(base_url=stranger.base_url, timeout=ANSWER_S) as other:
        _enter(other)
        _enter(stranger)
        for form, status in (
            ({"old": "wrong", "password": OTHERS, "again": OTHERS}, 403),
            ({"old": WORDS, "password": "short", "again": "short"}, 422),
            ({"old": WORDS, "password": OTHERS, "again": WORDS}, 422),
        ):
            assert stranger.post("/account/password", data=form).status_code == status
        form = {"old": WORDS, "password": OTHERS, "again": OTHERS}
        assert stranger.post("/account/password", data=form).headers["location"] == "/account"
        assert stranger.get("/account").status_code == 200
        assert other.get("/account").headers["location"] == "/login"
        assert _enter(other).status_code == 403
        assert _enter(other, password=OTHERS).status_code == 303


@pytest.mark.usefixtures("bert")
def test_one_sees_one_s_own_sessions_and_ends_them_all(stranger: httpx.Client, database: Database) -> None:
    log_in(stranger, database)  # of anna
    anna = stranger.cookies["glionode_session"]
    with httpx.Client(base_url=stranger.base_url, timeout=ANSWER_S) as other:
        _enter(other)
        with httpx.Client(base_url=stranger.base_url, timeout=ANSWER_S) as third:
            _enter(third)
            page = third.get("/account").text
            assert (page.count("127.0.0.1"), page.count("this browser")) == (2, 1)
            assert third.post("/account/logout-everywhere").headers["location"] == "/login"
            assert third.get("/account").headers["location"] == "/login"
        assert other.get("/account").headers["location"] == "/login"
    kept = {"glionode_session": anna}
    with httpx.Client(base_url=stranger.base_url, timeout=ANSWER_S, cookies=kept) as hers:
        assert hers.get("/account").status_code == 200


def test_who_came_by_a_link_has_no_password_to_change(administrator: httpx.Client) -> None:
    page = administrator.get("/account").text
    assert "You have no password" in page
    assert 'name="old"' not in page
    form = {"old": "", "password": WORDS, "again": WORDS}
    assert administrator.post("/account/password", data=form).status_code == 403


def test_an_administrator_adds_a_user_and_hands_over_a_link(administrator: httpx.Client, database: Database) -> None:
    answer = administrator.post("/users", data={"name": "Carla", "role": "operator"})
    (link,) = re.findall(r'<code class="secret">(http://127[^<]+)</code>', answer.text)
    form = {"token": _token(link), "password": WORDS, "again": WORDS}
    with httpx.Client(base_url=administrator.base_url, timeout=ANSWER_S) as carla:
        assert carla.post("/login", data=form).status_code == 303
        assert carla.get("/fetch").status_code == 200
        assert administrator.post("/users/carla/role", data={"role": "viewer"}).status_code == 303
        assert carla.get("/studies").headers["location"] == "/login"
        assert _enter(carla, "carla").status_code == 303
        assert carla.get("/fetch").status_code == 403
        assert administrator.post("/users/carla/disable").status_code == 303
        assert _enter(carla, "carla").status_code == 403
        assert administrator.post("/users/carla/enable").status_code == 303
        assert "Link for carla" in administrator.post("/users/carla/reset").text
        assert _enter(carla, "carla").status_code == 303  # the link was not used
    assert administrator.post("/users/carla/remove").status_code == 303
    assert [user.name for user in list_users(database)] == ["anna"]


@pytest.mark.parametrize("action", ["reset", "enable", "disable", "remove"])
def test_a_user_who_is_gone_is_said_to_be_gone(administrator: httpx.Client, action: str) -> None:
    answer = administrator.post(f"/users/ghost/{action}")
    assert (answer.status_code, "There is no user named ghost." in answer.text) == (404, True)


def test_wrong_entries_of_a_user_stand_beside_their_fields(administrator: httpx.Client) -> None:
    odd = administrator.post("/users", data={"name": "<b>", "role": "viewer"})
    assert (odd.status_code, 'id="name-problem"' in odd.text, "&lt;b&gt;" in odd.text) == (422, True, True)
    assert administrator.post("/users", data={"name": "x", "role": "root"}).status_code == 422
    assert administrator.post("/users/anna/role", data={"role": "root"}).status_code == 422


def test_the_only_administrator_cannot_take_the_own_role_away(stranger: httpx.Client, database: Database) -> None:
    add_user(database, "anna", UserRole.ADMINISTRATOR, "test")
    change_password(database, "anna", WORDS, WORDS)
    _enter(stranger, "anna")
    answer = stranger.post("/users/anna/role", data={"role": "viewer"})
    assert (answer.status_code, "only administrator with a password" in answer.text) == (409, True)
    assert stranger.get("/users").status_code == 200


def test_a_token_is_made_shown_once_and_removed(administrator: httpx.Client, database: Database) -> None:
    form = {"name": "export", "scopes": ["dicomweb:read", "peers"], "days": "30"}
    answer = administrator.post("/tokens", data=form)
    (token,) = re.findall(r'<code class="secret">([^<]+)</code>', answer.text)
    program = program_of(database, token)
    assert program is not None
    assert program.scopes == {TokenScope.DICOMWEB_READ, TokenScope.PEERS}
    page = administrator.get("/tokens").text
    assert token not in page
    assert "export" in page
    (row,) = list_tokens(database)
    assert (row.user, row.expires_at is not None) == ("anna", True)
    assert administrator.post("/tokens/remove", data={"name": "export"}).status_code == 303
    assert program_of(database, token) is None
    assert administrator.post("/tokens/remove", data={"name": "export"}).status_code == 404


@pytest.mark.parametrize(
    ("form", "field"),
    [
        ({"name": "", "scopes": "workbench"}, "name"),
        ({"name": "x"}, "scopes"),
        ({"name": "x", "scopes": "root"}, "scopes"),
        ({"name": "x", "scopes": "workbench", "days": "0"}, "days"),
        ({"name": "x", "scopes": "workbench", "days": "ten"}, "days"),
        ({"name": "x", "scopes": "workbench", "days": "9999"}, "days"),
    ],
)
def test_a_wrong_entry_of_a_token_stands_beside_its_field(
    administrator: httpx.Client, database: Database, form: dict[str, str], field: str
) -> None:
    answer = administrator.post("/tokens", data=form)
    assert (answer.status_code, f'id="{field}-problem"' in answer.text) == (422, True)
    assert list_tokens(database) == []
