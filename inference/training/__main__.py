"""Train the shipped network: ``python -m inference.training --lgg DIR --brats DIR --out DIR``."""

import argparse
import json
import logging
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from torch import nn

from inference.networks import build_network
from inference.training.datasets import TrainingCase, read_brats, read_lgg, split_by_patient
from inference.training.loop import TrainingPlan, held_out_dice, train

NETWORK = {"in_channels": 4, "out_channels": 3, "filters": [24, 48, 96, 160, 192]}
HELD_OUT = {"lgg": 16, "brats": 8}
SEQUENCE_SETS = {
    "T1,T1CE,T2,FLAIR": (True, True, True, True),
    "T1CE,FLAIR": (False, True, False, True),
    "T1,FLAIR": (True, False, False, True),
    "FLAIR": (False, False, False, True),
    "T1CE": (False, True, False, False),
}

_log = logging.getLogger(__name__)


def main() -> None:
    """Read the sets, train, score the held-out patients, write weights and figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("lgg", "brats", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=TrainingPlan.steps)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    arguments.out.mkdir(parents=True, exist_ok=True)
    plan = TrainingPlan(steps=arguments.steps)
    lgg = split_by_patient(list(read_lgg(arguments.lgg)), HELD_OUT["lgg"])
    brats = split_by_patient(list(read_brats(arguments.brats)), HELD_OUT["brats"])
    training, held_out = lgg[0] + brats[0], lgg[1] + brats[1]
    _log.info("training patients %d, held out %d", len(training), len(held_out))
    torch.manual_seed(plan.seed)
    network = build_network("unet2d", NETWORK)
    average = train(network, training, plan, arguments.out / "checkpoint.pt")
    torch.save(average.state_dict(), arguments.out / "weights.pt")
    report: dict[str, Any] = {
        "plan": asdict(plan),
        "network": NETWORK,
        "training_patients": sorted(case.patient for case in training),
        "held_out_patients": sorted(case.patient for case in held_out),
        "held_out_dice": {name: _scores(average, held_out, keep) for name, keep in SEQUENCE_SETS.items()},
    }
    (arguments.out / "report.json").write_text(json.dumps(report, indent=1))
    _log.info("%s", json.dumps({k: v["mean"] for k, v in report["held_out_dice"].items()}))


def _scores(network: nn.Module, cases: list[TrainingCase], keep: tuple[bool, ...]) -> dict[str, dict[str, Any]]:
    by_case = {case.patient: (case.source, held_out_dice(network, case, keep)) for case in cases}
    values: dict[str, list[float]] = {}
    for source, region in chain.from_iterable([(s, r) for r in d] for s, d in by_case.values()):
        values.setdefault(f"{source} {region}", [])
    for source, dice in by_case.values():
        for region, value in dice.items():
            values[f"{source} {region}"].append(value)
    mean = {name: round(sum(group) / len(group), 3) for name, group in values.items()}
    return {"mean": mean, "cases": {name: dice for name, (_, dice) in by_case.items()}}


if __name__ == "__main__":
    main()
