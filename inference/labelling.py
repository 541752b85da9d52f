"""From probabilities on the native grid to labels: thresholds, the brain, hierarchy, islands; all by the manifest."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from conversion.decision import Decision
from conversion.volume import Grid
from inference.brain_region import BrainFound
from inference.components import largest_component, touching, without_islands
from inference.manifest import ModelManifest
from inference.postprocessing import label_regions
from inference.regions import Region

__all__ = ["PREDICTED", "label_study", "whole_tumour"]

PREDICTED = (Region.WT, Region.TC, Region.ET)
"""What networks answer, in this order."""

EDGE_MM = 4.0
"""A component that reaches no deeper into the brain is no glioma: a ball of 0.3 ml at the surface reaches 8 mm."""


def label_study(
    probabilities: Mapping[Region, Tensor],
    manifest: ModelManifest,
    grid: Grid,
    brain: BrainFound | None,
) -> tuple[Tensor, tuple[Decision, ...]]:
    """Return the labels, uint8, and what was left out with its volume.

    Parameters
    ----------
    probabilities
        Of WT, and where known TC and ET; shape of the grid, all on one device, which the labels do not leave.
    brain
        What lies outside is left out, and what lies along its edge alone; None, or nothing but a brain, leaves all.
    """
    limits = dict(zip(PREDICTED, manifest.thresholds, strict=True))
    masks = {region: values >= limits[region] for region, values in probabilities.items()}
    kept, decisions = whole_tumour(masks[Region.WT], manifest, grid, brain)
    if Region.TC not in masks:
        return label_regions(kept, None, None), decisions
    core, specks = _without_specks(Region.TC, masks[Region.TC] | masks[Region.ET], manifest.minimum_core_ml, grid)
    enhancing = masks[Region.ET] & core
    enhancing, others = _without_specks(Region.ET, enhancing, manifest.minimum_enhancing_ml, grid)
    return label_regions(kept, core, enhancing), (*decisions, *specks, *others)


def whole_tumour(
    marked: Tensor, manifest: ModelManifest, grid: Grid, brain: BrainFound | None
) -> tuple[Tensor, tuple[Decision, ...]]:
    """Return what of a mask counts as whole tumour, and what was left out with its volume.

    Parameters
    ----------
    brain
        As for `label_study`.
    """
    wt, decisions = marked, []
    if brain is not None and (within := brain.within) is not None:
        outside_ml = _volume_ml(wt & ~within, grid)
        wt = wt & within
        if outside_ml:
            reason = f"{outside_ml:.1f} ml that the network marked outside the brain were left out"
            decisions.append(Decision(code="outside_brain", subject="WT", reason=reason))
        inner = touching(wt, _deepest_mm(brain, grid) <= -EDGE_MM)
        edge_ml = _volume_ml(wt & ~inner, grid)
        wt = inner
        if edge_ml:
            reason = (
                f"{edge_ml:.1f} ml along the brain's edge that reach less than {EDGE_MM:g} mm into it were left out: "
                "skull and meninges that a cut leaves look like this"
            )
            decisions.append(Decision(code="brain_edge", subject="WT", reason=reason))
    kept = without_islands(wt, _least_voxels(wt, manifest, grid))
    islands_ml = _volume_ml(wt & ~kept, grid)
    if islands_ml:
        reason = f"{islands_ml:.1f} ml in small islands were left out"
        decisions.append(Decision(code="islands", subject="WT", reason=reason))
    return kept, tuple(decisions)


def _deepest_mm(brain: BrainFound, grid: Grid) -> Tensor:
    """Return how far each voxel lies from the brain's surface where it is deepest, its faces along the slices included.

    The middle of a slice of 6.5 mm under the vertex is less than `EDGE_MM` deep everywhere, what it shows is not.
    """
    across = int(np.argmax(grid.spacing_mm))
    away = brain.away_mm.movedim(across, 0)
    faces = (away[1:] + away[:-1]) / 2
    deepest = away.clone()
    deepest[1:] = torch.minimum(deepest[1:], faces)
    deepest[:-1] = torch.minimum(deepest[:-1], faces)
    return deepest.movedim(0, across)


def _volume_ml(mask: Tensor, grid: Grid) -> float:
    return int(mask.count_nonzero()) * grid.voxel_volume_ml


def _least_voxels(wt: Tensor, manifest: ModelManifest, grid: Grid) -> int:
    """Return the size under which a component is an island: an absolute and a relative limit."""
    absolute = manifest.minimum_lesion_ml / grid.voxel_volume_ml
    return round(max(absolute, manifest.minimum_share * largest_component(wt)))


def _without_specks(region: Region, mask: Tensor, minimum_ml: float, grid: Grid) -> tuple[Tensor, list[Decision]]:
    """Return a region of the tumour without specks, which are as often vessels or noise, and what that came to."""
    kept = without_islands(mask, round(minimum_ml / grid.voxel_volume_ml))
    speck_ml = _volume_ml(mask & ~kept, grid)
    if not speck_ml:
        return kept, []
    reason = f"{speck_ml:.2f} ml in specks below {minimum_ml:g} ml count as the tumour around them"
    return kept, [Decision(code="islands", subject=region, reason=reason)]
