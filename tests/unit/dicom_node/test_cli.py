"""The command line as scripts see it: help, exit status, one line on stderr, one JSON document on stdout."""

import base64
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click
import pytest

from dicom_node.cli.lazy import LazyGroup
from dicom_node.cli.main import cli
from dicom_node.cli.models import models
from dicom_node.database.engine import open_database
from dicom_node.database.tables import RefusalRow, StudyRow
from dicom_node.studies.status import read_status
from tests.support.pacs import running_pacs
from tests.support.small_study import make_small_study
from tests.support.web_source import serving_web


def _commands(group: click.Group, *above: str) -> Iterator[tuple[str, click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        try:
            command = group.get_command(context, name)
        except ModuleNotFoundError as error:
            if error.name != "torch":  # a Python without it has the other commands
                raise
            continue
        assert command is not None
        yield " ".join((*above, name)), command
        if isinstance(command, click.Group):
            yield from _commands(command, *above, name)


COMMANDS = dict(_commands(cli))
JSON_COMMANDS = [name for name, command in COMMANDS.items() if "as_json" in {p.name for p in command.params}]


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """Return a folder with one series."""
    folder = tmp_path / "study"
    folder.mkdir()
    for number, ds in enumerate(make_small_study("command", roles=["FLAIR"])):
        ds.save_as(folder / f"{number}.dcm", enforce_file_format=True)
    return folder


def _run(
    folder: Path, *arguments: str | Path, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run the command with settings of its own."""
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("GLIONODE_")}
    return subprocess.run(
        [sys.executable, "-m", "dicom_node.cli", *map(str, arguments)],
        env={**inherited, "GLIONODE_NODE_FOLDER": str(folder / "node"), **(environment or {})},
        capture_output=True,
        text=True,
        check=False,
    )


def _document(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """Return the one JSON document that a command printed with success."""
    assert (done.returncode, done.stderr) == (0, "")
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def _assert_one_line(done: subprocess.CompletedProcess[str], says: str) -> None:
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.startswith("glionode: ")
    assert says in done.stderr


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_an_example(name: str) -> None:
    command = COMMANDS[name]
    shown = command.get_help(click.Context(command, info_name=f"glionode {name}"))
    assert f"Example: glionode {name}" in shown
    assert command.help


@pytest.mark.torch
def test_the_commands_that_answer_with_json_are_those_that_answer(tmp_path: Path) -> None:
    serving = {"serve", "listen", "work", "web"}
    groups = {"audit", "config", "models", "notify", "routes", "rules", "tokens", "users"}
    to_a_file = {"conformance", "evaluate"}  # by --format json, or --json names the file
    assert set(COMMANDS) - set(JSON_COMMANDS) == serving | groups | to_a_file
    assert "Commands:" in _run(tmp_path, "--help").stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ["no-such-command"],
        ["send", ".", "--to", "nowhere"],
        ["segment", "only-one"],
        ["segment", "absent", "out"],
        ["segment", ".", "out", "--sequence", "CT"],
        ["segment", "pyproject.toml", "out", "--native"],
        ["segment", "pyproject.toml", "out", "--rules", "pyproject.toml"],
        ["segment", "o", "--flair", "pyproject.toml", "--rules", "pyproject.toml"],
        ["status", "--xml"],
        ["work", "--gpu", "GPU-8932f937-d72c-4106-c12f-20bd9faed9f6"],
    ],
    ids=" ".join,
)
def test_bad_usage_exits_with_2_and_an_explanation(tmp_path: Path, arguments: list[str]) -> None:
    done = _run(tmp_path, *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert "Error: " in done.stderr
    assert "Traceback" not in done.stderr


def test_status_of_a_new_node(tmp_path: Path) -> None:
    assert _document(_run(tmp_path, "status", "--json")) == {
        "studies": [],
        "refusals": [],
        "more_studies": 0,
        "more_refusals": 0,
    }
    assert _run(tmp_path, "status").stdout.startswith("no studies yet")


def test_status_shows_every_study(tmp_path: Path) -> None:
    """Pages show the newest; a script that counts studies gets all."""
    database = open_database(f"sqlite:///{tmp_path / 'node' / 'glionode.sqlite'}")
    with database.session() as session:
        session.add_all(StudyRow(study_uid=f"1.{number}", key=f"{number}") for number in range(103))
    newest = read_status(database)
    database.engine.dispose()
    assert newest.more_studies > 0
    shown = _document(_run(tmp_path, "status", "--json"))
    assert {study["study_uid"] for study in shown["studies"]} == {f"1.{number}" for number in range(103)}
    assert shown["more_studies"] == 0
    lines = _run(tmp_path, "status").stdout.splitlines()
    assert sum("  receiving  " in line for line in lines) == 103
    assert not any("older studies" in line for line in lines)


def test_a_database_that_cannot_be_opened_is_told_in_one_line(tmp_path: Path) -> None:
    done = _run(tmp_path, "status", environment={"GLIONODE_DATABASE_URL": f"sqlite:///{tmp_path}"})
    _assert_one_line(done, "unable to open database file")


def test_check_config_shows_the_effective_settings_with_secrets_masked(tmp_path: Path) -> None:
    site = tmp_path / "site.toml"
    site.write_text('[database]\nurl = "postgresql+psycopg://node:sesame@db/node"\n[web]\nport = 9000\n')
    done = _run(tmp_path, "--config", site, "check-config", "--json", environment={"GLIONODE_WEB_PORT": "9001"})
    shown = _document(done)
    assert shown["database"]["url"] == "postgresql+psycopg://node:***@db/node"
    assert shown["web"]["port"] == 9001
    assert shown["node"]["folder"] == str(tmp_path / "node")
    text = _run(tmp_path, "--config", site, "check-config").stdout
    assert "[web]\n" in text
    assert "port = 9000\n" in text
    assert "sesame" not in text + done.stdout


@pytest.mark.parametrize(
    ("text", "says"),
    [("[web]\nprot = 1\n", "unknown key web.prot"), ('[web]\nport = "x"\n', "web.port"), ("[", "site.toml")],
)
def test_check_config_fails_in_one_line_that_names_the_key(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "site.toml").write_text(text)
    done = _run(tmp_path, "--config", tmp_path / "site.toml", "check-config", "--json")
    _assert_one_line(done, says)
    assert done.stdout == ""


def test_send_tells_what_was_accepted(tmp_path: Path, study: Path) -> None:
    with running_pacs() as pacs:
        address = f"PACS@127.0.0.1:{pacs.port}"
        shown = _document(_run(tmp_path, "send", study, "--to", address, "--json"))
        assert shown == {"accepted": len(pacs.received), "failed": []}
        pacs.answer = 0xA700
        refused = _run(tmp_path, "send", study, "--to", address)
    _assert_one_line(refused, "PACS answered 0xA700")
    assert refused.stdout == f"0 accepted, {shown['accepted']} failed\n"


def test_send_to_nobody_fails_in_one_line(tmp_path: Path, study: Path) -> None:
    done = _run(tmp_path, "send", study, "--to", "PACS@127.0.0.1:1", "--json")
    _assert_one_line(done, "does not answer")
    assert json.loads(done.stdout)["accepted"] == 0


def test_convert_writes_and_lists_its_files(tmp_path: Path, study: Path) -> None:
    shown = _document(_run(tmp_path, "convert", study, tmp_path / "out", "--json"))
    assert [Path(path).name for path in shown["files"]] == ["0001_FLAIR.nii.gz"]
    assert shown["left_out"] == []
    (tmp_path / "empty").mkdir()
    _assert_one_line(_run(tmp_path, "convert", tmp_path / "empty", tmp_path / "out"), "no readable DICOM image")


@pytest.mark.parametrize("argument", ["--help", "models --help", "status --help", "serve --help", "segment --help"])
def test_help_loads_no_command_that_it_does_not_tell_about(argument: str) -> None:
    code = (
        "import sys\nfrom dicom_node.cli.main import main\n"
        f"sys.argv = ['glionode', *{argument.split()!r}]\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "sys.exit(', '.join({'torch', 'SimpleITK', 'highdicom'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Example: glionode" in done.stdout or "Commands:" in done.stdout


@pytest.mark.torch
def test_segment_tells_regions_and_files(tmp_path: Path, study: Path) -> None:
    from tests.support.detector_model import write_detector  # noqa: PLC0415 - it loads torch; the other tests do not

    model = {"GLIONODE_PROCESSING_MODEL": str(write_detector(tmp_path / "model")), "GLIONODE_PROCESSING_THREADS": "1"}
    shown = _document(_run(tmp_path, "segment", study, tmp_path / "out", "--json", environment=model))
    assert shown["sequences"] == ["FLAIR"]
    assert list(shown["volumes_ml"]) == ["WT"]
    assert all(Path(path).is_file() for path in shown["files"])
    keys = {"code", "subject", "reason", "series_uid", "evidence"}
    assert shown["decisions"]
    assert all(set(decision) == keys for decision in shown["decisions"])


def test_models_are_listed(tmp_path: Path) -> None:
    listed = _document(_run(tmp_path, "models", "list", "--json"))["models"]
    assert "glioma" in [model["name"] for model in listed]
    _assert_one_line(_run(tmp_path, "models", "show", "none"), "no model 'none'; shipped models: ")


_STEERING = "\x1b]0;owned\x07\x1b[2J\x9b31m\r\n\u202etxt"


@pytest.mark.parametrize("flag", [(), ("--json",)])
def test_no_text_of_others_steers_the_terminal(tmp_path: Path, flag: tuple[str, ...]) -> None:
    database = open_database(f"sqlite:///{tmp_path / 'node' / 'glionode.sqlite'}")
    with database.session() as session:
        session.add(StudyRow(study_uid="1.2", key="k", reason=f"no FLAIR: {_STEERING}"))
        session.add(RefusalRow(code="x", reason=_STEERING, calling_ae="A\x1b[31m"))
    database.engine.dispose()
    done = _run(tmp_path, "status", *flag)
    assert done.returncode == 0
    assert "owned" in done.stdout
    assert not set(done.stdout) & set("\x1b\x07\x9b\r\u202e")


def test_an_error_steers_no_terminal_either(tmp_path: Path) -> None:
    done = _run(tmp_path, "resend", "1.2", "--to", "\x1b[31m")
    assert done.returncode == 1
    assert "\x1b" not in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_no_secret_stands_on_a_command_line(tmp_path: Path) -> None:
    secrets = re.compile("pass|secret|token|credential")
    given = [(name, each.name) for name, command in COMMANDS.items() for each in command.params]
    assert [(name, option) for name, option in given if option and secrets.search(option)] == []
    done = _run(tmp_path, "doctor", "--orthanc", "http://user:sesame@127.0.0.1:1")
    assert done.returncode == 2
    assert "sesame" not in done.stderr + done.stdout
    known = {"GLIONODE_ORTHANC_PASSWORD": "sesame"}
    done = _run(tmp_path, "doctor", "--orthanc", "http://127.0.0.1:1", "--username", "user", environment=known)
    assert done.returncode == 1
    assert "sesame" not in done.stderr + done.stdout


_IN_A_TERMINAL = "import pty, sys; sys.exit(pty.spawn(sys.argv[1:]) >> 8)"
"""Runs a command in a terminal of its own: what is typed there comes by stdin, what it shows goes to stdout."""


def test_a_password_is_asked_for_and_not_shown(tmp_path: Path) -> None:
    document = tmp_path / "checks.json"
    with serving_web() as orthanc:
        url = orthanc.root.removesuffix("/dicom-web")
        asks = [sys.executable, "-m", "dicom_node.cli", "doctor", "--json", "--orthanc", url, "--username", "user"]
        inherited = {key: value for key, value in os.environ.items() if not key.startswith("GLIONODE_")}
        with subprocess.Popen(
            [sys.executable, "-c", _IN_A_TERMINAL, "sh", "-c", 'exec "$@" > "$0"', document, *asks],
            env={**inherited, "GLIONODE_NODE_FOLDER": str(tmp_path / "node")},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        ) as terminal:
            assert terminal.stdin is not None
            assert terminal.stdout is not None
            shown = b""
            while not shown.endswith(b"Password of user: "):  # what is typed before is thrown away
                piece = terminal.stdout.read1(1)
                assert piece, shown
                shown += piece
            terminal.stdin.write(b"sesame\n")
            terminal.stdin.flush()
            shown += terminal.stdout.read()
        assert terminal.returncode == 1  # it is no Orthanc, which is told on the terminal and in the document
    assert b"sesame" not in shown
    assert [check["ok"] for check in json.loads(document.read_text())["checks"]] == [False]
    expected = f"Basic {base64.b64encode(b'user:sesame').decode()}"
    assert {headers.get("Authorization") for _, headers in orthanc.asked} == {expected}


@pytest.mark.torch
@pytest.mark.parametrize("group", [cli, models], ids=lambda group: str(group.name))
def test_what_a_group_says_of_a_command_is_what_the_command_says(group: LazyGroup) -> None:
    for name, known in group.lazy.items():
        command = known.load()
        assert command.name == name
        assert known.summary == (command.help or "").partition("\n")[0]
        assert group.get_command(click.Context(group), name) is command
