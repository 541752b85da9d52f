"""The panel over a real port: who gets in, what the forms do, what the API answers."""

from collections.abc import Iterator
from dataclasses import asdict
from datetime import timedelta
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from pynetdicom import AE
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from dicom_node.database.access_tables import SessionRow
from dicom_node.database.engine import Database
from dicom_node.database.tables import LoginTokenRow, RefusalRow, RunRow, StudyRow, utc_now
from dicom_node.peers.peer import Peer
from dicom_node.peers.registry import accepted_calling_ae_titles, add_peer, list_peers
from dicom_node.settings import read_settings
from dicom_node.web.app import panel_app
from tests.support.panel_client import new_login_link
from tests.support.viewer_port import served
from tests.support.waiting import ANSWER_S

NOTICE = "Research use only. Not a medical device."
PEER = {"name": "My PACS", "ae_title": "PACS", "host": "127.0.0.1", "port": "104", "may_send": "true"}


@pytest.fixture
def stranger(database: Database) -> Iterator[httpx.Client]:
    """Someone with a browser and no link."""
    app = panel_app(read_settings(environment={}), database)
    with served(app) as url, httpx.Client(base_url=url, timeout=ANSWER_S) as client:
        yield client


@pytest.fixture
def client(stranger: httpx.Client, database: Database) -> httpx.Client:
    """Someone who used a link."""
    link = new_login_link(database, str(stranger.base_url))
    answer = stranger.post("/login", data={"token": httpx.URL(link).params["token"]})
    assert answer.status_code == 303
    return stranger


@pytest.fixture
def answering_peer() -> Iterator[Peer]:
    ae = AE(ae_title="PACS")
    ae.add_supported_context(Verification)
    server: Any = ae.start_server(("127.0.0.1", 0), block=False)
    yield Peer(name="My PACS", ae_title="PACS", host="127.0.0.1", port=server.socket.getsockname()[1])
    server.shutdown()


def _token(database: Database) -> str:
    return httpx.URL(new_login_link(database, "http://node")).params["token"]


@pytest.mark.parametrize("path", ["/", "/peers", "/studies", "/no-such-page"])
def test_a_page_without_a_session_leads_to_the_login(stranger: httpx.Client, path: str) -> None:
    answer = stranger.get(path)
    assert (answer.status_code, answer.headers["location"]) == (303, "/login")


@pytest.mark.parametrize("path", ["/api/peers", "/api/openapi.json", "/api/none"])
def test_the_api_without_a_session_says_no(stranger: httpx.Client, path: str) -> None:
    assert stranger.get(path).status_code == 401


def test_nothing_is_changed_without_a_session(stranger: httpx.Client, database: Database) -> None:
    assert stranger.post("/peers", data=PEER).headers["location"] == "/login"
    assert stranger.post("/api/peers", json={"name": "A", "ae_title": "A"}).status_code == 401
    assert list_peers(database) == []


def test_the_login_page_says_how_to_get_a_link(stranger: httpx.Client) -> None:
    page = stranger.get("/login").text
    assert "glionode serve" in page
    assert NOTICE in page


def test_health_needs_no_session(stranger: httpx.Client) -> None:
    assert stranger.get("/healthz").json() == {"status": "ok"}


def test_every_answer_is_hardened(stranger: httpx.Client) -> None:
    for path in ("/login", "/healthz", "/peers", "/api/peers", "/static/panel.css"):
        headers = stranger.get(path).headers
        assert headers["cache-control"] == "no-store"
        assert headers["x-content-type-options"] == "nosniff"
        assert "default-src 'self'" in headers["content-security-policy"]
        assert "frame-ancestors 'none'" in headers["content-security-policy"]


def test_looking_at_a_link_does_not_use_it_up(stranger: httpx.Client, database: Database) -> None:
    link = new_login_link(database, str(stranger.base_url))
    for _ in range(2):
        assert "Open the panel" in stranger.get(link).text
    assert stranger.post("/login", data={"token": httpx.URL(link).params["token"]}).status_code == 303


def test_a_link_works_once(stranger: httpx.Client, database: Database) -> None:
    token = _token(database)
    assert stranger.post("/login", data={"token": token}).status_code == 303
    again = stranger.post("/login", data={"token": token})
    assert again.status_code == 403
    assert "no longer valid" in again.text


def test_a_link_ends_after_its_time(stranger: httpx.Client, database: Database) -> None:
    token = _token(database)
    with database.session() as session:
        session.execute(sa.update(LoginTokenRow).values(expires_at=utc_now() - timedelta(seconds=1)))
    assert stranger.post("/login", data={"token": token}).status_code == 403


def test_a_session_ends_after_its_time(client: httpx.Client, database: Database) -> None:
    assert client.get("/api/peers").status_code == 200
    with database.session() as session:
        session.execute(sa.update(SessionRow).values(expires_at=utc_now() - timedelta(seconds=1)))
    assert client.get("/api/peers").status_code == 401


