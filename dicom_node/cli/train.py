"""`glionode train`: train a network on annotated cases; write a model folder, its figures and its curves."""

import json
import sys
import tomllib
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import click
import torch
from tqdm import tqdm

from dicom_node.cli.conventions import NOTICE, emit, example, json_option, one_line_errors, sets_options
from dicom_node.workbench.training_export import SEGMENT_CODES
from inference.cases.layouts import open_cases
from inference.cases.prepared import PreparedSet, prepare_cases
from inference.cases.splits import Split, make_split, split_from_json
from inference.model_bundle import load_model
from inference.training.ablation import ablate, ablation_table
from inference.training.loop import Progress
from inference.training.plan import TrainingPlan
from inference.training.presets import plan_for, preparation_for
from inference.training.processes import joined
from inference.training.run import RunReport, TrainingTask, run_training
from inference.training.search import search
from inference.training.starting import check_start
from inference.training.tracking import tracked
from inference.training.tumours.made_whole import whole_cases

__all__ = ["train"]

_DIMENSIONS = ("2d", "2.5d", "views", "3d", "autoencoder")
_VARIANTS = ("plain", "residual", "attention")
_FOLDS = 5
VALIDATIONS = 10
"""Number of validations in a training that may end early, unless --validate-every is given."""


@click.command(epilog=example("glionode train --dataset lgg --data ./kaggle_3m --out ./run1"))
@sets_options
@click.option("--out", required=True, type=click.Path(path_type=Path, file_okay=False), help="Output folder.")
@click.option(
    "--network",
    "dimensions",
    default="2.5d",
    show_default=True,
    type=click.Choice(_DIMENSIONS),
    help="What it sees: a slice (2d), a slice with its neighbours (2.5d), slices along three axes (views), a block of "
    "the volume (3d). An autoencoder learns what a training case looks like, and finds no tumour.",
)
@click.option(
    "--variant",
    default="plain",
    show_default=True,
    type=click.Choice(_VARIANTS),
    help="Blocks of the U-Net: plain, with residual connections, or with attention gates.",
)
@click.option("--plan", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="TOML with other settings.")
@click.option("--steps", type=int, help="Number of training steps.")
@click.option("--seed", type=int, help="Random seed of samples, weights and split.")
@click.option("--patience", type=int, help="Stop after so many validations without improvement; 0 turns this off.")
@click.option("--validate-every", type=int, help="Steps between validations on the held-out fold; 0 turns them off.")
@click.option("--folds", default=_FOLDS, show_default=True, help="Number of cross-validation folds, by patient.")
@click.option("--fold", default=0, show_default=True, help="Held-out fold, counted from 0.")
@click.option(
    "--start", type=click.Path(path_type=Path, exists=True, file_okay=False), help="Model of one network to start from."
)
@click.option("--split", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="Use this stored split.")
@click.option("--device", default="auto", show_default=True, help="cpu, cuda, or auto.")
@click.option(
    "--loaders",
    default=1,
    show_default=True,
    help="Number of processes that make samples; it does not affect the result.",
)
@click.option("--n4", is_flag=True, help="Correct the bias field of every sequence first, with N4 (slow).")
@click.option(
    "--whole/--as-they-are",
    "whole",
    default=True,
    help="With --network views, also train on brains without the tumour: its half is replaced by the mirror image of "
    "the other.",
)
@click.option(
    "--cache", type=click.Path(path_type=Path, file_okay=False), help="Folder of prepared cases; by default OUT/cache."
)
@click.option("--tensorboard", is_flag=True, help="Write curves to OUT/tensorboard.")
@click.option("--mlflow", default="", metavar="URI", help="Write curves to this MLflow server.")
@click.option(
    "--search",
    "trials",
    type=int,
    default=0,
    is_flag=False,
    flag_value=20,
    metavar="[N]",
    help="Search for good settings first, in N trials (20 if no number is given), with Optuna.",
)
@click.option("--ablate", type=click.Choice(["sequences"]), help="Finally score every useful subset of sequences.")
@json_option
@one_line_errors
def train(as_json: bool, datasets: tuple[str, ...], folders: tuple[Path, ...], **options: Any) -> None:  # noqa: FBT001, ANN401
    """Train a network on annotated cases, always split by patient.

    A training that was stopped continues when it is started again with the same arguments. With several processes:
    torchrun --nproc-per-node 2 -m dicom_node.cli train ...
    """
    if len(datasets) != len(folders):
        raise click.UsageError("give --dataset and --data once each for every set of cases")
    _refuse_conflicts(options)
    plan = _plan(options)
    with joined(options["device"]) as (number, processes):
        quiet = number > 0
        if processes > 1 and options["trials"]:
            raise click.UsageError("--search runs in one process only; then train the plan that it finds with several")
        task = _task(datasets, folders, plan, options, quiet=quiet)
        if options["trials"]:
            task = _searched(task, options["trials"], quiet=quiet)
        report = _trained(task, options, quiet=quiet)
        rows = _ablated(task, quiet=quiet) if options["ablate"] and not quiet else []
        if not quiet:
            _show(report, rows, as_json=as_json)


