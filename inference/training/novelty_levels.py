"""Reference levels for an autoencoder's errors: its errors on held-out patients, as clinics may send them."""

from collections.abc import Iterator, Sequence
from itertools import product

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from inference.autoencoder import HeadAutoencoder
from inference.cases.prepared import PreparedCase
from inference.novelty import GRID_MM, WHOLE, NoveltyScale, novelty, overview, reconstruction_errors
from inference.preprocessing import CHANNELS

__all__ = ["LEVEL", "held_out_novelty", "novelty_scale"]

LEVEL = 0.95
"""Share of held-out studies that stay below each level."""

THICK_MM = 6.0
"""Each study counts twice, the second time with slices of this thickness."""

Errors = tuple[tuple[str, ...], dict[str, float]]


def novelty_scale(network: HeadAutoencoder, cases: Sequence[PreparedCase]) -> NoveltyScale:
    """Return the reference levels of the errors of held-out patients, over every useful subset of their sequences."""
    whole: list[list[float]] = [[] for _ in CHANNELS]
    channels: dict[str, list[list[float]]] = {name: [[] for _ in CHANNELS[1:]] for name in CHANNELS}
    for case in cases:
        for present, errors in _errors(network, case):
            whole[len(present) - 1].append(errors[WHOLE])
            for name in present if len(present) > 1 else ():
                channels[name][len(present) - 2].append(errors[name])
    return NoveltyScale(
        whole=tuple(_level(values) for values in whole),
        channels={name: tuple(_level(values) for values in groups) for name, groups in channels.items()},
    )


def held_out_novelty(network: HeadAutoencoder, cases: Sequence[PreparedCase], scale: NoveltyScale) -> list[float]:
    """Return the novelty of every held-out study, for every useful subset of its sequences."""
    return [novelty(errors, scale) for case in cases for _, errors in _errors(network, case)]


def _level(values: Sequence[float]) -> float:
    return float(np.quantile(values, LEVEL)) if values else 1.0


def _errors(network: HeadAutoencoder, case: PreparedCase) -> Iterator[Errors]:
    device = next(network.parameters()).device
    images = torch.tensor(case.images, dtype=torch.float32, device=device)
    thin = overview(images, case.spacing_mm or (1.0, 1.0, 1.0))
    available = [name for name, present in zip(CHANNELS, case.present, strict=True) if present]
    for study, kept in product((thin, _thick(thin)), product((True, False), repeat=len(available))):
        present = tuple(name for name, keep in zip(available, kept, strict=True) if keep)
        if {"T1CE", "FLAIR"} & set(present):
            shown = torch.tensor([name in present for name in CHANNELS], device=device)[:, None, None, None]
            yield present, reconstruction_errors(network, study * shown, CHANNELS, present)


def _thick(study: Tensor) -> Tensor:
    count = max(1, round(study.shape[1] * GRID_MM / THICK_MM))
    slices = F.adaptive_avg_pool3d(study, (count, study.shape[2], study.shape[3]))
    return F.interpolate(slices[None], size=study.shape[1:], mode="trilinear", align_corners=False)[0]
