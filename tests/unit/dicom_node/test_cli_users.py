"""`glionode users` and the link of a first start, as scripts and people see them."""

import subprocess
import sys
from functools import partial
from pathlib import Path

import httpx
import pytest

from dicom_node.access.users import add_first_administrator, set_password_by_link
from dicom_node.cli.serve import panel_line
from dicom_node.database.engine import Database, open_database
from dicom_node.settings import read_settings
from tests.support.commands import document, failure, run

WORDS = "correct horse battery"


@pytest.fixture(autouse=True)
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of the node that commands use."""
    monkeypatch.setenv("GLIONODE_NODE_FOLDER", str(tmp_path / "node"))
    return tmp_path / "node"


_run, _document, _failure = (partial(one, "users") for one in (run, document, failure))


def _database() -> Database:
    return open_database(read_settings().database_url)


def test_a_user_is_added_with_a_link_and_no_password() -> None:
    assert _run("list").stdout == "There is no user. `glionode serve` prints a link for the first one.\n"
    made = _document("add", "Anna", "--role", "administrator")
    link = httpx.URL(made["link"])
    assert (made["name"], link.host, link.port, link.path) == ("anna", "127.0.0.1", 8040, "/login")
    (user,) = _document("list")["users"]
    assert (user["name"], user["role"], user["enabled"], user["has_password"]) == ("anna", "administrator", True, False)
    assert _run("list").stdout == "administrator anna  (has set no password yet)\n"
    set_password_by_link(_database(), link.params["token"], "anna", WORDS, WORDS)
    assert _run("list").stdout == "administrator anna\n"


def test_a_link_uses_the_address_that_the_settings_state(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GLIONODE_WEB_ADDRESS", "https://node.example.org")
    made = _document("add", "anna", "--role", "viewer")
    assert made["link"].startswith("https://node.example.org/login?token=")
    assert _run("reset", "anna").stdout.startswith("https://node.example.org/login?token=")


def test_a_user_is_changed_and_removed() -> None:
    for name, role in (("anna", "administrator"), ("bert", "viewer")):
        link = httpx.URL(_document("add", name, "--role", role)["link"])
        set_password_by_link(_database(), link.params["token"], name, WORDS, WORDS)
    assert _run("role", "bert", "operator").stdout == "bert is operator\n"
    assert _run("disable", "bert").stdout == "disabled bert\n"
    assert "bert  (disabled)" in _run("list").stdout
    assert _document("enable", "bert") == {"enabled": "bert"}
    assert "anna is the only administrator with a password" in _failure("disable", "anna")
    assert _document("remove", "bert") == {"removed": "bert"}
    assert [user["name"] for user in _document("list")["users"]] == ["anna"]


def test_what_is_wrong_is_said_in_one_line() -> None:
    for command in (["reset", "x"], ["disable", "x"], ["enable", "x"], ["remove", "x"], ["role", "x", "viewer"]):
        assert "There is no user named x." in _failure(*command)
    assert "A user's name has up to 64 letters" in _failure("add", "a b", "--role", "viewer")
    assert _run("add", "anna", "--role", "root").exit_code == 2
    assert _run("add", "anna").exit_code == 2


def test_a_start_prints_the_first_link_until_there_is_an_administrator() -> None:
    settings, database = read_settings(), _database()
    first = panel_line(settings, database)
    assert first.endswith("(makes the first administrator; valid once, 15 minutes)")
    _document("add", "anna", "--role", "administrator")  # she has set no password: nobody could log in
    token = httpx.URL(panel_line(settings, database).split(" ")[0]).params["token"]
    add_first_administrator(database, token, "bert", WORDS, WORDS)
    assert panel_line(settings, database) == "http://127.0.0.1:8040"
    database.engine.dispose()


def test_no_command_takes_a_password() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "dicom_node.cli", "users", "add", "--help"], capture_output=True, text=True, check=True
    )
    assert "--password" not in done.stdout
