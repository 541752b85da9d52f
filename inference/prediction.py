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
    """Return probabilities for every voxel, averaged over the slices as they are and mirrored left to right.

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
    outputs = []
    for batch in padded.split(BATCH_SLICES):
        images = batch.to(model.device, memory_format=torch.channels_last)
        with torch.autocast(model.device.type, dtype=torch.bfloat16):
            plain = model.network(images)
            mirrored = model.network(images.flip(-1)).flip(-1)
        mean = (plain.float().sigmoid() + mirrored.float().sigmoid()) / 2
        outputs.append(mean[..., :rows, :columns].cpu())
    return np.asarray(torch.cat(outputs).transpose(0, 1).contiguous().numpy())
