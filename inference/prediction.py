"""Runs a model's networks over a stack of axial slices or a volume, and averages what they say."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from inference.foreign.network import ForeignNetwork
from inference.forward import BATCH_SLICES, forward_probabilities
from inference.model_bundle import LoadedNetwork, ModelBundle
from inference.unet import TumourUNet

__all__ = ["predict"]


def predict(model: ModelBundle, channels: NDArray[np.float32], slice_step: int = 1) -> NDArray[np.float32]:
    """Return probabilities for every voxel, averaged over the model's networks.

    Each of ours looks twice, the second time at the mirror image (left for right); a network that others trained looks
    once, as it was meant to.

    Parameters
    ----------
    channels
        Normalised intensities, shape (channel, slice, row, column); rows run to the back, columns to the left.
    slice_step
        Distance of the neighbours that a slice network sees, in slices.

    Returns
    -------
    numpy.ndarray
        Shape (region, slice, row, column), regions WT, TC, ET.
    """
    total: NDArray[np.float32] | None = None
    for network in model.networks:  # summed as they come, so that one answer at a time is in memory
        found = _answer(model, network, channels, slice_step)
        total = found if total is None else total + found
    if total is None:
        raise ValueError("a model without networks predicts nothing")
    return total / np.float32(len(model.networks))


def _answer(
    model: ModelBundle, network: LoadedNetwork, channels: NDArray[np.float32], slice_step: int
) -> NDArray[np.float32]:
    if isinstance(network.module, TumourUNet | ForeignNetwork):
        ours = isinstance(network.module, TumourUNet)
        return forward_probabilities(network.module, channels, mirrored=ours, slice_step=slice_step)
    return _two_looks(model, network, channels)


@torch.inference_mode()
def _two_looks(model: ModelBundle, network: LoadedNetwork, channels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return what a network of version 0.1 says.

    The second look is mirrored and, where T1 after contrast and FLAIR are there, goes without T2: that network saw T2
    in skull-stripped heads alone, and on whole heads takes wide ventricles for necrosis by it.
    """
    step = 2 ** (len(network.manifest.settings["filters"]) - 1)
    rows, columns = channels.shape[-2:]
    slices = torch.from_numpy(np.ascontiguousarray(channels)).transpose(0, 1)
    padded = F.pad(slices, (0, -columns % step, 0, -rows % step))
    keep = _second_look(model.manifest.channels, channels)
    outputs = []
    for start in range(0, len(padded), BATCH_SLICES):
        images = padded[start : start + BATCH_SLICES].to(model.device, memory_format=torch.channels_last)
        with torch.autocast(model.device.type, dtype=torch.bfloat16):
            plain = network.module(images)
            mirrored = network.module((images * keep.to(model.device)).flip(-1)).flip(-1)
        mean = (plain.float().sigmoid() + mirrored.float().sigmoid()) / 2
        outputs.append(mean[..., :rows, :columns].cpu())
    return np.asarray(torch.cat(outputs).transpose(0, 1).contiguous().numpy())


def _second_look(names: tuple[str, ...], channels: NDArray[np.float32]) -> torch.Tensor:
    """Return 0 or 1 for each channel, shape (channel, 1, 1)."""
    present = {name for name, values in zip(names, channels, strict=True) if values.any()}
    drop = {"T2"} if {"T1CE", "FLAIR"} <= present else set()
    return torch.tensor([0.0 if name in drop else 1.0 for name in names])[:, None, None]
