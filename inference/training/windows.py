"""Random windows on a case, rotated, scaled, mirrored and deformed: slices with their neighbours, or volumes.

Images and regions are sampled on the same grid, so labels always stay aligned with their image.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from inference.cases.prepared import PreparedCase
from inference.forward import VIEW_AXES
from inference.manifest import REGIONS

__all__ = ["VIEWS", "View", "Volume", "Window", "slice_window", "volume_window"]

TURN_DEG = 35.0
"""Rotation in the axial plane. Heads are rotated by up to 20°, and oblique stacks add to it."""

TILT_DEG = 12.0
"""Rotation about the other two axes. The working grid is axial already."""

# Ranges like those of nnU-Net (Isensee 2021: scales 0.7 to 1.4), a little narrower. Not tuned on these data sets.
SCALES = (0.75, 1.3)
ASPECTS = (0.92, 1.08)
SHIFT = 0.15
"""Largest shift as a share of the window, to each side."""

BENT_SHARE = 0.25
BEND = 0.04
"""Standard deviation of the control points of the deformation, as a share of half the window: about 4 mm."""

BEND_POINTS = 6
UPSIDE_DOWN_SHARE = 0.1
FURTHEST_NEIGHBOUR = 5
"""Largest distance of the neighbours of a 1 mm slice, in slices: in a stack of thick slices they are 2 to 6 mm away."""


@dataclass(frozen=True, kw_only=True)
class View:
    """The plane in which a volume is sliced.

    Attributes
    ----------
    axes
        Which axes of (slice, row, column) of the case become the slice, the row and the column.
    mirrored
        Whether columns may be reversed: only if they run from one side of the patient to the other.
    """

    axes: tuple[int, int, int]
    mirrored: bool


VIEWS = tuple(View(axes=axes, mirrored=axes[0] != 2) for axes in VIEW_AXES)
"""Axial, coronal and sagittal."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Window:
    """One sample before its intensities are changed.

    Attributes
    ----------
    images
        Shape (channel, slice, row, column).
    regions
        0 or 1, shape (region, slice, row, column). For slice networks, the middle slice only.
    everywhere
        Mask of the whole tumour in every slice of `images`, shape (1, slice, row, column), if requested.
    """

    images: Tensor
    regions: Tensor
    everywhere: Tensor | None = None


def slice_window(  # noqa: PLR0913 - a window is a place and a size
    case: PreparedCase,
    middle: int,
    context: int,
    size: tuple[int, int],
    step: int,
    view: View = VIEWS[0],
    *,
    everywhere: bool = False,
) -> Window:
    """Return one slice with its neighbours, rotated in its plane.

    Parameters
    ----------
    middle
        Index of the slice along the first axis of the view.
    step
        Distance of the neighbours in slices. Beyond the ends, the last slice repeats.
    everywhere
        Whether to return the tumour mask of the neighbours as well.
    """
    volume = case.images.transpose(0, *(axis + 1 for axis in view.axes))
    drawn = case.regions.transpose(0, *(axis + 1 for axis in view.axes))
    chosen = (middle + step * np.arange(-context, context + 1)).clip(0, volume.shape[1] - 1)
    images = torch.from_numpy(volume[:, chosen].astype(np.float32))
    regions = torch.from_numpy(drawn[:, middle].astype(np.float32))
    channels, slices, rows, columns = images.shape
    plane = _plane(size, (rows, columns), mirrored=view.mirrored)
    grid = F.affine_grid(plane[None], [1, 1, *size], align_corners=False)
    if _uniform(0, 1) < BENT_SHARE:
        grid = grid + _bending(size)
    sampled = F.grid_sample(images.flatten(0, 1)[None], grid, mode="bilinear", align_corners=False)[0]
    masks = F.grid_sample(regions[None], grid, mode="bilinear", align_corners=False)[0]
    window = Window(images=sampled.reshape(channels, slices, *size), regions=(masks > 0.5).float()[:, None])
    if not everywhere:
        return window
    tumour = torch.from_numpy(drawn[0][chosen].astype(np.float32))
    shown = F.grid_sample(tumour[None], grid, mode="bilinear", align_corners=False)
    return replace(window, everywhere=(shown > 0.5).float())


