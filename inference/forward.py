"""One pass of a network over a whole stack: slices with their neighbours in batches, volumes at once."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from inference.foreign.network import ForeignNetwork
from inference.unet import TumourUNet

__all__ = ["BATCH_SLICES", "forward_probabilities"]

BATCH_SLICES = 8
"""Slices in one forward pass: more gains nothing on two CPU cores and costs memory."""


@torch.inference_mode()
def forward_probabilities(
    network: TumourUNet | ForeignNetwork, images: NDArray[np.floating], *, mirrored: bool = False, slice_step: int = 1
) -> NDArray[np.float32]:
    """Return the probability of each region in every voxel.

    Parameters
    ----------
    network
        In evaluation mode, on the device it runs on.
    images
        Normalised intensities, shape (channel, slice, row, column).
    mirrored
        Whether the mean with the answer to the mirror image (left for right) is returned.
    slice_step
        Distance of the neighbours that a 2.5D network sees, in slices.

    Returns
    -------
    numpy.ndarray
        Shape (region, slice, row, column).
    """
    device = next((tensor.device for tensor in network.parameters()), torch.device("cpu"))
    stack = torch.from_numpy(np.ascontiguousarray(images, np.float32))
    run = _slices if network.dimensions == 2 else _volume
    with torch.autocast(device.type, dtype=torch.bfloat16):
        found = run(network, stack, device, slice_step)
        if mirrored:
            found = (found + run(network, stack.flip(-1), device, slice_step).flip(-1)) / 2
    return np.asarray(found.numpy())


def _slices(network: TumourUNet | ForeignNetwork, stack: Tensor, device: torch.device, slice_step: int) -> Tensor:
    count, rows, columns = stack.shape[1:]
    padded = F.pad(stack, (0, -columns % network.multiple, 0, -rows % network.multiple))
    offsets = torch.arange(-network.context, network.context + 1) * slice_step
    found = []
    for start in range(0, count, BATCH_SLICES):
        middle = torch.arange(start, min(count, start + BATCH_SLICES))
        around = (middle[:, None] + offsets).clamp(0, count - 1)
        batch = padded[:, around].transpose(0, 1).to(device)
        found.append(network(batch).float().sigmoid()[:, :, 0, :rows, :columns].cpu())
    return torch.cat(found).transpose(0, 1).contiguous()


def _volume(network: TumourUNet | ForeignNetwork, stack: Tensor, device: torch.device, _: int) -> Tensor:
    slices, rows, columns = stack.shape[1:]
    pad = (0, -columns % network.multiple, 0, -rows % network.multiple, 0, -slices % network.multiple)
    found: Tensor = network(F.pad(stack, pad)[None].to(device)).float().sigmoid()
    return found[0, :, :slices, :rows, :columns].cpu().contiguous()
