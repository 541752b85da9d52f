"""`glionode routes`: the routing rules on the command line."""

import getpass
from dataclasses import asdict
from pathlib import Path

import click

from dicom_node.cli.conventions import emit, example, json_option, one_line_errors
from dicom_node.database.engine import Database, open_database
from dicom_node.routing.rule import RoutingRule, as_documents
from dicom_node.routing.rules_toml import rules_as_toml, rules_of_toml
from dicom_node.routing.trial import RouteTrial, try_routes
from dicom_node.routing.versions import check_destinations, check_models, restore, routing_rules, save_rules, versions
from dicom_node.settings import read_settings

__all__ = ["routes"]

_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)


@click.group(epilog=example("glionode routes list"))
def routes() -> None:
    """Decide which studies go to which model and destinations, with what priority, or are kept out."""


@routes.command(name="list", epilog=example("glionode routes list --json"))
@json_option
@one_line_errors
def list_routes(as_json: bool) -> None:  # noqa: FBT001 - the --json flag
    """List the routing rules in the order in which they are applied."""
    _show(_database(), as_json=as_json)


@routes.command(name="export", epilog=example("glionode routes export > routes.toml"))
@json_option
@one_line_errors
def export(as_json: bool) -> None:  # noqa: FBT001
    """Print every routing rule as TOML."""
    found = routing_rules(_database())
    emit(as_json, {"rules": as_documents(found)}, rules_as_toml(found).splitlines())


@routes.command(name="import", epilog=example("glionode routes import routes.toml"))
@click.argument("path", metavar="FILE", type=_FILE)
@json_option
@one_line_errors
def import_(path: Path, as_json: bool) -> None:  # noqa: FBT001
    """Replace all routing rules by the [[route]] tables of a TOML file; `glionode routes undo` returns."""
    database = _database()
    rules = rules_of_toml(path.read_text("utf-8"))
    check_models(read_settings().node.folder, rules)
    save_rules(database, rules, _who(), f"imported from {path.name}")
    _show(database, as_json=as_json)


@routes.command(name="try", epilog=example("glionode routes try routes.toml"))
@click.argument("path", metavar="FILE", type=_FILE)
@click.option("--studies", default=100, show_default=True, type=click.IntRange(min=1), help="Newest studies at most.")
@json_option
@one_line_errors
def try_(path: Path, studies: int, as_json: bool) -> None:  # noqa: FBT001
    """Show which of the newest stored studies would go elsewhere by the rules of a TOML file; nothing is saved."""
    database, rules = _database(), rules_of_toml(path.read_text("utf-8"))
    check_destinations(database, rules)
    check_models(read_settings().node.folder, rules)
    trial = try_routes(database, read_settings().node.folder, rules, studies)
    emit(as_json, asdict(trial), _trial_lines(trial))


@routes.command(name="undo", epilog=example("glionode routes undo"))
@click.option("--version", "number", type=click.IntRange(min=1), help="Version to restore; by default the one before.")
@json_option
@one_line_errors
def undo(number: int | None, as_json: bool) -> None:  # noqa: FBT001
    """Restore an earlier version of the routing rules."""
    database = _database()
    known = versions(database)
    if number is None and len(known) < 2:
        raise click.UsageError("there is no earlier version of the routing rules")
    restore(database, number if number is not None else known[1].number, _who())
    _show(database, as_json=as_json)


def _who() -> str:
    return f"command of {getpass.getuser()}"


def _database() -> Database:
    return open_database(read_settings().database_url)


def _show(database: Database, *, as_json: bool) -> None:
    found = routing_rules(database)
    lines = [f"{place:3}  {_line(rule)}" for place, rule in enumerate(found, start=1)]
    emit(as_json, {"rules": as_documents(found)}, lines or ["no routing rules; every study goes the same way"])


def _line(rule: RoutingRule) -> str:
    wanted = " and ".join(f"{one.attribute} {one.operator} {one.value}".rstrip() for one in rule.conditions)
    does = [f"{key} {value}" for key in ("model", "priority") if (value := getattr(rule, key))]
    does += [f"to {', '.join(rule.destinations)}"] if rule.destinations else []
    does += [f"kept out: {rule.keep_out}"] if rule.keep_out else []
    return f"{rule.name}: {wanted or 'every study'} -> {'; '.join(does)}"


def _trial_lines(trial: RouteTrial) -> list[str]:
    lines = [f"{one.study_key}: {one.before} -> {one.after}" for one in trial.changes]
    lines += [f"{name}: decides something in {count} studies" for name, count in trial.held.items()]
    return [*lines, f"{len(trial.changes)} of {trial.looked_at} studies would go elsewhere"]
