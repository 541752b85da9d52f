"""The training loop: seeded, resumable to the bit, with a moving average of the weights and early stopping."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader

from inference.arithmetic import kinds_for_learning
from inference.autoencoder import HeadAutoencoder
from inference.cases.prepared import PreparedCase
from inference.errors import InferenceReason, UnusableModel
from inference.training.denoising import DenoisingSampler, reconstruction_loss
from inference.training.losses import supervised_loss
from inference.training.plan import RECONSTRUCT, TrainingPlan
from inference.training.processes import place
from inference.training.sampling import Batches, MakesSamples, Sample, Sampler
from inference.training.scoring import mean_dice
from inference.unet import TumourUNet

__all__ = ["Lessons", "Progress", "Trainable", "Trained", "TrainingWork", "train", "train_on"]

Trainable = TumourUNet | HeadAutoencoder

SMOOTHING = 0.98
"""Of the loss that is shown: the mean of about the last fifty steps."""


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Where a training stands.

    Attributes
    ----------
    loss
        Smoothed.
    rate
        Learning rate.
    dice
        Of the last validation, None before the first.
    step_s
        Duration of this step.
    """

    step: int
    steps: int
    loss: float
    rate: float
    dice: float | None
    step_s: float


@dataclass(frozen=True, kw_only=True)
class TrainingWork:
    """What is to be done, and where.

    Attributes
    ----------
    identity
        Of plan, split, fold and cases together; a checkpoint of another identity is never gone on from.
    folder
        Gets ``checkpoint.pt``, replaced whole every `plan.checkpoint_every` steps.
    loaders
        Processes that make samples; 0 makes them in this one. Their number changes no weight.
    """

    plan: TrainingPlan
    identity: str
    folder: Path
    loaders: int = 0


@dataclass(frozen=True, kw_only=True, eq=False)
class Lessons:
    """What is learned from.

    Attributes
    ----------
    loss
        Of logits, what was wanted and what of it is known, as `inference.training.losses.supervised_loss` takes them.
    loaders
        As in `TrainingWork`.
    """

    sampler: MakesSamples
    loss: Callable[[Tensor, Tensor, Tensor], Tensor] = supervised_loss
    loaders: int = 0


@dataclass(frozen=True, kw_only=True, eq=False)
class Trained:
    """The outcome.

    Attributes
    ----------
    network
        The moving average; of the best validation where there was one.
    history
        One `Progress` for every step of every process that worked on it.
    """

    network: Trainable
    step: int
    dice: float | None
    history: tuple[Progress, ...]


@dataclass
class _State:
    """What a checkpoint holds besides tensors."""

    step: int = 0
    loss: float = 0.0
    dice: float | None = None
    best: float = -1.0
    validations_since_best: int = 0
    history: list[Progress] = field(default_factory=list)


def train(
    network: Trainable,
    cases: Sequence[PreparedCase],
    work: TrainingWork,
    *,
    validation: Sequence[PreparedCase] = (),
    watch: Callable[[Progress], None] = lambda _: None,
) -> Trained:
    """Train a network, going on from the checkpoint in the folder where there is one.

    Under `torchrun` every process takes every n-th sample and the gradients are averaged; the first one writes.

    Parameters
    ----------
    network
        Untrained, on the device to train on.
    cases, validation
        Patients to learn from, and others that decide when to stop.
    watch
        Called after each step.

    Raises
    ------
    UnusableModel
        When the checkpoint is of another plan, split, fold or set of cases.
    """
    return _Training(network, _lessons(cases, work, next(network.parameters()).device), work).run(validation, watch)


def train_on(
    network: Trainable, lessons: Lessons, work: TrainingWork, watch: Callable[[Progress], None] = lambda _: None
) -> Trained:
    """Train a network as `train` does, on samples that are made of something else than prepared cases."""
    return _Training(network, lessons, work).run((), watch)