def _refuse_conflicts(options: dict[str, Any]) -> None:
    if options["split"] is None and not 0 <= options["fold"] < options["folds"]:
        raise click.UsageError(f"--fold {options['fold']}: folds are numbered from 0 to {options['folds'] - 1}")
    if options["dimensions"] == "autoencoder":
        for name, given in (("--search", options["trials"]), ("--ablate", options["ablate"])):
            if given:
                raise click.UsageError(f"{name}: an autoencoder segments no tumour that could be scored")
        if options["variant"] != _VARIANTS[0]:
            raise click.UsageError("--variant: an autoencoder has no variants")


def _plan(options: dict[str, Any]) -> TrainingPlan:
    """Return the preset, changed by the file and then by the options."""
    changes: dict[str, Any] = tomllib.loads(options["plan"].read_text("utf-8")) if options["plan"] else {}
    named = {key: options[key] for key in ("steps", "seed", "patience", "validate_every")}
    changes |= {key: value for key, value in named.items() if value is not None}
    if changes.get("patience") and not changes.get("validate_every"):  # unless steps are given, those of the preset
        steps = int(changes.get("steps") or plan_for(options["dimensions"], options["variant"]).steps)
        changes["validate_every"] = max(1, steps // VALIDATIONS)
    for key in ("crop", "drop", "carved_share"):
        if key in changes:
            changes[key] = tuple(changes[key])
    try:
        plan = plan_for(options["dimensions"], options["variant"], **changes)
    except TypeError as error:
        sentence = f"--plan {options['plan'].name}: {str(error).rsplit(' ', 1)[-1]} is not a setting of a plan"
        raise click.UsageError(sentence) from error
    if options["start"] is None:
        return plan
    return replace(plan, start_sha256=check_start(options["start"], plan.network, options["fold"]))


def _task(
    datasets: tuple[str, ...], folders: tuple[Path, ...], plan: "TrainingPlan", options: dict[str, Any], *, quiet: bool
) -> "TrainingTask":
    pairs = zip(datasets, folders, strict=True)
    sets = [open_cases(layout, folder, codes=SEGMENT_CODES) for layout, folder in pairs]
    out: Path = options["out"]
    prepared = prepare_cases(
        sets,
        preparation_for(plan, n4=options["n4"]),
        options["cache"] or out / "cache",
        lambda items: tqdm(items, desc="preparing", unit="case", disable=quiet or None, file=sys.stderr),
    )
    if options["whole"] and plan.views > 1:
        prepared = _with_whole_brains(prepared, quiet=quiet)
    split = _split(sets, options, plan.seed)
    _report_skipped(prepared, split, out, quiet=quiet)
    return TrainingTask(
        cases=prepared,
        split=split,
        fold=options["fold"],
        n4=options["n4"],
        plan=plan,
        out=out,
        device=_device(options["device"]),
        loaders=options["loaders"],
        start=options["start"],
    )


def _with_whole_brains(prepared: PreparedSet, *, quiet: bool) -> PreparedSet:
    whole = whole_cases(
        prepared.cases,
        lambda items: tqdm(items, desc="mirroring", unit="case", disable=quiet or None, file=sys.stderr),
    )
    return replace(prepared, cases=(*prepared.cases, *whole))


def _split(sets: list[Any], options: dict[str, Any], seed: int) -> Split:
    if options["split"]:
        split = split_from_json(options["split"].read_text("utf-8"), [case for one in sets for case in one.cases])
        if not 0 <= options["fold"] < len(split.folds):
            raise click.UsageError(f"--fold {options['fold']}: the folds of --split are 0 to {len(split.folds) - 1}")
        return split
    return make_split(sets, options["folds"], seed)


def _device(wanted: str) -> str:
    return ("cuda" if torch.cuda.is_available() else "cpu") if wanted == "auto" else wanted


def _report_skipped(prepared: PreparedSet, split: Split, out: Path, *, quiet: bool) -> None:
    out.mkdir(parents=True, exist_ok=True)
    if quiet:
        return
    skipped = [{"name": item.name, "reason": item.reason} for item in prepared.skipped]
    known = split.training(0) | split.held_out(0)
    reason = "the split does not contain this patient"
    skipped += [{"name": one.case_id, "reason": reason} for one in prepared.cases if one.patient not in known]
    (out / "skipped.json").write_text(json.dumps(skipped, indent=1))
    if skipped:
        click.echo(f"{len(skipped)} skipped; {out / 'skipped.json'} lists the reasons", err=True)


def _searched(task: TrainingTask, trials: int, *, quiet: bool) -> TrainingTask:
    with tqdm(disable=quiet or None, file=sys.stderr, unit="step") as bar:

        def watch(number: int, progress: Progress) -> None:
            bar.set_description(f"trial {number + 1} of {trials}: loss {progress.loss:.3f}, Dice {_dice(progress)}")
            bar.update()

        return replace(task, plan=search(replace(task, out=task.out / "search"), trials, watch))


def _trained(task: TrainingTask, options: dict[str, Any], *, quiet: bool) -> RunReport:
    folder = task.out / "tensorboard" if options["tensorboard"] and not quiet else None
    uri = "" if quiet else options["mlflow"]
    with (
        tqdm(total=task.plan.steps, disable=quiet or None, file=sys.stderr, unit="step") as bar,
        tracked(task.plan, tensorboard=folder, mlflow=uri) as track,
    ):

        def watch(progress: Progress) -> None:
            track(progress)
            bar.set_description(f"loss {progress.loss:.3f}, Dice {_dice(progress)}")
            bar.update(progress.step - bar.n)

        return run_training(task, watch)


def _dice(progress: Progress) -> str:
    return "-" if progress.dice is None else f"{progress.dice:.3f}"


def _ablated(task: TrainingTask, *, quiet: bool) -> list[dict[str, Any]]:
    network: Any = load_model(str(task.out / "model"), task.device).networks[0].module
    held = task.split.held_out(task.fold)
    cases = [case.read() for case in task.cases.cases if case.patient in held]
    bar = lambda sets: tqdm(sets, desc="subsets", disable=quiet or None, file=sys.stderr)  # noqa: E731 - one line
    rows = ablate(network, cases, bar, task.plan.views)
    content = [asdict(row) for row in rows]
    (task.out / "ablation.json").write_text(json.dumps(content, indent=1))
    (task.out / "ablation.md").write_text(ablation_table(rows))
    return content


def _show(report: RunReport, rows: list[dict[str, Any]], *, as_json: bool) -> None:
    content = {
        "model": str(report.model),
        "steps": report.steps,
        "hours": report.hours,
        "held_out_mean_dice": report.mean,
        "ablation": rows,
    }
    lines = [NOTICE, f"model  {report.model}  ({report.steps} steps, {report.hours:.2f} h)"]
    lines += [f"held out  {name:10}{dice:.3f}" for name, dice in report.mean.items()]
    lines += [f"with {', '.join(row['sequences']):22}{row['dice']}" for row in rows]
    emit(as_json, content, lines)
