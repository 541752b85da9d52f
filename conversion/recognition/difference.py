"""Whether a volume is the difference of two others, judged by its voxels: its brain is as dark as the air.

A subtraction shows what an agent brightened, vessels and tumour, and hardly any brain; in no acquired T1 does brain lie
at the level of air. Where the brain is cannot be seen in a subtraction, so another volume of the study tells.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from conversion.recognition.head_region import (
    Surroundings,
    axial_voxels,
    brain_region,
    coarsened,
    enlarged,
    level_of_air,
)
from conversion.volume import Grid, ImageVolume

__all__ = ["DARK_AS_AIR", "BrainPlace", "brain_place", "share_dark_as_air"]

DARK_AS_AIR = 0.2
"""Share of the brain as dark as air from which a T1 is a difference.

Measured on T1 before and after contrast agent of 75 patients of lgg, 53 of brats and the two dicom studies, with the
brains that their other series show: 0.042 at most, but 0.25 to 0.62 in three real parts of an inversion recovery, which
are not asked because their tissue is that of a T1. Of differences of 78 pairs at one gain: 0.44 at least where cut off
at nothing, 0.45 in 95 % signed or shifted; 0.30 and 0.33 where the brain is 5 % brighter after the agent. With the
question of tissue 78 of 78 (cut off) and 72 of 78 (signed or shifted) are known, and no acquired T1 is taken for one.
"""

TOLERANCE = 0.02
"""Brain counts as dark as air up to this share of the brightest (99.5 %) above it: noise of the air."""

SAMPLED_MM = 1.5
"""Voxels are looked at about this far apart, each as it is: means would hide that half of them are below the air."""

FEWEST = 5000
"""Voxels of brain below which nothing is said."""

Mask = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True, eq=False)
class BrainPlace:
    """Where the brain of the upper head lies.

    Attributes
    ----------
    mask
        Shape of the grid.
    """

    grid: Grid
    mask: Mask


def brain_place(volume: ImageVolume) -> BrainPlace | None:
    """Find the brain in a volume; None where no head is found, or no brain that stands apart in it."""
    turned, spacing = axial_voxels(volume)
    coarse, size = coarsened(turned, spacing)
    region = brain_region(coarse, (float(size[0]), float(size[1]), float(size[2])))
    if region is None or region.surroundings not in (Surroundings.SKULL, Surroundings.MASKED):
        return None
    mask = np.zeros(turned.shape, bool)
    plane, fine = (float(size[1]), float(size[2])), (float(spacing[1]), float(spacing[2]))
    brain = enlarged(region.brain, (len(region.slices), *turned.shape[1:]), plane, fine)
    step = round(size[0] / spacing[0])
    for flat, place in zip(brain, region.slices, strict=True):
        mask[place * step : (place + 1) * step] = flat
    axes, flips = volume.grid.axial_order()
    return BrainPlace(grid=volume.grid.permuted(axes, flips), mask=mask)


def share_dark_as_air(volume: ImageVolume, brain: BrainPlace) -> float | None:
    """Return which share of the brain is as dark as the air around the head; None where too little of it is seen.

    Parameters
    ----------
    volume
        In the frame of reference that the brain's place belongs to.
    """
    steps = np.array([max(1, int(SAMPLED_MM / step)) for step in volume.grid.spacing_mm])
    sampled = volume.voxels[:: steps[0], :: steps[1], :: steps[2]].astype(np.float32)
    air = np.float32(level_of_air(axial_voxels(volume)[0]))
    inside = _inside(brain, volume.grid, steps, sampled.shape)
    seen = inside & (sampled != air)
    for axes in ((1, 2), (0, 2), (0, 1)):  # planes without any signal are padding, not brain
        inside = inside & seen.any(axes, keepdims=True)
    if inside.sum() < FEWEST:
        return None
    above = sampled - air
    brightest = np.percentile(np.abs(above), 99.5)
    return float(np.mean(above[inside] <= TOLERANCE * brightest))


def _inside(brain: BrainPlace, grid: Grid, steps: NDArray[np.intp], shape: tuple[int, ...]) -> Mask:
    """Tell for every `steps`-th voxel of a grid whether it lies in the brain, by the nearest voxel of the mask."""
    to_mask = np.linalg.inv(brain.grid.affine) @ grid.affine
    index = [np.arange(n, dtype=np.float32) * step for n, step in zip(shape, steps, strict=True)]
    inside, places = np.ones(shape, bool), []
    for row, count in zip(to_mask[:3], brain.mask.shape, strict=True):
        along = row[3] + (row[0] * index[0])[:, None, None] + (row[1] * index[1])[:, None] + row[2] * index[2]
        place = np.rint(along).astype(np.intp)
        inside &= (place >= 0) & (place < count)
        places.append(np.clip(place, 0, count - 1))
    return np.asarray(inside & brain.mask[places[0], places[1], places[2]])
