"""`glionode status`: the state of every study."""

from dataclasses import asdict

import click

from dicom_node.cli.conventions import emit, example, json_option, one_line_errors
from dicom_node.database.engine import open_database
from dicom_node.settings import read_settings
from dicom_node.studies.status import read_status, status_lines

__all__ = ["status"]


@click.command(epilog=example("glionode status --json"))
@json_option
@one_line_errors
def status(as_json: bool) -> None:  # noqa: FBT001
    """Show every study with its state, reason and deliveries, and what was refused."""
    found = read_status(open_database(read_settings().database_url), limit=None)
    emit(as_json, asdict(found), status_lines(found))
