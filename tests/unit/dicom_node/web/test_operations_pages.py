"""What the panel's buttons do: STAT, cancel, replay, maintenance, and fetching a study."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from dicom_node.database.engine import Database
from dicom_node.database.maintenance import in_maintenance
from dicom_node.database.states import Priority, RunState
from dicom_node.database.tables import InstanceRow, RunRow, StudyRow
from dicom_node.database.worker_slots import WorkerBook
from dicom_node.peers.peer import Peer
from dicom_node.peers.registry import put_peer
from dicom_node.retrieval.fetch_requests import fetch_next
from dicom_node.settings import Settings, read_settings
from dicom_node.web.app import panel_app
from tests.support.archive import running_archive
from tests.support.held_study import hold_run
from tests.support.panel_client import new_login_link
from tests.support.small_study import make_small_study
from tests.support.viewer_port import served
from tests.support.waiting import ANSWER_S


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return read_settings(environment={"GLIONODE_NODE_FOLDER": str(tmp_path)})


@pytest.fixture
def panel(settings: Settings, database: Database) -> Iterator[httpx.Client]:
    app = panel_app(settings, database)
    with served(app) as url, httpx.Client(base_url=url, follow_redirects=True, timeout=ANSWER_S) as client:
        client.post("/login", data={"token": httpx.URL(new_login_link(database, url)).params["token"]})
        yield client


def _run(database: Database) -> RunRow:
    with database.session() as session:
        return session.get_one(RunRow, "run")


def test_a_study_that_waits_can_be_put_first_and_cancelled(panel: httpx.Client, database: Database) -> None:
    hold_run(database, RunState.QUEUED)
    page = panel.get("/studies/abc").text
    assert "STAT: before all others" in page
    assert "Cancel" in page
    assert "Process again" not in page
    assert panel.post("/studies/abc/stat").status_code == 200  # after the redirect
    assert _run(database).priority == Priority.STAT
    panel.post("/studies/abc/cancel")
    assert _run(database).state == RunState.CANCELLED


def test_a_study_that_failed_is_replayed_from_its_step(panel: httpx.Client, database: Database) -> None:
    hold_run(database, RunState.FAILED, step="deliver")
    assert "Replay from deliver" in panel.get("/studies/abc").text
    panel.post("/studies/abc/replay")
    assert (_run(database).state, _run(database).step) == (RunState.QUEUED, "deliver")


def test_what_cannot_be_done_is_said(panel: httpx.Client, database: Database) -> None:
    hold_run(database, RunState.DELIVERED)
    answer = panel.post("/studies/abc/cancel")
    assert answer.status_code == 409
    assert "there is nothing to cancel" in answer.text


def test_what_is_awaited_stands_on_both_pages(panel: httpx.Client, database: Database) -> None:
    sentence = "FLAIR (series 4): 22 of 26 slices"
    with database.session() as session:
        session.add(StudyRow(study_uid="1.2", key="abc", awaited=[sentence]))
    assert sentence in panel.get("/studies").text
    assert sentence in panel.get("/studies/abc").text


def test_maintenance_is_shown_and_ended(panel: httpx.Client, database: Database) -> None:
    panel.post("/maintenance/on")
    assert in_maintenance(database)
    assert "senders are asked to try again later" in panel.get("/studies").text
    panel.post("/maintenance/off")
    assert not in_maintenance(database)


def test_the_workers_are_shown(panel: httpx.Client, database: Database) -> None:
    assert "No worker is running" in panel.get("/studies").text
    executor = WorkerBook(database).executor
    assert executor in panel.get("/studies").text


def test_a_study_is_fetched_by_a_worker_and_the_page_says_so(
    panel: httpx.Client, database: Database, settings: Settings
) -> None:
    assert "No peer to fetch from yet" in panel.get("/fetch").text
    with running_archive() as archive:
        images = make_small_study("fetched", roles=["FLAIR"])
        archive.put(*images)
        put_peer(
            database, Peer(name="Archive", ae_title="ARCHIVE", host="127.0.0.1", port=archive.port, is_source=True)
        )
        form = {"study_uid": str(images[0].StudyInstanceUID), "source": "Archive", "priors": "0"}
        assert "no result yet" in panel.post("/fetch", data=form).text
        assert fetch_next(settings, database, "worker")
        assert not fetch_next(settings, database, "worker")
        assert "10 instances of 1 study by C-GET, 0 failed" in panel.get("/fetch").text
        with database.session() as session:
            assert session.query(InstanceRow).count() == 10
        panel.post("/fetch", data=form | {"study_uid": "1.2.3"})
        fetch_next(settings, database, "worker")
    assert "Archive sent nothing of the study" in panel.get("/fetch").text


@pytest.mark.parametrize(
    ("form", "sentence"),
    [
        ({"study_uid": "../../etc"}, "A Study Instance UID consists of numbers separated by dots"),
        ({"study_uid": "1.2.3", "source": "nobody"}, "No peer is called"),
        ({"study_uid": "1.2.3", "priors": "99"}, "The number of priors is from 0 to 20"),
    ],
)
def test_a_request_that_cannot_be_is_refused_with_its_reason(
    panel: httpx.Client, database: Database, form: dict[str, str], sentence: str
) -> None:
    put_peer(database, Peer(name="Archive", ae_title="ARCHIVE", host="127.0.0.1", port=104, is_source=True))
    answer = panel.post("/fetch", data={"source": "Archive", "priors": "0"} | form)
    assert answer.status_code == 422
    assert sentence in answer.text
