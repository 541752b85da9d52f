"""Trains the network that finds the brain on an endless stream of heads, and stores it (as SynthStrip, Hoopes 2022)."""

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file

from inference.arithmetic import answer_of
from inference.integrity import read_weights
from inference.manifest import BrainManifest, read_manifest
from inference.training.heads.sampler import HeadSampler
from inference.training.loop import Lessons, Progress, Trained, TrainingWork, train_on
from inference.training.model_card import restate
from inference.training.model_folder import write_weights
from inference.training.plan import TrainingPlan
from inference.training.sampling import Sample
from inference.unet import TumourUNet

__all__ = ["BRAIN_NETWORK", "BrainSamples", "brain_dice", "brain_plan", "place_brain", "train_brain", "write_brain"]

BRAIN_NETWORK: dict[str, Any] = {
    "dimensions": 3,
    "filters": [16, 32, 64, 96],
    "in_channels": 1,
    "out_channels": 1,
    "fold": 2,
    "norm": "instance",
}
"""1.1 million parameters. Instance norm, since a batch contains two heads with unrelated contrasts."""

LEARNING_RATE, WARM_UP, WEIGHT_DECAY, GRADIENT_NORM, EMA_DECAY = 2e-3, 100, 1e-4, 1.0, 0.995
"""Gradients are clipped early, since some samples have no contrast at all. The weights are averaged over 200 steps."""

WEIGHTS, DESCRIPTION = "brain.safetensors", "brain.json"

WATCHED_FROM = 0.5
"""Probability from which a voxel counts as brain."""


@dataclass(frozen=True, kw_only=True)
class BrainDescription:
    """The description that is stored beside the weights.

    Attributes
    ----------
    settings
        Keyword arguments of `inference.unet.TumourUNet`.
    spacing_mm
        Voxel size of the network's input, isotropic.
    recipe_sha256, heads_sha256
        Hashes over the recipe of the samples, and over the names of the heads that they were made from.
    """

    settings: dict[str, Any]
    spacing_mm: float
    weights: str
    weights_sha256: str
    steps: int
    seed: int
    recipe_sha256: str
    heads_sha256: str


class BrainSamples:
    """Samples of heads in the form of the training loop: one channel, one region."""

    def __init__(self, heads: HeadSampler) -> None:
        self._heads = heads

    def sample(self, number: int) -> Sample:
        """Return an image and its brain mask, each (1, slice, row, column), and a 1: the brain is annotated."""
        view = self._heads.sample(number)
        return torch.from_numpy(view.image)[None], torch.from_numpy(view.brain)[None].float(), torch.ones(1)


def brain_plan(heads: HeadSampler, steps: int, **changes: Any) -> TrainingPlan:  # noqa: ANN401 - any field
    """Return the plan of a training on these samples. `changes` replaces fields of the usual plan."""
    usual: dict[str, Any] = {
        "network": BRAIN_NETWORK,
        "batch_size": 2,
        "learning_rate": LEARNING_RATE,
        "warm_up": WARM_UP,
        "weight_decay": WEIGHT_DECAY,
        "gradient_norm": GRADIENT_NORM,
        "ema_decay": EMA_DECAY,
    }
    return TrainingPlan(**{**usual, **changes}, crop=heads.recipe.grid.shape, steps=steps, seed=heads.seed)


def train_brain(  # noqa: PLR0913 - what is given by name
    heads: HeadSampler,
    plan: TrainingPlan,
    folder: Path,
    *,
    device: str = "cpu",
    loaders: int = 0,
    start: Path | None = None,
    watch: Callable[[Progress], None] = lambda _: None,
) -> Trained:
    """Train the network. Resumes from the checkpoint in the folder if there is one.

    Parameters
    ----------
    folder
        Receives ``checkpoint.pt``, and at the end the files that `write_brain` writes.
    start
        Weights of an earlier training from which this one starts. The plan contains their hash.
    loaders
        Number of processes that make samples. It does not change the weights.
    watch
        Called after each step.

    Raises
    ------
    UnusableModel
        When the checkpoint belongs to another plan, recipe or set of heads.
    """
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(plan.seed)
    network = TumourUNet(**plan.network).to(device)
    if start is not None:
        network.load_state_dict(load_file(start))
    work = TrainingWork(plan=plan, identity="/".join((plan.sha256, *_origin(heads))), folder=folder, loaders=loaders)
    trained = train_on(network, Lessons(sampler=BrainSamples(heads), loaders=loaders), work, watch)
    write_brain(folder, trained, heads, plan)
    return trained


def write_brain(folder: Path, trained: Trained, heads: HeadSampler, plan: TrainingPlan) -> None:
    """Write the weights as float16, and their description beside them."""
    recipe_sha256, heads_sha256 = _origin(heads)
    description = BrainDescription(
        settings=plan.network,
        spacing_mm=heads.recipe.grid.spacing_mm,
        weights=WEIGHTS,
        weights_sha256=write_weights(folder, trained.network, WEIGHTS),
        steps=trained.step,
        seed=plan.seed,
        recipe_sha256=recipe_sha256,
        heads_sha256=heads_sha256,
    )
    (folder / DESCRIPTION).write_text(json.dumps(asdict(description), indent=1), encoding="utf-8")


def place_brain(trained: Path, model: Path, *, threshold: float, agreement_flag: float, facts: dict[str, Any]) -> str:
    """Replace the brain network in a model's folder by a newly trained one.

    Parameters
    ----------
    trained
        Folder that `write_brain` wrote.
    threshold, agreement_flag
        Values for the manifest.
    facts
        What the model card states about the training. Steps and seed are added.

    Returns
    -------
    str
        SHA-256 of the manifest: the model's new identity.
    """
    description = json.loads((trained / DESCRIPTION).read_text("utf-8"))
    _, manifest, _ = read_manifest(str(model.absolute()))
    brain = BrainManifest(
        settings=description["settings"],
        weights=WEIGHTS,
        weights_sha256=description["weights_sha256"],
        spacing_mm=description["spacing_mm"],
        threshold=threshold,
        agreement_flag=agreement_flag,
    )
    shutil.copyfile(trained / WEIGHTS, model / WEIGHTS)
    read_weights(model, manifest.name, brain)
    kept = {name: description[name] for name in ("steps", "seed", "recipe_sha256", "heads_sha256")}
    manifest = replace(manifest, brain=brain, metrics={**manifest.metrics, "brain": {**facts, **kept}})
    return restate(model, manifest)


@torch.inference_mode()
def brain_dice(network: TumourUNet, heads: HeadSampler, numbers: range) -> list[float]:
    """Return the Dice coefficient of each of the numbered samples, for heads that were not trained on."""
    device = next(network.parameters()).device
    network.eval()
    scores = []
    for number in numbers:
        view = heads.sample(number)
        answer = answer_of(network, torch.from_numpy(view.image)[None, None].to(device))
        found = answer[0, 0].sigmoid().cpu().numpy() >= WATCHED_FROM
        scores.append(float(2 * np.count_nonzero(found & view.brain) / max(1, found.sum() + view.brain.sum())))
    return scores


def _origin(heads: HeadSampler) -> tuple[str, str]:
    names = json.dumps([*heads.heads.names, len(heads.heads.shapes)])
    return heads.recipe.sha256, hashlib.sha256(names.encode()).hexdigest()
