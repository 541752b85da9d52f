"""Finds the brain of a head with the model's network for it; nothing outside is ever a finding.

Volume networks were trained on skull-stripped brains, so skull and scalp are removed from their input. The brain is
found in a second sequence as well. Where the two differ, the brain is in doubt.
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
"""Less is no brain: a slab of 15 mm through the middle of one has about 200 ml."""

LEAST_PIECE_ML = 400.0
"""In images with less tissue in all, a brain cannot be told from another part of the body; they are not judged."""

STRIPPED_SHARE = 0.01
"""A volume has no skull if the tissue further than `RIM_MM` outside the brain is at most this share of its volume. In
BraTS it is at most 0.001; in the closest real head available (face removed, field of view full of head) it is 0.02."""

RIM_MM = 6.0
"""Thickest rim that a brain extraction leaves: fluid, meninges."""

COVER_MM = 1.0
"""Dilation of the network's brain, half a cube. The network was trained on tissue and sulci without the fluid over
them, of which annotators include a part. In four elderly persons outside its training data, 98.6 to 99.5 % of the
labelled brain lies inside with the dilation, and 95.4 to 97.3 % without it."""

MARGIN_MM = 3.0
"""Largest distance of findings outside the network's brain: a cube and a half, for the network's error at the edge."""

ROUNDING_MM = 1e-3
"""Distances between cubes of 2 mm are often exactly 1 or 3 mm. Rounding, which differs by device, must not decide."""

REACH_MM = 12.0
"""Largest distance from the brain's surface that is computed; twice as far as any limit that is set on it."""


@dataclass(frozen=True, kw_only=True, eq=False)
class BrainFound:
    """The brain on the grid of the head.

    Attributes
    ----------
    away_mm
        Distance to the brain's surface, negative inside, `REACH_MM` at most; float32, shape of the grid, on the device
        of the network.
    stripped
        Whether the images were skull-stripped already, so that nothing has to be removed.
    agreement
        Dice with the brain found in a second sequence, within the field of view of both; None where there is no second.
    """

    away_mm: Tensor
    stripped: bool
    agreement: float | None

    @property
    def mask(self) -> Tensor:
        """The brain with the fluid over its surface: `COVER_MM` around what the network was trained to mark."""
        return self.away_mm <= COVER_MM + ROUNDING_MM

    @property
    def possible(self) -> Tensor:
        """Where a glioma is possible."""
        return self.away_mm <= MARGIN_MM + ROUNDING_MM

    @property
    def within(self) -> Tensor | None:
        """`possible`, or None for skull-stripped images, where a glioma is possible everywhere."""
        return None if self.stripped else self.possible

    @property
    def tight(self) -> Tensor:
        """The part of the head that is the input of a network for brains only."""
        return self.mask


@torch.inference_mode()
def find_brain(network: BrainNetwork, study: StudyTensors) -> BrainFound | None:
    """Return the brain, or None where there is none.

    Parameters
    ----------
    study
        On the network's device. The brain is found in the reference, and checked in one other sequence.
    """
    cubes, probability, signal = brain_on_cubes(network, study.head, study.grid)
    mask = filled_body(probability >= network.manifest.threshold)
    voxels = int(mask.count_nonzero())
    if voxels * cubes.voxel_volume_ml < LEAST_BRAIN_ML:
        return None
    away = _distance(mask, cubes)
    stripped = int((signal & (away > RIM_MM)).count_nonzero()) <= STRIPPED_SHARE * voxels
    surface = _distance(filled_body(signal), cubes) if stripped else away
    return BrainFound(
        # The cubes cover the head's grid; voxels past the centre of the last cube take its value.
        away_mm=sampled(surface, cubes, study.grid, outside=None),
        stripped=stripped,
        agreement=_agreement(network, study, mask),
    )


def shows_enough(study: StudyTensors) -> bool:
    """Return whether there is so much tissue that a brain would be found if there were one."""
    tissue = int((study.head > 0.02 * percentile(study.head, 99)).count_nonzero())
    return tissue * study.grid.voxel_volume_ml >= LEAST_PIECE_ML


def _distance(mask: Tensor, grid: Grid) -> Tensor:
    """Return the distance in mm to the mask's surface, half a voxel outside its outermost voxels; negative inside."""
    cube_mm = float(grid.spacing_mm[0])
    return surface_distance(mask, cube_mm, REACH_MM) - cube_mm / 2


def _agreement(network: BrainNetwork, study: StudyTensors, mask: Tensor) -> float | None:
    """Return the Dice between the brains of the reference and another sequence, within the other's field of view."""
    others = set(study.volumes) - {study.reference}
    second = next((role for role in (Role.FLAIR, Role.T2, Role.T1, Role.T1CE) if role in others), None)
    if second is None:
        return None
    _, probability, signal = brain_on_cubes(network, study.volumes[second], study.grid)
    box = box_around(signal)
    if box is None:
        return 0.0
    other = filled_body(probability >= network.manifest.threshold)[box]
    both = int(mask[box].count_nonzero()) + int(other.count_nonzero())
    return 2 * int((mask[box] & other).count_nonzero()) / both if both else 0.0
