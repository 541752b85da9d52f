"""What people do: put a study first, cancel it, replay it from the step that failed, and drain the node."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from dicom_node.database.engine import Database
from dicom_node.database.maintenance import in_maintenance, set_maintenance
from dicom_node.database.states import Priority, RunState, StudyState
from dicom_node.database.tables import RunRow, StudyRow
from dicom_node.runs.operations import Impossible, cancel, prioritise, replay, steps_to_replay
from dicom_node.settings import Settings, read_settings
from dicom_node.studies.run_folder import RunFolder
from dicom_node.studies.run_queue import Start, claim_next

STARTED = datetime(2026, 1, 5, 8, tzinfo=UTC)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return read_settings(environment={"GLIONODE_NODE_FOLDER": str(tmp_path / "node")})


def _study(database: Database, name: str = "one", state: RunState = RunState.QUEUED, step: str = "") -> str:
    with database.session() as session:
        session.add(StudyRow(study_uid=f"1.{name}", key=f"key-{name}", state=StudyState(state), current_run=name))
        session.flush()
        facts = {"revision": 1, "manifest_sha256": "0", "ready_at": STARTED, "state": state, "step": step}
        session.add(RunRow(run_id=name, study_uid=f"1.{name}", **facts))
    return f"1.{name}"


def _run(database: Database, name: str = "one") -> RunRow:
    with database.session() as session:
        return session.get_one(RunRow, name)


def _state(database: Database, name: str = "one") -> str:
    with database.session() as session:
        return session.get_one(StudyRow, f"1.{name}").state


def test_an_urgent_study_overtakes_those_that_wait(books: Database) -> None:
    _study(books, "one")
    urgent = _study(books, "two")
    prioritise(books, urgent, Priority.STAT)
    start = claim_next(books, "host/0")
    assert start is not None
    assert start.run_id == "two"
    with books.session() as session:
        assert session.get_one(StudyRow, urgent).priority == Priority.STAT  # also of its later revisions


def test_a_study_is_named_by_its_key_too(books: Database) -> None:
    _study(books)
    cancel(books, "key-one")
    assert _run(books).state == RunState.CANCELLED


def test_what_waits_is_cancelled_and_not_begun(books: Database) -> None:
    cancel(books, _study(books))
    assert (_run(books).reason, _state(books)) == ("cancelled by hand", StudyState.CANCELLED)
    assert claim_next(books, "host/0") is None


def test_a_cancelled_study_can_be_replayed(books: Database, settings: Settings) -> None:
    study = _study(books)
    cancel(books, study)
    assert replay(books, settings, study) == "select"
    assert _state(books) == StudyState.QUEUED
    assert claim_next(books, "host/0") == Start(run_id="one", attempt=1)


@pytest.mark.parametrize(("step", "kept", "begins"), [("segment", "aligned", "segment"), ("segment", "", "select")])
def test_a_replay_begins_at_the_step_that_failed_where_its_input_is_there(
    books: Database, settings: Settings, step: str, kept: str, begins: str
) -> None:
    study = _study(books, state=RunState.FAILED, step=step)
    if kept:
        folder = RunFolder(settings.node.folder, "one").folder
        folder.mkdir(parents=True)
        (folder / f"{kept}.npz").touch()
    assert replay(books, settings, study) == begins


def test_a_person_chooses_an_earlier_step_whose_input_is_there(books: Database, settings: Settings) -> None:
    study = _study(books, state=RunState.FAILED, step="encode")
    folder = RunFolder(settings.node.folder, "one").folder
    folder.mkdir(parents=True)
    for name in ("selection.json", "aligned.npz"):
        (folder / name).touch()
    assert steps_to_replay(settings.node.folder, "one", "encode") == ("select", "convert", "segment")
    for step in ("align", "encode", "deliver", "none"):  # without input, or not reached
        with pytest.raises(Impossible, match="it can begin again with select, convert, segment alone"):
            replay(books, settings, study, step=step)
    assert _run(books).state == RunState.FAILED
    assert replay(books, settings, study, step="segment") == "segment"
    assert claim_next(books, "host/0") == Start(run_id="one", attempt=1, first="segment")


def test_a_replay_from_the_first_step_begins_anew(books: Database, settings: Settings) -> None:
    study = _study(books, state=RunState.DELIVERED, step="deliver")
    assert replay(books, settings, study, step="select") == "select"
    assert _run(books).step == ""


def test_a_replay_from_the_start_takes_rules_and_model_as_they_are_now(books: Database, settings: Settings) -> None:
    study = _study(books, state=RunState.FAILED, step="deliver")
    assert replay(books, settings, study, from_start=True) == "select"
    assert _run(books).step == ""


def test_what_is_at_work_is_not_replayed_beside_itself(books: Database, settings: Settings) -> None:
    with pytest.raises(Impossible, match="its newest run is running; cancel it first"):
        replay(books, settings, _study(books, state=RunState.RUNNING))


def test_what_has_ended_is_not_cancelled(books: Database) -> None:
    with pytest.raises(Impossible, match="its newest run is delivered: there is nothing to cancel"):
        cancel(books, _study(books, state=RunState.DELIVERED))


def test_a_study_that_nobody_knows_is_told(books: Database, settings: Settings) -> None:
    for action in (lambda: cancel(books, "1.9"), lambda: replay(books, settings, "1.9")):
        with pytest.raises(Impossible, match="no study of this node has that UID or key"):
            action()


def test_a_study_that_still_arrives_has_nothing_to_cancel(books: Database) -> None:
    with books.session() as session:
        session.add(StudyRow(study_uid="1.new", key="new"))
    with pytest.raises(Impossible, match="the study is receiving and has no run yet"):
        cancel(books, "1.new")


def test_maintenance_is_switched_for_every_process(books: Database) -> None:
    assert not in_maintenance(books)
    set_maintenance(books, "somebody", on=True)
    assert in_maintenance(books)
    set_maintenance(books, "somebody", on=False)
    assert not in_maintenance(books)
