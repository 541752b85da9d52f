"""`glionode evaluate`: compare a model with experts' annotations; write JSON for scripts and a page to read."""

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
@click.option("--dataset", required=True, type=click.Choice(LAYOUTS), help="Layout of the cases.")
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
    help="A model of `glionode models list` (NAME or NAME/VERSION), or a model folder; by default the one in the "
    "settings.",
)
@click.option(
    "--sequences", default="", metavar="LIST", help="Sequences given to the model, such as flair,t1ce; by default all."
)
@click.option(
    "--split",
    metavar="FILE",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Split of the training. Each patient is segmented only by networks that were not trained on that patient; "
    "patients held out from no network are left out.",
)
@click.option("--cases", metavar="N", type=click.IntRange(min=1), help="Evaluate only the first N cases.")
@click.option("--only", metavar="ID", multiple=True, help="Evaluate only this case; repeat it for several cases.")
@click.option(
    "--json",
    "document",
    metavar="FILE",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write all figures to FILE.",
)
@click.option(
    "--report",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    help="Write the report to DIR/index.html.",
)
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

    The JSON document contains the figures of every case, and pooled and mean figures with intervals. The report shows
    the same with pictures. Without --json and --report, a table is printed.
    """
    wanted = _roles(sequences)
    _make_folders(document, report)
    cases = _open(dataset, data)
    segmenter, cases = _segmenter(chosen["model"], chosen["split"], cases, wanted)
    evaluation = _run(segmenter, _chosen(cases, chosen["only"], chosen["cases"]), wanted)
    written = []
    if document is not None:
        document.write_text(evaluation_json(evaluation), encoding="utf-8")
        written.append(document)
    if report is not None:
        page = report_html(evaluation, data=data.resolve().name, made_by=f"GlioNode {version('glionode')}")
        (report / PAGE).write_text(page, encoding="utf-8")
        written.append(report / PAGE)
    lines = [f"wrote {path}" for path in written] or _table(evaluation)
    click.echo("\n".join(map(printable, [NOTICE, *lines, *_remarks(evaluation)])))


def _roles(text: str) -> tuple[Role, ...]:
    names = [name.strip().upper() for name in text.split(",") if name.strip()]
    if unknown := [name for name in names if name not in list(Role)]:
        known = ", ".join(role.lower() for role in Role)
        raise click.UsageError(f"--sequences {unknown[0].lower()!r}: use some of {known}, separated by commas")
    return tuple(dict.fromkeys(Role(name) for name in names))


def _make_folders(document: Path | None, report: Path | None) -> None:
    """Make the output folders; fail at once, not after an hour of work, if one cannot be written to."""
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
    if unknown := [name for name in only if name not in known]:
        raise click.UsageError(f"--only {unknown[0]}: no such case among {len(known)}, such as {min(known)}")
    kept = [case for case in cases.cases if not only or case.case_id in only]
    return replace(cases, cases=tuple(kept[:first]))


def _segmenter(
    model: str | None, split: Path | None, cases: "CaseSet", wanted: "tuple[Role, ...]"
) -> "tuple[Chooser, CaseSet]":
    """Return the function that chooses a segmenter for each case, and the cases that may be evaluated with it."""
    settings = read_settings()
    folder = model_folder(settings, model or "")
    bundle = load_model(folder, settings.processing.device, settings.processing.threads)
    _refuse_missing_sequences(bundle.manifest, wanted)
    if split is None:
        segmenter = Segmenter(bundle)
        return lambda _: segmenter, cases
    segmenters = HeldOutSegmenters(bundle, split_from_json(split.read_text("utf-8"), cases.cases))
    return segmenters.for_case, segmenters.held_out(cases)


def _refuse_missing_sequences(manifest: ModelManifest, wanted: tuple[Role, ...]) -> None:
    """Refuse, before the first case is read, sequences with which the model cannot work."""
    given = {str(role) for role in wanted or manifest.channels}
    lacking = sorted(set(manifest.needs) - given)
    if lacking or not given & set(manifest.one_of):
        needed = f"also needs {', '.join(lacking)}" if lacking else f"needs one of {', '.join(manifest.one_of)}"
        sentence = f"--sequences: model {manifest.name} {needed}"
        raise UnsuitableInput(InferenceReason.SEQUENCES_MISSING, sentence)


def _run(choose: Chooser, cases: CaseSet, wanted: tuple[Role, ...]) -> Evaluation:
    with _bar(len(cases.cases)) as advance:
        return run(choose, cases, wanted, advance)


@contextmanager
def _bar(total: int) -> Iterator[Any]:
    """Show how many cases are done, and their mean Dice so far for the largest region."""
    dice: list[float] = []
    with tqdm(total=total, desc="evaluate", unit="case", disable=None, file=sys.stderr) as bar:

        def advance(case: CaseResult) -> None:
            if case.dice is not None:
                dice.append(case.dice)
                bar.set_postfix_str(f"mean Dice {sum(dice) / len(dice):.3f}", refresh=False)
            bar.update()

        yield advance


def _table(evaluation: Evaluation) -> list[str]:
    head = ("", "cases", "mean Dice (95 %)", "pooled Dice", "precision", "recall", "median HD95 mm", "concordance")
    rows: list[tuple[str, ...]] = [head]
    for region, summary in evaluation.regions.items():
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
    models = ", ".join(f"{model.name} {model.version}" for model in evaluation.models)
    first = f"{models} on {len(evaluation.cases)} case{'s' * (len(evaluation.cases) > 1)} ({evaluation.source})"
    given = f", given only {', '.join(evaluation.sequences)}" if evaluation.sequences else ""
    return [first + given, *("  ".join(f"{cell:>{w}}" for cell, w in zip(row, widths, strict=True)) for row in rows)]


def _plain(estimate: Estimate | None, digits: int = 3) -> str:
    return "-" if estimate is None else f"{estimate.value:.{digits}f}"


def _with_interval(estimate: Estimate | None) -> str:
    if estimate is None or estimate.low is None or estimate.high is None:
        return _plain(estimate)
    return f"{estimate.value:.3f} ({estimate.low:.3f} to {estimate.high:.3f})"


def _remarks(evaluation: Evaluation) -> list[str]:
    """List the cases that gave no result, lacked sequences or were skipped."""
    lines = [
        f"{case.case_id}: {'no result' if case.regions else 'not read'}: {case.problem}"
        for case in evaluation.cases
        if case.problem
    ]
    lacking = [case for case in evaluation.cases if case.lacking and not case.problem]
    lines += [f"{case.case_id}: without {', '.join(case.lacking)}" for case in lacking]
    return [*lines, *(f"{skipped.name}: skipped: {skipped.reason}" for skipped in evaluation.skipped)]
