"""`glionode audit`, and what other commands leave in the audit trail."""

import json
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from dicom_node.audit.codes import EventType, Outcome
from dicom_node.audit.events import Actor
from dicom_node.audit.files import trail_files
from dicom_node.audit.trail import AuditTrail
from dicom_node.cli.audited import COMMANDS, NOT_RECORDED
from dicom_node.cli.main import cli
from dicom_node.database.engine import Database, open_database
from tests.support.audit_schema import faults, recorded
from tests.support.held_study import hold_small_study


@pytest.fixture
def database(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    monkeypatch.setenv("GLIONODE_NODE_FOLDER", str(folder))
    monkeypatch.setenv("LOGNAME", "anna")
    opened = open_database(f"sqlite:///{folder / 'glionode.sqlite'}")
    yield opened
    opened.engine.dispose()


def _run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, list(arguments), prog_name="glionode")


def _names(group: click.Group, *above: str) -> Iterator[str]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from _names(command, *above, name)
        else:
            yield " ".join((*above, name))


def test_every_command_says_what_is_recorded_of_it() -> None:
    assert set(COMMANDS) | set(NOT_RECORDED) >= set(_names(cli)), "add a line to dicom_node/cli/audited.py"
    assert set(COMMANDS) & set(NOT_RECORDED) == set()
    assert set(COMMANDS) | set(NOT_RECORDED) <= set(_names(cli))


def test_commands_that_change_something_are_recorded(database: Database, folder: Path) -> None:
    hold_small_study(database, folder, "small")
    for command in (["rules", "add", "A", "--kind", "T1", "--description", "x"], ["tokens", "add", "program"]):
        assert _run(*command).exit_code == 0
    assert _run("prioritise", "small").exit_code == 0
    assert _run("maintenance", "on").exit_code == 0
    assert _run("rules", "remove", "none").exit_code == 1  # changes nothing
    found = recorded(folder, database)
    assert [(one.event, one.types, one.users[0]) for one in found] == [
        ("Security Alert", ("Software Configuration",), "anna"),
        ("Security Alert", ("User Security Attributes Changed",), "anna"),
        ("DICOM Instances Accessed", (), "anna"),
        ("Security Alert", ("Software Configuration",), "anna"),
    ]
    assert (found[2].action, found[2].patients, found[2].about[0]) == ("U", ("SMALL-1",), "small")


def test_a_change_that_cannot_be_recorded_is_not_made(database: Database, folder: Path) -> None:
    (folder / "audit").write_text("in the way", "utf-8")
    done = _run("tokens", "add", "program")
    assert done.exit_code == 1
    assert "could not be recorded" in done.stderr
    assert json.loads(_run("tokens", "list", "--json").stdout) == {"tokens": []}
    assert database


def _logged_in(database: Database, folder: Path, *names: str) -> None:
    trail = AuditTrail(folder, "GLIONODE", database)
    for name in names:
        trail.record(trail.report.authentication(Actor(name=name), EventType.LOGIN, Outcome.SUCCESS))


def test_the_check_says_where_the_trail_was_changed_and_is_itself_recorded(database: Database, folder: Path) -> None:
    _logged_in(database, folder, "bert", "cleo")
    done = _run("audit", "verify")
    assert (done.exit_code, done.stdout) == (0, "2 records in 1 files (1 to 2): unchanged\n")
    (file,) = trail_files(folder)
    file.write_bytes(file.read_bytes().replace(b"cleo", b"carl"))
    done = _run("audit", "verify", "--json")
    content = json.loads(done.stdout)
    assert (done.exit_code, content["whole"]) == (1, False)
    (found,) = content["findings"]
    assert (found["kind"], found["file"], found["line"]) == ("changed", file.name, 2)
    assert "not as it was recorded" in done.stderr
    shown = json.loads(_run("audit", "show", "--json", "--event", "log used").stdout)["messages"]
    assert [one["users"][0] for one in shown] == ["anna", "anna"]


def test_messages_are_found_by_user_event_time_and_study(database: Database, folder: Path) -> None:
    study_uid = hold_small_study(database, folder, "small")
    _logged_in(database, folder, "bert", "cleo")
    assert _run("prioritise", "small").exit_code == 0

    def numbers(*options: str) -> list[int]:
        return [one["sequence"] for one in json.loads(_run("audit", "show", "--json", *options).stdout)["messages"]]

    assert numbers("--user", "BERT") == [1]
    assert numbers("--event", "login") == [1, 2]
    assert numbers("--study", study_uid) == numbers("--study", "small") == [3]
    assert numbers("--until", "2020-01-01") == []
    assert numbers("--since", "2020-01-01", "--event", "accessed") == [3]
    lines = _run("audit", "show", "--event", "login").stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["1", "2"]
    assert "bert" in lines[0]
    written = _run("audit", "show", "--xml", "--user", "cleo").stdout.splitlines()
    assert [faults(line) for line in written] == [[]]
    assert _run("audit", "show", "--xml", "--json").exit_code == 2
    assert _run("audit", "show", "--user", "nobody").stdout == "no such messages\n"
