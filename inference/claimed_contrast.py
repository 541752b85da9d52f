"""Checks the given sequence roles against the contrast of the voxels.

The sequences of a study from a PACS were recognised by the same means; research files have only a name. A T2 given as
FLAIR misleads any network without being unusual to it, and so does a volume that is given twice.
"""

import math
from collections.abc import Callable, Mapping
from functools import partial
from itertools import combinations

import numpy as np

from conversion.recognition.enhancement import enhancement
from conversion.recognition.tissue_contrast import tissue_contrast
from conversion.sequences import Role
from conversion.volume import ImageVolume
from inference.preprocessing import tissue_level

__all__ = ["contrast_judgements"]

UNLIKELY = 0.2
"""Probability of the given role at which the score is 1; recognition leaves all other roles together no more."""

LEAST = 1e-4
"""Smallest probability that counts, so the largest score is 5.7."""

EQUAL = 0.999
"""Correlation of tissue from which two sequences are one volume; T1 before and after contrast reach 0.87 in BraTS."""

STRIDE = 4
"""Every fourth voxel along each axis is compared."""

_WEIGHTING = {Role.T1: "T1", Role.T1CE: "T1", Role.T2: "T2", Role.FLAIR: "FLAIR"}


def contrast_judgements(volumes: Mapping[Role, ImageVolume]) -> list[Callable[[], float]]:
    """Return independent functions, for several cores, that each score how unlikely the given roles are.

    The largest score counts. It is 0 for a certain role, 1 at `UNLIKELY` and more below it; 0 where nothing can be
    judged.

    Parameters
    ----------
    volumes
        Of one study on one grid, registered.
    """
    judgements: list[Callable[[], float]] = [
        partial(_repeats, volumes),
        *(partial(_of_role, role, volume) for role, volume in volumes.items()),
    ]
    if Role.T1 in volumes and Role.T1CE in volumes:
        judgements.append(partial(_of_agent, volumes[Role.T1], volumes[Role.T1CE]))
    return judgements


def _unlikely(probability: float) -> float:
    return math.log(max(probability, LEAST)) / math.log(UNLIKELY)


def _repeats(volumes: Mapping[Role, ImageVolume]) -> float:
    pairs = combinations(volumes.values(), 2)
    return _unlikely(0.0) if any(_one_volume(first, second) for first, second in pairs) else 0.0


def _of_role(role: Role, volume: ImageVolume) -> float:
    found = tissue_contrast(volume)
    return 0.0 if found.weighting is None else _unlikely(found.probabilities[_WEIGHTING[role]])


def _of_agent(before: ImageVolume, after: ImageVolume) -> float:
    return _unlikely(enhancement(before, after, registered=True).second_is_after)


def _one_volume(first: ImageVolume, second: ImageVolume) -> bool:
    """Return whether two sequences show the same, whatever their scale."""
    one, other = (volume.voxels[::STRIDE, ::STRIDE, ::STRIDE].astype(np.float32) for volume in (first, second))
    tissue = (one > tissue_level(one)) & (other > tissue_level(other))
    one, other = one[tissue], other[tissue]
    return bool(one.size and one.std() and other.std() and np.corrcoef(one, other)[0, 1] > EQUAL)
