"""The plan of a training: everything that decides it besides its data, as one value."""

import hashlib
import json
import math
from dataclasses import asdict, dataclass, field
from typing import Any

from inference.autoencoder import HeadAutoencoder
from inference.unet import TumourUNet

__all__ = ["RECONSTRUCT", "SEGMENT", "TrainingPlan"]

SEGMENT, RECONSTRUCT = "segment", "reconstruct"

FEWEST_RESIDUAL = 8
"""Fewest filters at a level of a residual network. With fewer, the gradient of strided 1 x 1 convolutions writes out of
bounds on processors with AVX2 and ends the process (torch 2.13 with oneDNN, channels last: 4, 5 and 6 do, 8 do not)."""


@dataclass(frozen=True, kw_only=True)
class TrainingPlan:
    """A plan of a training. The same plan on the same cases gives the same weights (CPU, one loader).

    Attributes
    ----------
    task
        ``segment`` a tumour, or ``reconstruct`` a damaged head.
    views
        1: slices as they were acquired, from foot to head. 3: slices along all three axes of volumes at 1 mm.
    network
        Settings of `inference.unet.TumourUNet`, or of `inference.autoencoder.HeadAutoencoder`.
    crop
        Slices, rows, columns of a sample. The slices are used by 3D networks only.
    accumulate
        Batches whose gradients are summed before a step.
    learning_rate
        Peak of the learning rate. It rises over `warm_up` steps and falls along a cosine.
    ema_decay
        Decay of the moving average of the weights. The average is what is stored.
    tumour_share
        Share of samples whose middle slice shows tumour. For slices only; volumes are placed anywhere.
    head_share
        Share of skull-stripped slices that get a synthetic skull and scalp. Volumes get remains of them.
    drop
        Probabilities that a sample loses T1, T1CE, T2, FLAIR. It always keeps T1CE or FLAIR.
    subset_share
        Share of samples to which `drop` does not apply. They keep a random set of sequences with T1CE or FLAIR, and
        sets that clinics send are drawn more often (`inference.training.augmentation.keep_subset`).
    carved_share
        Shares of slices of volumes, without and with a tumour, into which another patient's tumour is implanted.
    cavity_share
        Share of slices of volumes with a cavity in the brain, as surgery leaves it: no tumour.
    tight_share
        Share of skull-stripped slices whose brain is cut too tight, in patches.
    source_share
        Share of samples from each data set. The sets not named share the rest in proportion to their patients.
    start_sha256
        Hash of the weights from which the training starts. Empty for random weights.
    validate_every, patience
        Steps between validations, and after how many validations without improvement the training ends. 0 turns either
        off.
    """

    task: str = SEGMENT
    views: int = 1
    network: dict[str, Any] = field(
        default_factory=lambda: {"dimensions": 2, "context": 1, "fold": 2, "filters": [32, 64, 128, 192, 256]}
    )
    crop: tuple[int, int, int] = (1, 224, 224)
    steps: int = 4000
    batch_size: int = 20
    accumulate: int = 1
    learning_rate: float = 2e-3
    warm_up: int = 100
    weight_decay: float = 1e-3
    gradient_norm: float = 5.0
    ema_decay: float = 0.998
    tumour_share: float = 0.7
    head_share: float = 0.7
    drop: tuple[float, float, float, float] = (0.25, 0.2, 0.35, 0.05)
    subset_share: float = 0.0
    carved_share: tuple[float, float] = (0.0, 0.0)
    cavity_share: float = 0.0
    tight_share: float = 0.0
    source_share: dict[str, float] = field(default_factory=dict)
    start_sha256: str = ""
    seed: int = 20261121
    checkpoint_every: int = 200
    validate_every: int = 0
    patience: int = 0

    def __post_init__(self) -> None:
        """Refuse a plan that cannot be trained, before hours are spent on it."""
        self._check_numbers()
        if self.task not in (SEGMENT, RECONSTRUCT):
            message = f"task {self.task!r}: use {SEGMENT} or {RECONSTRUCT}"
            raise ValueError(message)
        if self.task == RECONSTRUCT and self.validate_every:
            message = "an autoencoder is scored at the end of its training only; leave validate_every at 0"
            raise ValueError(message)
        if self.views not in (1, 3) or (self.views == 3 and self.network.get("dimensions") != 2):
            message = f"views {self.views}: use 1, or 3 with a network of 2 dimensions"
            raise ValueError(message)
        if self.network.get("variant") == "residual" and min(self.network["filters"]) < FEWEST_RESIDUAL:
            message = (
                f"filters {self.network['filters']}: a residual network needs {FEWEST_RESIDUAL} or more at each level"
            )
            raise ValueError(message)
        multiple = self.build().multiple
        volume = self.task == RECONSTRUCT or self.network["dimensions"] == 3
        sizes = self.crop if volume else self.crop[1:]
        if any(size % multiple for size in sizes):
            message = f"crop {self.crop}: this network needs multiples of {multiple}"
            raise ValueError(message)
        if not 0 <= sum(self.source_share.values()) <= 1 + 1e-9:
            message = f"source_share {self.source_share}: shares must add up to 1 or less"
            raise ValueError(message)

    def _check_numbers(self) -> None:
        for name in ("steps", "batch_size", "accumulate", "warm_up", "checkpoint_every"):
            if getattr(self, name) < 1:
                message = f"{name} {getattr(self, name)}: 1 or more needed"
                raise ValueError(message)
        if self.patience and not self.validate_every:
            message = f"patience {self.patience}: it counts validations, so validate_every is needed too"
            raise ValueError(message)

    def build(self) -> TumourUNet | HeadAutoencoder:
        """Return the untrained network."""
        return HeadAutoencoder(**self.network) if self.task == RECONSTRUCT else TumourUNet(**self.network)

    @property
    def sha256(self) -> str:
        """Hash over every setting."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()

    def rate_at(self, step: int) -> float:
        """Return the factor of the learning rate at a step: a linear rise, then half a cosine down to 0.01."""
        rise = min(1.0, (step + 1) / self.warm_up)
        return rise * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(step, self.steps) / self.steps)))
