"""The training of the network that finds brains: it learns, it resumes to the bit, and it says what it wrote."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from inference.errors import UnusableModel
from inference.manifest import read_manifest
from inference.model_bundle import load_model
from inference.training.brain import BRAIN_NETWORK, brain_dice, brain_plan, place_brain, train_brain
from inference.training.heads.sample_grid import SampleGrid
from inference.training.heads.sampler import Heads, HeadSampler, Recipe
from inference.training.loop import Progress
from inference.training.plan import TrainingPlan
from inference.unet import TumourUNet
from tests.support.detector_model import write_detector
from tests.support.small_label_map import small_heads

RECIPE = Recipe(grid=SampleGrid(shape=(16, 24, 16), spacing_mm=6.0), brainless=0.0, least_brain_ml=20.0)
SMALL = {**BRAIN_NETWORK, "filters": [4, 6, 8]}


@pytest.fixture(scope="module")
def heads() -> Heads:
    return small_heads()


def _sampler(heads: Heads, seed: int = 5, recipe: Recipe = RECIPE) -> HeadSampler:
    return HeadSampler(heads, recipe, seed)


def _plan(sampler: HeadSampler, **changes: Any) -> TrainingPlan:  # noqa: ANN401 - any field
    usual = {"network": SMALL, "learning_rate": 1e-2, "warm_up": 2, "checkpoint_every": 2}
    return brain_plan(sampler, changes.pop("steps", 6), **{**usual, **changes})


def _equal(first: nn.Module, second: nn.Module) -> bool:
    pairs = zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def test_the_network_is_small_and_takes_whole_samples() -> None:
    network = TumourUNet(**BRAIN_NETWORK)
    assert sum(part.numel() for part in network.parameters()) < 1.5e6
    assert all(size % network.multiple == 0 for size in Recipe().grid.shape)


def test_the_plan_follows_the_samples(heads: Heads) -> None:
    sampler = _sampler(heads, seed=12, recipe=Recipe())
    plan = brain_plan(sampler, 90)
    assert (plan.steps, plan.seed, plan.crop) == (90, 12, Recipe().grid.shape)
    assert plan.network == BRAIN_NETWORK


def test_an_interrupted_training_ends_with_the_weights_of_a_whole_one(tmp_path: Path, heads: Heads) -> None:
    sampler = _sampler(heads)
    whole = train_brain(sampler, _plan(sampler), tmp_path / "whole")

    def stop_after_three(progress: Progress) -> None:
        if progress.step == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_brain(sampler, _plan(sampler), tmp_path / "parts", watch=stop_after_three)
    assert not (tmp_path / "parts" / "brain.json").exists()
    torch.manual_seed(77)
    resumed = train_brain(_sampler(heads), _plan(sampler), tmp_path / "parts")
    assert _equal(resumed.network, whole.network)
    assert [progress.loss for progress in resumed.history] == [progress.loss for progress in whole.history]
    weights = [(tmp_path / name / "brain.safetensors").read_bytes() for name in ("whole", "parts")]
    assert weights[0] == weights[1]


def test_a_trained_network_takes_the_place_of_a_models_own(tmp_path: Path, heads: Heads) -> None:
    sampler = _sampler(heads)
    train_brain(sampler, _plan(sampler, steps=2), tmp_path / "brain")
    told = tmp_path / "brain" / "brain.json"
    told.write_text(told.read_text("utf-8").replace("6.0", "4.0"), "utf-8")  # coarser than a manifest may say
    folder = write_detector(tmp_path / "model")
    before = read_manifest(str(folder))[2]
    facts = {"trained_on": "drawn heads", "hours": 0.1}
    identity = place_brain(tmp_path / "brain", folder, threshold=0.4, agreement_flag=0.8, facts=facts)
    _, manifest, sha256 = read_manifest(str(folder))
    assert sha256 == identity != before
    assert manifest.brain is not None
    assert (manifest.brain.threshold, manifest.brain.agreement_flag, manifest.brain.spacing_mm) == (0.4, 0.8, 4.0)
    assert manifest.metrics["brain"]["steps"] == 2
    assert "drawn heads; 2 steps, 0.1 hours" in (folder / "MODEL_CARD.md").read_text("utf-8")
    assert load_model(str(folder), "cpu", 1).brain.module.state_dict().keys() == TumourUNet(**SMALL).state_dict().keys()


def test_a_training_can_begin_with_the_weights_of_another(tmp_path: Path, heads: Heads) -> None:
    sampler = _sampler(heads)
    train_brain(sampler, _plan(sampler), tmp_path / "first")
    start = tmp_path / "first" / "brain.safetensors"
    plan = _plan(sampler, steps=1, learning_rate=1e-9, start_sha256=hashlib.sha256(start.read_bytes()).hexdigest())
    gone_on = train_brain(sampler, plan, tmp_path / "second", start=start).network
    kept = load_file(start)
    for name, weights in gone_on.state_dict().items():
        assert torch.allclose(weights, kept[name].float(), atol=1e-3)


def test_what_is_written_says_what_it_is(tmp_path: Path, heads: Heads) -> None:
    sampler = _sampler(heads)
    seen: list[Progress] = []
    trained = train_brain(sampler, _plan(sampler, steps=2), tmp_path, watch=seen.append)
    told = json.loads((tmp_path / "brain.json").read_text())
    content = (tmp_path / told["weights"]).read_bytes()
    assert told["weights"] == "brain.safetensors"
    assert told["weights_sha256"] == hashlib.sha256(content).hexdigest()
    assert (told["settings"], told["spacing_mm"], told["steps"], told["seed"]) == (SMALL, 6.0, 2, 5)
    assert told["recipe_sha256"] == RECIPE.sha256
    assert [progress.step for progress in seen] == [1, 2]
    stored = load_file(tmp_path / "brain.safetensors")
    assert {tensor.dtype for tensor in stored.values()} == {torch.float16}
    network = TumourUNet(**told["settings"])
    network.load_state_dict({name: tensor.float() for name, tensor in stored.items()})
    for found, wanted in zip(network.parameters(), trained.network.parameters(), strict=True):
        assert torch.allclose(found, wanted, atol=1e-3)


def test_a_checkpoint_of_other_heads_or_another_recipe_is_refused(tmp_path: Path, heads: Heads) -> None:
    sampler = _sampler(heads)
    train_brain(sampler, _plan(sampler, steps=2), tmp_path)
    other_recipe = _sampler(heads, recipe=replace(RECIPE, real=0.1))
    fewer_heads = _sampler(replace(heads, real=()))
    for other in (other_recipe, fewer_heads):
        with pytest.raises(UnusableModel, match="belongs to another plan"):
            train_brain(other, _plan(other, steps=2), tmp_path)


def test_it_learns_where_the_brain_is(tmp_path: Path, heads: Heads) -> None:
    sampler = _sampler(heads)
    plan = _plan(sampler, steps=60, ema_decay=0.9, checkpoint_every=60)
    trained = train_brain(sampler, plan, tmp_path)
    assert isinstance(trained.network, TumourUNet)
    scores = brain_dice(trained.network, sampler, range(1000, 1008))
    torch.manual_seed(1)
    before = brain_dice(TumourUNet(**SMALL), sampler, range(1000, 1008))
    assert len(scores) == 8
    assert np.mean(scores) > 0.65 > np.mean(before) + 0.2, (np.mean(scores), np.mean(before))