@dataclass(frozen=True, eq=False)
class Volume:
    """A case on the device on which its samples are made.

    Attributes
    ----------
    images
        float32, shape (channel, slice, row, column).
    count
        How many of the nested regions contain each voxel, float32, shape (1, slice, row, column).
    """

    images: Tensor
    count: Tensor

    @classmethod
    def of(cls, case: PreparedCase, device: torch.device) -> "Volume":
        """Read a case."""
        images, count = case.images.astype(np.float32), case.regions.sum(axis=0, dtype=np.float32)
        return cls(torch.from_numpy(images).to(device), torch.from_numpy(count)[None].to(device))


def volume_window(volume: Volume, size: tuple[int, int, int]) -> Window:
    """Return a volume rotated about all axes, with its middle anywhere in the case."""
    shape = volume.images.shape[1:]
    theta = _space(size, (shape[0], shape[1], shape[2])).to(volume.images.device)
    grid = F.affine_grid(theta[None], [1, 1, *size], align_corners=False)
    if _uniform(0, 1) < BENT_SHARE:
        grid = grid + _bending(size, volume.images.device)
    sampled = F.grid_sample(volume.images[None], grid, mode="bilinear", align_corners=False)[0]
    # One nearest-neighbour look-up of the count keeps nested regions nested.
    count = F.grid_sample(volume.count[None], grid, mode="nearest", align_corners=False)[0, 0]
    regions = torch.stack([count > level + 0.5 for level in range(len(REGIONS))])
    return Window(images=sampled, regions=regions.float())


def _uniform(low: float, high: float) -> float:
    return low + (high - low) * float(torch.rand(()))


def _signs(shares: tuple[float, ...]) -> list[float]:
    return [-1.0 if _uniform(0, 1) < share else 1.0 for share in shares]


def _turn(angle: float) -> NDArray[np.float64]:
    return np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])


def _plane(size: tuple[int, int], shape: tuple[int, int], *, mirrored: bool) -> Tensor:
    """Return the affine of a 2D window in torch's normalised (x, y), shape (2, 3)."""
    scale, aspect = 1 / _uniform(*SCALES), _uniform(*ASPECTS)
    turn = _turn(math.radians(_uniform(-TURN_DEG, TURN_DEG))) @ np.diag(scale * np.array([aspect, 1 / aspect]))
    turn[:, 0] *= _signs((0.5 if mirrored else 0.0,))[0]
    window, whole = np.array(size[::-1], float), np.array(shape[::-1], float)
    theta = np.column_stack([turn * window[None, :] / whole[:, None], [_uniform(-SHIFT, SHIFT) for _ in range(2)]])
    return torch.tensor(theta, dtype=torch.float32)


def _space(size: tuple[int, int, int], shape: tuple[int, int, int]) -> Tensor:
    """Return the affine of a 3D window in torch's normalised (x, y, z), shape (3, 4)."""
    turn = np.eye(3)
    for axis, limit in enumerate((TILT_DEG, TILT_DEG, TURN_DEG)):
        step = np.eye(3)
        step[np.ix_(*[[k for k in range(3) if k != axis]] * 2)] = _turn(math.radians(_uniform(-limit, limit)))
        turn = step @ turn
    scale = np.array([_uniform(*ASPECTS) for _ in range(3)]) / _uniform(*SCALES)
    turn = turn * scale * _signs((0.5, 0.0, UPSIDE_DOWN_SHARE))
    window, whole = np.array(size[::-1], float), np.array(shape[::-1], float)
    room = np.maximum(np.abs(whole - window), SHIFT * window) / whole
    shift = [_uniform(-1, 1) * value for value in room]
    return torch.tensor(np.column_stack([turn * window[None, :] / whole[:, None], shift]), dtype=torch.float32)


def _bending(size: tuple[int, ...], device: torch.device | None = None) -> Tensor:
    """Return smooth displacements, shape (1, *size, axes), in normalised coordinates."""
    axes = len(size)
    coarse = (torch.randn(1, axes, *[BEND_POINTS] * axes) * BEND).to(device)
    mode = "bicubic" if axes == 2 else "trilinear"
    return F.interpolate(coarse, size=size, mode=mode, align_corners=True).movedim(1, -1)
