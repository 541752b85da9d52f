"""A training that begins with a model's weights: an equal network, and never one that saw who is held out."""

from pathlib import Path
from typing import Any

import pytest
import torch

from inference.cases.splits import Split
from inference.errors import UnusableModel
from inference.training.model_folder import write_model
from inference.training.plan import TrainingPlan
from inference.training.starting import check_start, start_weights
from inference.unet import TumourUNet

SPLIT = Split(folds=(("a",), ("b",)), seed=1)
PLAN = TrainingPlan(network={"dimensions": 2, "filters": [4, 6, 8]}, crop=(1, 32, 32))


def _model(folder: Path, **changes: Any) -> tuple[Path, TumourUNet]:  # noqa: ANN401 - any fact
    torch.manual_seed(3)
    network = TumourUNet(**PLAN.network)
    facts = {
        "fold": 1, "folds": 2, "split_sha256": SPLIT.sha256, "plan_sha256": PLAN.sha256, "cases": {}, "steps": 1,
        "seed": 1, "hours": 0, "held_out_mean_dice": {},
    } | changes  # fmt: skip
    write_model(folder, network, PLAN, facts)
    return folder, network


def test_the_weights_are_those_of_the_model(tmp_path: Path) -> None:
    folder, network = _model(tmp_path / "model")
    assert len(check_start(folder, PLAN.network)) == 64
    fresh = TumourUNet(**PLAN.network)
    fresh.load_state_dict(start_weights(folder, SPLIT, 1))
    for begun, stored in zip(fresh.state_dict().values(), network.state_dict().values(), strict=True):
        assert torch.allclose(begun, stored, atol=1e-3)


def test_another_network_is_refused(tmp_path: Path) -> None:
    folder, _ = _model(tmp_path / "model")
    with pytest.raises(UnusableModel, match="weights of an equal one"):
        check_start(folder, {**PLAN.network, "filters": [4, 6, 10]})


def test_weights_that_saw_who_is_held_out_are_refused(tmp_path: Path) -> None:
    folder, _ = _model(tmp_path / "model")
    with pytest.raises(UnusableModel, match="trained on patients that fold 0 holds out"):
        start_weights(folder, SPLIT, 0)
    other, _ = _model(tmp_path / "other", split_sha256="0" * 64)
    assert start_weights(other, SPLIT, 0)
