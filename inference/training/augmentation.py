"""Random changes that make a small, clean training set look like what scanners send."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from inference.preprocessing import MAXIMUM_INTENSITY

__all__ = ["add_synthetic_head", "augment_geometry", "augment_intensity", "drop_sequences"]

DROP_PROBABILITY = (0.3, 0.2, 0.35, 0.08)
"""Chance to lose T1, T1CE, T2, FLAIR in a sample: T1 and T1CE are what studies lack most."""


def _uniform(low: float, high: float) -> float:
    return low + (high - low) * float(torch.rand(()))


def augment_geometry(images: Tensor, regions: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Flip, rotate, scale, shear, shift and crop one slice.

    Parameters
    ----------
    images
        Shape (channel, row, column).
    regions
        Shape (region, row, column), 0 or 1.
    size
        Rows and columns of the result.

    Returns
    -------
    tuple of torch.Tensor
        Images by bilinear, regions by nearest interpolation, (channel or region, size, size).
    """
    rows, columns = images.shape[-2:]
    angle, scale = math.radians(_uniform(-30, 30)), _uniform(0.75, 1.3)
    aspect, flip = _uniform(0.9, 1.1), -1.0 if _uniform(0, 1) < 0.5 else 1.0
    cos, sin = math.cos(angle) / scale, math.sin(angle) / scale
    shift = [_uniform(-0.15, 0.15), _uniform(-0.15, 0.15)]
    theta = torch.tensor(
        [
            [flip * cos * aspect * size / columns, -sin * size / columns, shift[0]],
            [flip * sin * aspect * size / rows, cos * size / rows, shift[1]],
        ]
    )
    grid = F.affine_grid(theta[None], [1, 1, size, size], align_corners=False)
    moved = F.grid_sample(images[None], grid, mode="bilinear", align_corners=False)[0]
    masks = F.grid_sample(regions[None], grid, mode="nearest", align_corners=False)[0]
    return moved, masks


def add_synthetic_head(images: Tensor, present: Tensor) -> Tensor:
    """Draw a dark skull and a bright scalp of random thickness around a skull-stripped brain.

    Parameters
    ----------
    images
        One skull-stripped slice, shape (channel, row, column); outside the brain exactly 0.
    present
        Shape (channel,), bool; a missing sequence stays empty.

    Returns
    -------
    torch.Tensor
        Same shape.
    """
    brain = (images > 0).any(dim=0, keepdim=True).float()[None]
    gap, scalp = int(_uniform(2, 8)), int(_uniform(3, 14))
    inner, outer = _dilate(brain, gap), _dilate(brain, gap + scalp)
    ring = (outer - inner)[0]
    ring = F.avg_pool2d(ring[None], 3, stride=1, padding=1)[0]
    texture = F.interpolate(torch.rand(1, 1, 24, 24), size=images.shape[-2:], mode="bilinear")[0] + 0.5
    channels = images.shape[0]
    brightness = torch.rand(channels, 1, 1) * 2.8 + 0.2
    bone = torch.rand(channels, 1, 1) * 0.35
    outside = ring * texture * brightness + (inner - brain)[0].clamp(min=0) * bone
    return images + outside * (1 - brain[0]) * present[:, None, None]


def _dilate(mask: Tensor, radius: int) -> Tensor:
    for _ in range(radius):
        mask = F.max_pool2d(mask, 3, stride=1, padding=1) if _ % 2 else _cross(mask)
    return mask


def _cross(mask: Tensor) -> Tensor:
    rows = F.max_pool2d(mask, (3, 1), stride=1, padding=(1, 0))
    columns = F.max_pool2d(mask, (1, 3), stride=1, padding=(0, 1))
    return torch.maximum(rows, columns)


def augment_intensity(images: Tensor) -> Tensor:
    """Change gain, gamma, bias field, sharpness and noise of each channel on its own.

    Parameters
    ----------
    images
        Normalised intensities, shape (channel, row, column).

    Returns
    -------
    torch.Tensor
        Same shape, within 0 to `MAXIMUM_INTENSITY`.
    """
    channels, rows, columns = images.shape
    gain = torch.empty(channels, 1, 1).uniform_(0.75, 1.35)
    gamma = torch.empty(channels, 1, 1).uniform_(0.75, 1.35)
    bias = F.interpolate(torch.randn(channels, 1, 4, 4) * 0.12, size=(rows, columns), mode="bicubic")[:, 0]
    result = images.clamp(min=0).pow(gamma) * gain * torch.exp(bias)
    if _uniform(0, 1) < 0.35:
        factor = _uniform(0.4, 0.9)
        small = F.interpolate(result[None], scale_factor=factor, mode="area")
        result = F.interpolate(small, size=(rows, columns), mode="bilinear")[0]
    noise = torch.randn_like(result) * _uniform(0, 0.08)
    return (result + noise).clamp(0, MAXIMUM_INTENSITY)


def drop_sequences(images: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
    """Empty randomly chosen channels, keeping at least one of T1CE and FLAIR.

    Returns
    -------
    tuple of torch.Tensor
        Images and the new `present`, shape (channel,).
    """
    keep = present & (torch.rand(4) >= torch.tensor(DROP_PROBABILITY))
    if not bool(keep[1] | keep[3]):
        keep = keep.clone()
        keep[3] = present[3]
        keep[1] = present[1] & ~present[3]
    return images * keep[:, None, None], keep
