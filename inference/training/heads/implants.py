"""Tumours and resection cavities put into label maps, at the brain's edge too; the skull over a cavity is opened.

The brain stays what it was: a tumour and the cavity it leaves are of it. What lies outside becomes no tumour.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from inference.training.heads.anatomy import CAVITY, ENHANCING, IMPLANTED, NECROSIS, OEDEMA, OPENED_SKULL, OUTSIDE
from inference.training.heads.deformation import turned
from inference.training.heads.lesion_shapes import TumourShape, blob, overlap, placed_shape

__all__ = ["ImplantChances", "cavity_implanted", "implanted", "tumour_implanted"]

Labels = NDArray[np.int16]
Mask = NDArray[np.bool_]

EDGE_DEPTH_MM = 16.0
"""Middles of tumours at the edge lie at most so deep: most of them reach the surface then."""

CORE, RIM = 0.5, 0.75
"""Radii of a blob's necrosis and of the enhancement around it; oedema beyond."""

SCAR = 1.18
"""Radius to which a cavity's wall enhances."""

OPENED = 1.6
"""Radius to which the skull and scalp over a cavity are changed."""


@dataclass(frozen=True, kw_only=True)
class ImplantChances:
    """How often, and how large.

    Attributes
    ----------
    any
        Share of heads with an implant; the rest keep heads without one familiar.
    tumour, cavity
        Of those, shares with only the one; the rest has a tumour and a cavity in it, as after partial resection.
    at_edge
        Share whose middle is near the surface, where a brain's outline is hard to tell.
    by_expert
        Share of tumours with a real shape, where there are any.
    tumour_mm, cavity_mm
        Smallest and largest radius of what is made up.
    scar, opened_skull
        Shares of cavities.
    """

    any: float = 0.6
    tumour: float = 0.72
    cavity: float = 0.15
    at_edge: float = 0.6
    by_expert: float = 0.82
    tumour_mm: tuple[float, float] = (6.0, 30.0)
    cavity_mm: tuple[float, float] = (8.0, 26.0)
    scar: float = 0.4
    opened_skull: float = 0.7


def implanted(
    rng: np.random.Generator,
    labels: Labels,
    brain: Mask,
    shapes: Sequence[TumourShape],
    spacing_mm: float,
    chances: ImplantChances,
) -> Labels:
    """Return labels with a tumour, a cavity, both or nothing put in."""
    if rng.random() >= chances.any or not brain.any():
        return labels
    centre = _centre(rng, brain, spacing_mm, at_edge=rng.random() < chances.at_edge)
    kind = rng.random()
    if not chances.tumour <= kind < chances.tumour + chances.cavity:
        by_expert = bool(shapes) and rng.random() < chances.by_expert
        shape = shapes[int(rng.integers(len(shapes)))] if by_expert else None
        tumour = _tumour(rng, shape, spacing_mm, chances)
        labels = tumour_implanted(labels, brain, tumour, centre)
    if kind >= chances.tumour:
        hole = blob(rng, rng.uniform(*chances.cavity_mm), spacing_mm)
        scar, opened = rng.random() < chances.scar, rng.random() < chances.opened_skull
        labels = cavity_implanted(labels, brain, hole, centre, scar=scar, opened_skull=opened)
    return labels


def tumour_implanted(labels: Labels, brain: Mask, tumour: Labels, centre: tuple[int, ...]) -> Labels:
    """Return labels with what of a tumour lies in the brain.

    Parameters
    ----------
    tumour
        A cube around the centre: 0 none, 1 necrosis, 2 oedema, 3 enhancing tumour.
    """
    place = overlap(len(tumour) // 2, centre, labels.shape)
    part = tumour[place.box]
    changed = labels.copy()
    changed[place.volume] = np.where((part > 0) & brain[place.volume], IMPLANTED + part, labels[place.volume])
    return changed


def cavity_implanted(
    labels: Labels,
    brain: Mask,
    hole: NDArray[np.float32],
    centre: tuple[int, ...],
    *,
    scar: bool,
    opened_skull: bool,
) -> Labels:
    """Return labels with a cavity where the brain is; its wall and the skull over it change where that is wanted.

    Parameters
    ----------
    hole
        As `blob` returns it.
    """
    place = overlap(len(hole) // 2, centre, labels.shape)
    away, inside = hole[place.box], brain[place.volume]
    part = labels[place.volume].copy()
    if opened_skull:
        part[(away < OPENED) & (part >= OUTSIDE[0]) & (part < OUTSIDE[1])] = OPENED_SKULL
    if scar:
        part[(away < SCAR) & inside] = ENHANCING
    part[(away < 1) & inside] = CAVITY
    changed = labels.copy()
    changed[place.volume] = part
    return changed


def _tumour(rng: np.random.Generator, shape: TumourShape | None, spacing_mm: float, chances: ImplantChances) -> Labels:
    if shape is not None:
        return placed_shape(rng, shape, spacing_mm)
    away = blob(rng, rng.uniform(*chances.tumour_mm), spacing_mm)
    rings = np.select([away < CORE, away < RIM, away < 1], [NECROSIS, ENHANCING, OEDEMA], IMPLANTED)
    return (rings - IMPLANTED).astype(np.int16)


def _centre(rng: np.random.Generator, brain: Mask, spacing_mm: float, *, at_edge: bool) -> tuple[int, ...]:
    """Return an index in the brain, anywhere or near its surface."""
    if not at_edge:
        return _one_of(rng, brain)
    surface = np.array(_one_of(rng, brain & ~ndimage.binary_erosion(brain)))
    step = turned(rng, 180.0)[0] * rng.uniform(0, EDGE_DEPTH_MM) / spacing_mm
    deeper = tuple(int(place) for place in np.rint(surface + step))
    inside = all(0 <= place < size for place, size in zip(deeper, brain.shape, strict=True)) and brain[deeper]
    return deeper if inside else tuple(int(place) for place in surface)


def _one_of(rng: np.random.Generator, mask: Mask) -> tuple[int, ...]:
    places = np.flatnonzero(mask)
    return tuple(int(place) for place in np.unravel_index(places[rng.integers(len(places))], mask.shape))