class _Training:
    def __init__(self, network: Trainable, lessons: Lessons, work: TrainingWork) -> None:
        plan = work.plan
        torch.manual_seed(plan.seed)
        order = {2: torch.channels_last, 3: torch.channels_last_3d}.get(getattr(network, "dimensions", 0))
        if order is not None:  # that its convolutions work in: a tenth faster over slices, a third over volumes
            network.to(memory_format=order)  # type: ignore[call-overload]
        torch.backends.cudnn.benchmark = True  # samples are all of one size
        self.network, self.plan, self.identity = network, plan, work.identity
        self.device = next(network.parameters()).device
        volumes = any(isinstance(part, nn.Conv3d) for part in network.modules())
        self.kinds = kinds_for_learning(self.device, volumes=volumes)
        self.average, self.best = deepcopy(network).eval(), deepcopy(network).eval()
        weights, rate, decay = network.parameters(), plan.learning_rate, plan.weight_decay
        self.optimiser = torch.optim.AdamW(weights, lr=rate, weight_decay=decay, fused=True)
        self.state = _State()
        self.checkpoint = work.folder / "checkpoint.pt"
        self.rank, self.processes = place()
        self._resume()
        wrapped = self.processes > 1
        self.module: nn.Module = DistributedDataParallel(network) if wrapped else network
        first = self.state.step * plan.accumulate * self.processes + self.rank
        self.loss = lessons.loss
        batches = Batches(lessons.sampler, plan.batch_size, first, self.processes)
        self.batches: Iterator[Sample] = iter(DataLoader(batches, batch_size=None, num_workers=lessons.loaders))

    def run(self, validation: Sequence[PreparedCase], watch: Callable[[Progress], None]) -> Trained:
        plan, state = self.plan, self.state
        while state.step < plan.steps and not self._patience_is_out():
            began = time.monotonic()
            loss = self._step()
            state.loss = loss if state.step == 0 else SMOOTHING * state.loss + (1 - SMOOTHING) * loss
            state.step += 1
            if validation and plan.validate_every and state.step % plan.validate_every == 0:
                self._validate(validation)
            step_s = time.monotonic() - began
            rate = plan.learning_rate * plan.rate_at(state.step - 1)
            progress = Progress(
                step=state.step, steps=plan.steps, loss=state.loss, rate=rate, dice=state.dice, step_s=step_s
            )
            state.history.append(progress)
            watch(progress)
            if state.step % plan.checkpoint_every == 0 or state.step == plan.steps or self._patience_is_out():
                self._save()
        kept = self.best if state.best >= 0 else self.average
        score = state.best if state.best >= 0 else None
        return Trained(network=kept, step=state.step, dice=score, history=tuple(state.history))

    def _step(self) -> float:
        for group in self.optimiser.param_groups:
            group["lr"] = self.plan.learning_rate * self.plan.rate_at(self.state.step)
        self.network.train()
        batches = [tuple(part.to(self.device) for part in next(self.batches)) for _ in range(self.plan.accumulate)]
        statistics = [buffer.clone() for buffer in self.network.buffers()]
        for kind in self.kinds:
            total, norm = self._gradients(batches, kind)
            if math.isfinite(norm):
                break
            for buffer, before in zip(self.network.buffers(), statistics, strict=True):
                buffer.copy_(before)
        else:  # such a step teaches nothing, and would end the training
            return self.state.loss if self.state.step else 0.0
        self.optimiser.step()
        self._follow(min(self.plan.ema_decay, (self.state.step + 1) / (self.state.step + 10)))
        return total

    def _gradients(self, batches: Sequence[tuple[Tensor, ...]], kind: torch.dtype) -> tuple[float, float]:
        """Leave the gradients of some batches with the weights, cut; return the loss, and how long they were."""
        self.optimiser.zero_grad()
        total = 0.0
        for images, wanted, known in batches:
            with torch.autocast(self.device.type, dtype=kind, enabled=kind is torch.bfloat16):
                answer: Tensor = self.module(images)
            loss = self.loss(answer.float(), wanted, known) / self.plan.accumulate
            loss.backward()
            total += float(loss.detach())
        return total, float(nn.utils.clip_grad_norm_(self.network.parameters(), self.plan.gradient_norm))

    @torch.no_grad()
    def _follow(self, decay: float) -> None:
        """Move the average, statistics of batch norm included, towards the network."""
        for slow, fast in zip(self.average.state_dict().values(), self.network.state_dict().values(), strict=True):
            if slow.is_floating_point():
                slow.lerp_(fast, 1 - decay)
            else:
                slow.copy_(fast)

    def _validate(self, cases: Sequence[PreparedCase]) -> None:
        state = self.state
        if not isinstance(self.average, TumourUNet):
            raise TypeError("an autoencoder finds no tumour to score")
        state.dice = mean_dice(self.average, cases, self.plan.views)
        if state.dice > state.best:
            state.best, state.validations_since_best = state.dice, 0
            self.best.load_state_dict(self.average.state_dict())
        else:
            state.validations_since_best += 1

    def _patience_is_out(self) -> bool:
        return 0 < self.plan.patience <= self.state.validations_since_best

    def _parts(self) -> dict[str, Any]:
        return {"network": self.network, "average": self.average, "best": self.best, "optimiser": self.optimiser}

    def _save(self) -> None:
        if self.rank:
            return
        kept = {name: part.state_dict() for name, part in self._parts().items()}
        state = vars(self.state) | {"history": [vars(progress) for progress in self.state.history]}
        temporary = self.checkpoint.with_suffix(".tmp")
        torch.save(kept | {"state": state, "task": self.identity}, temporary)
        temporary.replace(self.checkpoint)

    def _resume(self) -> None:
        if not self.checkpoint.exists():
            return
        kept = torch.load(self.checkpoint, map_location=self.device, weights_only=True)
        if kept.get("task") != self.identity:
            sentence = (
                f"{self.checkpoint} belongs to another plan, split, fold or set of cases, whose patients it may have "
                "seen; give another folder, or the same arguments as before"
            )
            raise UnusableModel(InferenceReason.MODEL_UNKNOWN, sentence)
        for name, part in self._parts().items():
            part.load_state_dict(kept[name])
        state = kept["state"]
        history = [Progress(**progress) for progress in state.pop("history")]
        self.state = _State(**state, history=history)


def _lessons(cases: Sequence[PreparedCase], work: TrainingWork, device: torch.device) -> Lessons:
    """Return who makes the samples, and in how many processes besides this one.

    On a GPU volumes are turned and changed where they are learned from, since sixteen cores cannot keep up with it.
    """
    if work.plan.task == RECONSTRUCT:
        return Lessons(sampler=DenoisingSampler(cases, work.plan), loss=reconstruction_loss, loaders=work.loaders)
    if device.type == "cuda" and work.plan.network["dimensions"] == 3:
        return Lessons(sampler=Sampler(cases, work.plan, device))
    return Lessons(sampler=Sampler(cases, work.plan), loaders=work.loaders)
