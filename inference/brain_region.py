"""Where the brain of a head is, by the model's network for it; what lies outside is never a finding.

Networks for volumes learned from brains alone, so skull and scalp are taken from what they are shown. A second sequence
is asked as well: where both differ, the brain is in doubt.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from conversion.sequences import Role
from conversion.volume import Grid
from inference.brain_network import BrainNetwork, brain_on_cubes
from inference.components import box_around, filled_body, surface_distance
from inference.preprocessing import percentile
from inference.resampling import sampled
from inference.study_tensors import StudyTensors

__all__ = ["BrainFound", "find_brain", "shows_enough"]

LEAST_BRAIN_ML = 150.0
"""Less is no brain: a slab of 15 mm through the middle of one has some 200 ml."""

LEAST_PIECE_ML = 400.0
"""What shows less tissue in all is a piece in which a brain cannot be told from another body, and is not judged."""

STRIPPED_SHARE = 0.01
"""A volume that shows no more than this share of the brain's volume further than `RIM_MM` outside it has no skull.
BraTS shows at most 0.001, the closest of the real heads at hand (face removed, field of view full of head) 0.02."""

RIM_MM = 6.0
"""Thickest rim that a brain extraction leaves: fluid, meninges."""

COVER_MM = 1.0
"""How far the network's brain is widened, half a cube: it was taught tissue and furrows without the fluid over them, of
which people draw a part. Of four elderly persons that it never saw, 98.6 to 99.5 % of what is labelled lies inside
then, 95.4 to 97.3 % without."""

MARGIN_MM = 3.0
"""How far findings may lie outside the network's brain; a cube and a half, for what it errs by at its edge."""

ROUNDING_MM = 1e-3
"""Distances between cubes of 2 mm are often 1 or 3 mm sharp: rounding, another on each device, is not to decide."""

REACH_MM = 12.0
"""How far from the brain's surface distances are told; twice as far as any limit that is set on them."""


@dataclass(frozen=True, kw_only=True, eq=False)
class BrainFound:
    """Where the brain is, on the grid of the head.

    Attributes
    ----------
    away_mm
        Distance to the brain's surface, negative inside, `REACH_MM` at most; float32, shape of the grid, on the device
        of the network.
    stripped
        Whether nothing but a brain was there, so that there is nothing to take away.
    agreement
        Dice with the brain that a second sequence shows, within what both show; None where there is no second.
    """

    away_mm: Tensor
    stripped: bool
    agreement: float | None

    @property
    def mask(self) -> Tensor:
        """The brain with the fluid over its surface: `COVER_MM` around what the network was taught to call brain."""
        return self.away_mm <= COVER_MM + ROUNDING_MM

    @property
    def possible(self) -> Tensor:
        """Where a glioma can be."""
        return self.away_mm <= MARGIN_MM + ROUNDING_MM

    @property
    def within(self) -> Tensor | None:
        """What is `possible`; None where nothing but a brain was shown, and everything is."""
        return None if self.stripped else self.possible

    @property
    def tight(self) -> Tensor:
        """What a network for brains alone is shown."""
        return self.mask


@torch.inference_mode()
def find_brain(network: BrainNetwork, study: StudyTensors) -> BrainFound | None:
    """Return where the brain is, or None where there is none.

    Parameters
    ----------
    study
        On the network's device. The reference is looked at, and one other sequence to check it.
    """
    cubes, probability, shown = brain_on_cubes(network, study.head, study.grid)
    mask = filled_body(probability >= network.manifest.threshold)
    voxels = int(mask.count_nonzero())
    if voxels * cubes.voxel_volume_ml < LEAST_BRAIN_ML:
        return None
    away = _distance(mask, cubes)
    stripped = int((shown & (away > RIM_MM)).count_nonzero()) <= STRIPPED_SHARE * voxels
    surface = _distance(filled_body(shown), cubes) if stripped else away
    return BrainFound(
        # The cubes cover the head's grid; what lies past the middle of the last one takes its value.
        away_mm=sampled(surface, cubes, study.grid, outside=None),
        stripped=stripped,
        agreement=_agreement(network, study, mask),
    )


def shows_enough(study: StudyTensors) -> bool:
    """Tell whether there is so much tissue that a brain would be seen, if it were one."""
    tissue = int((study.head > 0.02 * percentile(study.head, 99)).count_nonzero())
    return tissue * study.grid.voxel_volume_ml >= LEAST_PIECE_ML


def _distance(mask: Tensor, grid: Grid) -> Tensor:
    """Return the distance in mm to the mask's surface, half a voxel outside its outermost; negative inside."""
    cube_mm = float(grid.spacing_mm[0])
    return surface_distance(mask, cube_mm, REACH_MM) - cube_mm / 2


def _agreement(network: BrainNetwork, study: StudyTensors, mask: Tensor) -> float | None:
    """Return the Dice of the brain of the reference with that of another sequence, within the other's field of view."""
    others = set(study.volumes) - {study.reference}
    second = next((role for role in (Role.FLAIR, Role.T2, Role.T1, Role.T1CE) if role in others), None)
    if second is None:
        return None
    _, probability, shown = brain_on_cubes(network, study.volumes[second], study.grid)
    box = box_around(shown)
    if box is None:
        return 0.0
    other = filled_body(probability >= network.manifest.threshold)[box]
    both = int(mask[box].count_nonzero()) + int(other.count_nonzero())
    return 2 * int((mask[box] & other).count_nonzero()) / both if both else 0.0
