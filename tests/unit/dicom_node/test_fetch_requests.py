"""Requests for studies outlive the workers that fetch them, and end at last; on both databases."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from dicom_node.database.engine import Database
from dicom_node.database.states import FetchState
from dicom_node.database.tables import FetchRow, WorkerRow
from dicom_node.database.worker_slots import DEAD_AFTER, WorkerBook
from dicom_node.peers.peer import Peer
from dicom_node.peers.registry import put_peer
from dicom_node.retrieval.fetch_requests import MOST_ATTEMPTS, ask_for, fetch_next
from dicom_node.settings import Settings, read_settings
from tests.support.small_study import SLICES, make_small_study
from tests.support.web_source import WebSource, file_of, multipart, serving_web

_IMAGES = make_small_study("wanted", roles=["FLAIR"])
_STUDY = str(_IMAGES[0].StudyInstanceUID)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return read_settings(environment={"GLIONODE_NODE_FOLDER": str(tmp_path)})


@pytest.fixture
def web(books: Database) -> Iterator[WebSource]:
    with serving_web() as running:
        running.answers(_STUDY, list(multipart([file_of(ds) for ds in _IMAGES])))
        put_peer(books, Peer(name="Web", ae_title="WEB", dicomweb_url=running.root, is_source=True))
        yield running


def _row(books: Database) -> FetchRow:
    with books.session() as session:
        row = session.scalars(sa.select(FetchRow)).one()
        session.expunge(row)
        return row


def _left_by(books: Database, executor: str, attempt: int = 1) -> None:
    """Leave a request as a worker does that dies while it fetches."""
    ask_for(books, _STUDY, "Web", 0)
    with books.session() as session:
        row = session.scalars(sa.select(FetchRow)).one()
        row.state, row.executor, row.attempt = FetchState.RUNNING, executor, attempt


def _fall_silent(books: Database, executor: str) -> None:
    with books.session() as session:
        row = session.get_one(WorkerRow, executor)
        row.beat_at, row.host = row.beat_at - 2 * DEAD_AFTER - timedelta(seconds=1), "another host"


@pytest.mark.usefixtures("web")
def test_what_a_dead_worker_had_is_fetched_by_another(books: Database, settings: Settings) -> None:
    dead, alive = WorkerBook(books).executor, WorkerBook(books).executor
    _left_by(books, dead)
    assert not fetch_next(settings, books, alive)  # the other still gives signs of life
    assert _row(books).state == FetchState.RUNNING
    _fall_silent(books, dead)
    assert fetch_next(settings, books, alive)
    row = _row(books)
    assert (row.state, row.executor, row.attempt) == (FetchState.DONE, alive, 2)
    assert row.reason == f"{SLICES} instances of 1 study by WADO-RS, 0 failed"


@pytest.mark.usefixtures("web")
@pytest.mark.parametrize("left_by", ["its own slot", ""])
def test_a_worker_that_starts_again_takes_up_what_it_had(books: Database, settings: Settings, left_by: str) -> None:
    """So it does with what an earlier version left, which did not say whose it was."""
    executor = WorkerBook(books).executor
    _left_by(books, executor if left_by else "")
    assert fetch_next(settings, books, executor)
    assert _row(books).state == FetchState.DONE


def test_a_request_that_workers_end_over_ends_at_last(books: Database, settings: Settings, web: WebSource) -> None:
    executor = WorkerBook(books).executor
    _left_by(books, executor, MOST_ATTEMPTS)
    assert not fetch_next(settings, books, executor)
    row = _row(books)
    assert row.state == FetchState.FAILED
    assert row.reason == "3 workers ended while fetching it; check the node's log, then request it again"
    assert web.asked == []


def test_who_was_taken_for_dead_does_not_write_over_the_other(
    books: Database, settings: Settings, web: WebSource
) -> None:
    slow, other = WorkerBook(books).executor, WorkerBook(books).executor
    ask_for(books, _STUDY, "Web", 0)
    body = list(multipart([file_of(ds) for ds in _IMAGES[:1]], end=False))

    def taken_over() -> Iterator[bytes]:
        with books.session() as session:
            row = session.scalars(sa.select(FetchRow)).one()
            assert row.executor == slow
            row.executor, row.attempt = other, 2
        yield from body

    web.answers(_STUDY, taken_over())
    assert fetch_next(settings, books, slow)
    row = _row(books)
    assert (row.state, row.executor, row.reason) == (FetchState.RUNNING, other, "")


def test_what_came_incomplete_is_no_success(books: Database, settings: Settings, web: WebSource) -> None:
    web.answers(_STUDY, list(multipart([file_of(ds) for ds in _IMAGES[:4]], end=False)))
    ask_for(books, _STUDY, "Web", 0)
    assert fetch_next(settings, books, WorkerBook(books).executor)
    row = _row(books)
    assert row.state == FetchState.FAILED
    assert row.reason.startswith("3 instances of 1 study by WADO-RS, 0 failed: incomplete: the answer of Web ended")
