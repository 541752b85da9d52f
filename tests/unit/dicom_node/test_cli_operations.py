"""The commands on studies and on the node, from the command line to the books."""

import gc
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from dicom_node.cli.main import cli
from dicom_node.database.engine import Database
from dicom_node.database.maintenance import in_maintenance
from dicom_node.database.states import Priority, RunState
from dicom_node.database.tables import InstanceRow, RunRow
from dicom_node.database.worker_slots import WorkerBook
from dicom_node.peers.peer import Peer
from dicom_node.peers.registry import put_peer
from tests.support.archive import running_archive
from tests.support.held_study import hold_run
from tests.support.small_study import make_small_study
from tests.support.strange_scp import running_strange_scp


@pytest.fixture(autouse=True)
def _this_node(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLIONODE_NODE_FOLDER", str(tmp_path / "node"))
    monkeypatch.setenv("GLIONODE_DATABASE_URL", str(database.engine.url))


def _run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, arguments)


def _json(*arguments: str) -> dict[str, object]:
    done = _run(*arguments, "--json")
    assert done.exit_code == 0, done.output
    told: dict[str, object] = json.loads(done.stdout)
    return told


def _state(database: Database) -> tuple[str, int]:
    with database.session() as session:
        run = session.get_one(RunRow, "run")
        return run.state, run.priority


def test_a_study_is_put_first_cancelled_and_replayed(database: Database) -> None:
    hold_run(database, RunState.QUEUED)
    assert _json("prioritise", "1.2") == {"study": "1.2", "priority": "STAT"}
    assert _state(database) == (RunState.QUEUED, Priority.STAT)
    assert _json("prioritise", "abc", "--routine")["priority"] == "ROUTINE"
    assert _json("cancel", "1.2")["state"] == "cancelled"
    assert _state(database)[0] == RunState.CANCELLED
    assert _json("replay", "1.2")["step"] == "select"
    assert _state(database)[0] == RunState.QUEUED


def test_a_replay_from_the_start_says_so(database: Database) -> None:
    hold_run(database, RunState.FAILED, step="deliver")
    assert _json("replay", "1.2", "--from-start")["step"] == "select"


def test_what_cannot_be_done_is_one_line_on_stderr(database: Database) -> None:
    hold_run(database, RunState.DELIVERED)
    done = _run("cancel", "1.2")
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr == "glionode: its newest run is delivered: there is nothing to cancel\n"
    done = _run("resend", "1.2", "--to", "nobody")
    assert (done.exit_code, done.stderr.count("\n")) == (1, 1)
    assert "no enabled destination is called 'nobody'" in done.stderr


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_study_or_a_source_that_is_not_there_is_one_line_too(database: Database) -> None:
    assert _run("replay", "1.9").stderr.startswith("glionode: no study of this node has that UID or key")
    assert _run("fetch", "1.9", "--from", "nobody").stderr.startswith("glionode: No peer is called 'nobody'")
    where = {"host": "127.0.0.1", "port": 1, "is_source": True}
    put_peer(database, Peer(name="Silent", ae_title="SILENT", **where))
    done = _run("fetch", "1.9", "--from", "Silent")
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr.endswith("does not answer; check address, port and firewall\n")
    gc.collect()  # pynetdicom leaves its refused socket to the collector


def test_maintenance_is_switched(database: Database) -> None:
    assert _json("maintenance", "on") == {"maintenance": True}
    assert in_maintenance(database)
    assert _json("maintenance", "off") == {"maintenance": False}
    assert _run("maintenance", "perhaps").exit_code == 2


def test_workers_are_listed(database: Database) -> None:
    assert _run("workers").stdout == "no worker is running: start `glionode work`\n"
    executor = WorkerBook(database).executor
    told = _json("workers")["workers"]
    assert isinstance(told, list)
    assert [(one["executor"], one["alive"]) for one in told] == [(executor, True)]


def test_cleaning_says_what_it_did() -> None:
    assert _json("clean") == {"pixels": 0, "results": 0, "history": 0}


def test_a_study_is_fetched(database: Database) -> None:
    images = make_small_study("fetched", roles=["FLAIR"])
    with running_archive() as archive:
        archive.put(*images)
        where = {"host": "127.0.0.1", "port": archive.port, "is_source": True}
        put_peer(database, Peer(name="Archive", ae_title="ARCHIVE", **where))
        told = _json("fetch", str(images[0].StudyInstanceUID), "--from", "Archive")["studies"]
    assert isinstance(told, list)
    assert [(one["by"], one["instances"], one["failed"]) for one in told] == [("C-GET", 10, 0)]
    with database.session() as session:
        assert session.query(InstanceRow).count() == 10


def test_a_study_of_which_not_all_came_is_a_failure(database: Database) -> None:
    images = make_small_study("in part", roles=["FLAIR"])
    uid = str(images[0].StudyInstanceUID)
    with running_strange_scp() as scp:
        scp.sends, scp.says = (lambda: images), (12, 0)
        put_peer(database, Peer(name="Strange", ae_title="S", host="127.0.0.1", port=scp.port, is_source=True))
        done = _run("fetch", uid, "--from", "Strange")
    assert (done.exit_code, done.stderr.count("\n")) == (1, 1)
    assert done.stderr.startswith(f"glionode: incomplete: {uid}; fetch again")
    assert "incomplete: the source reports 2 more as sent than were received" in done.stdout
