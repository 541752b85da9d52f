"""The login by OpenID Connect against a provider on a real port: who gets in as what, and what is refused."""

import base64
import socket
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from dicom_node.access.openid.secret import CLIENT_SECRET
from dicom_node.access.users import add_user, change_password, list_users, new_password_link, set_enabled
from dicom_node.database.engine import Database
from dicom_node.database.states import LinkKind, UserRole
from dicom_node.database.tables import LoginTokenRow, utc_now
from tests.support.audit_schema import recorded
from tests.support.oidc_panel import (
    CALLBACK,
    begin,
    browser,
    end,
    is_out,
    log_in_there,
    oidc_settings,
    panel_with_provider,
    refused,
)
from tests.support.panel_client import log_in
from tests.support.signing_provider import CLIENT_ID, SigningProvider, signing_provider

WORDS = "correct horse battery"


def test_a_person_logs_in_with_the_role_of_the_groups(
    person: httpx.Client, provider: SigningProvider, database: Database, folder: Path
) -> None:
    page = person.get("/login").text
    assert "Log in with Hospital &amp; Sons" in page
    asked = begin(person, provider)
    assert asked["redirect_uri"] == f"{str(person.base_url).rstrip('/')}{CALLBACK}"
    assert (asked["response_type"], asked["client_id"], asked["scope"]) == ("code", CLIENT_ID, "openid profile")
    assert asked["code_challenge_method"] == "S256"
    answer = end(person, asked)
    assert (answer.status_code, 'content="0; url=/"' in answer.text) == (200, True)
    assert "glionode_login" not in person.cookies  # the login is over
    assert "logged in as <strong>bert</strong> with the role <strong>viewer</strong>" in person.get("/account").text
    assert "You log in by OpenID Connect" in person.get("/account").text
    (user,) = list_users(database)
    assert (user.name, user.role, user.password_hash) == ("bert", "viewer", "")
    (form,) = provider.asked
    assert (form["grant_type"], form["code"], form["client_id"]) == ("authorization_code", "a-code", CLIENT_ID)
    assert form["redirect_uri"] == asked["redirect_uri"]
    login, change = recorded(folder, database)[:2]
    assert (login.event, login.outcome, login.users[0]) == ("User Authentication", "0", "bert")
    said = base64.b64encode(b"users bert add viewer").decode()
    assert (change.event, change.users[0], said in change.xml) == ("Security Alert", "bert", True)


def test_the_cookies_of_a_login_are_kept_from_scripts_and_other_sites(
    person: httpx.Client, provider: SigningProvider
) -> None:
    begun = person.get("/login/oidc")
    assert "HttpOnly; Max-Age=600; Path=/login/oidc; SameSite=lax" in begun.headers["set-cookie"]
    provider.nonce = httpx.URL(begun.headers["location"]).params["nonce"]
    ended = end(person, dict(httpx.URL(begun.headers["location"]).params))
    (session,) = [one for one in ended.headers.get_list("set-cookie") if one.startswith("glionode_session")]
    assert session.endswith("HttpOnly; Max-Age=43200; Path=/; SameSite=strict")


@pytest.mark.parametrize(
    ("groups", "role"),
    [
        (["staff"], "operator"),
        (["radiology", "readers"], "operator"),
        (["readers", "admins", "staff"], "administrator"),
        ("admins", "administrator"),
        (["other", 7, None, "readers"], "viewer"),
    ],
)
def test_the_highest_role_of_the_groups_holds(
    person: httpx.Client, provider: SigningProvider, database: Database, groups: object, role: str
) -> None:
    provider.claims = {"groups": groups}
    assert log_in_there(person, provider).status_code == 200
    assert [user.role for user in list_users(database)] == [role]


@pytest.mark.parametrize(
    "groups", [None, [], ["Readers"], ["reader"], "", {"readers": True}, ["staff, radiology"], [[]]]
)
def test_who_is_in_none_of_the_groups_is_refused(
    person: httpx.Client, provider: SigningProvider, database: Database, groups: object
) -> None:
    provider.claims = {"groups": groups}
    refused(person, provider, "gives you no role on this node")
    assert list_users(database) == []


