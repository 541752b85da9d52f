"""Where the brain of a head is, by the model's network for it; what lies outside is never a finding.

Networks for volumes learned from brains alone, so skull and scalp are taken from what they are shown. A second sequence
is asked as well: where both differ, the brain is in doubt.
"""

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from conversion.alignment import AlignedVolumes
from conversion.sequences import Role
from conversion.simpleitk_bridge import like_grid
from conversion.volume import Grid, ImageVolume
from inference.brain_network import BrainNetwork, brain_on_cubes
from inference.preprocessing import box_around

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

OUTSIDE_MM = 1000.0


@dataclass(frozen=True, kw_only=True, eq=False)
class BrainFound:
    """Where the brain is, on the grid of the head.

    Attributes
    ----------
    away_mm
        Distance to the brain's surface, negative inside; float32, shape of the grid.
    stripped
        Whether nothing but a brain was there, so that there is nothing to take away.
    agreement
        Dice with the brain that a second sequence shows, within what both show; None where there is no second.
    """

    away_mm: NDArray[np.float32]
    stripped: bool
    agreement: float | None

    @property
    def mask(self) -> NDArray[np.bool_]:
        """The brain with the fluid over its surface: `COVER_MM` around what the network was taught to call brain."""
        return np.asarray(self.away_mm <= COVER_MM)

    @property
    def possible(self) -> NDArray[np.bool_]:
        """Where a glioma can be."""
        return np.asarray(self.away_mm <= MARGIN_MM)

    @property
    def tight(self) -> NDArray[np.bool_]:
        """What a network for brains alone is shown."""
        return self.mask


def find_brain(network: BrainNetwork, aligned: AlignedVolumes) -> BrainFound | None:
    """Return where the brain is, or None where there is none.

    Parameters
    ----------
    aligned
        The reference is looked at, and one other sequence to check it.
    """
    head = aligned.volumes[aligned.reference]
    cubes, probability, shown = brain_on_cubes(network, head)
    mask = _one_body(probability >= network.manifest.threshold)
    if np.count_nonzero(mask) * cubes.voxel_volume_ml < LEAST_BRAIN_ML:
        return None
    away = _distance(mask, cubes)
    stripped = bool(np.count_nonzero(shown & (away > RIM_MM)) <= STRIPPED_SHARE * np.count_nonzero(mask))
    return BrainFound(
        away_mm=_onto(_distance(_one_body(shown), cubes) if stripped else away, cubes, head.grid),
        stripped=stripped,
        agreement=_agreement(network, aligned, mask, cubes),
    )


def shows_enough(head: ImageVolume) -> bool:
    """Tell whether there is so much tissue that a brain would be seen, if it were one."""
    tissue = np.count_nonzero(head.voxels > 0.02 * np.percentile(head.voxels, 99))
    return bool(tissue * head.grid.voxel_volume_ml >= LEAST_PIECE_ML)


def _one_body(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the largest connected part, its holes filled."""
    if not mask.any():
        return mask
    image = sitk.GetImageFromArray(mask.astype(np.uint8))
    largest = sitk.RelabelComponent(sitk.ConnectedComponent(image), sortByObjectSize=True) == 1
    return np.asarray(sitk.GetArrayFromImage(sitk.BinaryFillhole(largest)), bool)


def _distance(mask: NDArray[np.bool_], grid: Grid) -> NDArray[np.float32]:
    """Return the distance in mm to the mask's surface, half a voxel outside its outermost; negative inside."""
    image = sitk.GetImageFromArray(mask.astype(np.uint8))
    image.SetSpacing([float(step) for step in grid.spacing_mm[::-1]])
    away = sitk.SignedMaurerDistanceMap(image, insideIsPositive=False, squaredDistance=False, useImageSpacing=True)
    return np.asarray(sitk.GetArrayFromImage(away) - float(grid.spacing_mm[0]) / 2, np.float32)


def _onto(away: NDArray[np.float32], cubes: Grid, head: Grid) -> NDArray[np.float32]:
    image = sitk.GetImageFromArray(away)
    like_grid(image, cubes)
    target = sitk.Image([int(n) for n in head.shape[::-1]], sitk.sitkUInt8)
    like_grid(target, head)
    # The cubes cover the head's grid; what lies past the middle of the last one takes its value.
    found = sitk.Resample(image, target, sitk.Transform(), sitk.sitkLinear, OUTSIDE_MM, sitk.sitkFloat32, True)  # noqa: FBT003
    return np.asarray(sitk.GetArrayFromImage(found), np.float32)


def _agreement(network: BrainNetwork, aligned: AlignedVolumes, mask: NDArray[np.bool_], cubes: Grid) -> float | None:
    """Return the Dice of the brain of the reference with that of another sequence, within the other's field of view."""
    second = next((role for role in (Role.FLAIR, Role.T2, Role.T1, Role.T1CE) if role in _others(aligned)), None)
    if second is None:
        return None
    grid, probability, shown = brain_on_cubes(network, aligned.volumes[second])
    box = box_around(shown)
    if box is None or grid.shape != cubes.shape:
        return 0.0
    other = _one_body(probability >= network.manifest.threshold)[box]
    both = int(np.count_nonzero(mask[box])) + int(np.count_nonzero(other))
    return 2 * int(np.count_nonzero(mask[box] & other)) / both if both else 0.0


def _others(aligned: AlignedVolumes) -> set[Role]:
    return set(aligned.volumes) - {aligned.reference}
