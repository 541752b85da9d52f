"""`glionode config`: the stored configuration as one TOML file."""

import os
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import click

from dicom_node.cli.audited import this_person
from dicom_node.cli.conventions import emit, example, json_option, one_line_errors
from dicom_node.configuration.changes import ListChange, Plan, import_configuration, plan_configuration
from dicom_node.configuration.document import as_toml, present
from dicom_node.database.engine import Database, open_database
from dicom_node.settings import read_settings

__all__ = ["config"]

_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)


@click.group(epilog=example("glionode config export --out glionode.toml"))
def config() -> None:
    """Export and import peers, series rules, routing rules and the choice of models, as one TOML file."""


@config.command(name="export", epilog=example("glionode config export --out glionode.toml"))
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="File to write; by default stdout.")
@json_option
@one_line_errors
def export(out: Path | None, as_json: bool) -> None:  # noqa: FBT001 - the --json flag
    """Write the stored configuration as TOML, without users, tokens or secrets."""
    text = as_toml(present(_database()))
    if out is not None:
        with os.fdopen(os.open(out, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(text.encode())
    emit(as_json, {"toml": text}, [f"wrote {out}"] if out is not None else text.splitlines())


@config.command(name="preview", epilog=example("glionode config preview glionode.toml"))
@click.argument("path", metavar="FILE", type=_FILE)
@json_option
@one_line_errors
def preview(path: Path, as_json: bool) -> None:  # noqa: FBT001 - the --json flag
    """Show what an import of a file would change; nothing is changed."""
    plan = plan_configuration(_database(), read_settings(), path.read_text("utf-8"))
    emit(as_json, asdict(plan), [*_lines(plan), "nothing was changed"])


@config.command(name="import", epilog=example("glionode config import glionode.toml"))
@click.argument("path", metavar="FILE", type=_FILE)
@json_option
@one_line_errors
def import_(path: Path, as_json: bool) -> None:  # noqa: FBT001
    """Change the configuration as a file states, all of it or nothing; look at `glionode config preview` first."""
    plan = import_configuration(_database(), read_settings(), path.read_text("utf-8"), f"command of {this_person()}")
    emit(as_json, asdict(plan), _lines(plan))


def _lines(plan: Plan) -> Iterator[str]:
    if plan.does_nothing:
        yield "everything is as the file states"
        return
    if plan.peers is not None:
        yield from (f"peer {name}: new" for name in plan.peers.added)
        for peer in plan.peers.changed:
            yield from (f"peer {peer.name}: {one.field} {one.before} -> {one.after}" for one in peer.changes)
    yield from _list_lines("series rule", plan.series_rules)
    yield from _list_lines("routing rule", plan.routes)
    for change in plan.models:
        before = f"{change.before.name} {change.before.version}" if change.before else "as in the setting, or none"
        yield f"{change.role} model: {before} -> {change.after.name} {change.after.version}"


def _list_lines(kind: str, change: ListChange | None) -> Iterator[str]:
    if change is None:
        return
    for what, names in (("new", change.added), ("changed", change.changed), ("removed", change.removed)):
        yield from (f"{kind} {name}: {what}" for name in names)
    if change.reordered:
        yield f"{kind}s: in another order"


def _database() -> Database:
    return open_database(read_settings().database_url)