def test_groups_may_stand_within_a_claim(database: Database, provider: SigningProvider, folder: Path) -> None:
    chosen = oidc_settings(
        folder, provider.url, CLIENT_ID, ROLES_CLAIM="realm_access.roles", NAME_CLAIM="https://x.org/name"
    )
    provider.claims = {"realm_access": {"roles": ["staff"]}, "https://x.org/name": "carla"}
    with panel_with_provider(chosen, database) as url, browser(url) as person:
        assert log_in_there(person, provider).status_code == 200
    assert [(user.name, user.role) for user in list_users(database)] == [("carla", "operator")]


def test_the_role_is_that_of_each_login_and_another_one_ends_the_sessions(
    panel: str, provider: SigningProvider, database: Database
) -> None:
    with browser(panel) as first, browser(panel) as second:
        log_in_there(first, provider)
        provider.claims = {"groups": ["staff"], "preferred_username": "renamed", "email": "anna@example.org"}
        log_in_there(second, provider)
        assert [(user.name, user.role) for user in list_users(database)] == [("bert", "operator")]
        assert is_out(first)
        assert second.get("/fetch").status_code == 200
        provider.claims = {"groups": []}
        with browser(panel) as third:
            refused(third, provider, "gives you no role on this node")
        assert is_out(second)  # the provider has taken the role away


@pytest.mark.parametrize("claims", [{"sub": "subject-2"}, {"sub": "subject-2", "email": "bert@example.org"}])
def test_nobody_becomes_a_user_by_having_the_name(
    panel: str, provider: SigningProvider, database: Database, claims: dict[str, Any]
) -> None:
    add_user(database, "anna", UserRole.ADMINISTRATOR, "test")
    with browser(panel) as person:
        provider.claims = {"preferred_username": "ANNA", "groups": ["admins"]}
        refused(person, provider, "another user of your name on this node already")
        provider.claims = {}
        log_in_there(person, provider)  # bert
        person.post("/logout")
        provider.claims = claims  # another bert
        refused(person, provider, "another user of your name on this node already")
    assert {user.name for user in list_users(database)} == {"anna", "bert"}


def test_a_subject_is_one_of_its_issuer_alone(
    person: httpx.Client, provider: SigningProvider, database: Database, folder: Path
) -> None:
    log_in_there(person, provider)
    with signing_provider() as other:
        chosen = oidc_settings(folder, other.url, CLIENT_ID)
        with panel_with_provider(chosen, database) as url, browser(url) as stranger:
            refused(stranger, other, "another user of your name on this node already")
    assert [user.name for user in list_users(database)] == ["bert"]


@pytest.mark.parametrize("name", [None, "", "Müller", "a b", "x" * 65, 7, ["bert"]])
def test_a_name_that_cannot_be_used_is_refused(
    person: httpx.Client, provider: SigningProvider, database: Database, name: object
) -> None:
    provider.claims = {"preferred_username": name}
    refused(person, provider, "states no name for you that this node can use")
    assert list_users(database) == []


def test_a_disabled_user_stays_out(person: httpx.Client, provider: SigningProvider, database: Database) -> None:
    log_in_there(person, provider)
    set_enabled(database, "bert", "test", enabled=False)
    assert is_out(person)
    provider.claims = {"groups": ["admins"]}
    refused(person, provider, "You are disabled on this node")
    assert [(user.role, user.enabled) for user in list_users(database)] == [("viewer", False)]


def test_the_answer_has_to_belong_to_a_login_of_this_browser(
    panel: str, provider: SigningProvider, database: Database
) -> None:
    sentence = "not begun in this browser"
    with browser(panel) as person, browser(panel) as other:
        assert sentence in other.get(CALLBACK, params={"code": "a-code"}).text
        asked = begin(person, provider)
        for state in ("", "x", "é", asked["state"][:-1], asked["nonce"]):
            answer = end(person, asked, state=state)
            assert (answer.status_code, sentence in answer.text) == (403, True)
        assert sentence in end(other, asked).text  # a browser without the cookie
        begin(other, provider)
        assert sentence in end(other, asked).text  # a browser that has begun another
        assert provider.asked == []  # no code was tried
        asked = begin(person, provider)
        assert end(person, asked).status_code == 200  # what others tried has ended nothing
        assert sentence in end(person, asked).text
    assert len(list_users(database)) == 1


