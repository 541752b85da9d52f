"""Runs one training, from prepared cases to a model folder with its figures: the work of ``glionode train``."""

import hashlib
import json
import platform
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from inference.autoencoder import HeadAutoencoder
from inference.cases.prepared import PreparedCase, PreparedSet
from inference.cases.splits import Split, split_to_json
from inference.errors import InferenceReason, UnreadableCase
from inference.manifest import REGIONS
from inference.preprocessing import CHANNELS
from inference.regions import Region
from inference.training.loop import Progress, Trained, TrainingWork, train
from inference.training.model_folder import write_autoencoder, write_model
from inference.training.novelty_levels import held_out_novelty, novelty_scale
from inference.training.plan import TrainingPlan
from inference.training.processes import device_name, place
from inference.training.scoring import case_dice
from inference.training.starting import start_weights

__all__ = ["RunReport", "TrainingTask", "run_training"]


@dataclass(frozen=True, kw_only=True)
class TrainingTask:
    """The data and the plan of a training, and the folder of its outcome.

    Attributes
    ----------
    fold
        Number of the fold of `split` that is held out.
    start
        Model folder of an earlier training from whose weights this one starts. The plan contains their hash.
    n4
        Whether the bias field was removed from the cases (N4). The manifest states it, and the node does the same.
    out
        Receives ``plan.json``, ``split.json``, ``checkpoint.pt``, ``report.json`` and the folder ``model``.
    """

    cases: PreparedSet
    split: Split
    fold: int
    plan: TrainingPlan
    out: Path
    device: str = "cpu"
    loaders: int = 0
    start: Path | None = None
    n4: bool = False

    @property
    def sha256(self) -> str:
        """Hash over everything that decides the weights: the plan, the split with its fold, and the prepared cases."""
        cases = sorted(case.path.stem for case in self.cases.cases)
        parts = [self.plan.sha256, self.split.sha256, str(self.fold), *cases]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class RunReport:
    """The result of a training.

    Attributes
    ----------
    model
        Folder for ``glionode models add``. For an autoencoder, the folder for ``glionode models combine``.
    held_out
        Dice by region for each held-out case, in order of their names.
    mean
        Mean of these by source and region, such as ``lgg WT``.
    """

    model: Path
    steps: int
    hours: float
    held_out: dict[str, dict[Region, float]]
    mean: dict[str, float]


def run_training(task: TrainingTask, watch: Callable[[Progress], None] = lambda _: None) -> RunReport:
    """Train on all folds but one, and score the held-out fold.

    If a training is killed and started again with the same task, it resumes from its last checkpoint and reaches the
    same weights.

    Raises
    ------
    UnreadableCase
        When no case is left to train on.
    """
    held, training = task.split.held_out(task.fold), task.split.training(task.fold)
    training_cases = [case.read() for case in task.cases.cases if case.patient in training]
    held_out = [case.read() for case in task.cases.cases if case.patient in held]
    if not training_cases:
        raise UnreadableCase(InferenceReason.NO_CASES, "no case is left to train on in this fold")
    task.out.mkdir(parents=True, exist_ok=True)
    (task.out / "plan.json").write_text(json.dumps(asdict(task.plan), indent=1))
    (task.out / "split.json").write_text(split_to_json(task.split))
    torch.manual_seed(task.plan.seed)
    network = task.plan.build().to(task.device)
    if task.start is not None:
        network.load_state_dict(start_weights(task.start, task.plan.network, task.fold, held_out))
    validation = held_out if task.plan.validate_every else ()
    work = TrainingWork(plan=task.plan, identity=task.sha256, folder=task.out, loaders=task.loaders)
    trained = train(network, training_cases, work, validation=validation, watch=watch)
    return _reported(task, trained, training_cases, held_out)


def _reported(
    task: TrainingTask, trained: Trained, training_cases: Sequence[PreparedCase], held_out: Sequence[PreparedCase]
) -> RunReport:
    """Score the held-out patients. The first process writes the outcome."""
    network, hours = trained.network, sum(progress.step_s for progress in trained.history) / 3600
    if isinstance(network, HeadAutoencoder):
        report = RunReport(model=task.out / "autoencoder", steps=trained.step, hours=hours, held_out={}, mean={})
        return _autoencoder_reported(task, network, report, training_cases, held_out)
    scores = {case.case_id: case_dice(network, case, views=task.plan.views) for case in held_out}
    means = _means(held_out, scores)
    report = RunReport(model=task.out / "model", steps=trained.step, hours=hours, held_out=scores, mean=means)
    if place()[0] == 0:
        facts = _facts(task, training_cases, report)
        regions = REGIONS if any(all(case.annotated) for case in training_cases) else REGIONS[:1]
        write_model(report.model, network, task.plan, facts, regions)
        (task.out / "report.json").write_text(json.dumps(facts, indent=1))
    return report


def _autoencoder_reported(
    task: TrainingTask,
    network: HeadAutoencoder,
    report: RunReport,
    training_cases: Sequence[PreparedCase],
    held_out: Sequence[PreparedCase],
) -> RunReport:
    """Compute the reference levels of novelty, and write them beside the weights."""
    if not held_out:
        raise UnreadableCase(InferenceReason.NO_CASES, "an autoencoder needs held-out patients for its levels")
    scale = novelty_scale(network, held_out)
    scores = held_out_novelty(network, held_out, scale)
    report = replace(report, mean={"novelty": float(np.mean(scores))})
    if place()[0] == 0:
        write_autoencoder(report.model, network, task.plan, scale, scores)
        (task.out / "report.json").write_text(json.dumps(_facts(task, training_cases, report), indent=1))
    return report


def _means(cases: Sequence[PreparedCase], scores: dict[str, dict[Region, float]]) -> dict[str, float]:
    values: dict[str, list[float]] = {}
    for case in cases:
        for region, dice in scores[case.case_id].items():
            values.setdefault(f"{case.source} {region}", []).append(dice)
    return {name: float(np.mean(group)) for name, group in sorted(values.items())}


def _channels_present(cases: Sequence[PreparedCase]) -> list[bool]:
    """Return for each channel whether any case has it."""
    return [any(present) for present in zip(*(case.present for case in cases), strict=True)]


def _facts(task: TrainingTask, training_cases: Sequence[PreparedCase], report: RunReport) -> dict[str, Any]:
    sources = sorted({case.source for case in training_cases})
    return {
        "plan_sha256": task.plan.sha256,
        "split_sha256": task.split.sha256,
        "fold": task.fold,
        "folds": len(task.split.folds),
        "cases": {source: sum(case.source == source for case in training_cases) for source in sources},
        "cases_sha256": hashlib.sha256("\n".join(sorted(case.case_id for case in training_cases)).encode()).hexdigest(),
        "n4": task.n4,
        "not_seen": [
            name for name, any_has in zip(CHANNELS, _channels_present(training_cases), strict=True) if not any_has
        ],
        "fold_also_chose": "the weights, by validation" if task.plan.validate_every else "",
        "seed": task.plan.seed,
        "steps": report.steps,
        "hours": round(report.hours, 3),
        "device": device_name(task.device),
        "held_out_mean_dice": {name: round(dice, 4) for name, dice in report.mean.items()},
        "held_out_dice": {
            name: {str(region): round(dice, 4) for region, dice in scores.items()}
            for name, scores in report.held_out.items()
        },
        "versions": {
            "glionode": version("glionode"),
            "torch": torch.__version__,
            "monai": version("monai"),
            "python": platform.python_version(),
        },
    }
