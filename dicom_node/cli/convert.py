"""`glionode convert`: the series of a folder as NIfTI."""

import sys
from dataclasses import asdict
from pathlib import Path

import click
from tqdm import tqdm

from dicom_node.cli.conventions import complain, emit, example, given_rules, json_option, one_line_errors, rules_option
from dicom_node.workbench.convert_folder import Progress, convert_folder

__all__ = ["convert"]


@click.command(epilog=example("glionode convert ./study ./out"))
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.argument("out", type=click.Path(path_type=Path, file_okay=False))
@rules_option
@json_option
@one_line_errors
def convert(folder: Path, out: Path, rules: Path | None, as_json: bool) -> None:  # noqa: FBT001
    """Convert every MR series of a DICOM folder to NIfTI, each with a JSON file."""
    progress = Progress(lambda items, phase: tqdm(items, desc=phase, disable=None, file=sys.stderr))
    done = convert_folder(folder, out, given_rules(rules), progress)
    content = {"files": [str(path) for path in done.files], "left_out": [asdict(item) for item in done.left_out]}
    lines = [
        *(f"wrote     {path}" for path in done.files),
        *(f"left out  {i.subject}: {i.reason}" for i in done.left_out),
    ]
    emit(as_json, content, lines)
    if not done.files:
        complain("no series could be converted; left_out.json lists the reasons")
        sys.exit(1)
