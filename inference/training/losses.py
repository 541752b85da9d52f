"""The training loss: soft Dice plus binary cross-entropy over regions that an expert drew."""

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["region_loss"]


def region_loss(logits: Tensor, targets: Tensor, annotated: Tensor) -> Tensor:
    """Return the mean of batch Dice loss and binary cross-entropy.

    Parameters
    ----------
    logits, targets
        Shape (batch, region, row, column); targets 0 or 1.
    annotated
        Shape (batch, region), 1 where the region is known for that sample; elsewhere it adds nothing.

    Returns
    -------
    torch.Tensor
        A scalar.
    """
    weight = annotated[:, :, None, None]
    entropy = F.binary_cross_entropy_with_logits(logits, targets, reduction="none") * weight
    pixels = logits.shape[-1] * logits.shape[-2]
    entropy_mean = entropy.sum() / (weight.sum() * pixels).clamp(min=1)
    probability = torch.sigmoid(logits) * weight
    truth = targets * weight
    overlap = (probability * truth).sum(dim=(0, 2, 3))
    total = probability.sum(dim=(0, 2, 3)) + truth.sum(dim=(0, 2, 3))
    dice = (2 * overlap + 1) / (total + 1)
    known = (annotated.sum(dim=0) > 0).float()
    return entropy_mean + ((1 - dice) * known).sum() / known.sum().clamp(min=1)
