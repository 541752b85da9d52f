"""Implants tumours and resection cavities into label maps, also at the brain's edge, and opens the skull over a cavity.

The brain mask does not change: tumours and cavities count as brain. Nothing outside the brain becomes tumour.
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
"""Largest depth of the centre of a tumour at the edge. At this depth most tumours reach the surface."""

CORE, RIM = 0.5, 0.75
"""Radii of a blob's necrosis and of the enhancement around it, relative to the blob. Beyond is oedema."""

SCAR = 1.18
"""Radius up to which the wall of a cavity enhances, relative to the cavity."""

OPENED = 1.6
"""Radius up to which the skull and scalp over a cavity are changed, relative to the cavity."""


@dataclass(frozen=True, kw_only=True)
class ImplantChances:
    """Probabilities and sizes of implants.

    Attributes
    ----------
    any
        Share of heads with an implant. The others keep the network trained on heads without one.
    tumour, cavity
        Of those, shares with only a tumour and only a cavity. The rest have a tumour with a cavity in it, as after
        partial resection.
    at_edge
        Share with the centre near the surface, where the outline of the brain is hard to find.
    by_expert
        Share of tumours with a shape drawn by an expert, if there are any.
    tumour_mm, cavity_mm
        Smallest and largest radius of synthetic shapes.
    scar, opened_skull
        Shares of cavities with a scar, and with an opened skull.
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
    """Return labels with a tumour, a cavity, both or nothing implanted."""
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
    """Return labels with the part of a tumour that lies in the brain.

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
    """Return labels with a cavity in the brain, optionally with a scar at its wall and an opened skull over it.

    Parameters
    ----------
    hole
        As returned by `blob`.
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
