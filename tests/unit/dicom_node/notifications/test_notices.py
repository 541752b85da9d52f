"""From events to notifications: gathered, throttled, sent at least once, given up; on both databases."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from dicom_node.database.engine import Database
from dicom_node.database.notice_tables import EventRow, NoticeRow, note_event
from dicom_node.database.standing import finish
from dicom_node.database.states import NodeEvent, NoticeState, RunState
from dicom_node.database.tables import RunRow
from dicom_node.notifications.channels import Channel, channels
from dicom_node.notifications.notices import CLAIM, GIVEN_UP_AFTER, KEPT, STALE, Answer, claim_due, forget, gather
from dicom_node.notifications.notifier import Notifier
from dicom_node.settings import Settings, read_settings
from tests.support.canary import CANARIES, TEXT, leaks
from tests.support.clock import SimulatedClock
from tests.support.held_study import hold_run
from tests.support.orthanc import free_port
from tests.support.receivers import mail_server, web_server

ROOT = Path(__file__).parents[4]


@pytest.fixture(autouse=True)
def _secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLIONODE_NOTIFY_WEBHOOK_SECRET", "a secret of the tests")


def _settings(folder: Path, **values: object) -> Settings:
    mail = {"email_to": "anna@example.org", "email_from": "node@example.org", "smtp_security": "none"}
    given = {"smtp_host": "127.0.0.1", **(mail if "smtp_port" in values else {}), **values}
    named = {f"GLIONODE_NOTIFICATIONS_{key}".upper(): str(value) for key, value in given.items()}
    return read_settings(environment={"GLIONODE_NODE_FOLDER": str(folder), **named})


def _note(database: Database, code: NodeEvent, count: int, clock: SimulatedClock, first: int = 0) -> None:
    with database.session() as session:
        for number in range(first, first + count):
            session.add(EventRow(at=clock.now(), code=code, subject=f"key{number}", detail="defect"))


def _notices(database: Database) -> list[NoticeRow]:
    with database.session() as session:
        return list(session.scalars(sa.select(NoticeRow).order_by(NoticeRow.made_at, NoticeRow.notice_id)).all())


def _send(settings: Settings, database: Database, clock: SimulatedClock) -> int:
    notifier = Notifier(settings, database)
    return sum(notifier.send_due(each, clock.now()) for each in channels(settings))


def _end(session: Session, state: RunState, code: str = "") -> None:
    finish(session, session.get_one(RunRow, "run"), state, code, TEXT)


def _break_off(database: Database) -> None:
    with database.session() as session:
        _end(session, RunState.FAILED)
        raise ZeroDivisionError


def test_the_end_of_a_run_and_its_event_are_kept_together_or_not_at_all(books: Database) -> None:
    hold_run(books, RunState.RUNNING, "align")
    with pytest.raises(ZeroDivisionError):
        _break_off(books)
    with books.session() as session:
        assert session.scalars(sa.select(EventRow)).all() == []
        _end(session, RunState.FAILED, "registration_failed")
        _end(session, RunState.FAILED, "registration_failed")
        _end(session, RunState.REJECTED, "no_mr")
        _end(session, RunState.DELIVERED)
    with books.session() as session:
        rows = session.execute(sa.select(EventRow.code, EventRow.subject, EventRow.detail).order_by(EventRow.id)).all()
    assert [tuple(row) for row in rows] == [
        ("study_stopped", "abc", "registration_failed"),
        ("results_delivered", "abc", ""),
    ]


def test_no_patient_stands_in_what_is_sent(database: Database, tmp_path: Path) -> None:
    hold_run(database, RunState.RUNNING, "align")
    with database.session() as session:
        run = session.get_one(RunRow, "run")
        run.summary = dict(CANARIES)
        finish(session, run, RunState.FAILED, "registration_failed", TEXT)
    clock = SimulatedClock()
    with database.session() as session:
        session.scalars(sa.select(EventRow)).one().at = clock.now()
    clock.at(60)
    with mail_server() as box, web_server() as web:
        settings = _settings(tmp_path, smtp_port=box.port, webhook=web.url)
        assert gather(settings, database, clock.now()) == 1
        assert _send(settings, database, clock) == 2
    content = json.loads(web.posted[0].body)
    assert content["about"] == [{"subject": "abc", "detail": "registration_failed", "link": ""}]
    assert leaks(box.raw[0], web.posted[0].body, str(web.posted[0].headers)) == []


def test_a_storm_is_one_mail_with_a_number_and_what_follows_waits(books: Database, tmp_path: Path) -> None:
    clock = SimulatedClock()
    with mail_server() as box:
        settings = _settings(tmp_path, smtp_port=box.port)
        _note(books, NodeEvent.STUDY_STOPPED, 500, clock)
        clock.at(19)
        assert gather(settings, books, clock.now()) == 0, "what follows within 20 s is told with it"
        clock.at(20)
        assert gather(settings, books, clock.now()) == 500
        _note(books, NodeEvent.STUDY_STOPPED, 3, clock, first=500)
        _note(books, NodeEvent.WORKER_AWAY, 1, clock)
        clock.at(60)
        assert gather(settings, books, clock.now()) == 1, "another kind does not wait"
        clock.at(20 + 900)
        assert gather(settings, books, clock.now()) == 3
        assert _send(settings, books, clock) == 3
    subjects = [str(mail["Subject"]) for mail in box.mails]
    assert sorted(subjects) == [
        "[GLIONODE] 3 studies have stopped and need a person.",
        "[GLIONODE] 500 studies have stopped and need a person.",
        "[GLIONODE] The worker key0 sends no heartbeat.",
    ]
    text = next(mail.get_content() for mail in box.mails if "500" in mail["Subject"])
    assert "key99 " in text
    assert "and 400 more" in text


def test_the_webhook_gets_every_delivery_where_it_is_wanted_and_mail_gets_none(books: Database, tmp_path: Path) -> None:
    clock = SimulatedClock()
    with mail_server() as box, web_server() as web:
        _note(books, NodeEvent.RESULTS_DELIVERED, 1, clock, first=1000)
        clock.at(30)
        quiet = _settings(tmp_path, smtp_port=box.port, webhook=web.url)
        assert gather(quiet, books, clock.now()) == 0
        told = _settings(tmp_path, smtp_port=box.port, webhook=web.url, webhook_delivered="true")
        for first, count in ((0, 250), (250, 1)):
            _note(books, NodeEvent.RESULTS_DELIVERED, count, clock, first)
            clock.at(60 + first)
            assert gather(told, books, clock.now()) == count
        _send(told, books, clock)
    assert box.raw == []
    keys = [one["subject"] for posted in web.posted for one in json.loads(posted.body)["about"]]
    assert sorted(keys) == sorted(f"key{number}" for number in range(251))


def test_a_mail_server_that_is_away_is_tried_again_and_gets_it_once(books: Database, tmp_path: Path) -> None:
    clock, port = SimulatedClock(), free_port()
    settings = _settings(tmp_path, smtp_port=port)
    _note(books, NodeEvent.STUDY_STOPPED, 1, clock)
    clock.at(20)
    gather(settings, books, clock.now())
    tried = []
    for second in range(20, 120):
        clock.at(second)
        if _send(settings, books, clock):
            tried.append(second)
    assert tried == [20, 30, 50, 90]
    with mail_server(port=port) as box:
        assert _send(settings, books, clock) == 0
        clock.at(170)
        assert _send(settings, books, clock) == 1
        clock.at(9000)
        assert _send(settings, books, clock) == 0
    (notice,) = _notices(books)
    assert (notice.state, notice.attempts) == (NoticeState.SENT, 5)
    assert [mail["Message-ID"] for mail in box.mails] == [f"<{notice.notice_id}@example.org>"]


def test_one_receiver_that_is_away_does_not_hold_up_the_other(database: Database, tmp_path: Path) -> None:
    clock = SimulatedClock()
    with web_server() as web:
        settings = _settings(tmp_path, smtp_port=free_port(), webhook=web.url)
        _note(database, NodeEvent.DISK_FULL, 1, clock)
        clock.at(20)
        gather(settings, database, clock.now())
        _send(settings, database, clock)
    assert {notice.channel: notice.state for notice in _notices(database)} == {"mail": "waiting", "webhook": "sent"}
    assert len(web.posted) == 1


def test_what_could_not_be_sent_is_told_with_the_next_and_given_up_after_two_days(
    books: Database, tmp_path: Path
) -> None:
    clock = SimulatedClock()
    settings = _settings(tmp_path, smtp_port=free_port())
    for number in range(3):
        _note(books, NodeEvent.STUDY_STOPPED, 2, clock, first=2 * number)
        clock.at(1000 * number + 20)
        assert gather(settings, books, clock.now()) == 2
        _send(settings, books, clock)
        clock.at(1000 * (number + 1))
    newest = max(_notices(books), key=lambda notice: notice.made_at)
    assert sorted(notice.state for notice in _notices(books)) == ["merged", "merged", "waiting"]
    assert newest.content["sentence"] == "6 studies have stopped and need a person."
    assert [one["subject"] for one in newest.content["about"]] == [f"key{number}" for number in range(6)]
    clock.at(20 + GIVEN_UP_AFTER.total_seconds())
    assert _send(settings, books, clock) == 1
    (given_up,) = [notice for notice in _notices(books) if notice.state == NoticeState.GIVEN_UP]
    assert given_up.notice_id == newest.notice_id
    assert given_up.answer == "the mail server cannot be reached (ConnectionRefusedError)"
    clock.at(10 * GIVEN_UP_AFTER.total_seconds())
    assert _send(settings, books, clock) == 0
    forget(books, clock.now() + KEPT)
    assert _notices(books) == []


def test_only_one_process_sends_a_notification_at_a_time(books: Database, tmp_path: Path) -> None:
    clock = SimulatedClock()
    settings = _settings(tmp_path, webhook="http://127.0.0.1:9/hook")
    _note(books, NodeEvent.DISK_FULL, 1, clock)
    clock.at(20)
    gather(settings, books, clock.now())
    assert claim_due(books, "mail", clock.now()) is None
    assert claim_due(books, "webhook", clock.now()) is not None
    assert claim_due(books, "webhook", clock.now()) is None


PROGRAM = """
import sys
from datetime import datetime
from dicom_node.database.engine import open_database
from dicom_node.notifications.channels import channels
from dicom_node.notifications.notifier import Notifier
from dicom_node.settings import read_settings
settings = read_settings()
notifier = Notifier(settings, open_database(sys.argv[1]))
notifier.send_due(channels(settings)[0], datetime.fromisoformat(sys.argv[2]))
"""


def test_a_process_killed_between_sending_and_noting_sends_it_again_with_the_same_id(
    database: Database, tmp_path: Path
) -> None:
    clock = SimulatedClock()
    with web_server() as web:
        settings = _settings(tmp_path, webhook=web.url)
        _note(database, NodeEvent.STUDY_STOPPED, 1, clock)
        clock.at(20)
        gather(settings, database, clock.now())
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "GLIONODE_NOTIFICATIONS_WEBHOOK": web.url}
        url = database.engine.url.render_as_string(hide_password=False)
        started: list[subprocess.Popen[bytes]] = []
        web.before = lambda: started[0].kill()  # noqa: PLW0108 - it is started below
        started.append(subprocess.Popen([sys.executable, "-c", PROGRAM, url, str(clock.now())], env=environment))
        assert started[0].wait(60) == -signal.SIGKILL
        web.before = lambda: None
        clock.at(21)
        assert _send(settings, database, clock) == 0, "the other may still send it"
        clock.at(20 + CLAIM.total_seconds())
        assert _send(settings, database, clock) == 1
    first, second = web.posted
    assert first.headers["Idempotency-Key"] == second.headers["Idempotency-Key"]
    assert first.body == second.body
    assert _notices(database)[0].state == NoticeState.SENT


def test_events_from_a_time_without_notifications_are_not_told(database: Database, tmp_path: Path) -> None:
    clock = SimulatedClock()
    settings = _settings(tmp_path, webhook="http://127.0.0.1:9/hook")
    _note(database, NodeEvent.STUDY_STOPPED, 5, clock)
    clock.at(STALE.total_seconds())
    assert gather(settings, database, clock.now()) == 0
    assert _notices(database) == []
    _note(database, NodeEvent.STUDY_STOPPED, 1, clock)
    clock.at(STALE.total_seconds() + 20)
    assert gather(settings, database, clock.now()) == 1
    clock.at(4 * STALE.total_seconds())
    forget(database, clock.now())
    with database.session() as session:
        assert session.scalars(sa.select(EventRow)).all() == []
    assert len(_notices(database)) == 1


def test_a_defect_of_one_sender_ends_nothing_but_its_round(database: Database, tmp_path: Path) -> None:
    def broken(*_: object) -> Answer:
        raise ZeroDivisionError

    clock = SimulatedClock()
    settings = _settings(tmp_path, webhook="http://127.0.0.1:9/hook")
    with database.session() as session:
        note_event(session, NodeEvent.STUDY_STOPPED, "k" * 200, "d" * 200)
        session.flush()
        session.scalars(sa.select(EventRow)).one().at = clock.now()
    clock.at(20)
    gather(settings, database, clock.now())
    notifier, calls = Notifier(settings, database), list[int]()

    def once() -> None:
        calls.append(notifier.send_due(Channel(name="mail", target="", send=broken), clock.now()))
        calls.append(1)
        if len(calls) == 4:
            notifier.stop()
        notifier.send_due(Channel(name="webhook", target="", send=broken), clock.now())
        raise sa.exc.OperationalError("", {}, ValueError())

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dicom_node.notifications.notifier.DEFECT_S", 0.0)
        notifier._loop("send", 0.0, once)
    assert calls == [0, 1, 0, 1]
    assert len(_notices(database)[0].content["about"][0]["subject"]) == 80
