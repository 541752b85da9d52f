"""Runs a model's networks over a stack of axial slices or a volume, and brings together what they say at each look."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from inference.evaluation.overlap import count, overlap
from inference.foreign.network import ForeignNetwork
from inference.forward import BATCH_SLICES, VIEW_STEP, looks
from inference.manifest import REGIONS
from inference.model_bundle import LoadedNetwork, ModelBundle
from inference.unet import TumourUNet

__all__ = ["Prediction", "predict"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Prediction:
    """What the looks of all networks come to; arrays have the shape (region, slice, row, column), regions WT, TC, ET.

    Attributes
    ----------
    probabilities
        Their mean.
    spread
        Standard deviation between the looks: where they differ, the answer hangs on chance.
    agreement
        For each region the mean Dice of a look's mask with that of the mean; 1 where neither finds any.
    looks
        How many there were; a single one agrees with itself and says nothing about doubt.
    """

    probabilities: NDArray[np.float32]
    spread: NDArray[np.float32]
    agreement: tuple[float, ...]
    looks: int


def predict(model: ModelBundle, channels: NDArray[np.float32], slice_step: int = 1) -> Prediction:
    """Let every network look at a study.

    Each of ours looks along three axes where it was trained to, else twice, the second time at the mirror image (left
    for right); a network that others trained looks once, as it was meant to.

    Parameters
    ----------
    channels
        Normalised intensities, shape (channel, slice, row, column); rows run to the back, columns to the left.
    slice_step
        Distance of the neighbours that a slice network sees, in slices.
    """
    limits = np.array(model.manifest.thresholds, np.float32)[:, None, None, None]
    shape = (len(limits), *channels.shape[1:])
    total, squares = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    masks = []
    for look in (look for network in model.networks for look in _looks(model, network, channels, slice_step)):
        total += look  # sums, so that one look at a time is in memory
        squares += look * look
        masks.append(look >= limits)
    if not masks:
        raise ValueError("a model without networks predicts nothing")
    mean: NDArray[np.float32] = np.divide(total, len(masks), dtype=np.float32)
    spread = np.sqrt(np.maximum(squares / len(masks) - mean * mean, 0))
    answer = mean >= limits
    agreement = [
        float(np.mean([overlap(count(mask[region], answer[region])).dice for mask in masks]))
        for region in range(len(answer))
    ]
    return Prediction(probabilities=mean, spread=spread, agreement=tuple(agreement), looks=len(masks))


def _looks(
    model: ModelBundle, network: LoadedNetwork, channels: NDArray[np.float32], slice_step: int
) -> Iterator[NDArray[np.float32]]:
    if isinstance(network.module, TumourUNet | ForeignNetwork):
        views = network.manifest.views
        mirrored = isinstance(network.module, TumourUNet) and views == 1
        answers: Iterable[NDArray[np.float32]] = looks(
            network.module, channels, mirrored=mirrored, slice_step=VIEW_STEP if views > 1 else slice_step, views=views
        )
    else:
        answers = _two_looks(model, network, channels)
    unknown = [place for place, region in enumerate(REGIONS) if region not in network.manifest.regions]
    for answer in answers:
        answer[unknown] = 0
        yield answer


@torch.inference_mode()
def _two_looks(model: ModelBundle, network: LoadedNetwork, channels: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """Return what a network of version 0.1 says at each of its two looks.

    The second look is mirrored and, where T1 after contrast and FLAIR are there, goes without T2: that network saw T2
    in skull-stripped heads alone, and on whole heads takes wide ventricles for necrosis by it.
    """
    step = 2 ** (len(network.manifest.settings["filters"]) - 1)
    rows, columns = channels.shape[-2:]
    slices = torch.from_numpy(np.ascontiguousarray(channels)).transpose(0, 1)
    padded = F.pad(slices, (0, -columns % step, 0, -rows % step))
    keep = _second_look(model.manifest.channels, channels)
    outputs: tuple[list[torch.Tensor], list[torch.Tensor]] = ([], [])
    for start in range(0, len(padded), BATCH_SLICES):
        images = padded[start : start + BATCH_SLICES].to(model.device, memory_format=torch.channels_last)
        with torch.autocast(model.device.type, dtype=torch.bfloat16):
            plain = network.module(images)
            mirrored = network.module((images * keep.to(model.device)).flip(-1)).flip(-1)
        for answers, answer in zip(outputs, (plain, mirrored), strict=True):
            answers.append(answer.float().sigmoid()[..., :rows, :columns].cpu())
    return [torch.cat(answers).transpose(0, 1).contiguous().numpy() for answers in outputs]


def _second_look(names: tuple[str, ...], channels: NDArray[np.float32]) -> torch.Tensor:
    """Return 0 or 1 for each channel, shape (channel, 1, 1)."""
    present = {name for name, values in zip(names, channels, strict=True) if values.any()}
    drop = {"T2"} if {"T1CE", "FLAIR"} <= present else set()
    return torch.tensor([0.0 if name in drop else 1.0 for name in names])[:, None, None]
