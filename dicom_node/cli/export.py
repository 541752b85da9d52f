"""`glionode export`: stored studies as a training set, and what people think of results as a table."""

import csv
import socket
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from tqdm import tqdm

from dicom_node.audit.events import Actor
from dicom_node.audit.trail import AuditTrail
from dicom_node.cli.audited import this_person
from dicom_node.cli.conventions import NOTICE, complain, emit, example, json_option, one_line_errors
from dicom_node.database.engine import open_database
from dicom_node.rules.site_rules import site_rules
from dicom_node.settings import read_settings
from dicom_node.studies.opinions import all_opinions
from dicom_node.workbench.training_export import export_training_set
from inference.regions import Region

__all__ = ["export"]


@click.command(epilog=example("glionode export --training ./training-set"))
@click.option(
    "--training",
    "out",
    metavar="OUT",
    type=click.Path(path_type=Path, file_okay=False),
    help="Write stored studies with a corrected SEG to OUT, in the folder layout of BraTS.",
)
@click.option(
    "--opinions",
    metavar="CSV",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write what people think of results (agree, disagree, edited, comments) to a table.",
)
@json_option
@one_line_errors
def export(out: Path | None, opinions: Path | None, as_json: bool) -> None:  # noqa: FBT001 - the --json flag
    """Make a training set from stored studies whose SEG a person drew or corrected, or a table of opinions."""
    if (out is None) == (opinions is None):
        raise click.UsageError("give either --training OUT or --opinions CSV")
    if opinions is not None:
        _export_opinions(opinions, as_json=as_json)
    elif out is not None:
        _export_training(out, as_json=as_json)


def _export_opinions(path: Path, *, as_json: bool) -> None:
    found = all_opinions(open_database(read_settings().database_url))
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["study", "revision", "verdict", "comment", "at", "flags", *(f"{one}_ml" for one in Region)])
        for one in found:
            volumes = [one.volumes_ml.get(region, "") for region in Region]
            table.writerow(
                [
                    one.study,
                    one.revision,
                    one.verdict,
                    _cell(one.comment),
                    one.at.isoformat(),
                    " ".join(one.flags),
                    *volumes,
                ]
            )
    emit(as_json, {"opinions": len(found), "file": str(path)}, [f"{len(found)} opinions; {path}"])


def _cell(text: str) -> str:
    """Return a text that no spreadsheet takes for a formula (OWASP, CSV injection)."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


def _export_training(out: Path, *, as_json: bool) -> None:
    def progress(studies: Sequence[Any]) -> Iterable[Any]:
        return tqdm(studies, unit="study", disable=None, file=sys.stderr)

    settings = read_settings()
    database = open_database(settings.database_url)
    done = export_training_set(database, settings.node.folder, out, site_rules(database), progress)
    if done.studies:
        trail = AuditTrail(settings.node.folder, settings.node.ae_title, database)
        studies = [trail.study(key) for key in done.studies]
        actor = Actor(name=this_person(), address=socket.gethostname())
        trail.record(trail.report.exported(actor, studies, out.absolute().as_uri(), "training set"))
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
