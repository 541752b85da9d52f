"""`glionode export`: stored studies as a training set."""

import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from tqdm import tqdm

from dicom_node.cli.conventions import NOTICE, complain, emit, example, json_option, one_line_errors
from dicom_node.database.engine import open_database
from dicom_node.rules.site_rules import site_rules
from dicom_node.settings import read_settings
from dicom_node.workbench.training_export import export_training_set

__all__ = ["export"]


@click.command(epilog=example("glionode export --training ./training-set"))
@click.option(
    "--training",
    "out",
    metavar="OUT",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Write stored studies with a corrected SEG to OUT, in the folder layout of BraTS.",
)
@json_option
@one_line_errors
def export(out: Path, as_json: bool) -> None:  # noqa: FBT001 - the --json flag
    """Make a training set from stored studies whose SEG a person drew or corrected."""

    def progress(studies: Sequence[Any]) -> Iterable[Any]:
        return tqdm(studies, unit="study", disable=None, file=sys.stderr)

    settings = read_settings()
    database = open_database(settings.database_url)
    done = export_training_set(database, settings.node.folder, out, site_rules(database), progress)
    lines = [NOTICE]
    lines += [f"{case.case}  {', '.join(case.sequences)}; annotated {', '.join(case.annotated)}" for case in done.cases]
    lines += [f"left out  study {item.name}: {item.reason}" for item in done.skipped]
    lines.append(f"{len(done.cases)} cases; {done.manifest}")
    skipped = [{"study": item.name, "reason": item.reason} for item in done.skipped]
    emit(
        as_json,
        {"manifest": str(done.manifest), "cases": [asdict(case) for case in done.cases], "skipped": skipped},
        lines,
    )
    if not done.cases:
        why = f" ({done.skipped[0].reason})" if done.skipped else ""
        complain(f"no stored study has a SEG that a person drew or corrected{why}")
        sys.exit(1)
