"""Connected components of a mask and distances to its surface, computed on the device of the mask.

The components are the same as those of SimpleITK's filters. They are found by hooking and pointer jumping over runs of
voxels (FastSV: Zhang, Azad, Buluç 2020), so no volume has to be copied back from a GPU.
"""

from collections.abc import Sequence
from itertools import product

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = [
    "box_around",
    "components",
    "filled_body",
    "largest_component",
    "surface_distance",
    "touching",
    "without_islands",
]

_FACES = ((0, 1, 0), (1, 0, 0))
_ALL_AROUND = tuple(step for step in product((-1, 0, 1), repeat=3) if step > (0, 0, 1))
"""Half of a voxel's neighbours, without the one in its own row, which belongs to the same run."""


def box_around(mask: Tensor, margin: int = 0) -> tuple[slice, slice, slice] | None:
    """Return the smallest box that contains a mask of three axes, widened by a margin; None for an empty mask."""
    box = []
    for axis in range(3):
        others = [other for other in range(3) if other != axis]
        places = mask.any(dim=others[1]).any(dim=others[0]).nonzero()
        if not len(places):
            return None
        first, last = int(places[0]), int(places[-1])
        box.append(slice(max(0, first - margin), min(mask.shape[axis], last + 1 + margin)))
    return box[0], box[1], box[2]


def components(mask: Tensor, *, corners: bool = True) -> tuple[Tensor, Tensor]:
    """Return the connected components of a mask, numbered from 1 in the order of their first voxels.

    Parameters
    ----------
    mask
        bool, shape (slice, row, column).
    corners
        Whether voxels that share an edge or a corner are connected as well (26 neighbours), or only those that share a
        face (6).

    Returns
    -------
    tuple
        The component number of every voxel, 0 outside, int64, shape of the mask; and the count of voxels by number,
        shape (components + 1,), with 0 for the number 0.
    """
    runs = _runs(mask)
    first, second = _meetings(runs, _ALL_AROUND if corners else _FACES)
    roots = _joined(torch.arange(int(runs.max()) + 1, device=mask.device), first, second)
    numbers = torch.unique(roots, return_inverse=True)[1][runs]
    sizes = torch.bincount(numbers.flatten())
    sizes[0] = 0
    return numbers, sizes


def _runs(mask: Tensor) -> Tensor:
    """Return the number of each voxel's run along its row, from 1; 0 outside."""
    starts = mask & ~F.pad(mask, (1, 0))[..., :-1]
    return starts.flatten().cumsum(0).reshape(mask.shape) * mask


def _meetings(runs: Tensor, steps: Sequence[tuple[int, ...]]) -> tuple[Tensor, Tensor]:
    """Return pairs of runs that touch; a pair may occur a few times."""
    pairs = []
    for step in steps:
        here = tuple(slice(max(0, -by), size - max(0, by)) for by, size in zip(step, runs.shape, strict=True))
        there = tuple(slice(max(0, by), size - max(0, -by)) for by, size in zip(step, runs.shape, strict=True))
        both = torch.stack([runs[here].flatten(), runs[there].flatten()])
        both = both[:, (both > 0).all(dim=0)]
        if both.shape[1] > 1:  # along a row, two runs touch in many voxels
            changes = (both[:, 1:] != both[:, :-1]).any(dim=0)
            both = both[:, F.pad(changes, (1, 0), value=True)]
        pairs.append(both)
    touching_runs = torch.cat(pairs, dim=1)
    return touching_runs[0], touching_runs[1]


def _joined(roots: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """Return for each run the smallest run number in its component."""
    while True:
        one, other = roots[first], roots[second]
        apart = one != other
        first, second, one, other = first[apart], second[apart], one[apart], other[apart]
        if not len(first):
            return roots
        roots.scatter_reduce_(0, torch.maximum(one, other), torch.minimum(one, other), "amin")
        while not bool((roots == (above := roots[roots])).all()):
            roots = above


def without_islands(mask: Tensor, minimum_voxels: int) -> Tensor:
    """Return the mask without connected components (26 neighbours) of fewer voxels."""
    if minimum_voxels <= 1 or (box := box_around(mask)) is None:
        return mask
    numbers, sizes = components(mask[box])
    kept = torch.zeros_like(mask)
    kept[box] = (sizes >= minimum_voxels)[numbers]
    return kept


def touching(mask: Tensor, places: Tensor) -> Tensor:
    """Return the connected components (26 neighbours) of a mask that contain any of some voxels."""
    if (box := box_around(mask)) is None:
        return mask
    numbers, sizes = components(mask[box])
    held = torch.zeros(len(sizes), dtype=torch.bool, device=mask.device)
    held[numbers[places[box] & mask[box]]] = True
    kept = torch.zeros_like(mask)
    kept[box] = held[numbers]
    return kept


def largest_component(mask: Tensor) -> int:
    """Return the number of voxels of the largest connected component (26 neighbours)."""
    box = box_around(mask)
    return 0 if box is None else int(components(mask[box])[1].max())


def filled_body(mask: Tensor) -> Tensor:
    """Return the largest component (6 neighbours), with the holes filled that it encloses on all sides."""
    if (box := box_around(mask)) is None:
        return mask
    numbers, sizes = components(mask[box], corners=False)
    body = numbers == sizes.argmax()
    around = F.pad(~body, (1,) * 6, value=True)
    outside = components(around, corners=False)[0] == 1  # the component of the first corner
    filled = torch.zeros_like(mask)
    filled[box] = ~outside[1:-1, 1:-1, 1:-1]
    return filled


def surface_distance(mask: Tensor, spacing_mm: float, reach_mm: float) -> Tensor:
    """Return the distance to the outermost voxels of a mask, in mm, negative inside; `reach_mm` at most.

    Parameters
    ----------
    mask
        bool, shape (slice, row, column); its voxels are cubes.
    spacing_mm
        Edge length of the cubes.
    """
    reach = int(reach_mm / spacing_mm)
    far = (reach_mm / spacing_mm) ** 2
    outermost = mask & (F.max_pool3d((~mask)[None, None].float(), 3, stride=1, padding=1)[0, 0] > 0)
    squares = torch.where(outermost, 0.0, far)
    for axis in range(3):
        nearest = squares.clone()
        length = squares.shape[axis]
        for step in range(1, min(reach, length - 1) + 1):
            low, high = squares.narrow(axis, 0, length - step), squares.narrow(axis, step, length - step)
            before, after = nearest.narrow(axis, 0, length - step), nearest.narrow(axis, step, length - step)
            torch.minimum(before, high + step * step, out=before)
            torch.minimum(after, low + step * step, out=after)
        squares = nearest
    away = squares.sqrt() * spacing_mm
    return torch.where(mask, -away, away)
