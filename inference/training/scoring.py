"""Scores a network on complete patients during training: plain Dice of the regions that experts drew."""

from collections.abc import Sequence

import numpy as np

from inference.cases.prepared import PreparedCase
from inference.evaluation.overlap import count, overlap
from inference.forward import VIEW_STEP, forward_probabilities
from inference.regions import Region
from inference.unet import TumourUNet

__all__ = ["case_dice", "mean_dice"]

PREDICTED = (Region.WT, Region.TC, Region.ET)
THRESHOLD = 0.5


def mean_dice(network: TumourUNet, cases: Sequence[PreparedCase], views: int = 1) -> float:
    """Return the mean over patients of the mean Dice over their regions. Every patient has the same weight."""
    return float(np.mean([np.mean(list(case_dice(network, case, views=views).values())) for case in cases]))


def case_dice(
    network: TumourUNet,
    case: PreparedCase,
    keep: tuple[bool, bool, bool, bool] = (True, True, True, True),
    views: int = 1,
) -> dict[Region, float]:
    """Return the Dice of each annotated region of one patient. It is 1 if a region is empty in both masks.

    Parameters
    ----------
    keep
        Which of the four sequences the network is given.
    views
        As in the plan.
    """
    network.eval()
    images = case.images.astype(np.float32) * np.array(keep)[:, None, None, None]
    found = forward_probabilities(network, images, views=views, slice_step=VIEW_STEP if views > 1 else 1) >= THRESHOLD
    pairs = zip(PREDICTED, case.regions, found, case.annotated, strict=True)
    return {region: overlap(count(marked, drawn)).dice for region, drawn, marked, known in pairs if known}
