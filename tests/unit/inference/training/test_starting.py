"""A training that begins with a model's weights: an equal network, and never one that saw who is held out."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from inference.cases.splits import Split
from inference.errors import UnusableModel
from inference.manifest import read_manifest
from inference.training.combination import Imprint, combine
from inference.training.model_folder import write_model
from inference.training.plan import TrainingPlan
from inference.training.starting import check_start, start_weights
from inference.unet import TumourUNet
from tests.support.training_cases import training_case

SPLIT = Split(folds=(("a",), ("b",)), seed=1)
PLAN = TrainingPlan(network={"dimensions": 2, "filters": [4, 6, 8]}, crop=(1, 32, 32))


def _model(folder: Path, **changes: Any) -> tuple[Path, TumourUNet]:  # noqa: ANN401 - any fact
    torch.manual_seed(3)
    network = TumourUNet(**PLAN.network)
    facts = {
        "fold": 1, "folds": 2, "split_sha256": SPLIT.sha256, "plan_sha256": PLAN.sha256, "cases": {}, "steps": 1,
        "seed": 1, "hours": 0, "held_out_mean_dice": {}, "n4": False, "fold_also_chose": "",
    } | changes  # fmt: skip
    write_model(folder, network, PLAN, facts)
    return folder, network


def test_the_weights_are_those_of_the_model(tmp_path: Path) -> None:
    folder, network = _model(tmp_path / "model")
    assert len(check_start(folder, PLAN.network, 1)) == 64
    fresh = TumourUNet(**PLAN.network)
    fresh.load_state_dict(start_weights(folder, PLAN.network, 1, []))
    for begun, stored in zip(fresh.state_dict().values(), network.state_dict().values(), strict=True):
        assert torch.allclose(begun, stored, atol=1e-3)


def test_another_network_is_refused(tmp_path: Path) -> None:
    folder, _ = _model(tmp_path / "model")
    with pytest.raises(UnusableModel, match="can only start from a network with the same settings as its own"):
        check_start(folder, {**PLAN.network, "filters": [4, 6, 10]}, 1)


def test_weights_that_saw_who_is_held_out_are_refused(tmp_path: Path) -> None:
    held_out = [training_case("lgg", 1)]
    seen, _ = _model(tmp_path / "seen", cases={"lgg": 3}, held_out_dice={"lgg2": {}})
    with pytest.raises(UnusableModel, match=r"did not hold out 1 of the cases that fold 1 holds out, such as lgg1"):
        start_weights(seen, PLAN.network, 1, held_out)
    held, _ = _model(tmp_path / "held", cases={"lgg": 3}, held_out_dice={"lgg1": {}})
    assert start_weights(held, PLAN.network, 1, held_out)
    other, _ = _model(tmp_path / "other", cases={"brats": 3}, held_out_dice={})
    assert start_weights(other, PLAN.network, 1, held_out)


def test_of_an_ensemble_the_network_that_held_out_the_same_fold_begins(tmp_path: Path) -> None:
    runs = []
    for fold in (0, 1):
        folder, _ = _model(tmp_path / f"run{fold}" / "model", fold=fold, held_out_dice={f"lgg{fold}": {}})
        facts = {**read_manifest(str(folder))[1].metrics, "cases": {"lgg": 1}}
        (folder.parent / "report.json").write_text(json.dumps(facts))
        runs.append(folder.parent)
    ensemble = combine(runs, tmp_path / "both", Imprint(name="both", version="1"))
    assert check_start(ensemble, PLAN.network, 0)
    assert start_weights(ensemble, PLAN.network, 1, [training_case("lgg", 1)])
    with pytest.raises(UnusableModel, match="such as lgg1"):
        start_weights(ensemble, PLAN.network, 0, [training_case("lgg", 1)])
    with pytest.raises(UnusableModel, match="same settings and have held out fold 2"):
        check_start(ensemble, PLAN.network, 2)
