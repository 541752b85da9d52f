"""`glionode evaluate`: a model held against experts' annotations, as JSON for scripts and as a page to read."""

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click
from tqdm import tqdm

from conversion.sequences import Role
from dicom_node.cli.conventions import LAYOUTS, NOTICE, example, one_line_errors, printable
from dicom_node.models.roles import model_folder
from dicom_node.settings import read_settings
from dicom_node.workbench.training_export import SEGMENT_CODES
from inference.cases.case import CaseReference, CaseSet
from inference.cases.layouts import open_cases
from inference.cases.splits import split_from_json
from inference.errors import InferenceReason, UnsuitableInput
from inference.evaluation.document import evaluation_json
from inference.evaluation.evaluation import evaluate as run
from inference.evaluation.figures import Measure
from inference.evaluation.held_out import HeldOutSegmenters
from inference.evaluation.intervals import Estimate
from inference.evaluation.report import report_html
from inference.evaluation.result import CaseResult, Evaluation
from inference.manifest import ModelManifest
from inference.model_bundle import load_model
from inference.segmenter import Segmenter

__all__ = ["evaluate"]

Chooser = Callable[[CaseReference], Segmenter]

PAGE = "index.html"
"""Name of the report in its folder."""


@click.command(epilog=example("glionode evaluate --dataset brats --data ./brats --json figures.json --report ./report"))
@click.option("--dataset", required=True, type=click.Choice(LAYOUTS), help="Layout of DIR.")
@click.option(
    "--data",
    metavar="DIR",
    required=True,
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Folder of annotated cases.",
)
@click.option(
    "--model",
    metavar="NAME",
    help="A model of `glionode models list`, NAME or NAME/VERSION, or a folder; by default that of the settings.",
)
@click.option("--sequences", default="", metavar="LIST", help="What the model may see, such as flair,t1ce.")
@click.option(
    "--split",
    metavar="FILE",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Split of the training: each patient is answered by the networks that did not see it; others are left out.",
)
@click.option("--cases", metavar="N", type=click.IntRange(min=1), help="The first N cases only.")
@click.option("--only", metavar="ID", multiple=True, help="This case only; may be given again.")
@click.option(
    "--json", "document", metavar="FILE", type=click.Path(path_type=Path, dir_okay=False), help="All figures."
)
@click.option("--report", metavar="DIR", type=click.Path(path_type=Path, file_okay=False), help="Folder for the page.")
@one_line_errors
def evaluate(
    dataset: str,
    data: Path,
    sequences: str,
    document: Path | None,
    report: Path | None,
    **chosen: Any,  # noqa: ANN401 - --model, --split, --cases, --only
) -> None:
    """Evaluate a model on annotated cases.

    The JSON document holds every figure of every case, pooled and mean, with intervals; DIR/index.html is the same to
    read, with pictures. Without both, a table is printed.
    """
    wanted = _roles(sequences)
    _make_room(document, report)
    cases = _open(dataset, data)
    segmenter, cases = _segmenter(chosen["model"], chosen["split"], cases, wanted)
    found = _run(segmenter, _chosen(cases, chosen["only"], chosen["cases"]), wanted)
    written = []
    if document is not None:
        document.write_text(evaluation_json(found), encoding="utf-8")
        written.append(document)
    if report is not None:
        page = report_html(found, data=data.resolve().name, made_by=f"GlioNode {version('glionode')}")
        (report / PAGE).write_text(page, encoding="utf-8")
        written.append(report / PAGE)
    lines = [f"wrote {path}" for path in written] or _table(found)
    click.echo("\n".join(map(printable, [NOTICE, *lines, *_remarks(found)])))


def _roles(text: str) -> tuple[Role, ...]:
    names = [name.strip().upper() for name in text.split(",") if name.strip()]
    if unknown := [name for name in names if name not in list(Role)]:
        known = ", ".join(role.lower() for role in Role)
        raise click.UsageError(f"--sequences {unknown[0].lower()!r}: use some of {known}, with commas between")
    return tuple(dict.fromkeys(Role(name) for name in names))


def _make_room(document: Path | None, report: Path | None) -> None:
    """Find out at once, not after an hour of work, that a result could not be written."""
    for folder in (*([] if document is None else [document.parent]), *([] if report is None else [report])):
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK):
            raise PermissionError(f"{folder}: cannot be written to")


def _open(dataset: str, data: Path) -> CaseSet:
    return open_cases(
        dataset,
        data,
        codes=SEGMENT_CODES,
        progress=lambda paths: tqdm(paths, desc="read headers", disable=None, file=sys.stderr),
    )


