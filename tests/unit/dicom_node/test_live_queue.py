"""The live queue: what runs, waits and arrives, why, and what ended last."""

from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from dicom_node.database.engine import Database
from dicom_node.database.history_tables import StepTimeRow
from dicom_node.database.maintenance import set_maintenance
from dicom_node.database.states import Priority, RunState, StudyState
from dicom_node.database.tables import RunRow, StudyRow, WorkerRow, utc_now
from dicom_node.database.worker_slots import WorkerBook
from dicom_node.studies import live_queue
from dicom_node.studies.live_queue import QueueEntry, read_queue
from tests.support.small_study import make_small_study
from tests.support.viewer_study import instance_row

AT = datetime(2026, 1, 5, 8, tzinfo=UTC)


def _hold(database: Database, name: str, state: RunState, **facts: object) -> None:
    with database.session() as session:
        study = {"last_received_at": facts.pop("last_received_at", AT)}
        session.add(StudyRow(study_uid=f"1.{name}", key=name, state=StudyState(state), current_run=name, **study))
        session.flush()
        fixed = {"revision": 1, "manifest_sha256": "0", "ready_at": AT}
        session.add(RunRow(run_id=name, study_uid=f"1.{name}", state=state, **fixed | facts))


def _keys(entries: tuple[QueueEntry, ...]) -> list[str]:
    return [one.key for one in entries]


def test_the_most_urgent_waits_first_and_each_says_for_what(books: Database) -> None:
    _hold(books, "late", RunState.QUEUED, ready_at=AT + timedelta(minutes=1))
    _hold(books, "early", RunState.QUEUED)
    _hold(books, "urgent", RunState.QUEUED, ready_at=AT + timedelta(hours=1), priority=Priority.STAT)
    queue = read_queue(books)
    assert _keys(queue.waiting) == ["urgent", "early", "late"]
    assert {one.awaited for one in queue.waiting} == {("a worker: none is running",)}
    WorkerBook(books)
    assert [one.awaited[0] for one in read_queue(books).waiting] == [
        "a worker, which begins it at once",
        "1 study before it",
        "2 studies before it",
    ]
    set_maintenance(books, "somebody", on=True)
    assert {one.awaited for one in read_queue(books).waiting} == {("the end of maintenance",)}


def test_what_runs_says_its_step_and_its_worker(books: Database) -> None:
    book = WorkerBook(books)
    _hold(books, "one", RunState.RUNNING, step="align", executor=book.executor)
    _hold(books, "two", RunState.QUEUED)
    with books.session() as session:
        session.add(StepTimeRow(run_id="one", step="convert", began_at=AT, ended_at=AT))
        session.add(StepTimeRow(run_id="one", step="align", began_at=AT + timedelta(seconds=5)))
    queue = read_queue(books)
    assert [(one.step, one.step_since, one.worker) for one in queue.running] == [
        ("align", AT + timedelta(seconds=5), book.executor)
    ]
    assert queue.waiting[0].awaited == ("a worker that is free",)
    assert [worker.alive for worker in queue.workers] == [True]


def test_a_study_that_arrives_says_what_is_missing_and_how_much_is_there(books: Database) -> None:
    instances = make_small_study("new", ["T1"])
    uid = str(instances[0].StudyInstanceUID)
    with books.session() as session:
        session.add(StudyRow(study_uid=uid, key="new", first_received_at=AT, awaited=["FLAIR: 2 of 3 slices"]))
        session.flush()
        session.add_all([instance_row(ds, f"inbox/{number}") for number, ds in enumerate(instances)])
    (one,) = read_queue(books).receiving
    assert (one.since, one.awaited, one.images) == (AT, ("FLAIR: 2 of 3 slices",), len(instances))


def test_an_earlier_run_beside_newer_images_is_not_the_one_that_buttons_act_on(books: Database) -> None:
    _hold(books, "one", RunState.RUNNING)
    with books.session() as session:
        session.get_one(StudyRow, "1.one").state = StudyState.RECEIVING
        session.get_one(StudyRow, "1.one").current_run = None
    queue = read_queue(books)
    assert [one.is_newest for one in queue.running] == [False]
    assert _keys(queue.receiving) == ["one"]


def test_what_stopped_is_apart_from_what_is_finished(books: Database) -> None:
    for number, state in enumerate((RunState.FAILED, RunState.CANCELLED, RunState.DELIVERED, RunState.REJECTED)):
        _hold(books, state, state, last_received_at=AT + timedelta(minutes=number), finished_at=AT)
    later = {"last_received_at": AT + timedelta(seconds=30), "deliver_at": datetime(2026, 1, 5, 9, 30, tzinfo=UTC)}
    _hold(books, "undelivered", RunState.UNDELIVERED, **later)
    queue = read_queue(books)
    assert _keys(queue.needs_a_look) == ["cancelled", "undelivered", "failed"]
    assert queue.needs_a_look[1].awaited == ("the next attempt at 09:30:00 UTC",)
    assert _keys(queue.finished) == ["rejected", "delivered"]


def test_of_a_long_queue_the_first_are_listed_and_the_others_counted(
    books: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_queue, "MOST_SHOWN", 2)
    for number in range(5):
        _hold(books, f"{number}", RunState.QUEUED, ready_at=AT + timedelta(minutes=number))
    queue = read_queue(books)
    assert (_keys(queue.waiting), queue.more) == (["0", "1"], 3)


def test_a_heartbeat_changes_nothing_and_a_silent_worker_is_told(books: Database) -> None:
    book = WorkerBook(books)
    before = read_queue(books)
    book.beat()
    assert read_queue(books) == before
    with books.session() as session:
        session.execute(sa.update(WorkerRow).values(beat_at=utc_now() - timedelta(minutes=5)))
    assert [worker.alive for worker in read_queue(books).workers] == [False]
