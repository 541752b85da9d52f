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
"""Of the loss that is reported: about the mean of the last fifty steps."""


@dataclass(frozen=True, kw_only=True)
class Progress:
    """The progress of a training.

    Attributes
    ----------
    loss
        Smoothed.
    rate
        Learning rate.
    dice
        Of the last validation. None before the first.
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
    """The plan of a training, and its folder.

    Attributes
    ----------
    identity
        Of plan, split, fold and cases together. A training never resumes from a checkpoint of another identity.
    folder
        Receives ``checkpoint.pt``, which is replaced atomically every `plan.checkpoint_every` steps.
    loaders
        Number of processes that make samples; 0 makes them in this process. It does not change the weights.
    """

    plan: TrainingPlan
    identity: str
    folder: Path
    loaders: int = 0


@dataclass(frozen=True, kw_only=True, eq=False)
class Lessons:
    """The samples that a network is trained on, and the loss.

    Attributes
    ----------
    loss
        Takes logits, targets and which targets are annotated, as `inference.training.losses.supervised_loss` does.
    loaders
        As in `TrainingWork`.
    """

    sampler: MakesSamples
    loss: Callable[[Tensor, Tensor, Tensor], Tensor] = supervised_loss
    loaders: int = 0


@dataclass(frozen=True, kw_only=True, eq=False)
class Trained:
    """The outcome of a training.

    Attributes
    ----------
    network
        The moving average of the weights, at the best validation if there was one.
    history
        One `Progress` for each step, also of the processes before a restart.
    """

    network: Trainable
    step: int
    dice: float | None
    history: tuple[Progress, ...]


@dataclass
class _State:
    """What a checkpoint contains besides tensors."""

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
    """Train a network. Resumes from the checkpoint in the folder if there is one.

    Under `torchrun` each of n processes takes every n-th batch, and the gradients are averaged. The first process
    writes the checkpoint.

    Parameters
    ----------
    network
        Untrained, on the device to train on.
    cases, validation
        Patients to train on, and others that decide when to stop.
    watch
        Called after each step.

    Raises
    ------
    UnusableModel
        When the checkpoint belongs to another plan, split, fold or set of cases.
    """
    return _Training(network, _lessons(cases, work, next(network.parameters()).device), work).run(validation, watch)


def train_on(
    network: Trainable, lessons: Lessons, work: TrainingWork, watch: Callable[[Progress], None] = lambda _: None
) -> Trained:
    """Train a network as `train` does, but on samples that are not made from prepared cases."""
    return _Training(network, lessons, work).run((), watch)


class _Training:
    def __init__(self, network: Trainable, lessons: Lessons, work: TrainingWork) -> None:
        plan = work.plan
        torch.manual_seed(plan.seed)
        order = {2: torch.channels_last, 3: torch.channels_last_3d}.get(getattr(network, "dimensions", 0))
        if order is not None:  # the memory format of its convolutions: 10 % faster on slices, a third on volumes
            network.to(memory_format=order)  # type: ignore[call-overload]
        torch.backends.cudnn.benchmark = True  # all samples have the same size
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
        while state.step < plan.steps and not self._out_of_patience():
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
            if state.step % plan.checkpoint_every == 0 or state.step == plan.steps or self._out_of_patience():
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
        else:  # skipped: a step with infinite gradients would ruin the weights
            return self.state.loss if self.state.step else 0.0
        self.optimiser.step()
        self._follow(min(self.plan.ema_decay, (self.state.step + 1) / (self.state.step + 10)))
        return total

    def _gradients(self, batches: Sequence[tuple[Tensor, ...]], kind: torch.dtype) -> tuple[float, float]:
        """Accumulate the clipped gradients of some batches. Return the loss, and their norm before clipping."""
        self.optimiser.zero_grad()
        total = 0.0
        for images, targets, annotated in batches:
            with torch.autocast(self.device.type, dtype=kind, enabled=kind is torch.bfloat16):
                logits: Tensor = self.module(images)
            loss = self.loss(logits.float(), targets, annotated) / self.plan.accumulate
            loss.backward()
            total += float(loss.detach())
        return total, float(nn.utils.clip_grad_norm_(self.network.parameters(), self.plan.gradient_norm))

    @torch.no_grad()
    def _follow(self, decay: float) -> None:
        """Update the moving average from the network, including the statistics of batch norm."""
        for slow, fast in zip(self.average.state_dict().values(), self.network.state_dict().values(), strict=True):
            if slow.is_floating_point():
                slow.lerp_(fast, 1 - decay)
            else:
                slow.copy_(fast)

    def _validate(self, cases: Sequence[PreparedCase]) -> None:
        state = self.state
        if not isinstance(self.average, TumourUNet):
            raise TypeError("an autoencoder predicts no tumour that could be scored")
        state.dice = mean_dice(self.average, cases, self.plan.views)
        if state.dice > state.best:
            state.best, state.validations_since_best = state.dice, 0
            self.best.load_state_dict(self.average.state_dict())
        else:
            state.validations_since_best += 1

    def _out_of_patience(self) -> bool:
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
                f"{self.checkpoint} belongs to another plan, split, fold or set of cases, so it may have been trained "
                "on patients that are held out now; use another folder, or the same arguments as before"
            )
            raise UnusableModel(InferenceReason.MODEL_UNKNOWN, sentence)
        for name, part in self._parts().items():
            part.load_state_dict(kept[name])
        state = kept["state"]
        history = [Progress(**progress) for progress in state.pop("history")]
        self.state = _State(**state, history=history)


def _lessons(cases: Sequence[PreparedCase], work: TrainingWork, device: torch.device) -> Lessons:
    """Return what makes the samples, and in how many processes besides this one.

    On a GPU, volumes are transformed and augmented on the GPU itself, since sixteen CPU cores cannot keep up with it.
    """
    if work.plan.task == RECONSTRUCT:
        return Lessons(sampler=DenoisingSampler(cases, work.plan), loss=reconstruction_loss, loaders=work.loaders)
    if device.type == "cuda" and work.plan.network["dimensions"] == 3:
        return Lessons(sampler=Sampler(cases, work.plan, device))
    return Lessons(sampler=Sampler(cases, work.plan), loaders=work.loaders)
