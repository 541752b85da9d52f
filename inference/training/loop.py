"""The training loop: seeded, resumable, with an exponential moving average of the weights."""

import logging
import math
import time
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset

from inference.training.augmentation import add_synthetic_head, augment_geometry, augment_intensity, drop_sequences
from inference.training.datasets import TrainingCase
from inference.training.losses import region_loss

__all__ = ["TrainingPlan", "held_out_dice", "train"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class TrainingPlan:
    """Everything that decides a run besides the data."""

    steps: int = 3600
    batch_size: int = 16
    crop: int = 192
    learning_rate: float = 1e-3
    weight_decay: float = 1e-4
    ema_decay: float = 0.998
    lgg_share: float = 0.45
    seed: int = 20261121
    checkpoint_every: int = 200


class SliceSampler(IterableDataset[tuple[Tensor, Tensor, Tensor]]):
    """Endless augmented axial slices, patients drawn evenly, three in four with tumour."""

    def __init__(self, cases: list[TrainingCase], plan: TrainingPlan, first_sample: int) -> None:
        self.by_source = [[c for c in cases if c.source == "lgg"], [c for c in cases if c.source == "brats"]]
        self.plan = plan
        self.first_sample = first_sample

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Yield (images, regions, annotated); sample k depends on the seed and k alone."""
        k = self.first_sample
        while True:
            rng = np.random.default_rng([self.plan.seed, k])
            torch.manual_seed(int(rng.integers(2**62)))
            cases = self.by_source[0 if rng.random() < self.plan.lgg_share else 1]
            yield self._sample(cases[rng.integers(len(cases))], rng)
            k += 1

    def _sample(self, case: TrainingCase, rng: np.random.Generator) -> tuple[Tensor, Tensor, Tensor]:
        tumour = np.flatnonzero(case.regions[0].any(axis=(1, 2)))
        slices = case.images.shape[1]
        k = int(rng.choice(tumour)) if tumour.size and rng.random() < 0.75 else int(rng.integers(slices))
        half = int(rng.integers(3)) if case.source == "brats" else 0
        slab = case.images[:, max(0, k - half) : k + half + 1].astype(np.float32).mean(axis=1)
        images = torch.from_numpy(slab)
        regions = torch.from_numpy(case.regions[:, k].astype(np.float32))
        present = torch.tensor(case.present)
        images, regions = augment_geometry(images, regions, self.plan.crop)
        if case.source == "brats" and rng.random() < 0.7:
            images = add_synthetic_head(images, present)
        images, present = drop_sequences(augment_intensity(images), present)
        annotated = torch.tensor(case.annotated, dtype=torch.float32)
        if not bool(present[1]):  # without contrast, neither enhancement nor the core can be learned
            annotated[1:] = 0
        return images * present[:, None, None], regions, annotated


def train(network: nn.Module, cases: list[TrainingCase], plan: TrainingPlan, checkpoint: Path) -> nn.Module:
    """Train and return the averaged network; resumes from `checkpoint` when it exists."""
    torch.manual_seed(plan.seed)
    average = deepcopy(network).eval()
    optimiser = torch.optim.AdamW(network.parameters(), lr=plan.learning_rate, weight_decay=plan.weight_decay)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: _learning_rate(step, plan.steps))
    first = 0
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        network.load_state_dict(state["network"])
        average.load_state_dict(state["average"])
        optimiser.load_state_dict(state["optimiser"])
        schedule.load_state_dict(state["schedule"])
        first = state["step"]
    sampler = SliceSampler(cases, plan, first * plan.batch_size)
    batches = iter(DataLoader(sampler, batch_size=plan.batch_size))
    started, running = time.monotonic(), 0.0
    for step in range(first, plan.steps):
        running = 0.98 * running + 0.02 * _step(network, next(batches), optimiser)
        schedule.step()
        _update_average(average, network, min(plan.ema_decay, (step + 1) / (step + 10)))
        if (step + 1) % 50 == 0:
            corrected = running / (1 - 0.98 ** (step + 1 - first))
            _log.info(
                "step %d loss %.4f %.2f s/step", step + 1, corrected, (time.monotonic() - started) / (step + 1 - first)
            )
        if (step + 1) % plan.checkpoint_every == 0 or step + 1 == plan.steps:
            _save(checkpoint, step + 1, network=network, average=average, optimiser=optimiser, schedule=schedule)
    return average


def _step(network: nn.Module, batch: list[Tensor], optimiser: torch.optim.Optimizer) -> float:
    images, regions, annotated = batch
    network.train()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = network(images.contiguous(memory_format=torch.channels_last))
    loss = region_loss(logits.float(), regions, annotated)
    optimiser.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(network.parameters(), 5.0)
    optimiser.step()
    return float(loss.detach())


def _learning_rate(step: int, steps: int) -> float:
    warm_up = 100
    return min(1.0, (step + 1) / warm_up) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * step / steps)))


@torch.no_grad()
def _update_average(average: nn.Module, network: nn.Module, decay: float) -> None:
    for slow, fast in zip(average.parameters(), network.parameters(), strict=True):
        slow.lerp_(fast, 1 - decay)


def _save(
    path: Path, step: int, **parts: nn.Module | torch.optim.Optimizer | torch.optim.lr_scheduler.LRScheduler
) -> None:
    temporary = path.with_suffix(".tmp")
    torch.save({"step": step} | {name: part.state_dict() for name, part in parts.items()}, temporary)
    temporary.replace(path)


@torch.no_grad()
def held_out_dice(network: nn.Module, case: TrainingCase, keep: tuple[bool, ...]) -> dict[str, float]:
    """Return the Dice of each annotated region over one whole patient.

    Parameters
    ----------
    keep
        Which of the four channels the network may see.
    """
    network.eval()
    images = torch.from_numpy(case.images.astype(np.float32)) * torch.tensor(keep)[:, None, None, None]
    rows, columns = images.shape[-2:]
    padded = nn.functional.pad(images, (0, -columns % 32, 0, -rows % 32)).transpose(0, 1)
    outputs = []
    for start in range(0, len(padded), 16):
        batch = padded[start : start + 16]
        with torch.autocast("cpu", dtype=torch.bfloat16):
            outputs.append(network(batch.contiguous(memory_format=torch.channels_last)).float() > 0)
    predicted = torch.cat(outputs).transpose(0, 1)[..., :rows, :columns].numpy()
    scores = {}
    for name, truth, guess, known in zip(("WT", "TC", "ET"), case.regions, predicted, case.annotated, strict=True):
        total = int(truth.sum() + guess.sum())
        if known:
            scores[name] = 1.0 if total == 0 else 2.0 * int((truth & guess).sum()) / total
    return scores
