"""The queue of runs and the workers' heartbeats, on SQLite and on PostgreSQL alike."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from dicom_node.database.engine import Database
from dicom_node.database.states import Priority, RunState, StudyState
from dicom_node.database.tables import LeaseRow, RunRow, StudyRow, WorkerRow
from dicom_node.database.worker_slots import DEAD_AFTER, SlotLost, WorkerBook, list_workers
from dicom_node.studies.run_queue import (
    TAKE_OVERS,
    Start,
    claim_next,
    claim_shadow,
    has_work,
    own_starts,
    put_back,
    requeue,
    take_over,
)

START = datetime(2026, 1, 5, 8, tzinfo=UTC)
DEAD_PID = 2**22 + 1  # beyond the largest that Linux gives


def _queue(database: Database, *names: str, **run: object) -> None:
    with database.session() as session:
        for number, name in enumerate(names):
            session.add(StudyRow(study_uid=f"1.{name}", key=name, state=StudyState.QUEUED, current_run=name))
            session.flush()
            fields: dict[str, object] = {
                "revision": 1,
                "manifest_sha256": "0",
                "ready_at": START + timedelta(seconds=number),
            }
            session.add(RunRow(run_id=name, study_uid=f"1.{name}", **(fields | run)))


def _run(database: Database, name: str) -> RunRow:
    with database.session() as session:
        return session.get_one(RunRow, name)


def _silence(database: Database, executor: str, seconds: float, **changed: object) -> None:
    with database.session() as session:
        row = session.get_one(WorkerRow, executor)
        row.beat_at -= timedelta(seconds=seconds)
        for key, value in changed.items():
            setattr(row, key, value)


def test_runs_are_claimed_by_urgency_and_then_by_age(books: Database) -> None:
    _queue(books, "first", "second", "third")
    with books.session() as session:
        session.get_one(RunRow, "third").priority = Priority.STAT
    claimed = [claim_next(books, "host/0") for _ in range(4)]
    assert [start and start.run_id for start in claimed] == ["third", "first", "second", None]
    assert (_run(books, "third").state, _run(books, "third").executor) == (RunState.RUNNING, "host/0")


def test_a_run_is_claimed_by_one_worker_however_many_ask(books: Database) -> None:
    _queue(books, *(f"run{number}" for number in range(20)))
    with ThreadPoolExecutor(8) as pool:
        claimed = list(pool.map(lambda worker: claim_next(books, f"host/{worker}"), range(40)))
    ids = [start.run_id for start in claimed if start is not None]
    assert sorted(ids) == sorted(f"run{number}" for number in range(20))


def test_a_worker_finds_what_it_had(books: Database) -> None:
    _queue(books, "mine", "other")
    assert not has_work(books, "host/0")
    claim_next(books, "host/0")
    claim_next(books, "host/1")
    assert has_work(books, "host/0")
    assert own_starts(books, "host/0") == [Start(run_id="mine", attempt=0)]


def test_what_a_dead_worker_had_begins_anew_at_its_step(books: Database) -> None:
    _queue(books, "lost", "safe")
    claim_next(books, "host/0")
    claim_next(books, "host/1")
    with books.session() as session:
        session.get_one(RunRow, "lost").step = "segment"
    with books.session() as session:
        assert take_over(session, ["host/0"]) == [Start(run_id="lost", attempt=0, first="segment")]
    assert claim_next(books, "host/1") == Start(run_id="lost", attempt=1, first="segment")
    assert _run(books, "lost").takeovers == 1
    assert (_run(books, "safe").attempt, _run(books, "safe").executor) == (0, "host/1")


def test_a_run_that_kills_every_worker_is_left_aside_with_its_reason(books: Database) -> None:
    _queue(books, "poison")
    for number in range(TAKE_OVERS + 1):
        assert claim_next(books, f"host/{number}") is not None
        with books.session() as session:
            take_over(session, [f"host/{number}"])
    run = _run(books, "poison")
    assert (run.state, run.code) == (RunState.FAILED, "worker_killed")
    assert run.reason.startswith(f"{TAKE_OVERS + 1} workers died during this run")
    assert claim_next(books, "host/9") is None
    with books.session() as session:
        assert session.get_one(StudyRow, "1.poison").state == StudyState.FAILED


def test_a_run_begun_anew_has_another_workflow(books: Database) -> None:
    _queue(books, "again")
    assert Start(run_id="again", attempt=0).workflow_id == "again"
    with books.session() as session:
        requeue(session, session.get_one(RunRow, "again"))
    start = claim_next(books, "host/0")
    assert start is not None
    assert start.workflow_id == "again.1"


def test_the_shadow_sees_each_run_once(books: Database) -> None:
    _queue(books, "seen", state=RunState.DELIVERED, shadow_due=True)
    assert claim_shadow(books) == "seen"
    assert claim_shadow(books) is None


def test_the_shadow_of_a_run_leaves_its_deliveries_to_the_worker_that_has_them(books: Database) -> None:
    _queue(books, "round", state=RunState.UNDELIVERED, shadow_due=True, executor="host/1")
    assert claim_shadow(books) == "round"
    assert _run(books, "round").executor == "host/1"


def test_workers_of_a_host_have_slots_that_a_restart_finds_again(books: Database) -> None:
    first, second, gpu = WorkerBook(books), WorkerBook(books), WorkerBook(books, gpu="1")
    host = first.executor.rpartition("/")[0]
    assert [book.executor for book in (first, second, gpu)] == [f"{host}/0", f"{host}/1", f"{host}/gpu1-0"]
    first.end()
    assert WorkerBook(books).executor == f"{host}/0"


def test_the_slot_of_a_process_that_is_gone_is_free_at_once(books: Database) -> None:
    host = WorkerBook(books).executor.rpartition("/")[0]
    _silence(books, f"{host}/0", 0, pid=DEAD_PID)
    assert WorkerBook(books).executor == f"{host}/0"


def test_a_worker_is_dead_when_it_is_silent_gone_or_has_said_so(books: Database) -> None:
    watcher, silent, frozen, gone = (WorkerBook(books) for _ in range(4))
    assert _dead(books, watcher) == []
    _silence(books, silent.executor, DEAD_AFTER.total_seconds() + 1, host="elsewhere")
    _silence(books, frozen.executor, DEAD_AFTER.total_seconds() - 5, host="elsewhere")
    gone.end()
    assert _dead(books, watcher) == [silent.executor, gone.executor]
    frozen.beat()
    assert [one.alive for one in list_workers(books) if one.executor == silent.executor] == [False]


def _dead(database: Database, book: WorkerBook) -> list[str]:
    with database.session() as session:
        return sorted(book.dead_executors(session))


def test_a_worker_that_thaws_after_its_slot_was_taken_is_told(books: Database) -> None:
    frozen = WorkerBook(books)
    _silence(books, frozen.executor, DEAD_AFTER.total_seconds() + 1)
    heir = WorkerBook(books)
    assert heir.executor == frozen.executor
    with pytest.raises(SlotLost):
        frozen.beat()
    heir.beat()
    frozen.end()
    assert [one.executor for one in list_workers(books)] == [heir.executor]


def test_a_duty_is_one_worker_s_until_it_lets_it_lapse(books: Database) -> None:
    first, second = WorkerBook(books), WorkerBook(books)
    assert first.has_lease("takeover")
    assert not second.has_lease("takeover")
    assert first.has_lease("takeover")
    with books.session() as session:
        session.execute(sa.update(LeaseRow).values(until=START))
    assert second.has_lease("takeover")
    assert not first.has_lease("takeover")


def test_a_queue_of_ten_thousand_is_read_by_its_index(books: Database) -> None:
    """How fast it is stands in benchmarks/scale.md; here, that neither database reads every row to find the next."""
    with books.session() as session:
        explain = "EXPLAIN QUERY PLAN " if books.engine.dialect.name == "sqlite" else "EXPLAIN "
        if books.engine.dialect.name == "postgresql":
            session.execute(sa.text("SET LOCAL enable_seqscan = off"))
        query = "SELECT run_id FROM run WHERE state = 'queued' ORDER BY priority, ready_at LIMIT 1"
        plan = " ".join(str(row) for row in session.execute(sa.text(explain + query)))
    assert "ix_run_queue" in plan


def test_a_process_that_was_killed_leaves_its_slot_to_the_next(books: Database) -> None:
    program = (
        "import sys; from dicom_node.database.engine import open_database; "
        "from dicom_node.database.worker_slots import WorkerBook; "
        "print(WorkerBook(open_database(sys.argv[1])).executor, flush=True); sys.stdin.read()"
    )
    url = books.engine.url.render_as_string(hide_password=False)
    with subprocess.Popen(
        [sys.executable, "-c", program, url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        slot = child.stdout.readline().strip()
        child.kill()
    watcher = WorkerBook(books)
    assert watcher.executor == slot


def test_workers_that_start_at_the_same_moment_have_slots_of_their_own(books: Database) -> None:
    with ThreadPoolExecutor(8) as pool:
        slots = [book.executor for book in pool.map(lambda _: WorkerBook(books), range(8))]
    assert len(set(slots)) == 8


def test_one_of_many_has_a_duty_that_nobody_had_before(books: Database) -> None:
    workers = [WorkerBook(books) for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(lambda book: book.has_lease("new"), workers)) == 1


def test_a_round_of_delivery_that_a_worker_died_in_is_due_at_once(books: Database) -> None:
    later = START + timedelta(days=400)
    _queue(books, "round", state=RunState.UNDELIVERED, executor="host/0", deliver_at=later)
    _queue(books, "other", state=RunState.UNDELIVERED, executor="host/1", deliver_at=later)
    with books.session() as session:
        take_over(session, ["host/0"])
    assert _run(books, "round").deliver_at != later
    assert _run(books, "other").deliver_at == later


def test_what_nobody_works_on_is_put_back_and_rounds_of_delivery_are_left_alone(books: Database) -> None:
    later = START + timedelta(days=400)
    _queue(books, "stuck")
    _queue(books, "round", state=RunState.UNDELIVERED, executor="host/0", deliver_at=later)
    claim_next(books, "host/0")
    with books.session() as session:
        assert [start.run_id for start in put_back(session, ["host/0"])] == ["stuck"]
    assert (_run(books, "stuck").state, _run(books, "stuck").attempt) == (RunState.QUEUED, 1)
    assert _run(books, "round").deliver_at == later
