"""The login by OpenID Connect through the real panel, served by `glionode`'s own server, at a real oidc-provider."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from dicom_node.access.openid.secret import CLIENT_SECRET
from dicom_node.access.users import list_users, set_enabled
from dicom_node.database.engine import Database, open_database
from tests.support.audit_schema import recorded
from tests.support.oidc_panel import CALLBACK, browser, is_out, oidc_settings, panel_with_provider
from tests.support.orthanc import free_port
from tests.support.real_provider import CLIENT_ID, SECRET, decline, log_in_and_agree, real_provider


@dataclass(frozen=True)
class Site:
    """A panel and its provider."""

    panel: str
    issuer: str
    database: Database
    folder: Path


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder, port = tmp_path_factory.mktemp("oidc"), free_port()
    panel = f"http://127.0.0.1:{port}"
    database = open_database(f"sqlite:///{folder / 'glionode.sqlite'}")
    with real_provider(panel + CALLBACK, panel + "/login") as issuer, pytest.MonkeyPatch.context() as patch:
        patch.setenv(CLIENT_SECRET, SECRET)
        settings = oidc_settings(folder, issuer, CLIENT_ID, port=port)
        with panel_with_provider(settings, database):
            yield Site(panel, issuer, database, folder)
    database.engine.dispose()


@pytest.fixture
def person(site: Site) -> Iterator[httpx.Client]:
    with browser(site.panel) as client:
        yield client


def _led_there(person: httpx.Client) -> str:
    return str(person.get("/login/oidc").headers["location"])


def _refused(answer: httpx.Response, sentence: str) -> None:
    assert (answer.status_code, sentence in answer.text) == (403, True), answer.text


def test_people_log_in_and_out_with_the_role_of_their_groups(site: Site) -> None:
    for subject, name, role, page in (("0001", "vera", "viewer", 403), ("0002", "olga", "operator", 200)):
        with browser(site.panel) as person:
            answer = person.get(log_in_and_agree(person, _led_there(person), subject))
            assert (answer.status_code, "You are logged in" in answer.text) == (200, True), answer.text
            assert f"<strong>{name}</strong> with the role <strong>{role}</strong>" in person.get("/account").text
            assert person.get("/fetch").status_code == page
            assert f'href="{site.issuer}/session/end?client_id={CLIENT_ID}' in person.post("/logout").text
            assert is_out(person)
    users = {user.name: user.role for user in list_users(site.database)}
    assert users == {"vera": "viewer", "olga": "operator"}
    names = {one.users[0] for one in recorded(site.folder, site.database, "User Authentication") if one.outcome == "0"}
    assert names == {"vera", "olga"}


def test_who_has_no_role_or_declines_is_told_so(site: Site) -> None:
    with browser(site.panel) as nina:
        _refused(nina.get(log_in_and_agree(nina, _led_there(nina), "0003")), "gives you no role on this node")
        assert is_out(nina)
    with browser(site.panel) as person:
        _refused(person.get(decline(person, _led_there(person))), "The login was declined at")
        assert is_out(person)


def test_a_tampered_state_is_refused(person: httpx.Client) -> None:
    back = log_in_and_agree(person, _led_there(person), "0001")
    _refused(person.get(back.copy_set_param("state", back.params["state"][::-1])), "not begun in this browser")
    assert is_out(person)
    there = httpx.URL(_led_there(person)).copy_set_param("state", "chosen-by-somebody-else")
    _refused(person.get(log_in_and_agree(person, str(there), "0001")), "not begun in this browser")
    assert is_out(person)


def test_a_wrong_nonce_is_refused(person: httpx.Client) -> None:
    there = httpx.URL(_led_there(person)).copy_set_param("nonce", "chosen-by-somebody-else")
    _refused(person.get(log_in_and_agree(person, str(there), "0001")), "belongs to another login")
    assert is_out(person)


def test_a_code_counts_once_and_for_the_browser_that_asked_for_it(site: Site, person: httpx.Client) -> None:
    back = log_in_and_agree(person, _led_there(person), "0001")
    assert person.get(back).status_code == 200
    person.post("/logout")
    _refused(person.get(back), "was used before")
    state = httpx.URL(_led_there(person)).params["state"]
    _refused(person.get(back.copy_set_param("state", state)), "no longer accepts this login")
    with browser(site.panel) as other:  # a code that was never used, and was asked for by another browser (PKCE)
        state = httpx.URL(_led_there(other)).params["state"]
        stolen = log_in_and_agree(person, _led_there(person), "0001")
        _refused(other.get(stolen.copy_set_param("state", state)), "no longer accepts this login")
        assert is_out(other)


def test_a_disabled_user_stays_out(site: Site, person: httpx.Client) -> None:
    assert person.get(log_in_and_agree(person, _led_there(person), "0002")).status_code == 200
    set_enabled(site.database, "olga", "test", enabled=False)
    assert is_out(person)
    _refused(person.get(log_in_and_agree(person, _led_there(person), "0002")), "You are disabled on this node")
    assert is_out(person)
    set_enabled(site.database, "olga", "test", enabled=True)


def test_a_wrong_secret_is_told_and_not_shown(person: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CLIENT_SECRET, "of-somebody-else")
    answer = person.get(log_in_and_agree(person, _led_there(person), "0001"))
    _refused(answer, "its client ID or secret is wrong")
    assert "of-somebody-else" not in answer.text