@pytest.mark.parametrize("token", ["", "guessed", "\N{SNOWMAN}"])
def test_a_guessed_link_opens_nothing(stranger: httpx.Client, token: str) -> None:
    assert stranger.post("/login", data={"token": token}).status_code == 403


def test_a_link_is_no_session_and_a_session_no_link(stranger: httpx.Client, database: Database) -> None:
    assert stranger.get("/api/peers", headers={"cookie": f"glionode_session={_token(database)}"}).status_code == 401
    stranger.post("/login", data={"token": _token(database)})
    assert stranger.post("/login", data={"token": stranger.cookies["glionode_session"]}).status_code == 403


def test_the_session_cookie_is_out_of_reach(stranger: httpx.Client, database: Database) -> None:
    cookie = stranger.post("/login", data={"token": _token(database)}).headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert "Max-Age=43200" in cookie
    assert "Secure" not in cookie  # plain http here


def test_only_hashes_are_kept(stranger: httpx.Client, database: Database) -> None:
    token = _token(database)
    stranger.post("/login", data={"token": token})
    _token(database)
    with database.session() as session:
        kept = [*session.scalars(sa.select(LoginTokenRow)), *session.scalars(sa.select(SessionRow))]
    assert len(kept) == 2
    assert all(len(row.token_sha256) == 64 for row in kept)
    assert stranger.cookies["glionode_session"] not in {row.token_sha256 for row in kept}


def test_after_logging_out_the_cookie_opens_nothing(client: httpx.Client) -> None:
    cookie = client.cookies["glionode_session"]
    assert client.post("/logout").headers["location"] == "/login"
    assert client.get("/api/peers", headers={"cookie": f"glionode_session={cookie}"}).status_code == 401


@pytest.mark.parametrize("origin", ["http://evil.example", "null", ""])
def test_another_page_cannot_post(client: httpx.Client, database: Database, origin: str) -> None:
    assert client.post("/peers", data=PEER, headers={"origin": origin}).status_code == 403
    assert list_peers(database) == []


def test_the_panel_itself_can_post(client: httpx.Client, database: Database) -> None:
    origin = str(client.base_url).rstrip("/")
    assert client.post("/peers", data=PEER, headers={"origin": origin}).status_code == 303
    assert [peer.name for peer in list_peers(database)] == ["My PACS"]


def test_the_start_leads_to_what_is_needed_first(client: httpx.Client, database: Database) -> None:
    assert client.get("/").headers["location"] == "/setup"
    assert "No peers yet: add your PACS" in client.get("/peers").text
    add_peer(database, Peer(name="A", ae_title="A"))
    assert client.get("/").headers["location"] == "/studies"


def test_what_was_wrong_stands_beside_what_was_entered(client: httpx.Client, database: Database) -> None:
    answer = client.post("/peers", data={"name": "My <PACS>", "ae_title": "PACS", "host": "h", "port": "many"})
    assert answer.status_code == 422
    assert 'value="My &lt;PACS&gt;"' in answer.text
    assert 'value="many"' in answer.text
    assert 'id="name-problem"' in answer.text
    assert 'id="port-problem"' in answer.text
    assert 'id="ae_title-problem"' not in answer.text
    assert list_peers(database) == []


@pytest.mark.parametrize("port", ["-1", "1e3", "99999", "123456789", "\N{SUPERSCRIPT TWO}"])
def test_a_port_that_is_none_is_refused(client: httpx.Client, port: str) -> None:
    answer = client.post("/peers", data={**PEER, "port": port})
    assert answer.status_code == 422
    assert "from 1 to 65535" in answer.text


def test_a_peer_goes_through_its_life_by_forms(client: httpx.Client, database: Database) -> None:
    assert client.post("/peers", data=PEER).status_code == 303
    assert accepted_calling_ae_titles(database) == {"PACS"}
    assert client.post("/peers/My%20PACS/disable").status_code == 303
    assert accepted_calling_ae_titles(database) == frozenset()
    assert client.post("/peers/My%20PACS/enable").status_code == 303
    assert accepted_calling_ae_titles(database) == {"PACS"}
    assert client.post("/peers/My%20PACS/remove").status_code == 303
    assert list_peers(database) == []


@pytest.mark.parametrize("action", ["echo", "enable", "disable", "remove"])
def test_a_peer_that_is_gone_is_said_to_be_gone(client: httpx.Client, action: str) -> None:
    answer = client.post(f"/peers/Ghost/{action}")
    assert answer.status_code == 404
    assert "No peer is called &#39;Ghost&#39;." in answer.text
    assert NOTICE in answer.text


