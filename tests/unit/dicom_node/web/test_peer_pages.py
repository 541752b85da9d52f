"""The pages and the API of the peers: changed, removed with what hangs on it said before, imported all or none."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from pynetdicom import AE
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from dicom_node.database.engine import Database
from dicom_node.database.states import DeliveryState
from dicom_node.database.tables import (
    AssociationRow,
    DeliveryRow,
    FetchRow,
    RefusalRow,
    ResultRow,
    RunRow,
    StudyRow,
    utc_now,
)
from dicom_node.peers.activity import waiting_for
from dicom_node.peers.peer import Peer
from dicom_node.peers.registry import add_peer, export_peers, get_peer, list_peers, set_enabled
from dicom_node.reception.listener import Listener
from dicom_node.settings import read_settings
from tests.support.archive import running_archive
from tests.support.panel_client import logged_in
from tests.support.waiting import wait_until

PACS = Peer(name="My PACS", ae_title="PACS", host="127.0.0.1", port=104, is_destination=True)
PAGE = "/peers/My%20PACS"
FORM = {"ae_title": "PACS", "host": "127.0.0.1", "port": "104", "may_send": "true", "is_destination": "true"}


@pytest.fixture
def client(database: Database, tmp_path: Path) -> Iterator[httpx.Client]:
    with logged_in(database, tmp_path / "node") as opened:
        yield opened


@pytest.fixture
def peer(database: Database) -> Peer:
    add_peer(database, PACS)
    return PACS


def _add_deliveries(database: Database, *states: DeliveryState) -> None:
    with database.session() as session:
        session.add(StudyRow(study_uid="1.2", key="a1b2c3", state="undelivered", current_run="run"))
        session.flush()
        session.add(RunRow(run_id="run", study_uid="1.2", revision=1, manifest_sha256="0", ready_at=utc_now()))
        session.flush()
        for number, state in enumerate(states):
            uids = {"sop_instance_uid": f"1.2.{number}", "series_uid": "1.3", "sop_class_uid": "1"}
            session.add(ResultRow(run_id="run", study_uid="1.2", kind="SR", path="x", sha256="0", **uids))
            session.flush()
            session.add(
                DeliveryRow(
                    run_id="run",
                    sop_instance_uid=f"1.2.{number}",
                    destination="My PACS",
                    state=state,
                    reason="PACS answered 0xA700",
                )
            )


def test_what_hangs_on_a_peer_is_counted_on_either_database(books: Database) -> None:
    add_peer(books, PACS)
    assert waiting_for(books, "My PACS").nothing
    _add_deliveries(books, DeliveryState.WAITING, DeliveryState.REFUSED, DeliveryState.ACCEPTED, DeliveryState.SENDING)
    with books.session() as session:
        session.add_all([FetchRow(study_uid="1.2.3", source="My PACS"), FetchRow(study_uid="1.2.3", source="Other")])
    waiting = waiting_for(books, "My PACS")
    assert (waiting.objects, waiting.studies, waiting.fetches) == (3, 1, 1)


def test_what_hangs_on_a_peer_is_said_before_it_is_removed(
    client: httpx.Client, database: Database, peer: Peer
) -> None:
    assert "Nothing waits for it." in client.get(f"{PAGE}/remove").text
    _add_deliveries(database, DeliveryState.WAITING, DeliveryState.REFUSED, DeliveryState.ACCEPTED)
    page = " ".join(client.get(f"{PAGE}/remove").text.split())
    assert "2 objects of 1 study would be called off." in page
    assert client.get("/api/v1/peers/My%20PACS").json()["waiting"] == {"objects": 2, "studies": 1, "fetches": 0}
    assert "2 objects of 1 study" in client.get("/peers").text
    assert list_peers(database) == [peer]  # asked, not done
    assert client.post(f"{PAGE}/remove").headers["location"] == "/peers"
    assert list_peers(database) == []


@pytest.mark.usefixtures("peer")
def test_the_page_of_a_peer_shows_what_it_did_last(client: httpx.Client, database: Database) -> None:
    page = client.get(PAGE).text
    for sentence in ("It has sent no images.", "Nothing was made for it.", "Nothing from this AE title was refused."):
        assert sentence in page
    _add_deliveries(database, DeliveryState.REFUSED)
    with database.session() as session:
        session.add(AssociationRow(association_id="a", listener="l", calling_ae="PACS", end="aborted"))
        refused = {"address": "192.0.2.7", "code": "unreadable_data_set", "reason": "<no data set>"}
        session.add(RefusalRow(calling_ae="PACS", **refused))
        session.add(RefusalRow(calling_ae="OTHER", address="192.0.2.8", code="invalid_uid", reason="x"))
    page = client.get(PAGE).text
    for shown in ("aborted", "/studies/a1b2c3", "PACS answered 0xA700", "192.0.2.7", "&lt;no data set&gt;"):
        assert shown in page
    assert "192.0.2.8" not in page


@pytest.mark.usefixtures("peer")
def test_a_peer_is_changed_by_its_form_and_keeps_its_name_and_state(client: httpx.Client, database: Database) -> None:
    set_enabled(database, "My PACS", enabled=False)
    form = {**FORM, "port": "11112", "objects": "SR", "seg_series": "5", "name": "Another"}
    answer = client.post(PAGE, data=form)
    assert (answer.status_code, answer.headers["location"]) == (303, f"{PAGE}?saved=1")
    assert list_peers(database) == [replace(PACS, port=11112, objects="SR", seg_series=5, enabled=False)]
    page = client.get(f"{PAGE}?saved=1").text
    assert 'value="11112"' in page
    assert "Saved. It applies from the next association." in page


def test_a_wrong_change_is_shown_beside_what_was_entered_and_changes_nothing(
    client: httpx.Client, database: Database, peer: Peer
) -> None:
    answer = client.post(PAGE, data={**FORM, "port": "many"})
    assert answer.status_code == 422
    assert 'value="many"' in answer.text
    assert 'id="port-problem"' in answer.text
    assert list_peers(database) == [peer]
    assert client.post("/peers/Ghost", data=FORM).status_code == 404


@pytest.mark.parametrize("path", ["/peers/Ghost", "/peers/Ghost/remove", "/api/v1/peers/Ghost/tests"])
def test_a_peer_that_is_not_there_has_no_page(client: httpx.Client, path: str) -> None:
    assert client.get(path).status_code == 404


@pytest.fixture
def listener(database: Database, tmp_path: Path) -> Iterator[Listener]:
    environment = {"GLIONODE_NODE_FOLDER": str(tmp_path / "node"), "GLIONODE_NODE_DICOM_PORT": "0"}
    running = Listener(read_settings(environment=environment), database)
    running.start()
    yield running
    running.stop()


def _is_let_in(listener: Listener, calling_ae: str) -> bool:
    entity = AE(ae_title=calling_ae)
    entity.add_requested_context(Verification)
    assoc = entity.associate("127.0.0.1", listener.port, ae_title="GLIONODE")
    if assoc.is_established:
        assoc.release()
        return True
    return False


@pytest.mark.usefixtures("peer")
def test_each_act_counts_for_the_next_association_of_a_running_listener(
    client: httpx.Client, database: Database, listener: Listener
) -> None:
    assert (_is_let_in(listener, "PACS"), _is_let_in(listener, "PACS2")) == (True, False)
    client.post(PAGE, data={**FORM, "ae_title": "PACS2"})
    assert (_is_let_in(listener, "PACS"), _is_let_in(listener, "PACS2")) == (False, True)
    client.post(f"{PAGE}/disable", data={"on": "peer"})
    assert not _is_let_in(listener, "PACS2")
    client.put("/api/v1/peers.toml", content=export_peers(database).replace("enabled = false", "enabled = true"))
    assert _is_let_in(listener, "PACS2")
    client.delete("/api/v1/peers/My%20PACS")
    assert not _is_let_in(listener, "PACS2")


@pytest.mark.usefixtures("peer")
@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")  # pynetdicom 3.0.4 after a refused connection
def test_an_echo_from_the_page_of_a_peer_is_shown_there(client: httpx.Client) -> None:
    page = client.post(f"{PAGE}/echo", data={"on": "peer"}).text
    assert "<h1>My PACS</h1>" in page
    assert 'class="advice">Check the port, and that the DICOM service there is running.</span>' in page
    assert client.post(f"{PAGE}/enable", data={"on": "peer"}).headers["location"] == PAGE


def test_a_test_is_started_and_its_steps_are_shown(client: httpx.Client, database: Database) -> None:
    with running_archive() as archive:
        add_peer(database, replace(PACS, ae_title="ARCHIVE", port=archive.port, is_source=True))
        assert client.post(f"{PAGE}/test").headers["location"] == f"{PAGE}#test"
        wait_until(lambda: client.get("/api/v1/peers/My%20PACS/tests").json()[0]["state"] != "running")
        (test,) = client.get("/api/v1/peers/My%20PACS/tests").json()
        assert (test["state"], test["steps"][-1]["step"]) == ("passed", "compare")
        page = client.get(PAGE).text
        assert all(step["sentence"] in page for step in test["steps"])
        started = client.post("/api/v1/peers/My%20PACS/tests")
        assert (started.status_code, started.json()) == (202, {"id": test["id"] + 1})
        wait_until(lambda: client.get("/api/v1/peers/My%20PACS/tests").json()[0]["state"] == "passed")


@pytest.mark.usefixtures("peer")
def test_a_test_of_a_disabled_peer_is_refused_with_the_reason(client: httpx.Client) -> None:
    client.patch("/api/v1/peers/My%20PACS", json={"enabled": False})
    answer = client.post(f"{PAGE}/test")
    assert answer.status_code == 422
    assert "My PACS is disabled: nothing is sent to it. Enable it first." in answer.text
    assert client.post("/api/v1/peers/My%20PACS/tests").status_code == 422


@pytest.mark.parametrize("path", ["/api/v1/peers", "/api/peers"])
def test_the_api_replaces_a_peer_by_either_name(
    client: httpx.Client, database: Database, peer: Peer, path: str
) -> None:
    body = {"ae_title": "PACS9", "host": "h", "port": 11112, "is_source": True}
    changed = client.put(f"{path}/{quote(peer.name)}", json=body)
    assert (changed.status_code, changed.json()["ae_title"]) == (200, "PACS9")
    assert get_peer(database, peer.name) == Peer(name=peer.name, **body)
    assert client.put(f"{path}/Ghost", json=body).status_code == 404
    assert client.put(f"{path}/{quote(peer.name)}", json={**body, "port": 0}).status_code == 422
    assert client.put(f"{path}/{quote(peer.name)}", json={**body, "enabled": True}).status_code == 422


def _text(*peers: Peer) -> str:
    lines = [f'[[peer]]\nname = "{one.name}"\nae_title = "{one.ae_title}"\n' for one in peers]
    return "\n".join(lines)


@pytest.mark.usefixtures("peer")
def test_an_import_is_previewed_and_then_done(client: httpx.Client, database: Database) -> None:
    add_peer(database, Peer(name="Left", ae_title="LEFT"))
    text = export_peers(database).split("\n\n")[1].replace("104", "105") + _text(Peer(name="New", ae_title="NEW"))
    page = client.post("/peers-import", data={"text": text}).text
    assert "<strong>1</strong> would be added, <strong>1</strong> changed." in page
    for shown in ("<code>port</code>", "<code>104</code>", "<code>105</code>", "does not name them: Left"):
        assert shown in page
    assert get_peer(database, "My PACS").port == 104
    seen = page.split('name="seen" value="')[1].split('"')[0]
    assert client.post("/peers-import/confirmed", data={"text": text, "seen": seen}).status_code == 303
    assert [(one.name, one.port) for one in list_peers(database)] == [("Left", 0), ("My PACS", 105), ("New", 0)]
    assert "already as the file states" in client.post("/peers-import", data={"text": text}).text


@pytest.mark.usefixtures("peer")
def test_an_import_after_another_change_is_previewed_again(client: httpx.Client, database: Database) -> None:
    text = _text(Peer(name="New", ae_title="NEW"))
    page = client.post("/peers-import", data={"text": text}).text
    seen = page.split('name="seen" value="')[1].split('"')[0]
    set_enabled(database, "My PACS", enabled=False)
    answer = client.post("/peers-import/confirmed", data={"text": text, "seen": seen})
    assert answer.status_code == 409
    assert "The peers have changed since the preview." in answer.text
    assert [one.name for one in list_peers(database)] == ["My PACS"]


@pytest.mark.parametrize("second", ["[[peer]]\nname = 'Two'\nae_title = ''\n", "[[peer", "[node]\nfolder = 'x'\n"])
def test_an_import_with_anything_wrong_in_it_does_nothing(
    client: httpx.Client, database: Database, second: str
) -> None:
    text = _text(Peer(name="One", ae_title="ONE")) + second
    answer = client.post("/peers-import", data={"text": text})
    assert answer.status_code == 422
    assert "Nothing can be imported. The file" in answer.text
    assert client.put("/api/v1/peers.toml", content=text).status_code == 422
    assert list_peers(database) == []


def test_the_api_previews_imports_and_exports_without_secrets(
    client: httpx.Client, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GLIONODE_DICOMWEB_AUTHORIZATION_PACS", "Bearer very-secret")
    monkeypatch.setenv("GLIONODE_DICOMWEB_ORIGIN_PACS", "https://pacs.example.org")
    web = replace(PACS, dicomweb_url="https://pacs.example.org/web")
    add_peer(database, web)
    exported = client.get("/api/v1/peers.toml")
    assert exported.headers["content-type"].startswith("application/toml")
    assert client.get("/peers.toml").text == exported.text == export_peers(database)
    assert "very-secret" not in exported.text
    text = exported.text.replace("104", "105")
    expected: dict[str, Any] = {
        "added": [],
        "changed": [{"name": "My PACS", "changes": [{"field": "port", "before": "104", "after": "105"}]}],
        "unchanged": [],
        "left": [],
    }
    assert client.put("/api/v1/peers.toml?preview=true", content=text).json() == expected
    assert list_peers(database) == [web]
    headers = {"content-type": "application/toml"}
    assert client.put("/api/v1/peers.toml", content=text, headers=headers).json() == expected
    assert list_peers(database) == [replace(web, port=105)]
    assert client.put("/api/v1/peers.toml", content=b"\xff", headers=headers).status_code == 422
