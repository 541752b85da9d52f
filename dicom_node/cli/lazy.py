"""Commands that are loaded only when they are called, so that help and completion are quick."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import click

__all__ = ["LazyGroup", "Subcommand"]


@dataclass(frozen=True)
class Subcommand:
    """Where a command is defined, and its summary in the group's help.

    Attributes
    ----------
    place
        File in `dicom_node.cli` and name of the function in it, with a colon between.
    summary
        The first line of the command's own help, word for word; a test compares the two.
    """

    place: str
    summary: str

    def load(self) -> click.Command:
        """Return the command."""
        file, _, name = self.place.partition(":")
        command: click.Command = getattr(import_module(f"dicom_node.cli.{file}"), name)
        return command


class LazyGroup(click.Group):
    """A group of commands, by name.

    Parameters
    ----------
    lazy
        Its commands.
    """

    def __init__(self, *args: Any, lazy: Mapping[str, Subcommand], **kwargs: Any) -> None:  # noqa: ANN401 - click's own
        super().__init__(*args, **kwargs)
        self.lazy = lazy

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands."""
        return sorted({*super().list_commands(ctx), *self.lazy})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command; its file is loaded now."""
        known = self.lazy.get(cmd_name)
        return super().get_command(ctx, cmd_name) if known is None else known.load()

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands with their summaries."""
        eager = {name: super(LazyGroup, self).get_command(ctx, name) for name in super().list_commands(ctx)}
        summaries = {name: command.get_short_help_str(120) for name, command in eager.items() if command is not None}
        summaries |= {name: known.summary for name, known in self.lazy.items()}
        with formatter.section("Commands"):
            formatter.write_dl(sorted(summaries.items()))
