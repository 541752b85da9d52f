"""Random changes of intensity that make a small, clean training set look like images from clinical scanners.

Every function takes normalised intensities of shape (channel, slice, row, column) and returns them on the same device.
The few random numbers that decide a change are drawn on the CPU, so only the noise depends on the device.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from inference.preprocessing import MAXIMUM_INTENSITY

__all__ = [
    "add_remains",
    "add_rim",
    "add_synthetic_head",
    "augment_intensity",
    "cut_tight",
    "drop_sequences",
    "keep_subset",
    "thicken_rows",
    "thicken_slices",
]

# Gain, gamma and blur are about those of nnU-Net (Isensee 2021); they were not tuned on these data sets.
GAIN = (0.75, 1.35)
GAMMA = (0.7, 1.4)
BIAS = 0.14
"""Standard deviation of the logarithm of the bias field at its control points. Coil sensitivity varies by 30 % across a
head."""

BLURRED_SHARE = 0.25
BLUR = (0.4, 0.9)
NOISE = 0.08
"""Largest standard deviation, in units of the tissue median."""

THICK_SHARE = 0.3
THICKEST = 6
SKULL, SCALP = (2, 8), (3, 14)
"""Thickness in voxels of about 1 mm."""

REMAINS = 4
"""Thickest rim of skull and meninges that a brain extraction leaves, in voxels of 2 mm."""


TIGHTEST = 5
"""Widest rim of brain that is cut off, in voxels of 1 mm: the most that the brain network misses."""


def _uniform(low: float, high: float) -> float:
    return low + (high - low) * float(torch.rand(()))


def _integer(low: int, high: int) -> int:
    return int(torch.randint(low, high + 1, ()))


def augment_intensity(images: Tensor) -> Tensor:
    """Change gain, gamma, bias field, sharpness and noise of each channel independently, within the usual limits."""
    channels, slices, rows, columns = images.shape
    gain = torch.empty(channels, 1, 1, 1).uniform_(*GAIN).to(images.device)
    gamma = torch.empty(channels, 1, 1, 1).uniform_(*GAMMA).to(images.device)
    # A few slices share one bias field. In place from here on: allocating memory costs as much as the arithmetic.
    points = (torch.randn(1, channels, 1 if slices < 8 else 4, 4, 4) * BIAS).to(images.device)
    depth = 1 if slices < 8 else slices
    bias = F.interpolate(points, size=(depth, rows, columns), mode="trilinear", align_corners=True)[0]
    result = images.clamp(min=0).pow_(gamma).mul_(bias.exp_().mul_(gain))
    if _uniform(0, 1) < BLURRED_SHARE:
        factor = _uniform(*BLUR)
        small = F.interpolate(result, scale_factor=factor, mode="area")  # slices are the batch axis: in plane only
        result = F.interpolate(small, size=(rows, columns), mode="bilinear", align_corners=False)
    noise = torch.randn_like(result).mul_(_uniform(0, NOISE))
    return result.add_(noise).clamp_(0, MAXIMUM_INTENSITY)


def thicken_slices(images: Tensor) -> Tensor:
    """Simulate thick slices on a fine grid in some samples: average along one axis and interpolate back."""
    if _uniform(0, 1) >= THICK_SHARE:
        return images
    kernel = [1, 1, 1]
    kernel[_integer(0, 2)] = _integer(2, THICKEST)
    thick = F.avg_pool3d(images[None], kernel, kernel, ceil_mode=True)
    return F.interpolate(thick, size=images.shape[1:], mode="trilinear", align_corners=False)[0]


def thicken_rows(images: Tensor) -> Tensor:
    """Simulate a reformatted view of thick slices in some samples: average over rows and interpolate back.

    Slices in the acquired plane are blurred as well. For them it simulates a lower resolution.
    """
    if _uniform(0, 1) >= THICK_SHARE:
        return images
    thick = F.avg_pool2d(images, (_integer(2, THICKEST), 1), ceil_mode=True)
    return F.interpolate(thick, size=images.shape[2:], mode="bilinear", align_corners=False)


def add_rim(images: Tensor, present: Tensor) -> Tensor:
    """Draw a patchy rim around slices of a skull-stripped volume, as an imperfect brain extraction leaves it."""
    channels, slices, rows, columns = images.shape
    brain = (images > 0).any(dim=0).float()[:, None]
    size = (rows, columns)
    # The dilation runs at half the resolution: fine enough for a blurred rim, and a quarter of the cost.
    coarse = F.max_pool2d(brain, 2, ceil_mode=True)
    rim = F.interpolate(_dilated(coarse, _integer(1, REMAINS)), size=size, mode="nearest")
    patches = F.interpolate(torch.rand(1, 1, 10, 10), size=size, mode="bilinear") > _uniform(0.3, 0.7)
    texture = F.interpolate(torch.rand(1, 1, 30, 30), size=size, mode="bilinear") * 2
    brightness = torch.rand(channels, 1, 1, 1) * 2.0 * present[:, None, None, None]
    shown = (rim * patches * texture).reshape(1, slices, rows, columns) * brightness
    return torch.where(brain.reshape(1, slices, rows, columns) > 0, images, shown)


def add_synthetic_head(images: Tensor, present: Tensor) -> Tensor:
    """Draw a dark skull and a bright scalp of random thickness around skull-stripped slices.

    Parameters
    ----------
    images
        Slices that are exactly 0 outside the brain. All of them get the same skull, fitted to the middle slice.
    present
        Shape (channel,), bool. A missing sequence stays empty.
    """
    channels, slices, rows, columns = images.shape
    brain = (images[:, slices // 2] > 0).any(dim=0).float()[None, None]
    gap = _integer(*SKULL)
    inner = _dilated(brain, gap)
    outer = _dilated(inner, _integer(*SCALP))
    ring = F.avg_pool2d(outer - inner, 3, stride=1, padding=1)
    texture = F.interpolate(torch.rand(1, 1, 24, 24), size=(rows, columns), mode="bilinear") + 0.5
    brightness = torch.rand(channels, 1, 1, 1) * 2.8 + 0.2
    bone = torch.rand(channels, 1, 1, 1) * 0.35
    outside = (ring * texture * brightness + (inner - brain).clamp(min=0) * bone) * present[:, None, None, None]
    return torch.where((images > 0).any(dim=0), images, outside)


def add_remains(images: Tensor, present: Tensor) -> Tensor:
    """Draw a thin, patchy rim around a skull-stripped volume, as an imperfect brain extraction leaves it."""
    brain = (images > 0).any(dim=0).float()[None, None]
    rim = F.avg_pool3d(brain, 2)
    for _ in range(_integer(1, REMAINS)):
        rim = F.max_pool3d(rim, 3, stride=1, padding=1)
    size = images.shape[1:]
    patches = F.interpolate(_coarse_noise(images, 8), size=rim.shape[2:], mode="trilinear") > _uniform(0.3, 0.7)
    texture = F.interpolate(_coarse_noise(images, 24), size=size, mode="trilinear")[0]
    shown = F.interpolate(((rim > 0) & patches).float(), size=size, mode="nearest")[0]
    brightness = (torch.rand(len(images), 1, 1, 1) * 2.0 * present[:, None, None, None]).to(images.device)
    return torch.where(brain[0] > 0, images, shown * texture * brightness)


def cut_tight(images: Tensor) -> tuple[Tensor, Tensor]:
    """Remove patches of the brain's rim, as a brain extraction does that cuts too tight.

    Returns
    -------
    tuple of torch.Tensor
        Images of the same shape, and which pixels of the middle slice are left, bool, shape (row, column).
    """
    slices, rows, columns = images.shape[1:]
    outside = 1 - (images > 0).any(dim=0).float()[:, None]
    depth = _integer(1, TIGHTEST)
    rim = F.max_pool2d(outside, 2 * depth + 1, stride=1, padding=depth)
    patches = F.interpolate(torch.rand(1, 1, 8, 8), size=(rows, columns), mode="bilinear") > _uniform(0.3, 0.7)
    shown = ~((rim > 0) & patches)[:, 0]
    return images * shown, shown[slices // 2]


def _coarse_noise(images: Tensor, points: int) -> Tensor:
    """Return uniform random numbers on a coarse cube, shape (1, 1, points, points, points)."""
    return torch.rand(1, 1, points, points, points).to(images.device)


def _dilated(mask: Tensor, radius: int) -> Tensor:
    """Dilate a mask by squares and crosses in turn, which approximates an octagon."""
    for step in range(radius):
        square = F.max_pool2d(mask, 3, stride=1, padding=1)
        cross = torch.maximum(
            F.max_pool2d(mask, (3, 1), stride=1, padding=(1, 0)), F.max_pool2d(mask, (1, 3), stride=1, padding=(0, 1))
        )
        mask = square if step % 2 else cross
    return mask


def keep_subset(images: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
    """Empty channels so that a random set of sequences with T1CE or FLAIR is left, drawn with the weights `_COMMON`.

    Returns
    -------
    tuple of torch.Tensor
        Images and the new `present`, shape (channel,).
    """
    sets = [keep for keep in _SETS if bool((present & keep)[1] | (present & keep)[3])]
    weights = torch.tensor([_COMMON.get(tuple(keep.tolist()), 1.0) for keep in sets])
    keep = present & sets[int(torch.multinomial(weights, 1))]
    return images * keep.to(images.device)[:, None, None, None], keep


_SETS = [
    torch.tensor([bool(number & 1), bool(number & 2), bool(number & 4), bool(number & 8)])
    for number in range(16)
    if number & 0b1010
]
"""Whether T1, T1CE, T2, FLAIR are kept."""

_COMMON = {
    (False, True, False, False): 3.0,
    (False, False, False, True): 2.0,
    (True, False, False, True): 2.0,
    (False, True, False, True): 2.0,
}
"""Weights of the sets that clinics send most; all others have 1. T1CE alone has the largest: it is the hardest to learn
from."""


def drop_sequences(
    images: Tensor, present: Tensor, chances: tuple[float, float, float, float]
) -> tuple[Tensor, Tensor]:
    """Empty randomly chosen channels, keeping at least one of T1CE and FLAIR.

    Returns
    -------
    tuple of torch.Tensor
        Images and the new `present`, shape (channel,).
    """
    keep = present & (torch.rand(4) >= torch.tensor(chances))
    if not bool(keep[1] | keep[3]):
        keep = keep.clone()
        keep[3] = present[3]
        keep[1] = present[1] & ~present[3]
    return images * keep.to(images.device)[:, None, None, None], keep
