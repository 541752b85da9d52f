"""`glionode support-bundle`: what those who help need to know, as a zip without patient data."""

import os
from pathlib import Path

import click

from dicom_node.cli.conventions import emit, example, json_option, one_line_errors
from dicom_node.database.engine import open_database
from dicom_node.monitoring.support_bundle import support_bundle
from dicom_node.settings import read_settings
from dicom_node.setup.doctor import diagnose

__all__ = ["bundle"]


@click.command(name="support-bundle", epilog=example("glionode support-bundle --out glionode-support.zip"))
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), required=True, help="File to write; it must not exist."
)
@json_option
@one_line_errors
def bundle(out: Path, as_json: bool) -> None:  # noqa: FBT001 - the --json flag
    """Write settings, versions, counts and checks into a zip for those who help; it holds no patient data."""
    settings = read_settings()
    database = open_database(settings.database_url)
    content = support_bundle(settings, database, diagnose(settings, database))
    with os.fdopen(os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
    emit(as_json, {"file": str(out), "bytes": len(content)}, [f"wrote {out}, {len(content) / 1024:.0f} KiB"])
