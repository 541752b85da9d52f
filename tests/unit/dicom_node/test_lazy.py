"""A group whose commands are loaded on demand: what it lists, what it loads, and what it does not."""

import sys
from collections.abc import Mapping

import click
import pytest
from click.testing import CliRunner

from dicom_node.cli.lazy import LazyGroup, Subcommand
from dicom_node.cli.main import cli

SEND = Subcommand("send:send", "Send files.")


def _group(lazy: Mapping[str, Subcommand]) -> LazyGroup:
    group = LazyGroup(name="glionode", help="A group.", lazy=lazy)
    group.add_command(click.Command("near", help="At hand.\n\nIn detail.", callback=lambda: click.echo("here")))
    return group


def test_names_of_both_kinds_are_listed_in_order() -> None:
    group = _group({"zebra": SEND, "apple": SEND, "near": SEND})
    assert group.list_commands(click.Context(group)) == ["apple", "near", "zebra"]


def test_a_command_comes_from_its_file() -> None:
    command = SEND.load()
    assert isinstance(command, click.Command)
    assert command.name == "send"
    assert command is sys.modules["dicom_node.cli.send"].send
    group = _group({"dispatch": SEND})
    assert group.get_command(click.Context(group), "dispatch") is command


def test_a_name_that_nobody_has_is_no_command() -> None:
    group = _group({"send": SEND})
    assert group.get_command(click.Context(group), "sent") is None
    done = CliRunner().invoke(group, ["sent"])
    assert (done.exit_code, "No such command 'sent'" in done.output) == (2, True)


@pytest.mark.parametrize(
    ("place", "error"), [("no_such_file:send", ModuleNotFoundError), ("send:no_such_name", AttributeError)]
)
def test_a_place_that_does_not_exist_is_an_error_when_it_is_called_and_not_before(
    place: str, error: type[Exception]
) -> None:
    group = _group({"broken": Subcommand(place, "Broken.")})
    assert CliRunner().invoke(group, ["near"]).output == "here\n"
    assert "broken  Broken." in CliRunner().invoke(group, ["--help"]).output
    with pytest.raises(error):
        group.get_command(click.Context(group), "broken")


def test_help_shows_the_summaries_that_were_given_and_the_first_sentence_of_the_others() -> None:
    output = CliRunner().invoke(_group({"send": Subcommand("no_such_file:x", "Send files.")}), ["--help"]).output
    assert output.partition("Commands:\n")[2].splitlines() == ["  near  At hand.", "  send  Send files."]


def test_a_lazy_command_stands_before_one_of_the_same_name() -> None:
    group = _group({"near": Subcommand("no_such_file:x", "Far away.")})
    assert "near  Far away." in CliRunner().invoke(group, ["--help"]).output


def test_every_place_of_the_command_line_is_a_file_and_a_name() -> None:
    assert isinstance(cli, LazyGroup)
    assert len(cli.lazy) > 10
    for name, known in cli.lazy.items():
        file, colon, function = known.place.partition(":")
        assert (file.isidentifier(), colon, function.isidentifier()) == (True, ":", True), name
        assert known.summary.endswith("."), name
