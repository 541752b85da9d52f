"""Trains one fold of the networks over volumes, or of the autoencoder, on gliomas and as many brains without one.

    python benchmarks/tumour_learning.py --brats DIR --cases DIR --cache DIR --out DIR --fold K
        [--network views] [--steps 4000]

``--cases`` is the folder that benchmarks/head_cases.py wrote. A training that was stopped resumes from its last
checkpoint when it is started with the same arguments. It writes the files of `glionode train` to OUT. Combine the folds
into one model with `glionode models combine`.
"""

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch
from tqdm import tqdm

from benchmarks.head_cases import head_sets
from inference.cases.layouts import open_cases
from inference.cases.prepared import PreparedSet, prepare_cases
from inference.cases.splits import make_split
from inference.training.loop import Progress
from inference.training.plan import TrainingPlan
from inference.training.presets import AUTOENCODER, VIEWS, plan_for, preparation_for
from inference.training.run import TrainingTask, run_training
from inference.training.starting import check_start
from inference.training.tumours.made_whole import whole_cases

FOLDS, SEED = 5, 20261129
PRINT_EVERY = 25
GOING_ON = 0.8
"""Factor of the learning rate for a training that starts from trained weights."""

SHARES = {"brats": 0.4, "brats whole": 0.26, "elderly": 0.13, "ms": 0.11, "operated": 0.1}
"""Half of the samples are of brains without a tumour. By the preset, half of these receive another patient's tumour."""

SHARES_GOING_ON = {"brats": 0.5, "brats whole": 0.2, "elderly": 0.12, "ms": 0.08, "operated": 0.1}
"""For networks that were trained on brains without a tumour already. Chosen, not searched. Results are in models.md."""


def tumour_plan(network: str, steps: int, *, going_on: bool = False, **changes: Any) -> TrainingPlan:  # noqa: ANN401 - any field
    """Return the plan of these trainings."""
    shares = {} if network == AUTOENCODER else SHARES_GOING_ON if going_on else SHARES
    return plan_for(network, **{"source_share": shares, "steps": steps, "seed": SEED, **changes})


def main() -> None:
    """Prepare the cases, train, and score the held-out ones."""
    chosen = _arguments()
    torch.set_num_threads(chosen.threads)
    sets = [open_cases("brats", chosen.brats), *head_sets(chosen.cases)]
    split = make_split(sets, FOLDS, SEED)
    going_on, every = chosen.start is not None, chosen.checkpoint_every
    plan = tumour_plan(chosen.network, chosen.steps, going_on=going_on, checkpoint_every=every)
    if chosen.start:
        start_sha256 = check_start(chosen.start, plan.network, chosen.fold)
        plan = replace(plan, start_sha256=start_sha256, learning_rate=plan.learning_rate * GOING_ON)
    prepared = prepare_cases(sets, preparation_for(plan), chosen.cache, tqdm)
    whole = whole_cases([case for case in prepared.cases if case.source == "brats"], tqdm)
    cases = PreparedSet(cases=(*prepared.cases, *whole), skipped=prepared.skipped)
    for source in sorted({case.source for case in cases.cases}):
        print(source, sum(case.source == source for case in cases.cases), file=sys.stderr)
    task = TrainingTask(
        cases=cases,
        split=split,
        fold=chosen.fold,
        plan=plan,
        out=chosen.out,
        loaders=chosen.loaders,
        start=chosen.start,
    )
    report = run_training(replace(task, device=chosen.device), _watch)
    for name, dice in report.mean.items():
        print(f"fold {chosen.fold}, {name}: mean Dice {dice:.4f}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--brats", type=Path, required=True, help="folder of the unpacked BraTS cases")
    parser.add_argument("--cases", type=Path, required=True, help="folder that head_cases.py wrote")
    parser.add_argument("--cache", type=Path, required=True, help="folder for prepared cases")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--fold", type=int, required=True)
    parser.add_argument("--network", default=VIEWS, choices=[VIEWS, AUTOENCODER])
    parser.add_argument("--start", type=Path, help="model folder of an earlier training of this fold")
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--checkpoint-every", type=int, default=200, help="number of steps")
    parser.add_argument("--loaders", type=int, default=0, help="number of processes that make samples")
    parser.add_argument("--threads", type=int, default=1, help="number of torch's threads")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    return parser.parse_args()


def _watch(progress: Progress) -> None:
    if progress.step % PRINT_EVERY == 0 or progress.step == progress.steps:
        print(
            f"step {progress.step} of {progress.steps}, loss {progress.loss:.4f}, {progress.step_s:.2f} s per step",
            file=sys.stderr,
            flush=True,
        )


if __name__ == "__main__":
    main()
