"""Implants a tumour of one patient into another, as CarveMix does (Zhang 2021), and cavities that are no tumours.

An implanted tumour is surrounded by another patient's brain. The network is trained on the same tumour in many brains,
and on the same brain with and without a tumour, so it cannot infer the tumour from the background.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from inference.preprocessing import MAXIMUM_INTENSITY
from inference.training.windows import Window

__all__ = ["carved", "with_cavity"]

WIDEST = 4
"""Largest margin around a tumour that is implanted with it, in pixels. The seam lies in this margin."""

SOFT = 5
"""Pixels over which one brain blends into the other."""

FAINT_SHARE = 0.4
FAINT = (0.4, 1.1)
"""Share of tumours whose contrast to the surrounding brain is changed, and the range of factors. Networks fail mostly
on faint tumours."""

LEAST_AROUND = 50
"""Fewest pixels of surrounding brain against which contrast is measured. With fewer, the contrast stays unchanged."""

CAVITY_RADIUS = (6.0, 26.0)
CAVITY_EDGE = 2.0
CAVITY_LEVELS = ((0.2, 0.55), (0.2, 0.55), (1.5, 2.8), (0.15, 1.0))
"""Brightness of fluid in T1, T1CE, T2 and FLAIR in units of the tissue median, as in ventricles. Old blood and protein
make some fluids brighter on FLAIR and T1."""


def carved(onto: Window, tumour: Window) -> Window:
    """Return a window with the tumour of another window implanted at the same position.

    Parameters
    ----------
    onto
        The brain that receives the tumour.
    tumour
        The window of the tumour. Its `everywhere` is the mask of the tumour in each slice.
    """
    brain = (onto.images > 0).any(dim=0, keepdim=True)
    place = tumour.everywhere
    if place is None or not bool((place.bool() & brain).any()):
        return onto
    # Outside its own brain there is air, which would be implanted as a dark arc.
    shown = (tumour.images > 0).any(dim=0, keepdim=True)
    share = _soft(place, _integer(1, WIDEST)) * brain * shown
    images = torch.lerp(onto.images, _fainter(tumour.images, place), share)
    middle = place.shape[1] // 2
    taken = share[:, middle : middle + 1] > 0.5
    regions = torch.where(taken, tumour.regions, onto.regions)
    return Window(images=images, regions=regions)


def with_cavity(window: Window) -> Window:
    """Return a window with an ellipsoid of fluid in the brain, as surgery leaves it. It is no tumour."""
    channels, slices, rows, columns = window.images.shape
    brain = (window.images > 0).any(dim=0)
    places = brain[slices // 2].nonzero()
    if not len(places):
        return window
    row, column = places[int(torch.randint(len(places), ()))].tolist()
    radii = [_uniform(*CAVITY_RADIUS) for _ in range(3)]
    turn = _uniform(0, torch.pi)
    cosine, sine = float(torch.cos(torch.tensor(turn))), float(torch.sin(torch.tensor(turn)))
    down = torch.arange(rows)[None, :, None] - row
    right = torch.arange(columns)[None, None, :] - column
    through = 2.0 * (torch.arange(slices) - slices // 2)[:, None, None]  # slices of a view are 2 mm apart
    first, second = down * cosine + right * sine, right * cosine - down * sine
    away = ((first / radii[0]) ** 2 + (second / radii[1]) ** 2 + (through / radii[2]) ** 2).sqrt()
    inside = ((1 - away) * min(radii) / CAVITY_EDGE + 0.5).clamp(0, 1) * brain
    levels = torch.tensor([_uniform(*limits) for limits in CAVITY_LEVELS[:channels]])[:, None, None, None]
    texture = 1 + 0.05 * torch.randn(channels, 1, rows, columns)
    shown = (window.images.flatten(1).amax(dim=1) > 0)[:, None, None, None]
    images = torch.lerp(window.images, levels * texture * shown, inside[None])
    regions = window.regions * (inside[slices // 2] < 0.5)
    return Window(images=images.clamp_(0, MAXIMUM_INTENSITY), regions=regions)


def _soft(mask: Tensor, wider: int) -> Tensor:
    """Return a mask dilated and blurred at its edge, shape (1, slice, row, column)."""
    grown = F.max_pool2d(mask[0][:, None], 2 * wider + 1, stride=1, padding=wider)
    return F.avg_pool2d(grown, SOFT, stride=1, padding=SOFT // 2)[:, 0][None]


def _fainter(images: Tensor, place: Tensor) -> Tensor:
    """Return images in which some tumours have a changed contrast to the surrounding brain, alike in all sequences."""
    if _uniform(0, 1) >= FAINT_SHARE:
        return images
    wide = F.max_pool2d(place[0][:, None], 17, stride=1, padding=8)[:, 0][None]
    around = (wide > place) & (images > 0).any(dim=0, keepdim=True)
    count = around.sum()
    if count < LEAST_AROUND:
        return images
    level = ((images * around).flatten(1).sum(dim=1) / count)[:, None, None, None]
    return (level + _uniform(*FAINT) * (images - level)).clamp_(0, MAXIMUM_INTENSITY)


def _uniform(low: float, high: float) -> float:
    return low + (high - low) * float(torch.rand(()))


def _integer(low: int, high: int) -> int:
    return int(torch.randint(low, high + 1, ()))
