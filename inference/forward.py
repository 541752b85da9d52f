"""Passes of a network over a whole stack, with test-time augmentation.

A slice network is given batches of slices with their neighbours; a volume network is given the volume at once.
"""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from inference.arithmetic import answer_of, kinds_for
from inference.networks import Network
from inference.unet import TumourUNet

__all__ = ["BATCH_SLICES", "VIEW_AXES", "VIEW_STEP", "augmented_predictions", "device_of", "forward_probabilities"]

VIEW_AXES = ((0, 1, 2), (1, 0, 2), (2, 0, 1))
"""Axial, coronal, sagittal: which axis of (slice, row, column) becomes the slice, the row and the column."""

VIEW_STEP = 2
"""Distance in mm of the neighbours of a slice of a volume. Chosen; other values were not tried."""

BATCH_SLICES = 8
"""Slices in one forward pass. More bring no speed on two CPU cores and need more memory."""


def forward_probabilities(
    network: Network,
    images: NDArray[np.floating],
    *,
    mirrored: bool = False,
    slice_step: int = 1,
    views: int = 1,
) -> NDArray[np.float32]:
    """Return the probability of each region in every voxel, the mean of `augmented_predictions`.

    Returns
    -------
    numpy.ndarray
        Shape (region, slice, row, column).
    """
    given = torch.from_numpy(np.ascontiguousarray(images, np.float32)).to(device_of(network))
    found = list(augmented_predictions(network, given, mirrored=mirrored, slice_step=slice_step, views=views))
    return np.asarray(torch.stack(found).mean(dim=0).cpu().numpy())


def device_of(network: Network) -> torch.device:
    """Return the device of a network; the CPU for one without parameters, such as an ONNX graph."""
    return next((tensor.device for tensor in network.parameters()), torch.device("cpu"))


def augmented_predictions(
    network: Network, images: Tensor, *, mirrored: bool = False, slice_step: int = 1, views: int = 1
) -> Iterator[Tensor]:
    """Yield one network's predictions under test-time augmentation: along each axis, or with the mirror image.

    Parameters
    ----------
    network
        In evaluation mode.
    images
        Normalised intensities, shape (channel, slice, row, column), on the device of the network.
    mirrored
        Whether to predict a second time on the mirror image (left for right). That prediction is mirrored back.
    slice_step
        Distance of the neighbouring slices in a 2.5D network's input, in slices.
    views
        1: along the slices of the stack. 3: along each axis of a volume - axial, coronal, sagittal.

    Yields
    ------
    torch.Tensor
        Probabilities, shape (region, slice, row, column), on that device.
    """
    run = _slices if network.dimensions == 2 else _volume
    for axes in VIEW_AXES[:views]:
        order = [0, *(axis + 1 for axis in axes)]
        back = [order.index(axis) for axis in range(4)]
        yield run(network, images.permute(order), slice_step).permute(back).contiguous()
    if mirrored:
        yield run(network, images.flip(-1), slice_step).flip(-1)


@torch.inference_mode()
def _slices(network: Network, stack: Tensor, slice_step: int) -> Tensor:
    count, rows, columns = stack.shape[1:]
    if isinstance(network, TumourUNet):  # its first convolution rounds anyway; until then fewer bytes are copied
        stack = stack.to(kinds_for(stack.device)[0])
    padded = F.pad(stack, (0, -columns % network.multiple, 0, -rows % network.multiple))
    offsets = torch.arange(-network.context, network.context + 1, device=stack.device) * slice_step
    found = []
    for start in range(0, count, BATCH_SLICES):
        middle = torch.arange(start, min(count, start + BATCH_SLICES), device=stack.device)
        around = (middle[:, None] + offsets).clamp(0, count - 1)
        batch = padded[:, around].transpose(0, 1)
        found.append(answer_of(network, batch).sigmoid()[:, :, 0, :rows, :columns])
    return torch.cat(found).transpose(0, 1).contiguous()


@torch.inference_mode()
def _volume(network: Network, stack: Tensor, _: int) -> Tensor:
    slices, rows, columns = stack.shape[1:]
    pad = (0, -columns % network.multiple, 0, -rows % network.multiple, 0, -slices % network.multiple)
    answer = answer_of(network, F.pad(stack, pad)[None])
    return answer[0, :, :slices, :rows, :columns].sigmoid().contiguous()
