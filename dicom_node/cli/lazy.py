"""Commands that are loaded when they are called: help and completion wait for none of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import click

__all__ = ["LazyGroup", "Subcommand"]


@dataclass(frozen=True)
class Subcommand:
    """Where a command is, and what its group's help says of it.

    Attributes
    ----------
    place
        File of `dicom_node.cli` and name of the function in it.
    summary
        The first sentence of the command's own help, to the letter; a test holds them against each other.
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
        What it offers.
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
        """Write what each command does."""
        eager = {name: super(LazyGroup, self).get_command(ctx, name) for name in super().list_commands(ctx)}
        told = {name: command.get_short_help_str(120) for name, command in eager.items() if command is not None}
        told |= {name: known.summary for name, known in self.lazy.items()}
        with formatter.section("Commands"):
            formatter.write_dl(sorted(told.items()))
