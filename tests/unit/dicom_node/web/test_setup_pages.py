"""The first steps: where they lead, what is said about a name, and what is found to be done or left."""

import tomllib
from collections.abc import Iterator
from html import unescape
from pathlib import Path

import httpx
import pytest

from dicom_node.access.links import new_link
from dicom_node.database.connection_tables import ConnectionTestRow
from dicom_node.database.engine import Database
from dicom_node.database.states import LinkKind, ProbeState, UserRole
from dicom_node.database.tables import StudyRow
from dicom_node.peers.peer import Peer
from dicom_node.peers.registry import list_peers, put_peer, remove_peer
from dicom_node.settings import Settings, read_settings
from dicom_node.web.app import panel_app
from dicom_node.web.first_run import SetupStep, confirm, end, first_steps_are_due, things, where_it_stands
from tests.support.orthanc import free_port
from tests.support.panel_client import log_in
from tests.support.viewer_port import served
from tests.support.waiting import ANSWER_S

PACS = Peer(name="PACS", ae_title="PACS", host="10.0.0.5", port=104, is_destination=True)
EVERYWHERE = "0.0.0.0"  # noqa: S104 - a setting, not bound
WORDS = "correct horse battery"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return read_settings(environment={"GLIONODE_NODE_FOLDER": str(tmp_path)})


@pytest.fixture
def stranger(settings: Settings, database: Database) -> Iterator[httpx.Client]:
    with served(panel_app(settings, database)) as url, httpx.Client(base_url=url, timeout=ANSWER_S) as client:
        yield client


@pytest.fixture
def panel(stranger: httpx.Client, database: Database) -> httpx.Client:
    log_in(stranger, database)
    return stranger


def _left(settings: Settings, database: Database) -> set[str]:
    return {thing.name for thing in things(settings, database) if not thing.is_done}


def test_the_first_administrator_begins_with_them(stranger: httpx.Client, database: Database) -> None:
    token = httpx.URL(new_link(database, "http://node", LinkKind.FIRST)).params["token"]
    form = {"token": token, "name": "anna", "password": WORDS, "again": WORDS}
    assert stranger.post("/login", data=form).headers["location"] == "/setup"
    assert stranger.get("/setup").headers["location"] == "/setup/name"


def test_they_go_on_where_they_were_left_and_are_not_shown_again_once_over(
    panel: httpx.Client, database: Database
) -> None:
    for step in SetupStep:
        assert panel.get("/").headers["location"] == "/setup"
        assert panel.get("/setup").headers["location"] == f"/setup/{step}"
        assert panel.get(f"/setup/{step}").status_code == 200
        put_peer(database, PACS)  # added in the middle: they go on all the same
        if step is not SetupStep.END:
            assert panel.post("/setup/next", data={"step": step}).headers["location"] == f"/setup/{step.next}"
    assert panel.post("/setup/end").headers["location"] == "/studies"
    remove_peer(database, "PACS")
    assert panel.get("/").headers["location"] == "/studies"
    assert 'href="/setup"' in panel.get("/peers").text  # by hand they are reached still
    assert panel.get("/setup").headers["location"] == "/setup/end"


def test_a_node_whose_peers_came_from_a_file_asks_for_nothing(books: Database) -> None:
    assert first_steps_are_due(books)
    put_peer(books, PACS)
    assert not first_steps_are_due(books)


def test_what_was_confirmed_is_kept(books: Database) -> None:
    confirm(books, "anna", SetupStep.PACS)
    confirm(books, "anna", SetupStep.NAME)
    stands = where_it_stands(books)
    assert (stands.confirmed, stands.now) == ({SetupStep.NAME, SetupStep.PACS}, SetupStep.ORTHANC)
    end(books, "anna")
    assert where_it_stands(books).has_ended
    assert not first_steps_are_due(books)


def test_others_than_administrators_are_not_led_there(stranger: httpx.Client, database: Database) -> None:
    log_in(stranger, database, UserRole.OPERATOR, "otto")
    assert stranger.get("/").headers["location"] == "/studies"
    assert stranger.get("/setup/name").status_code == 403