def _chosen(cases: CaseSet, only: Sequence[str], first: int | None) -> CaseSet:
    known = {case.case_id for case in cases.cases}
    if strange := [name for name in only if name not in known]:
        raise click.UsageError(f"--only {strange[0]}: no such case among {len(known)}, such as {min(known)}")
    kept = [case for case in cases.cases if not only or case.case_id in only]
    return replace(cases, cases=tuple(kept[:first]))


def _segmenter(
    model: str | None, split: Path | None, cases: "CaseSet", wanted: "tuple[Role, ...]"
) -> "tuple[Chooser, CaseSet]":
    """Return what segments each case, and the cases it may be held against."""
    settings = read_settings()
    folder = model_folder(settings, model or "")
    bundle = load_model(folder, settings.processing.device, settings.processing.threads)
    _refuse_useless(bundle.manifest, wanted)
    if split is None:
        segmenter = Segmenter(bundle)
        return lambda _: segmenter, cases
    segmenters = HeldOutSegmenters(bundle, split_from_json(split.read_text("utf-8"), cases.cases))
    return segmenters.for_case, segmenters.held_out(cases)


def _refuse_useless(manifest: ModelManifest, wanted: tuple[Role, ...]) -> None:
    """Find out before the first case is read that the model cannot work with so little."""
    given = {str(role) for role in wanted or manifest.channels}
    lacking = sorted(set(manifest.needs) - given)
    if lacking or not given & set(manifest.one_of):
        needed = f"{', '.join(lacking)} too" if lacking else f"one of {', '.join(manifest.one_of)}"
        sentence = f"--sequences: model {manifest.name} needs {needed}"
        raise UnsuitableInput(InferenceReason.SEQUENCES_MISSING, sentence)


def _run(choose: Chooser, cases: CaseSet, wanted: tuple[Role, ...]) -> Evaluation:
    with _bar(len(cases.cases)) as tell:
        return run(choose, cases, wanted, tell)


@contextmanager
def _bar(total: int) -> Iterator[Any]:
    """Show how many cases are done and their mean Dice so far, of the largest region."""
    dice: list[float] = []
    with tqdm(total=total, desc="evaluate", unit="case", disable=None, file=sys.stderr) as bar:

        def tell(case: CaseResult) -> None:
            if case.dice is not None:
                dice.append(case.dice)
                bar.set_postfix_str(f"mean Dice {sum(dice) / len(dice):.3f}", refresh=False)
            bar.update()

        yield tell


def _table(found: Evaluation) -> list[str]:
    head = ("", "cases", "mean Dice (95 %)", "pooled Dice", "precision", "recall", "median HD95 mm", "concordance")
    rows: list[tuple[str, ...]] = [head]
    for region, summary in found.regions.items():
        pooled = [summary.pooled[name] for name in (Measure.DICE, Measure.PRECISION, Measure.RECALL)]
        rows.append(
            (
                str(region),
                str(summary.cases),
                _with_interval(summary.mean[Measure.DICE]),
                *(_plain(one) for one in pooled),
                _plain(summary.median[Measure.HD95], 1),
                _plain(summary.volume.concordance),
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    models = ", ".join(f"{model.name} {model.version}" for model in found.models)
    first = f"{models} on {len(found.cases)} case{'s' * (len(found.cases) > 1)} ({found.source})"
    given = f", given {', '.join(found.sequences)} only" if found.sequences else ""
    return [first + given, *("  ".join(f"{cell:>{w}}" for cell, w in zip(row, widths, strict=True)) for row in rows)]


def _plain(found: Estimate | None, digits: int = 3) -> str:
    return "-" if found is None else f"{found.value:.{digits}f}"


def _with_interval(found: Estimate | None) -> str:
    if found is None or found.low is None or found.high is None:
        return _plain(found)
    return f"{found.value:.3f} ({found.low:.3f} to {found.high:.3f})"


def _remarks(found: Evaluation) -> list[str]:
    """Say what did not go as asked, case by case."""
    lines = [
        f"{case.case_id}: {'no answer' if case.regions else 'not read'}: {case.problem}"
        for case in found.cases
        if case.problem
    ]
    lacking = [case for case in found.cases if case.lacking and not case.problem]
    lines += [f"{case.case_id}: without {', '.join(case.lacking)}" for case in lacking]
    return [*lines, *(f"{skipped.name}: skipped: {skipped.reason}" for skipped in found.skipped)]
