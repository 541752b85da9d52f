"""The queue of uploads: bounded, in order of arrival, seen by the owner alone, and removed when its time has passed."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from dicom_node.database.engine import Database
from dicom_node.database.states import JobState
from dicom_node.database.tables import WorkerRow
from dicom_node.database.upload_tables import WorkbenchRow
from dicom_node.database.worker_slots import DEAD_AFTER, WorkerBook
from dicom_node.settings import WorkbenchSettings, read_settings
from dicom_node.workbench.jobs import (
    LONGEST_UPLOAD,
    Job,
    QueueFull,
    Removal,
    UploadedFile,
    claim_job,
    end_job,
    enter_step,
    files_of,
    find_job,
    give_back_jobs,
    input_folder,
    is_computed,
    jobs_of,
    new_job_id,
    put_back_job,
    remove_expired,
    remove_job,
    remove_stopped,
    result_folder,
    submit,
)

_FILES = (
    UploadedFile(stored="00000", name="Größe 脳 \ud800 \0.nii", role="T1CE"),
    UploadedFile(stored="00001", name="b"),
)
_OWNER, _OTHER, _WORKER = "token:study", "token:else", "host/0"


@pytest.fixture
def limits() -> WorkbenchSettings:
    return replace(read_settings(environment={}).workbench, waiting=3, kept_hours=2.0)


@pytest.fixture
def send(books: Database, folder: Path, limits: WorkbenchSettings) -> Callable[..., str]:
    """Return a function that submits an upload with one stored file and a result, and returns its name."""

    def run(owner: str = _OWNER) -> str:
        job_id = new_job_id()
        for place in (input_folder(folder, job_id), result_folder(folder, job_id)):
            place.mkdir(parents=True)
            (place / "file").write_bytes(b"x")
        submit(books, limits, job_id, owner, _FILES)
        return job_id

    return run


def _found(database: Database, job_id: str) -> Job:
    job = find_job(database, job_id, _OWNER)
    assert job is not None
    return job


def _attempt(database: Database, job_id: str) -> int:
    with database.session() as session:
        return session.get_one(WorkbenchRow, job_id).attempt


def _ended(database: Database, job_id: str) -> datetime | None:
    with database.session() as session:
        return session.get_one(WorkbenchRow, job_id).ended_at


def _age(path: Path, now: datetime, age: timedelta) -> None:
    time = (now - age).timestamp()
    os.utime(path, (time, time))


def test_an_upload_is_kept_as_it_was_sent(books: Database, send: Callable[..., str]) -> None:
    before = datetime.now(UTC)
    job_id = send()
    job = _found(books, job_id)
    assert (job.id, job.files, files_of(books, job_id)) == (job_id, _FILES, _FILES)
    assert (job.state, job.step, job.reason) == (JobState.WAITING, "", "")
    assert before <= job.created_at <= datetime.now(UTC)
    assert timedelta(0) <= job.expires_at - before - timedelta(hours=2) < timedelta(minutes=1)


def test_names_of_uploads_cannot_be_guessed() -> None:
    names = {new_job_id() for _ in range(100)}
    assert len(names) == 100
    assert all(len(bytes.fromhex(name)) == 16 for name in names)


def test_no_more_wait_than_may_and_a_claimed_one_makes_room(books: Database, send: Callable[..., str]) -> None:
    for _ in range(3):
        send()
    with pytest.raises(QueueFull, match="3 uploads are waiting already"):
        send(_OTHER)
    assert jobs_of(books, _OTHER) == []
    claim_job(books, _WORKER)
    send(_OTHER)
    assert len(jobs_of(books, _OTHER)) == 1


def test_places_follow_the_order_of_arrival(books: Database, send: Callable[..., str]) -> None:
    names = [send(), send(_OTHER), send()]
    assert [_found(books, names[0]).place, _found(books, names[2]).place] == [1, 3]
    assert [(job.id, job.place) for job in jobs_of(books, _OWNER)] == [(names[2], 3), (names[0], 1)]
    assert claim_job(books, _WORKER) == names[0]
    assert [_found(books, names[0]).place, _found(books, names[2]).place] == [0, 2]


def test_uploads_of_one_moment_have_places_of_their_own(books: Database, send: Callable[..., str]) -> None:
    names = sorted([send(), send(), send()], reverse=True)
    with books.session() as session:
        for name in names:
            session.get_one(WorkbenchRow, name).created_at = datetime(2026, 1, 1, tzinfo=UTC)
    assert [_found(books, name).place for name in names] == [3, 2, 1]
    assert [claim_job(books, _WORKER) for _ in names] == names[::-1]


def test_an_upload_is_found_by_its_owner_alone(books: Database, send: Callable[..., str]) -> None:
    job_id = send()
    assert find_job(books, job_id, _OTHER) is None
    assert find_job(books, job_id, "") is None
    assert find_job(books, new_job_id(), _OWNER) is None
    assert jobs_of(books, _OTHER) == []
    assert [job.id for job in jobs_of(books, _OWNER)] == [job_id]


def test_the_oldest_is_claimed_and_only_once(books: Database, send: Callable[..., str]) -> None:
    names = [send(), send()]
    assert [claim_job(books, _WORKER), claim_job(books, "host/1"), claim_job(books, _WORKER)] == [*names, None]
    assert [_found(books, name).state for name in names] == [JobState.RUNNING, JobState.RUNNING]


def test_workers_that_claim_at_once_get_different_uploads(books: Database, send: Callable[..., str]) -> None:
    names = {send(), send(), send()}
    with ThreadPoolExecutor(6) as pool:
        claimed = list(pool.map(lambda k: claim_job(books, f"host/{k}"), range(6)))
    got = [name for name in claimed if name is not None]
    assert len(got) == len(set(got))
    assert {*got, *(claim_job(books, _WORKER) for _ in range(3))} - {None} == names


def test_an_upload_of_a_worker_that_died_is_begun_once_more_and_then_fails(
    books: Database, send: Callable[..., str]
) -> None:
    job_id = send()
    claim_job(books, _WORKER)
    enter_step(books, job_id, "align")
    give_back_jobs(books, ["host/1"])
    assert (_found(books, job_id).state, _found(books, job_id).step) == (JobState.RUNNING, "align")
    give_back_jobs(books, [_WORKER, "host/1"])
    assert (_found(books, job_id).state, _found(books, job_id).step) == (JobState.WAITING, "")
    assert claim_job(books, "host/1") == job_id
    give_back_jobs(books, ["host/1"])
    job = _found(books, job_id)
    assert (job.state, job.place) == (JobState.FAILED, 0)
    assert job.reason.startswith("It was begun 2 times and not finished.")
    assert _ended(books, job_id) is not None
    assert claim_job(books, _WORKER) is None


def test_an_upload_that_has_ended_is_not_given_back(books: Database, send: Callable[..., str]) -> None:
    job_id = send()
    claim_job(books, _WORKER)
    end_job(books, job_id, _WORKER)
    give_back_jobs(books, [_WORKER])
    put_back_job(books, job_id, _WORKER)
    assert _found(books, job_id).state is JobState.DONE


def test_a_worker_that_stops_costs_no_attempt(books: Database, send: Callable[..., str]) -> None:
    job_id = send()
    for _ in range(4):
        assert claim_job(books, _WORKER) == job_id
        enter_step(books, job_id, "align")
        put_back_job(books, job_id, _WORKER)
    job = _found(books, job_id)
    assert (job.state, job.step, job.place, _attempt(books, job_id)) == (JobState.WAITING, "", 1, 0)


def test_a_worker_that_lost_an_upload_changes_nothing(books: Database, send: Callable[..., str]) -> None:
    job_id = send()
    claim_job(books, _WORKER)
    give_back_jobs(books, [_WORKER])
    end_job(books, job_id, _WORKER)
    assert _found(books, job_id).state is JobState.WAITING
    claim_job(books, "host/1")
    end_job(books, job_id, _WORKER, "too late")
    put_back_job(books, job_id, _WORKER)
    job = _found(books, job_id)
    assert (job.state, job.reason, _attempt(books, job_id)) == (JobState.RUNNING, "", 2)
    for done in (end_job, put_back_job):
        done(books, new_job_id(), _WORKER)


@pytest.mark.parametrize(("problem", "state"), [("", JobState.DONE), ("No MR images.", JobState.FAILED)])
def test_an_end_is_noted_with_its_reason(
    books: Database, send: Callable[..., str], problem: str, state: JobState
) -> None:
    job_id = send()
    claim_job(books, _WORKER)
    enter_step(books, job_id, "segment")
    assert _found(books, job_id).step == "segment"
    assert _ended(books, job_id) is None
    end_job(books, job_id, _WORKER, problem)
    job = _found(books, job_id)
    assert (job.state, job.reason, job.step) == (state, problem, "")
    assert _ended(books, job_id) is not None


def test_an_upload_is_removed_with_its_files_by_its_owner_alone(
    books: Database, folder: Path, send: Callable[..., str]
) -> None:
    job_id, other = send(), send(_OTHER)
    assert remove_job(books, folder, job_id, _OTHER) is Removal.NO_JOB
    assert (input_folder(folder, job_id) / "file").exists()
    assert remove_job(books, folder, job_id, _OWNER) is Removal.DONE
    assert find_job(books, job_id, _OWNER) is None
    assert [path.name for path in (folder / "workbench").iterdir()] == [other]
    assert remove_job(books, folder, job_id, _OWNER) is Removal.NO_JOB


def test_an_upload_that_a_living_worker_has_is_removed_once_that_worker_ended_it(
    books: Database, folder: Path, send: Callable[..., str]
) -> None:
    worker = WorkerBook(books).executor
    job_id, next_one = send(), send()
    claim_job(books, worker)
    assert is_computed(books, job_id, worker)
    assert not is_computed(books, job_id, _WORKER)
    for _ in range(2):
        assert remove_job(books, folder, job_id, _OWNER) is Removal.BEGUN
    assert _found(books, job_id).state is JobState.STOPPING
    assert not is_computed(books, job_id, worker)
    assert (input_folder(folder, job_id) / "file").exists()
    end_job(books, job_id, worker)
    put_back_job(books, job_id, worker)
    give_back_jobs(books, [worker])
    remove_stopped(books, folder, ["host/1"])
    assert _found(books, job_id).state is JobState.STOPPING
    remove_stopped(books, folder, [worker])
    assert [job.id for job in jobs_of(books, _OWNER)] == [next_one]
    assert [path.name for path in (folder / "workbench").iterdir()] == [next_one]
    assert claim_job(books, worker) == next_one


def test_an_upload_whose_worker_is_silent_is_removed_at_once(
    books: Database, folder: Path, send: Callable[..., str]
) -> None:
    book = WorkerBook(books)
    running, stopping = send(), send()
    for _ in range(2):
        claim_job(books, book.executor)
    assert remove_job(books, folder, stopping, _OWNER) is Removal.BEGUN
    with books.session() as session:
        session.get_one(WorkerRow, book.executor).beat_at -= 2 * DEAD_AFTER
    for job_id in (running, stopping):
        assert remove_job(books, folder, job_id, _OWNER) is Removal.DONE
        assert not is_computed(books, job_id, book.executor)
    assert list((folder / "workbench").iterdir()) == []


def test_an_upload_that_nobody_stopped_in_time_is_removed_as_expired(
    books: Database, folder: Path, send: Callable[..., str]
) -> None:
    job_id = send()
    claim_job(books, WorkerBook(books).executor)
    remove_job(books, folder, job_id, _OWNER)
    assert remove_expired(books, folder, datetime.now(UTC) + timedelta(hours=2.1)) == 1
    assert jobs_of(books, _OWNER) == []


def test_uploads_whose_time_has_passed_are_removed_but_not_while_they_run(
    books: Database, folder: Path, send: Callable[..., str]
) -> None:
    running, done, _ = send(), send(), send()
    claim_job(books, _WORKER)
    claim_job(books, "host/1")
    end_job(books, done, "host/1")
    soon = datetime.now(UTC) + timedelta(hours=1.9)
    for path in (folder / "workbench").iterdir():
        _age(path, soon, 2 * LONGEST_UPLOAD)
    assert remove_expired(books, folder, soon) == 0
    assert len(jobs_of(books, _OWNER)) == 3
    assert remove_expired(books, folder, soon + timedelta(hours=0.2)) == 2
    assert [job.id for job in jobs_of(books, _OWNER)] == [running]
    assert [path.name for path in (folder / "workbench").iterdir()] == [running]
    assert (result_folder(folder, running) / "file").exists()


def test_an_upload_that_broke_off_is_removed_and_one_that_arrives_is_not(
    books: Database, folder: Path, send: Callable[..., str]
) -> None:
    now = datetime.now(UTC)
    kept, old, young = send(), new_job_id(), new_job_id()
    for name in (old, young):
        input_folder(folder, name).mkdir(parents=True)
        (input_folder(folder, name) / "00000").touch()
    root = folder / "workbench"
    _age(root / kept, now, 2 * LONGEST_UPLOAD)
    _age(root / old, now, LONGEST_UPLOAD + timedelta(minutes=1))
    _age(root / young, now, LONGEST_UPLOAD - timedelta(minutes=1))
    assert remove_expired(books, folder, now) == 1
    assert {path.name for path in root.iterdir()} == {kept, young}


def test_a_node_without_uploads_has_nothing_to_remove(books: Database, folder: Path) -> None:
    assert remove_expired(books, folder, datetime.now(UTC)) == 0
    assert not folder.exists()


def test_uploads_that_arrive_together_do_not_exceed_the_bound(books: Database, limits: WorkbenchSettings) -> None:
    def one(_: int) -> bool:
        try:
            submit(books, limits, new_job_id(), _OWNER, _FILES)
        except QueueFull:
            return False
        return True

    with ThreadPoolExecutor(12) as pool:
        taken = list(pool.map(one, range(12)))
    assert sum(taken) == len(jobs_of(books, _OWNER)) == limits.waiting
