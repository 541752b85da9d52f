"""`glionode audit`: check and read the audit trail."""

import sys
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import click
from click.types import DateTime

from dicom_node.audit.head import audit_key, known_head
from dicom_node.audit.reading import Choice, ShownMessage, messages
from dicom_node.audit.verification import verify
from dicom_node.cli.conventions import complain, emit, example, json_option, one_line_errors
from dicom_node.database.engine import open_database
from dicom_node.settings import read_settings

__all__ = ["audit"]


@click.group(epilog=example("glionode audit verify"))
def audit() -> None:
    """Check and read the audit trail: who looked at or changed what (DICOM PS3.15 A.5)."""


@audit.command(name="verify", epilog=example("glionode audit verify --json"))
@click.option(
    "--from-record",
    "begins",
    default=1,
    type=click.IntRange(min=1),
    help="Number of the first record that must be there, where older files were archived.",
)
@json_option
@one_line_errors
def verify_it(begins: int, as_json: bool) -> None:  # noqa: FBT001 - the --json flag
    """Check whether a record was changed, removed, inserted or moved, and say where."""
    settings = read_settings()
    database = open_database(settings.database_url)
    verdict = verify(settings.node.folder, audit_key(database), known_head(database), begins)
    lines = [f"{one.file or 'trail'}:{one.line or 'end'}: {one.kind}: {one.sentence}" for one in verdict.findings]
    counted = f"{verdict.records} records in {verdict.files} files ({verdict.first} to {verdict.last})"
    lines.append(f"{counted}: {'unchanged' if verdict.is_whole else 'NOT as they were recorded'}")
    emit(as_json, asdict(verdict) | {"whole": verdict.is_whole}, lines)
    if not verdict.is_whole:
        complain("the audit trail is not as it was recorded")
        sys.exit(1)


@audit.command(name="show", epilog=example("glionode audit show --event accessed --since 2026-12-01"))
@click.option("--since", type=DateTime(), help="Earliest time, UTC.")
@click.option("--until", type=DateTime(), help="Latest time, UTC.")
@click.option("--user", default="", help="Part of the name of a user, a token or an AE title.")
@click.option("--study", default="", help="Study Instance UID, or the study's key.")
@click.option("--event", default="", help="Part of the name of an event or its type, such as accessed or login.")
@click.option("--xml", "as_xml", is_flag=True, help="Print the messages as they were recorded, one in each line.")
@json_option
@one_line_errors
def show(since: datetime | None, until: datetime | None, as_xml: bool, as_json: bool, **chosen: str) -> None:  # noqa: FBT001
    """Show messages of the audit trail; this is itself recorded."""
    if as_xml and as_json:
        raise click.UsageError("give either --xml or --json, not both")
    choice = Choice(since=_utc(since), until=_utc(until), **chosen)
    found = messages(read_settings().node.folder, choice)
    if as_xml:
        for one in found:
            click.echo(one.xml)
        return
    if as_json:
        shown: list[dict[str, Any]] = [asdict(one) for one in found]
        emit(True, {"messages": shown}, ())  # noqa: FBT003 - the flag itself
        return
    emit(False, {}, _lines(found))  # noqa: FBT003


def _utc(time: datetime | None) -> datetime | None:
    return None if time is None else time.replace(tzinfo=UTC)


def _lines(found: Iterator[ShownMessage]) -> Iterator[str]:
    empty = True
    for one in found:
        empty = False
        what = ", ".join((one.event, *one.types)) + ("" if one.outcome == "0" else f" FAILED ({one.outcome})")
        about = "; ".join((*(f"study {uid}" for uid in one.studies), *(f"patient {number}" for number in one.patients)))
        who = " / ".join(one.users)
        named = [] if one.studies else one.about
        parts = (f"{one.sequence:6}", one.at[:19], what, who, about, *named, one.description)
        yield "  ".join(part for part in parts if part)
    if empty:
        yield "no such messages"
