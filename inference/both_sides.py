"""Separates white matter disease, which both halves of a brain show alike, from a glioma, which grows in one.

Age, small vessels and multiple sclerosis leave caps and bands beside the ventricles on both sides. In eight of ten
elderly persons outside the training data, networks marked 1 to 30 ml of them. Of each part above 2 ml, 49 to 100 % had
a counterpart in the other half. In the parts of 38 tumours that stay clear of the midline, it was at most 28 %
(`benchmarks/models.md`).
"""

from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional as F

from inference.brain_region import BrainFound
from inference.components import box_around, components
from inference.midplane import Midplane, find_midplane
from inference.resampling import sampled, sampled_mask, working_grid
from inference.study_tensors import StudyTensors

__all__ = ["BothSides"]

OVERVIEW_MM, CUBE_MM = 4.0, 3.0
"""Size of the cubes in which the midplane is found, and in which the halves are compared."""

REACH_MM = 6.0
"""Largest distance of a counterpart from the exact mirror image. Chosen, as are the two values below. With them disease
and tumours differ by the figures above; others were not tried on all heads."""

HINT = 0.1
"""Probability from which the other side counts as showing the same; far below the threshold for tumour."""

SURE = 0.3
"""Probability from which a tumour may make the halves differ. The search for the midplane leaves such voxels out."""

LEAST_ALIKE = 0.4
"""Share of a component that needs a counterpart; between the 28 % and the 49 % above."""

APART_MM = 5.0
"""A component closer to the midplane may grow across it, as a butterfly glioma does. White matter disease kept 11 mm
away in all heads available."""

SPECK_ML = 2.0
"""Where there is such disease, single spots up to this size count as disease too."""


class BothSides:
    """Finds the parts of a mask that both halves of a brain show alike.

    Parameters
    ----------
    study, brain
        The images to compare. The midplane is computed when it is first needed.
    probability
        Of the whole tumour, float32, shape of the study's grid.
    """

    def __init__(self, study: StudyTensors, brain: BrainFound | None, probability: Tensor) -> None:
        self._study, self._brain, self._probability = study, brain, probability

    def disease(self, tumour: Tensor, core: Tensor | None, largest_ml: float) -> Tensor:
        """Return the components (26 neighbours) of a tumour mask that are white matter disease; bool.

        Parameters
        ----------
        tumour, core
            Shape of the study's grid. A component with any core is not disease. None where the core is not known.
        largest_ml
            Larger components are not disease either.
        """
        found, box = torch.zeros_like(tumour), box_around(tumour)
        if box is None:
            return found
        grid = self._study.grid
        numbers, sizes = components(tumour[box])
        volumes_ml = sizes * grid.voxel_volume_ml
        possible = (volumes_ml <= largest_ml) & (sizes > 0)
        if core is not None:
            possible &= ~_touched(numbers, core[box], len(sizes))
        if not bool(possible.any()) or self._midplane is None:
            return found
        near = self._midplane.left_mm(grid, tumour.device)[box].abs() < APART_MM
        possible &= ~_touched(numbers, near, len(sizes))
        others = torch.zeros_like(tumour)
        others[box] = (~possible)[numbers] & tumour[box]
        counterpart = self._counterpart(self._midplane, others)[box]
        alike = torch.bincount(numbers[counterpart], minlength=len(sizes)) >= LEAST_ALIKE * sizes
        alike &= possible
        if bool(alike.any()):
            alike |= possible & (volumes_ml <= SPECK_ML)
        found[box] = alike[numbers]
        return found

    def _counterpart(self, midplane: Midplane, others: Tensor) -> Tensor:
        """Return where the other side shows the same, without the components of `others`."""
        grid = self._study.grid
        cubes = working_grid(grid, CUBE_MM, cubes=True)
        hinted = sampled(self._probability, grid, cubes) >= HINT
        hinted &= ~_grown(sampled(others.float(), grid, cubes) > 0, REACH_MM / CUBE_MM)
        mirrored = midplane.mirrored(hinted.float(), cubes) >= 0.5
        return sampled_mask(_grown(mirrored, REACH_MM / CUBE_MM), cubes, grid)

    @cached_property
    def _midplane(self) -> Midplane | None:
        study = self._study
        cubes = working_grid(study.grid, OVERVIEW_MM, cubes=True)
        head = study.head if self._brain is None else torch.where(self._brain.mask, study.head, 0)
        image = F.avg_pool3d(sampled(head, study.grid, cubes)[None, None], 3, stride=1, padding=1)[0, 0]
        unsure = _grown(sampled(self._probability, study.grid, cubes) >= SURE, 2)
        return find_midplane(image, ~unsure, cubes)


def _touched(numbers: Tensor, places: Tensor, count: int) -> Tensor:
    """Return which components contain any of some voxels, bool, shape (count,)."""
    return torch.bincount(numbers[places], minlength=count) > 0


def _grown(mask: Tensor, voxels: float) -> Tensor:
    edge = 2 * round(voxels) + 1
    return F.max_pool3d(mask[None, None].float(), edge, stride=1, padding=edge // 2)[0, 0] > 0
