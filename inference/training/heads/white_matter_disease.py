"""White matter lesions, as in old age and multiple sclerosis: part of the brain, and no tumour."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from inference.training.heads.anatomy import VENTRICLES, WHITE_MATTER, WHITE_MATTER_LESION
from inference.training.heads.label_map import box_of
from inference.training.heads.smooth_field import smooth_field

__all__ = ["WhiteMatterDisease", "with_lesions"]


@dataclass(frozen=True, kw_only=True)
class WhiteMatterDisease:
    """Probability, extent and position of white matter lesions.

    Attributes
    ----------
    any
        Share of heads with lesions. More than half of people over 60 have some.
    nodes
        Smallest and largest number of cells of the random field whose peaks become lesions: 5 to 15 mm each over a
        head.
    level
        Lowest and highest threshold of that field, in standard deviations of its nodes: from many lesions to a few.
    reach_mm
        Range of the largest distance from the ventricles, around which caps and bands of such lesions form.
    """

    any: float = 0.3
    nodes: tuple[int, int] = (14, 39)
    level: tuple[float, float] = (0.5, 1.2)
    reach_mm: tuple[float, float] = (6.0, 24.0)


def with_lesions(
    rng: np.random.Generator, labels: NDArray[np.int16], spacing_mm: float, disease: WhiteMatterDisease
) -> NDArray[np.int16]:
    """Return labels with lesions in the white matter around the ventricles, or unchanged labels."""
    if rng.random() >= disease.any:
        return labels
    reach_mm = rng.uniform(*disease.reach_mm)
    nodes = int(rng.integers(disease.nodes[0], disease.nodes[1] + 1))
    peaks = smooth_field(rng, labels.shape, nodes, 1.0) > rng.uniform(*disease.level)
    ventricles = np.isin(labels, VENTRICLES)
    if not ventricles.any():
        return labels
    room = int(np.ceil(reach_mm / spacing_mm))
    box = tuple(slice(max(0, part.start - room), part.stop + room) for part in box_of(ventricles))
    near = ndimage.distance_transform_edt(~ventricles[box], sampling=spacing_mm) <= reach_mm
    changed = labels.copy()
    changed[box][near & peaks[box] & np.isin(labels[box], WHITE_MATTER)] = WHITE_MATTER_LESION
    return changed
