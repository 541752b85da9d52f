"""The training loss: soft Dice plus binary cross-entropy over the regions that an expert drew."""

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["region_loss", "supervised_loss"]

LEVEL_WEIGHT = 0.5
"""Weight of each coarser level relative to the next finer one (Isensee 2021)."""


def supervised_loss(logits: Tensor, targets: Tensor, annotated: Tensor) -> Tensor:
    """Return the weighted mean of the losses of all levels of the prediction. The finest level has the largest weight.

    Parameters
    ----------
    logits
        Shape (batch, region, ...) or, under deep supervision, (batch, level, region, ...).
    targets, annotated
        As `region_loss` takes them.
    """
    if logits.ndim == targets.ndim:
        return region_loss(logits, targets, annotated)
    losses = [region_loss(level, targets, annotated) for level in logits.unbind(1)]
    weights = [LEVEL_WEIGHT**level for level in range(len(losses))]
    return torch.stack([weight * loss for weight, loss in zip(weights, losses, strict=True)]).sum() / sum(weights)


def region_loss(logits: Tensor, targets: Tensor, annotated: Tensor) -> Tensor:
    """Return the sum of batch Dice loss and mean binary cross-entropy.

    Parameters
    ----------
    logits, targets
        Shape (batch, region, ...); targets 0 or 1.
    annotated
        Shape (batch, region), 1 where the region is annotated for that sample. Other regions add nothing.

    Returns
    -------
    torch.Tensor
        A scalar.
    """
    flat, truth = logits.flatten(2), targets.flatten(2)
    # Sum by sample and region first and apply the weights then: to weight voxels would cost a pass over memory each.
    entropy = F.binary_cross_entropy_with_logits(flat, truth, reduction="none").mean(dim=2)
    entropy_mean = (entropy * annotated).sum() / annotated.sum().clamp(min=1)
    probability = torch.sigmoid(flat)
    overlap = ((probability * truth).sum(dim=2) * annotated).sum(dim=0)
    total = ((probability.sum(dim=2) + truth.sum(dim=2)) * annotated).sum(dim=0)
    dice = (2 * overlap + 1) / (total + 1)
    known = (annotated.sum(dim=0) > 0).float()
    return entropy_mean + ((1 - dice) * known).sum() / known.sum().clamp(min=1)