def test_the_lines_for_the_settings_file_are_what_was_wished(panel: httpx.Client) -> None:
    form = {"ae_title": 'TUM"OUR', "dicom_port": "104", "bind": EVERYWHERE}
    page = panel.post("/setup/name", data=form).text
    lines = unescape(page.partition('settings file"><code>')[2].partition("</code>")[0])
    assert tomllib.loads(lines) == {"node": {"ae_title": 'TUM"OUR', "dicom_port": 104, "bind": EVERYWHERE}}


def test_only_what_differs_is_written(panel: httpx.Client, settings: Settings) -> None:
    node = settings.node
    same = {"ae_title": node.ae_title, "dicom_port": str(node.dicom_port), "bind": node.bind}
    assert "in force already" in panel.post("/setup/name", data=same).text
    page = panel.post("/setup/name", data={**same, "dicom_port": "11113"}).text
    assert "dicom_port = 11113" in page
    assert "ae_title =" not in page


@pytest.mark.parametrize(
    ("field", "value"),
    [("ae_title", ""), ("ae_title", "A" * 17), ("ae_title", "BACK\\SLASH"), ("ae_title", "Ö"), ("ae_title", "A\tB")]
    + [("dicom_port", text) for text in ("", "0", "65536", "many", "٣")]
    + [("bind", "10.0.0.1; rm")],
)
def test_what_no_node_can_be_is_refused(panel: httpx.Client, settings: Settings, field: str, value: str) -> None:
    form = {"ae_title": "GLIONODE", "dicom_port": "11112", "bind": settings.node.bind, field: value}
    answer = panel.post("/setup/name", data=form)
    assert answer.status_code == 422
    assert f'id="{field}-problem"' in answer.text
    assert "<pre" not in answer.text


def test_a_pacs_is_added_and_tested_once_at_a_time(panel: httpx.Client, database: Database) -> None:
    answer = panel.post("/setup/pacs", data={"name": "PACS", "ae_title": ""})
    assert answer.status_code == 422
    assert list_peers(database) == []
    form = {"name": "PACS", "ae_title": "PACS", "host": "127.0.0.1", "port": str(free_port()), "may_send": "true"}
    assert panel.post("/setup/pacs", data=form).headers["location"] == "/setup/pacs"
    assert [peer.name for peer in list_peers(database)] == ["PACS"]
    assert panel.post("/setup/pacs/echo", data={"name": "another"}).status_code == 404
    with database.session() as session:
        session.add(ConnectionTestRow(peer="PACS", study_uid="1.2", state=ProbeState.RUNNING, steps=[]))
    page = panel.post("/setup/pacs/test", data={"name": "PACS"})
    assert page.status_code == 422
    assert "is being tested" in page.text


def test_an_orthanc_that_does_not_answer_is_told_and_its_password_is_not_shown(panel: httpx.Client) -> None:
    form = {"url": f"http://127.0.0.1:{free_port()}", "username": "orthanc", "password": WORDS}
    page = panel.post("/setup/orthanc", data=form).text
    assert "cannot be reached" in page
    assert WORDS not in page


def test_what_is_left_is_found_by_looking(settings: Settings, books: Database) -> None:
    nothing = {"A sender", "A destination", "Test study there and back", "First study"}
    assert _left(settings, books) == nothing
    put_peer(books, PACS)
    assert _left(settings, books) == {"Reachable", "Test study there and back", "First study"}  # from 10.0.0.5
    with books.session() as session:
        session.add(ConnectionTestRow(peer="PACS", study_uid="1.2", state=ProbeState.FAILED, steps=[]))
        session.add(ConnectionTestRow(peer="removed", study_uid="1.3", state=ProbeState.PASSED, steps=[]))
        session.add(StudyRow(study_uid="1.4", key="one"))
    assert _left(settings, books) == {"Reachable", "Test study there and back"}
    with books.session() as session:
        session.add(ConnectionTestRow(peer="PACS", study_uid="1.5", state=ProbeState.PASSED, steps=[]))
    assert _left(settings, books) == {"Reachable"}
    environment = {"GLIONODE_NODE_FOLDER": str(settings.node.folder), "GLIONODE_NODE_BIND": EVERYWHERE}
    assert _left(read_settings(environment=environment), books) == set()
    assert _left(read_settings(environment=environment | {"GLIONODE_WEB_BIND": EVERYWHERE}), books) == {
        "Logins from other hosts"
    }
