"""What is wrong with a node is noted once when it begins and once when it ends; on both databases."""

from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from dicom_node.audit.files import FOLDER
from dicom_node.database.engine import Database
from dicom_node.database.notice_tables import ConditionRow, EventRow, NoticeRow
from dicom_node.database.states import DeliveryState, NodeEvent, RunState
from dicom_node.database.tables import DeliveryRow, ResultRow, WorkerRow, utc_now
from dicom_node.database.worker_slots import WorkerBook
from dicom_node.notifications import conditions
from dicom_node.notifications.conditions import Conditions
from dicom_node.notifications.notifier import Notifier
from dicom_node.peers.peer import Peer
from dicom_node.peers.registry import put_peer, set_enabled
from dicom_node.settings import Settings, read_settings
from tests.support.clock import SimulatedClock
from tests.support.held_study import hold_run
from tests.support.receivers import make_certificate

PACS = Peer(name="PACS", ae_title="PACSAE", host="127.0.0.1", port=104, is_destination=True)
Event = tuple[str, bool, str, str]


def _settings(folder: Path, **values: object) -> Settings:
    folder.mkdir(exist_ok=True)
    fixed = {"GLIONODE_NODE_FOLDER": str(folder), "GLIONODE_NOTIFICATIONS_WEBHOOK": "http://127.0.0.1:9/hook"}
    return read_settings(environment={**fixed, **{f"GLIONODE_{key}": str(value) for key, value in values.items()}})


def _events(database: Database) -> list[Event]:
    with database.session() as session:
        rows = session.scalars(sa.select(EventRow).order_by(EventRow.id)).all()
        return [(row.code, row.ended, row.subject, row.detail) for row in rows]


def _told(database: Database) -> None:
    with database.session() as session:
        session.execute(sa.update(EventRow).values(gathered=True))


def _deliver(database: Database, state: DeliveryState, status: int | None = None, attempts: int = 1) -> None:
    """Give the delivery of the only object to the PACS this state; both are made at first."""
    with database.session() as session:
        row = session.scalar(sa.select(DeliveryRow))
        if row is None:
            facts = {"series_uid": "1", "sop_class_uid": "1", "kind": "SEG", "path": "x", "sha256": "0"}
            session.add(ResultRow(sop_instance_uid="1.9", run_id="run", study_uid="1.2", **facts))
            session.flush()
            row = DeliveryRow(run_id="run", sop_instance_uid="1.9", destination="PACS")
            session.add(row)
        row.state, row.status, row.attempts = state, status, attempts


def test_a_healthy_node_has_nothing_to_tell(books: Database, tmp_path: Path) -> None:
    WorkerBook(books)
    put_peer(books, PACS)
    hold_run(books, RunState.UNDELIVERED)
    _deliver(books, DeliveryState.WAITING, attempts=0)
    looking, clock = Conditions(_settings(tmp_path / "node", LIMITS_FREE_DISK_GIB=0), books), SimulatedClock()
    looking.look(clock.now())
    looking.look(clock.at(100 * 60))
    assert _events(books) == []


def test_a_destination_is_told_after_a_while_and_once_more_when_it_answers_again(
    books: Database, tmp_path: Path
) -> None:
    put_peer(books, PACS)
    hold_run(books, RunState.UNDELIVERED)
    clock, looking = SimulatedClock(), Conditions(_settings(tmp_path / "node", LIMITS_FREE_DISK_GIB=0), books)
    _deliver(books, DeliveryState.REFUSED)
    looking.look(clock.now())
    looking.look(clock.at(14 * 60))
    assert _events(books) == []
    _deliver(books, DeliveryState.SENDING, 0xA700)
    looking.look(clock.at(15 * 60))
    looking.look(clock.at(30 * 60))
    begun = ("destination_silent", False, "PACS", "1 object, answer 0xA700")
    assert _events(books) == [begun]
    _told(books)
    _deliver(books, DeliveryState.ACCEPTED, 0)
    looking.look(clock.at(31 * 60))
    looking.look(clock.at(32 * 60))
    assert _events(books) == [begun, ("destination_silent", True, "PACS", "")]
    set_enabled(books, "PACS", enabled=False)
    _deliver(books, DeliveryState.REFUSED)
    looking.look(clock.at(99 * 60))
    looking.look(clock.at(199 * 60))
    assert len(_events(books)) == 2, "a disabled destination is not expected to answer"


