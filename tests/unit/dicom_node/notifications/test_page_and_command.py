"""Notifications on the panel's page, by the command, and from the node's own processes."""

import json
import re
from pathlib import Path

import httpx
import pytest
import sqlalchemy as sa
from click.testing import CliRunner

from dicom_node.cli.main import cli
from dicom_node.database.engine import Database, open_database
from dicom_node.database.notice_tables import ConditionRow, EventRow, NoticeRow
from dicom_node.database.states import NodeEvent
from dicom_node.database.tables import utc_now
from dicom_node.notifications.notices import Answer, gather, note_answer
from dicom_node.settings import read_settings
from dicom_node.web.app import panel_app
from tests.support.panel_client import log_in
from tests.support.receivers import mail_server, web_server
from tests.support.role_process import role_process
from tests.support.viewer_port import served
from tests.support.waiting import ANSWER_S, wait_until


@pytest.fixture(autouse=True)
def _secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLIONODE_NOTIFY_WEBHOOK_SECRET", "a secret of the tests")


def _text(page: str) -> str:
    return re.sub(r"\s+", " ", re.sub("<[^>]+>", " ", page))


def test_the_page_shows_where_they_go_what_became_of_them_and_the_answers_to_a_test(
    database: Database, tmp_path: Path
) -> None:
    with mail_server() as box, web_server() as web:
        web.status = 500
        values = {
            "GLIONODE_NODE_FOLDER": str(tmp_path),
            "GLIONODE_NOTIFICATIONS_EMAIL_TO": "anna@example.org",
            "GLIONODE_NOTIFICATIONS_EMAIL_FROM": "node@example.org",
            "GLIONODE_NOTIFICATIONS_SMTP_HOST": "127.0.0.1",
            "GLIONODE_NOTIFICATIONS_SMTP_PORT": str(box.port),
            "GLIONODE_NOTIFICATIONS_SMTP_SECURITY": "none",
            "GLIONODE_NOTIFICATIONS_WEBHOOK": web.url,
            "GLIONODE_NOTIFICATIONS_GATHER_S": "0",
        }
        settings = read_settings(environment=values)
        with database.session() as session:
            session.add(EventRow(code=NodeEvent.STUDY_STOPPED, subject="key", detail="<b>defect"))
            session.add(ConditionRow(code=NodeEvent.WORKER_AWAY, subject="host/0", noted=True))
        gather(settings, database, utc_now())
        with database.session() as session:
            (mail,) = session.scalars(sa.select(NoticeRow.notice_id).where(NoticeRow.channel == "mail")).all()
        note_answer(database, mail, Answer(ok=True, sentence="taken"), utc_now())
        with (
            served(panel_app(settings, database)) as url,
            httpx.Client(base_url=url, timeout=ANSWER_S) as client,
        ):
            log_in(client, database)
            page = client.get("/system/notifications").text
            tested = client.post("/system/notifications/test").text
    assert f"anna@example.org by 127.0.0.1:{box.port}" in page
    assert web.url not in page, "its path may be a secret"
    assert "A study has stopped (&lt;b&gt;defect) and needs a person." in page
    assert "The worker host/0 sends no heartbeat." in _text(page)
    assert "until web.address states its address" in page
    assert {"sent", "waiting"} <= set(_text(page).split())
    assert "Test by mail" not in page
    assert "the mail server took it for 1 of 1 recipients" in tested
    assert "answer 500" in tested
    assert len(box.raw) == len(web.posted) == 1


def test_the_command_tests_and_lists(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLIONODE_NODE_FOLDER", str(tmp_path))
    nobody = CliRunner().invoke(cli, ["notify", "test"])
    assert (nobody.exit_code, "nobody is to be told" in nobody.output) == (1, True)
    with web_server() as web:
        monkeypatch.setenv("GLIONODE_NOTIFICATIONS_WEBHOOK", web.url)
        good = CliRunner().invoke(cli, ["notify", "test", "--json"])
        web.status = 404
        bad = CliRunner().invoke(cli, ["notify", "test"])
    assert (good.exit_code, bad.exit_code) == (0, 1)
    assert [one["ok"] for one in json.loads(good.stdout)["tests"]] == [True]
    assert bad.stdout.startswith("FAIL webhook to http://127.0.0.1:")
    assert bad.stdout.endswith("answer 404\n")
    assert CliRunner().invoke(cli, ["notify", "list"]).stdout == "No notification was made yet.\n"
    database = open_database(read_settings().database_url)
    with database.session() as session:
        content = {"sentence": "It is so.\x1b"}
        session.add(NoticeRow(notice_id="1", channel="mail", code="test", content=content, answer="taken"))
    database.engine.dispose()
    assert "It is so.\\x1b  taken" in CliRunner().invoke(cli, ["notify", "list"]).stdout
    listed = json.loads(CliRunner().invoke(cli, ["notify", "list", "--json"]).stdout)["notifications"]
    assert (listed[0]["id"], listed[0]["state"]) == ("1", "waiting")


def test_check_config_says_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLIONODE_NODE_FOLDER", str(tmp_path))
    monkeypatch.setenv("GLIONODE_NOTIFICATIONS_WEBHOOK", "https://watch.example.org/hooks/T0KEN")
    monkeypatch.delenv("GLIONODE_NOTIFY_WEBHOOK_SECRET")
    shown = CliRunner().invoke(cli, ["check-config"]).stdout
    assert "# notifications.webhook needs GLIONODE_NOTIFY_WEBHOOK_SECRET" in shown
    assert "T0KEN" not in shown


def _states(database: Database) -> list[str]:
    with database.session() as session:
        return list(session.scalars(sa.select(NoticeRow.state)).all())


@pytest.mark.parametrize("role", ["web", pytest.param("work", marks=pytest.mark.torch)])
def test_each_role_that_stays_tells_what_is_wrong(role: str, tmp_path: Path) -> None:
    """A web process tells of workers that are away, and a worker tells where no web process runs."""
    with web_server() as web:
        environment = {
            "GLIONODE_NOTIFY_WEBHOOK_SECRET": "a secret of the tests",
            "GLIONODE_NOTIFICATIONS_WEBHOOK": web.url,
            "GLIONODE_NOTIFICATIONS_GATHER_S": "0",
            "GLIONODE_LIMITS_FREE_DISK_GIB": "1000000",
            "GLIONODE_WEB_PORT": "0",
            "GLIONODE_VIEWER_PORT": "0",
        }
        with role_process(role, tmp_path, environment) as process:
            wait_until(lambda: web.posted)
            wait_until(lambda: _states(process.database) == ["sent"])
    assert json.loads(web.posted[0].body)["code"] == "disk_full"
    assert len(web.posted) == 1