def test_an_echo_is_shown_in_its_row(client: httpx.Client, database: Database, answering_peer: Peer) -> None:
    add_peer(database, answering_peer)
    page = client.post("/peers/My%20PACS/echo").text
    told = (
        f'class="good">PACS at 127.0.0.1:{answering_peer.port} answered the C-ECHO. <span class="hint">status 0x0000,'
    )
    assert told in page


def test_an_echo_without_an_answer_says_why(client: httpx.Client, database: Database) -> None:
    add_peer(database, Peer(name="Far", ae_title="FAR", host="nowhere.invalid", port=104))
    page = client.post("/peers/Far/echo").text
    assert 'class="bad">The host name nowhere.invalid is not known to this machine. <span class="advice">Check' in page


def test_the_api_does_what_the_forms_do(client: httpx.Client, database: Database, answering_peer: Peer) -> None:
    body = {"name": "My PACS", "ae_title": " PACS ", "host": "127.0.0.1", "port": answering_peer.port}
    expected = asdict(Peer(**body))
    assert expected["ae_title"] == "PACS"
    added = client.post("/api/peers", json=body)
    assert (added.status_code, added.json()) == (201, expected)
    assert client.get("/api/peers").json() == [expected]
    echoed = client.post("/api/peers/My%20PACS/echo").json()
    assert (echoed["ok"], echoed["outcome"]) == (True, "ok")
    changed = client.patch("/api/peers/My%20PACS", json={"enabled": False})
    assert changed.json() == {**expected, "enabled": False}
    assert client.delete("/api/peers/My%20PACS").status_code == 204
    assert list_peers(database) == []


def test_the_api_says_what_is_wrong(client: httpx.Client) -> None:
    wrong = client.post("/api/peers", json={"name": "", "ae_title": "", "port": 1})
    assert wrong.status_code == 422
    assert [problem["loc"] for problem in wrong.json()["detail"]] == [
        ["body", "name"],
        ["body", "ae_title"],
        ["body", "host"],
    ]
    assert client.post("/api/peers", json={"name": "A", "ae_title": "A", "colour": "red"}).status_code == 422
    assert client.patch("/api/peers/Ghost", json={"enabled": True}).status_code == 404
    assert client.delete("/api/peers/Ghost").json()["detail"][0]["msg"] == "No peer is called 'Ghost'."


def test_the_api_describes_itself(client: httpx.Client) -> None:
    paths = client.get("/api/openapi.json").json()["paths"]
    assert {"/api/v1/peers", "/api/v1/peers/{name}", "/api/v1/peers/{name}/echo"} <= set(paths)


def test_a_page_that_is_not_there_is_a_page(client: httpx.Client) -> None:
    answer = client.get("/none")
    assert answer.status_code == 404
    assert "There is no such page" in answer.text
    assert NOTICE in answer.text


def test_studies_show_state_reason_sequences_and_volumes(client: httpx.Client, database: Database) -> None:
    assert "No studies yet" in client.get("/studies").text
    with database.session() as session:
        session.add(StudyRow(study_uid="1.2.3", key="a1b2c3", state="delivered", current_run="1.2.3-1"))
        session.add(StudyRow(study_uid="1.2.4", key="d4e5f6", state="rejected", reason="The study holds no MR."))
        session.flush()
        summary = {"sequences": {"T1CE": "Series 5"}, "reference": "T1CE", "volumes_ml": {"WT": 61.472}}
        run = RunRow(run_id="1.2.3-1", study_uid="1.2.3", revision=1, manifest_sha256="0" * 64, ready_at=utc_now())
        run.summary = summary
        session.add(run)
        session.add(RefusalRow(calling_ae="<NOBODY>", code="calling_ae_title", reason="unknown calling AE title"))
    page = client.get("/studies").text
    for shown in ("a1b2c3", "delivered", "Series 5", "61.5 ml", "The study holds no MR.", "&lt;NOBODY&gt;"):
        assert shown in page
    assert ":8041/open/a1b2c3" in page
    assert "1.2.3" not in page  # of the patient's study
    assert NOTICE in page


def test_a_study_without_a_tumour_says_so_instead_of_zeros(client: httpx.Client, database: Database) -> None:
    sentence = "No tumour found. The model finds nine in ten tumours of 0.8 ml in such images (FLAIR)"
    with database.session() as session:
        session.add(StudyRow(study_uid="1.2.3", key="a1b2c3", state="delivered", current_run="1.2.3-1"))
        session.flush()
        run = RunRow(run_id="1.2.3-1", study_uid="1.2.3", revision=1, manifest_sha256="0" * 64, ready_at=utc_now())
        run.summary = {"volumes_ml": {"WT": 0.0}, "no_tumour": sentence}
        session.add(run)
    page = client.get("/studies").text
    assert "<strong>No tumour found</strong>" in page
    assert "0.0 ml" not in page
    assert f"{sentence}." in client.get("/studies/a1b2c3").text
