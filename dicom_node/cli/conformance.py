"""`glionode conformance`: the DICOM Conformance Statement of the node as it is configured."""

import sys
from pathlib import Path

import click

from dicom_node.cli.conventions import example, one_line_errors
from dicom_node.conformance.facts import read_facts
from dicom_node.conformance.statement import as_json, statement
from dicom_node.database.engine import open_database
from dicom_node.settings import read_settings

__all__ = ["conformance"]


@click.command(epilog=example("glionode conformance --format pdf --out conformance.pdf"))
@click.option(
    "--format", "form", type=click.Choice(["html", "pdf", "json"]), default="html", show_default=True, help="Its form."
)
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="File to write; by default stdout.")
@one_line_errors
def conformance(form: str, out: Path | None) -> None:
    """Write the DICOM Conformance Statement (PS3.2 Annex N) of the node as it is configured."""
    settings = read_settings()
    document = statement(read_facts(settings, open_database(settings.database_url)))
    if form == "json":
        content = (as_json(document) + "\n").encode()
    elif form == "html":
        from dicom_node.conformance.html import as_html  # noqa: PLC0415 - only what is written

        content = as_html(document).encode()
    else:
        from dicom_node.conformance.pdf import as_pdf  # noqa: PLC0415

        content = as_pdf(document)
    if out is None:
        sys.stdout.buffer.write(content)
    else:
        out.write_bytes(content)
