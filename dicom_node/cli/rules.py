"""`glionode rules`: the site's own rules about its series, on the command line."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from conversion.reading import read_series
from dicom_node.cli.conventions import emit, example, json_option, one_line_errors
from dicom_node.database.engine import Database, open_database
from dicom_node.rules.site_rules import (
    PATTERNS,
    add_rule,
    export_rules,
    import_rules,
    make_rule,
    merged_rules,
    move_rule,
    parse_rules,
    remove_rule,
    site_rules,
)
from dicom_node.settings import read_settings
from dicom_node.studies.rule_trial import Trial, try_rules
from dicom_node.studies.stored_study import headers_only

__all__ = ["rules"]

_PATTERNS = {
    "manufacturer": "Manufacturer",
    "station": "StationName",
    "description": "SeriesDescription",
    "protocol": "ProtocolName",
    "technique": "the sequence name",
}


@click.group(epilog=example("glionode rules list"))
def rules() -> None:
    """Define what kind of series the site's own names stand for; the first rule that matches decides."""


def _rule_options(command: Callable[..., None]) -> Callable[..., None]:
    for name, attribute in reversed(_PATTERNS.items()):
        command = click.option(f"--{name}", default="", help=f"Pattern for {attribute}; wildcards * and ?.")(command)
    return click.option("--kind", default="", help="T1, T1CE, T2, FLAIR, or another kind, such as DWI.")(command)


@rules.command(name="list", epilog=example("glionode rules list --json"))
@json_option
@one_line_errors
def list_rules(as_json: bool) -> None:  # noqa: FBT001 - the --json flag
    """List the rules in the order in which they are applied."""
    _show(_database(), as_json=as_json)


@rules.command(name="add", epilog=example("glionode rules add 'After contrast' --kind T1CE --description '*nach km*'"))
@click.argument("name")
@_rule_options
@json_option
@one_line_errors
def add(as_json: bool, **entered: str) -> None:  # noqa: FBT001
    """Add a rule before all others; `glionode rules test` shows beforehand what it would change."""
    database = _database()
    add_rule(database, make_rule(entered))
    _show(database, as_json=as_json)


@rules.command(name="remove", epilog=example("glionode rules remove 'After contrast'"))
@click.argument("name")
@json_option
@one_line_errors
def remove(name: str, as_json: bool) -> None:  # noqa: FBT001
    """Remove a rule."""
    database = _database()
    remove_rule(database, name)
    _show(database, as_json=as_json)


@rules.command(name="move", epilog=example("glionode rules move 'After contrast' 1"))
@click.argument("name")
@click.argument("place", type=click.IntRange(min=1))
@json_option
@one_line_errors
def move(name: str, place: int, as_json: bool) -> None:  # noqa: FBT001
    """Move a rule to a place in the list; the rule at place 1 is applied first."""
    database = _database()
    move_rule(database, name, place)
    _show(database, as_json=as_json)


@rules.command(name="test", epilog=example("glionode rules test --kind T1CE --description '*nach km*' --pixels"))
@_rule_options
@click.option(
    "--file", "path", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="TOML file of rules."
)
@click.option("--pixels", is_flag=True, help="Recognise by headers and pixels, as the node does; slower.")
@click.option("--studies", default=100, show_default=True, type=click.IntRange(min=1), help="Newest studies at most.")
@json_option
@one_line_errors
def test(as_json: bool, path: Path | None, pixels: bool, studies: int, **entered: str) -> None:  # noqa: FBT001
    """Show which series of the newest studies would change their kind with a new rule or a file of rules."""
    if path is not None and any(entered.values()):
        raise click.UsageError("give either the options of one rule or --file, not both")
    new = parse_rules(path.read_text("utf-8"), path.name) if path else (make_rule({"name": "tested", **entered}),)
    database, folder = _database(), read_settings().node.folder
    wanted = merged_rules(new, site_rules(database))
    read = read_series if pixels else headers_only
    trial = try_rules(database, folder, wanted, read=read, looked_at=studies, recognised_again=studies)
    emit(
        as_json, asdict(trial) | {"pixels": pixels}, _trial_lines(trial, "headers and pixels" if pixels else "headers")
    )


@rules.command(name="import", epilog=example("glionode rules import rules.toml"))
@click.argument("path", metavar="FILE", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--replace", is_flag=True, help="Remove every other rule.")
@json_option
@one_line_errors
def import_(path: Path, replace: bool, as_json: bool) -> None:  # noqa: FBT001
    """Import the [[rule]] tables of a TOML file before the other rules; rules of the same name are replaced."""
    database = _database()
    import_rules(database, parse_rules(path.read_text("utf-8"), path.name), replace=replace)
    _show(database, as_json=as_json)


@rules.command(name="export", epilog=example("glionode rules export > rules.toml"))
@json_option
@one_line_errors
def export(as_json: bool) -> None:  # noqa: FBT001
    """Print every rule as TOML."""
    found = site_rules(_database())
    emit(as_json, {"rules": [asdict(rule) for rule in found]}, export_rules(found).splitlines())


def _database() -> Database:
    return open_database(read_settings().database_url)


def _show(database: Database, *, as_json: bool) -> None:
    found = site_rules(database)
    lines = []
    for place, rule in enumerate(found, start=1):
        values: dict[str, Any] = asdict(rule)
        patterns = ", ".join(f"{key} {values[key]!r}" for key in PATTERNS if values[key])
        lines.append(f"{place:3}  {rule.kind:10}  {rule.name}: {patterns}")
    emit(as_json, {"rules": [asdict(rule) for rule in found]}, lines or ["no site rules; only the built-in ones apply"])


def _trial_lines(trial: Trial, by: str) -> list[str]:
    lines = [f"{c.study_key} {c.series}: {c.before} -> {c.after}  {c.description!r}" for c in trial.changes]
    lines.append(
        f"{len(trial.changes)} series would change, {trial.fitting} match (by {by}; {trial.looked_at} studies checked, "
        f"{trial.studies} of them recognised again)"
    )
    if trial.overruled:
        lines.append(f"{trial.overruled} matching series would not get the rule's kind: an earlier rule decides")
    if trial.unreadable:
        lines.append(f"{trial.unreadable} studies contain files that cannot be read as DICOM")
    if trial.not_tried:
        lines.append(f"{trial.not_tried} more studies may contain matching series but were not recognised again")
    return lines
