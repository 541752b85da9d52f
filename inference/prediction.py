"""Runs a slice network over a stack of axial slices."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from inference.model_bundle import ModelBundle

__all__ = ["predict_slices"]

BATCH_SLICES = 8
"""Slices in one forward pass: more gains nothing on two CPU cores and costs memory."""


@torch.inference_mode()
def predict_slices(model: ModelBundle, channels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return probabilities for every voxel, averaged over two looks.

    The second look is mirrored left to right and, where T1 after contrast and FLAIR are there, goes without T2: the
    network saw T2 in skull-stripped heads alone, and on whole heads takes wide ventricles for necrosis by it.

    Parameters
    ----------
    channels
        Normalised intensities, shape (channel, slice, row, column); rows run to the back, columns to the left.

    Returns
    -------
    numpy.ndarray
        Shape (region, slice, row, column), regions WT, TC, ET.
    """
    step = 2 ** (len(model.manifest.network["filters"]) - 1)  # type: ignore[arg-type]
    rows, columns = channels.shape[-2:]
    slices = torch.from_numpy(np.ascontiguousarray(channels)).transpose(0, 1)
    padded = F.pad(slices, (0, -columns % step, 0, -rows % step))
    keep = _second_look(model.manifest.channels, channels)
    outputs = []
    for start in range(0, len(padded), BATCH_SLICES):
        images = padded[start : start + BATCH_SLICES].to(model.device, memory_format=torch.channels_last)
        with torch.autocast(model.device.type, dtype=torch.bfloat16):
            plain = model.network(images)
            mirrored = model.network((images * keep.to(model.device)).flip(-1)).flip(-1)
        mean = (plain.float().sigmoid() + mirrored.float().sigmoid()) / 2
        outputs.append(mean[..., :rows, :columns].cpu())
    return np.asarray(torch.cat(outputs).transpose(0, 1).contiguous().numpy())


def _second_look(names: tuple[str, ...], channels: NDArray[np.float32]) -> torch.Tensor:
    """Return 0 or 1 for each channel, shape (channel, 1, 1)."""
    present = {name for name, values in zip(names, channels, strict=True) if values.any()}
    drop = {"T2"} if {"T1CE", "FLAIR"} <= present else set()
    return torch.tensor([0.0 if name in drop else 1.0 for name in names])[:, None, None]