def test_what_is_over_before_it_was_told_is_not_told(database: Database, tmp_path: Path) -> None:
    clock, folder = SimulatedClock(), tmp_path / "node"
    full = Conditions(_settings(folder, LIMITS_FREE_DISK_GIB=1e6), database)
    free = Conditions(_settings(folder, LIMITS_FREE_DISK_GIB=0), database)
    full.look(clock.now())
    assert [event[:3] for event in _events(database)] == [("disk_full", False, "disk")]
    free.look(clock.at(5))
    assert _events(database) == []
    full.look(clock.at(10))
    _told(database)
    free.look(clock.at(15))
    assert [event[:2] for event in _events(database)] == [("disk_full", False), ("disk_full", True)]
    full.look(clock.at(20))
    assert [event[:2] for event in _events(database)] == [("disk_full", False)], "it goes on"


def test_around_its_limit_the_disk_does_not_go_to_and_fro(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looking, clock = Conditions(_settings(tmp_path / "node", LIMITS_FREE_DISK_GIB=1), database), SimulatedClock()
    for second, gib in enumerate((1.05, 0.99, 1.05, 0.99, 1.2)):
        monkeypatch.setattr(conditions, "free_bytes", lambda _folder, gib=gib: gib * 2**30)
        looking.look(clock.at(second))
        _told(database)
    assert [event[:2] for event in _events(database)] == [("disk_full", False), ("disk_full", True)]


def test_a_silent_worker_is_told_and_one_that_ends_as_intended_is_not(books: Database, tmp_path: Path) -> None:
    book, looking = WorkerBook(books), Conditions(_settings(tmp_path / "node", LIMITS_FREE_DISK_GIB=0), books)
    with books.session() as session:
        session.get_one(WorkerRow, book.executor).beat_at = utc_now() - timedelta(seconds=20)
    looking.look(utc_now())
    assert _events(books) == [("worker_away", False, book.executor, "")]
    _told(books)
    book.beat()
    looking.look(utc_now())
    assert _events(books)[1:] == [("worker_away", True, book.executor, "")]
    book.end()
    looking.look(utc_now())
    assert len(_events(books)) == 2


def test_trail_model_and_certificate_are_looked_at(database: Database, tmp_path: Path) -> None:
    folder = tmp_path / "node"
    short, long = make_certificate(tmp_path, 29), make_certificate(tmp_path, 40)
    fixed: dict[str, object] = {"LIMITS_FREE_DISK_GIB": 0}
    good = {**fixed, "WEB_CERTIFICATE": long.pem, "WEB_KEY": long.key}
    bad = {**fixed, "WEB_CERTIFICATE": short.pem, "WEB_KEY": short.key, "PROCESSING_MODEL": str(tmp_path)}
    settings = _settings(folder, **bad)
    (folder / FOLDER).write_text("no folder")
    Conditions(settings, database).look(utc_now())
    found = {code: detail for code, _, _, detail in _events(database)}
    assert set(found) == {"audit_unwritable", "model_unusable", "certificate"}
    assert found["certificate"].startswith("ends on ")
    assert found["model_unusable"].startswith("model_")
    assert str(tmp_path) not in str(found)
    _told(database)
    (folder / FOLDER).unlink()
    Conditions(_settings(folder, **good), database).look(utc_now())
    assert {code for code, ended, _, _ in _events(database) if ended} == set(found)
    missing = {"WEB_CERTIFICATE": tmp_path / "none", "WEB_KEY": long.key}
    Conditions(_settings(folder, **fixed, **missing), database).look(utc_now())
    with database.session() as session:
        row = session.get_one(ConditionRow, (NodeEvent.CERTIFICATE, "certificate"))
        assert row.detail == "cannot be read (FileNotFoundError)"
    Conditions(_settings(folder, **good), database).look(utc_now() + timedelta(days=41))
    with database.session() as session:
        assert session.get_one(ConditionRow, (NodeEvent.CERTIFICATE, "certificate")).detail.startswith("has ended on ")


def test_one_process_at_a_time_looks_and_gathers(books: Database, tmp_path: Path) -> None:
    settings = _settings(tmp_path / "node", LIMITS_FREE_DISK_GIB=1e6, NOTIFICATIONS_GATHER_S=0)
    first, second = Notifier(settings, books), Notifier(settings, books)
    first.look(utc_now())
    with books.session() as session:
        session.add(EventRow(code=NodeEvent.STUDY_STOPPED, subject="key"))
    second.look(utc_now())
    with books.session() as session:
        (notice,) = session.scalars(sa.select(NoticeRow)).all()
    assert notice.content["sentence"].startswith("The disk is nearly full (")
    first.look(utc_now())
    with books.session() as session:
        assert len(session.scalars(sa.select(NoticeRow)).all()) == 2