def test_an_answer_counts_once_and_for_ten_minutes(panel: str, provider: SigningProvider, database: Database) -> None:
    with browser(panel) as person:
        asked = begin(person, provider)
        cookie = person.cookies["glionode_login"]
        assert end(person, asked).status_code == 200
        kept = {"glionode_login": cookie}
        with httpx.Client(base_url=panel, cookies=kept, timeout=60) as thief:
            assert "was used before" in end(thief, asked).text
        person.post("/logout")
        asked = begin(person, provider)
        with database.session() as session:
            old = sa.update(LoginTokenRow).where(LoginTokenRow.kind == LinkKind.PROVIDER).values(expires_at=utc_now())
            session.execute(old)
        assert "took too long" in end(person, asked).text
    assert len(provider.asked) == 1


def test_the_panel_goes_on_without_its_provider(database: Database, folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    add_user(database, "anna", UserRole.ADMINISTRATOR, "test")
    change_password(database, "anna", WORDS, WORDS)
    chosen = oidc_settings(folder, f"http://127.0.0.1:{port}", CLIENT_ID)
    with panel_with_provider(chosen, database) as url, browser(url) as person:
        answer = person.get("/login/oidc", params={"next": "/work"})
        assert (answer.status_code, "cannot be reached at the moment" in answer.text) == (403, True)
        assert 'value="/work"' in answer.text
        assert person.post("/login", data={"name": "anna", "password": WORDS}).status_code == 303


@pytest.mark.parametrize(
    ("entered", "leads_to"),
    [
        ("/studies/abc?x=1", "/studies/abc?x=1"),
        ("//evil.example/x", "/"),
        ("https://evil.example/", "/"),
        ("/" * 2000, "/"),
    ],
)
def test_a_login_leads_back_within_the_node_only(
    person: httpx.Client, provider: SigningProvider, entered: str, leads_to: str
) -> None:
    answer = log_in_there(person, provider, entered)
    assert f'content="0; url={leads_to}"' in answer.text


def test_what_the_cookie_says_of_the_way_back_is_not_believed(
    panel: str, person: httpx.Client, provider: SigningProvider
) -> None:
    asked = begin(person, provider, "/work")
    forged = person.cookies["glionode_login"].replace("%2Fwork", "%2F%2Fevil.example")
    with httpx.Client(base_url=panel, cookies={"glionode_login": forged}, timeout=60) as other:
        answer = end(other, asked)
    assert (answer.status_code, "evil" in answer.text) == (200, False)


def test_a_login_begins_a_new_session(person: httpx.Client, provider: SigningProvider, database: Database) -> None:
    log_in(person, database)  # anna
    before = person.cookies["glionode_session"]
    log_in_there(person, provider)
    assert person.cookies["glionode_session"] != before
    with httpx.Client(base_url=person.base_url, cookies={"glionode_session": before}, timeout=60) as other:
        assert is_out(other)


def test_the_way_back_is_the_declared_one_whatever_host_is_named(
    database: Database, provider: SigningProvider, folder: Path
) -> None:
    chosen = oidc_settings(folder, provider.url, CLIENT_ID)
    with panel_with_provider(chosen, database) as url, browser(url) as person:
        answer = person.get("/login/oidc", headers={"host": "evil.example"})
        asked = httpx.URL(answer.headers["location"]).params
        assert asked["redirect_uri"] == f"http://127.0.0.1:{chosen.web.port}{CALLBACK}"
        page = person.get("/login", headers={"host": "evil.example"}).text
        assert f'href="http://127.0.0.1:{chosen.web.port}/login/oidc"' in page


def test_a_login_through_an_undeclared_proxy_is_refused(person: httpx.Client, provider: SigningProvider) -> None:
    for path in ("/login/oidc", CALLBACK):
        answer = person.get(path, headers={"x-forwarded-for": "192.0.2.1"})
        assert (answer.status_code, "came through a proxy" in answer.text) == (403, True)
    assert provider.asked == []


def test_the_secret_is_sent_in_the_way_that_the_provider_takes(
    person: httpx.Client, provider: SigningProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    log_in_there(person, provider)
    monkeypatch.setenv(CLIENT_SECRET, "the-secret")
    for methods in (None, ["client_secret_post"], ["client_secret_post", "client_secret_basic"]):
        provider.metadata = {"token_endpoint_auth_methods_supported": methods}
        log_in_there(person, provider)
    none, basic, post, both = provider.asked
    expected = "Basic " + base64.b64encode(f"{CLIENT_ID}:the-secret".encode()).decode()
    assert (none["authorization"], "client_secret" in none) == ("", False)
    assert (basic["authorization"], both["authorization"]) == (expected, expected)
    assert (post["client_secret"], post["authorization"]) == ("the-secret", "")


def test_where_passwords_are_for_administrators_alone_these_get_in(
    database: Database, provider: SigningProvider, folder: Path
) -> None:
    for name, role in (("anna", UserRole.ADMINISTRATOR), ("olga", UserRole.OPERATOR)):
        add_user(database, name, role, "test")
        change_password(database, name, WORDS, WORDS)
    chosen = oidc_settings(folder, provider.url, CLIENT_ID, PASSWORDS="false")
    with panel_with_provider(chosen, database) as url, browser(url) as person:
        assert "Administrators: with a password" in person.get("/login").text
        answer = person.post("/login", data={"name": "olga", "password": WORDS})
        assert (answer.status_code, "Only administrators log in with a password" in answer.text) == (403, True)
        wrong = person.post("/login", data={"name": "olga", "password": "wrong"})
        assert "do not belong together" in wrong.text  # a stranger learns nothing
        token = httpx.URL(new_password_link(database, url, "olga", "test")).params["token"]
        form = {"token": token, "password": WORDS, "again": WORDS}
        assert person.post("/login", data=form).status_code == 403
        assert is_out(person)
        assert person.post("/login", data={"name": "anna", "password": WORDS}).status_code == 303


def test_what_the_provider_gives_cannot_be_given_on_the_page_of_the_users(
    panel: str, provider: SigningProvider, database: Database
) -> None:
    with browser(panel) as person, browser(panel) as administrator:
        log_in_there(person, provider)
        log_in(administrator, database)
        page = administrator.get("/users").text
        assert "viewer, by the provider" in page
        assert "/users/bert/reset" not in page
        for path, data in (("role", {"role": "administrator"}), ("reset", {})):
            answer = administrator.post(f"/users/bert/{path}", data=data)
            assert (answer.status_code, "logs in by OpenID Connect" in answer.text) == (409, True)
        assert administrator.post("/users/bert/disable").status_code == 303
        assert is_out(person)


def test_whoever_logs_out_is_offered_to_log_out_at_the_provider_too(
    panel: str, provider: SigningProvider, database: Database
) -> None:
    with browser(panel) as person:
        log_in_there(person, provider)
        assert person.post("/logout").headers["location"] == "/login"  # it has no such address
        provider.metadata = {"end_session_endpoint": f"{provider.url}/end?x=1"}
        log_in_there(person, provider)
        page = person.post("/logout").text
        assert f'href="{provider.url}/end?x=1&amp;client_id={CLIENT_ID}&amp;post_logout_redirect_uri=' in page
        assert is_out(person)
        log_in_there(person, provider)
        provider.broken["/.well-known/openid-configuration"] = (500, {}, b"")
        assert person.post("/logout").headers["location"] == "/login"
        assert is_out(person)
        log_in(person, database)  # anna, who is of this node alone
        provider.broken.clear()
        assert person.post("/logout").headers["location"] == "/login"


def test_where_it_is_off_there_is_nothing(database: Database, folder: Path) -> None:
    chosen = oidc_settings(folder, "", CLIENT_ID)
    with panel_with_provider(chosen, database) as url, browser(url) as person:
        assert "Log in with" not in person.get("/login").text
        for path in ("/login/oidc", CALLBACK):
            assert person.get(path).status_code == 404


def test_failed_logins_are_recorded_in_the_audit_trail(
    person: httpx.Client, provider: SigningProvider, database: Database, folder: Path
) -> None:
    provider.claims = {"nonce": "of-another-login"}
    refused(person, provider, "belongs to another login")
    (failed,) = recorded(folder, database, "User Authentication")
    assert (failed.outcome, "bert" in str(failed).lower()) == ("4", False)
