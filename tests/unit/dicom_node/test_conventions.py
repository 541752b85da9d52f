"""What every command shares: one line for an error, one document for a machine, and nothing that steers a terminal."""

import json
import unicodedata
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from conversion.errors import BrokenGeometry, ConversionReason
from dicom_node.cli.conventions import (
    LAYOUTS,
    NOTICE,
    complain,
    emit,
    example,
    given_rules,
    json_option,
    one_line_errors,
    printable,
    rules_option,
    sets_options,
)
from dicom_node.settings import read_settings
from viewer_integration.errors import ResultReason, UnusableSource
from viewer_integration.provenance import RESEARCH_USE_ONLY


def _raising(error: BaseException) -> Result:
    """Return what a command shows that raises an error of the node's own making."""

    @click.command()
    @one_line_errors
    def command() -> None:
        raise error

    return CliRunner().invoke(command, [])


def _calling(function: Callable[[], object]) -> Result:
    @click.command()
    @one_line_errors
    def command() -> None:
        function()

    return CliRunner().invoke(command, [])


@pytest.mark.parametrize(
    "error",
    [
        BrokenGeometry(ConversionReason.MIXED_GEOMETRY, "the port is taken"),
        UnusableSource(ResultReason.SOURCE_HEADERS, "the port is taken"),
        OSError("the port is taken"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_foreseen_error_is_one_line_and_status_1(error: Exception) -> None:
    done = _raising(error)
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr == "glionode: the port is taken\n"


@pytest.mark.parametrize("error", [KeyError("name"), RuntimeError("defect"), AssertionError(), ZeroDivisionError()])
def test_a_defect_is_not_dressed_up_as_a_sentence(error: Exception) -> None:
    done = _raising(error)
    assert done.exception is error
    assert done.stderr == ""


def test_of_an_error_of_many_lines_the_first_is_told() -> None:
    assert _raising(OSError("one\ntwo\r\nthree")).stderr == "glionode: one\n"


def test_an_error_without_words_is_told_by_its_kind() -> None:
    assert _raising(TimeoutError()).stderr == "glionode: TimeoutError\n"


def test_an_error_of_the_system_names_the_file(tmp_path: Path) -> None:
    done = _calling(lambda: (tmp_path / "absent").read_text("utf-8"))
    assert done.exit_code == 1
    assert done.stderr.startswith("glionode: [Errno 2] No such file or directory: ")
    assert "absent" in done.stderr


@pytest.mark.parametrize("wrong", [lambda: int("TELLTALE"), lambda: json.loads("TELLTALE"), "\ud800".encode])
def test_a_value_that_others_refuse_is_told_by_its_kind_alone(wrong: Callable[[], object]) -> None:
    with pytest.raises(ValueError, match=r".") as raised:
        wrong()
    stderr = _calling(wrong).stderr
    assert stderr == f"glionode: a file contains a value that cannot be read ({raised.type.__name__})\n"


def test_a_value_that_the_node_refuses_is_told_in_its_own_words(tmp_path: Path) -> None:
    rules = tmp_path / "rules.toml"
    rules.write_text('[[rule]]\nname = "a"\nkind = "PET"\n', "utf-8")
    done = _calling(lambda: given_rules(rules))
    assert done.exit_code == 1
    assert "rules.toml" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_setting_that_cannot_be_used_is_named() -> None:
    done = _calling(lambda: read_settings(environment={"GLIONODE_NODE_DICOM_PORT": "eleven"}))
    assert done.exit_code == 1
    assert done.stderr.startswith("glionode: GLIONODE_NODE_DICOM_PORT")
    assert done.stderr.count("\n") == 1


def test_arguments_and_name_of_a_command_stay_its_own() -> None:
    @one_line_errors
    def add(first: int, *, second: int) -> None:
        """Add."""
        click.echo(str(first + second))

    assert (add.__name__, add.__doc__) == ("add", "Add.")
    done = CliRunner().invoke(click.Command("add", callback=lambda: add(1, second=2)))
    assert done.output == "3\n"


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("plain text, 100 %", "plain text, 100 %"),
        ("Müller 山田 ö\u0301", "Müller 山田 ö\u0301"),
        ("a\tb\u00a0c\u2009d", "a\tb\u00a0c\u2009d"),
        ("\x1b[31mred", "\\x1b[31mred"),
        ("one\ntwo\r", "one\\ntwo\\r"),
        ("\x00\x07\x7f\x9b", "\\x00\\x07\\x7f\\x9b"),
        ("\u202etxt.exe", "\\u202etxt.exe"),
        ("a\u200bb\u2028c\ufeff", "a\\u200bb\\u2028c\\ufeff"),
        ("\ud800", "\\ud800"),
        ("\U000e0041", "\\U000e0041"),
    ],
)
def test_what_steers_a_terminal_is_shown_as_an_escape(line: str, shown: str) -> None:
    assert printable(line) == shown


def test_no_control_or_format_character_is_left_of_any() -> None:
    letters = "".join(map(chr, [*range(0x3000), *range(0xD800, 0x10000), *range(0xE0000, 0xE0200)]))
    kinds = {unicodedata.category(letter) for letter in printable(letters) if letter != "\t"}
    assert not kinds & {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


def test_lines_are_for_people_and_json_is_one_document(capsys: pytest.CaptureFixture[str]) -> None:
    content = {"name": "Müller\x1b[2J", "count": 2}
    emit(as_json=False, content=content, lines=iter(["Müller\x1b[2J", "2\nrows"]))
    assert capsys.readouterr().out == "Müller\\x1b[2J\n2\\nrows\n"
    emit(as_json=True, content=content, lines=[])
    out = capsys.readouterr().out
    assert json.loads(out) == content
    assert out.isascii()
    assert "\x1b" not in out


def test_a_complaint_is_one_line_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    complain("no\nway")
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "glionode: no\\nway\n")


def test_the_notice_is_the_one_in_results() -> None:
    assert NOTICE == RESEARCH_USE_ONLY
    assert example("glionode status") == "Example: glionode status"


def test_no_rules_are_given_without_a_file(tmp_path: Path) -> None:
    assert given_rules(None) == ()
    (tmp_path / "rules.toml").write_text("", "utf-8")
    assert given_rules(tmp_path / "rules.toml") == ()


@pytest.mark.parametrize(("path", "status"), [("rules.toml", 0), ("absent.toml", 2), (".", 2)])
def test_a_file_of_rules_has_to_be_there(tmp_path: Path, path: str, status: int) -> None:
    (tmp_path / "rules.toml").touch()
    command = click.Command("x", params=[], callback=lambda **given: click.echo(type(given["rules"]).__module__))
    done = CliRunner().invoke(json_option(rules_option(command)), ["--rules", str(tmp_path / path)])
    assert done.exit_code == status
    assert ("pathlib" in done.output) is (status == 0)


@click.command()
@sets_options
def _of_sets(datasets: tuple[str, ...], folders: tuple[Path, ...]) -> None:
    click.echo(json.dumps([*zip(datasets, map(str, folders), strict=True)]))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_sets_are_given_by_layout_and_folder_in_pairs(tmp_path: Path, layout: str) -> None:
    (tmp_path / "other").mkdir()
    other = str(tmp_path / "other")
    arguments = ["--dataset", layout, "--data", str(tmp_path), "--dataset", "dicom", "--data", other]
    done = CliRunner().invoke(_of_sets, arguments)
    assert done.exit_code == 0, done.output
    assert json.loads(done.output) == [[layout, str(tmp_path)], ["dicom", other]]


@pytest.mark.parametrize(
    "arguments", [[], ["--dataset", "lgg"], ["--data", "."], ["--dataset", "nifti", "--data", "."]]
)
def test_sets_without_a_folder_or_a_known_layout_are_bad_usage(arguments: list[str]) -> None:
    assert CliRunner().invoke(_of_sets, arguments).exit_code == 2
