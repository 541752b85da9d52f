"""Converts nested masks (ET within TC within WT) to labels and back, on their device."""

import torch
from torch import Tensor

from inference.regions import REGION_LABELS, Label, Region

__all__ = ["label_regions", "region_of"]


def label_regions(wt: Tensor, tc: Tensor | None, et: Tensor | None) -> Tensor:
    """Combine nested masks into one label volume, uint8.

    Parameters
    ----------
    wt, tc, et
        Masks of equal shape. Without TC and ET, every tumour voxel is labelled as whole tumour.
    """
    labels = torch.zeros_like(wt, dtype=torch.uint8)
    if tc is None or et is None:
        labels[wt] = Label.WHOLE_TUMOUR
        return labels
    labels[wt] = Label.ED
    labels[wt & (tc | et)] = Label.NCR
    labels[wt & et] = Label.ET
    return labels


def region_of(labels: Tensor, region: Region) -> Tensor:
    """Return the mask of a region, which may be a union such as WT; bool, shape of the labels."""
    return torch.isin(labels, torch.tensor(sorted(REGION_LABELS[region]), dtype=labels.dtype, device=labels.device))
