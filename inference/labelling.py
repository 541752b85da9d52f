"""Turns probabilities on the native grid into labels by the manifest: thresholds, brain, hierarchy, islands."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from conversion.decision import Decision
from conversion.volume import Grid
from inference.both_sides import BothSides
from inference.brain_region import BrainFound
from inference.components import largest_component, touching, without_islands
from inference.manifest import ModelManifest
from inference.postprocessing import label_regions
from inference.regions import Region

__all__ = ["PREDICTED", "LabelRules", "label_study", "whole_tumour"]

PREDICTED = (Region.WT, Region.TC, Region.ET)
"""The regions that networks predict, in this order."""

EDGE_MM = 4.0
"""A component that reaches no deeper into the brain is no glioma: a ball of 0.3 ml at the surface reaches 8 mm."""

FAINT_ML = 5.0
"""A smaller spot needs a minimum peak probability, where the manifest states one. Measured with `glioma` 1.6.0: three
of fifteen heads without a tumour showed one, of 3.3 to 4.1 ml with peaks of 0.72 to 0.80. In 38 patients six such spots
had no core: three within the tumour (peaks 0.81, 0.96, 1.00) and three outside it (0.76 to 0.82)."""


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelRules:
    """The rules by which a voxel that networks mark counts as tumour.

    Attributes
    ----------
    brain
        Marks outside it, or only along its edge, are left out. With None, or a skull-stripped brain, all stay.
    sides
        Marks that both halves show alike are left out, where the manifest demands it. With None all stay.
    """

    manifest: ModelManifest
    grid: Grid
    brain: BrainFound | None = None
    sides: BothSides | None = None


def label_study(probabilities: Mapping[Region, Tensor], rules: LabelRules) -> tuple[Tensor, tuple[Decision, ...]]:
    """Return the labels, uint8, and a decision with the volume for everything that was left out.

    Parameters
    ----------
    probabilities
        Of WT, and where known TC and ET; shape of the grid. All are on one device, and so are the labels.
    """
    manifest, grid = rules.manifest, rules.grid
    limits = dict(zip(PREDICTED, manifest.thresholds, strict=True))
    masks = {region: values >= limits[region] for region, values in probabilities.items()}
    if Region.TC not in masks:
        kept, decisions = whole_tumour(masks[Region.WT], probabilities[Region.WT], rules)
        return label_regions(kept, None, None), decisions
    core, specks = _without_specks(Region.TC, masks[Region.TC] | masks[Region.ET], manifest.minimum_core_ml, grid)
    kept, decisions = whole_tumour(masks[Region.WT], probabilities[Region.WT], rules, core)
    enhancing = masks[Region.ET] & core
    enhancing, others = _without_specks(Region.ET, enhancing, manifest.minimum_enhancing_ml, grid)
    return label_regions(kept, core, enhancing), (*decisions, *specks, *others)


def whole_tumour(
    marked: Tensor, probability: Tensor, rules: LabelRules, core: Tensor | None = None
) -> tuple[Tensor, tuple[Decision, ...]]:
    """Return the part of a mask that counts as whole tumour, and a decision for everything that was left out.

    Parameters
    ----------
    marked
        What all predictions together mark, or a single one; bool, shape of the grid.
    probability
        Of the whole tumour, by all predictions together.
    core
        Mask of the core, bool; None where it is not known.
    """
    kept, decisions = marked, []
    for leave_out in (_outside, _edge, _islands, _faint, _disease):
        left_out, why = leave_out(kept, probability, rules, core)
        if volume_ml := _volume_ml(left_out, rules.grid):
            kept = kept & ~left_out
            decisions.append(replace(why, reason=f"{volume_ml:.1f} ml {why.reason}"))
    return kept, tuple(decisions)


_LeftOut = tuple[Tensor, Decision]
"""What a rule leaves out of a mask, and the decision, whose reason continues "so many ml"."""


def _outside(marked: Tensor, _: Tensor, rules: LabelRules, __: Tensor | None) -> _LeftOut:
    reason = "marked outside the brain were left out"
    why = Decision(code="outside_brain", subject="WT", reason=reason)
    within = None if rules.brain is None else rules.brain.within
    return torch.zeros_like(marked) if within is None else marked & ~within, why


def _edge(marked: Tensor, _: Tensor, rules: LabelRules, __: Tensor | None) -> _LeftOut:
    reason = (
        "along the edge of the brain were left out as probable remnants of skull and meninges (depth in the brain less "
        f"than {EDGE_MM:g} mm)"
    )
    why = Decision(code="brain_edge", subject="WT", reason=reason)
    if rules.brain is None or rules.brain.within is None:
        return torch.zeros_like(marked), why
    return marked & ~touching(marked, _deepest_mm(rules.brain, rules.grid) <= -EDGE_MM), why


def _islands(marked: Tensor, _: Tensor, rules: LabelRules, __: Tensor | None) -> _LeftOut:
    kept = without_islands(marked, _least_voxels(marked, rules.manifest, rules.grid))
    return marked & ~kept, Decision(code="islands", subject="WT", reason="in small islands were left out")


def _faint(marked: Tensor, probability: Tensor, rules: LabelRules, core: Tensor | None) -> _LeftOut:
    peak = rules.manifest.minimum_peak
    reason = (
        f"in faint spots were left out (each below {FAINT_ML:g} ml and without a core; no voxel reaches a tumour "
        f"probability of {peak:g})"
    )
    why = Decision(code="faint", subject="WT", reason=reason)
    if not peak:
        return torch.zeros_like(marked), why
    small = marked & ~without_islands(marked, math.ceil(FAINT_ML / rules.grid.voxel_volume_ml))
    sure = probability >= peak
    return small & ~touching(small, sure if core is None else sure | core), why


def _disease(marked: Tensor, _: Tensor, rules: LabelRules, core: Tensor | None) -> _LeftOut:
    reason = (
        "were left out as white matter disease: check that no tumour grows in both halves of the brain (both show the "
        "same here, away from the midline and without a core)"
    )
    why = Decision(code="both_sides", subject="WT", reason=reason)
    if rules.sides is None or not rules.manifest.both_sides_ml:
        return torch.zeros_like(marked), why
    return rules.sides.disease(marked, core, rules.manifest.both_sides_ml), why


def _deepest_mm(brain: BrainFound, grid: Grid) -> Tensor:
    """Return the distance of each voxel's deepest point from the brain's surface, negative inside.

    The faces of a voxel towards the neighbouring slices count as well as its centre. In a slice of 6.5 mm under the
    vertex, every centre is less than `EDGE_MM` deep, although the tissue that it shows is deeper.
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
    """Return the size below which a component is an island, from an absolute and a relative limit."""
    absolute = manifest.minimum_lesion_ml / grid.voxel_volume_ml
    return round(max(absolute, manifest.minimum_share * largest_component(wt)))


def _without_specks(region: Region, mask: Tensor, minimum_ml: float, grid: Grid) -> tuple[Tensor, list[Decision]]:
    """Return a region of the tumour without specks, which are as often vessels or noise, and the decision on them."""
    kept = without_islands(mask, round(minimum_ml / grid.voxel_volume_ml))
    speck_ml = _volume_ml(mask & ~kept, grid)
    if not speck_ml:
        return kept, []
    reason = f"{speck_ml:.2f} ml in specks below {minimum_ml:g} ml were counted with the tumour around them"
    return kept, [Decision(code="islands", subject=region, reason=reason)]
