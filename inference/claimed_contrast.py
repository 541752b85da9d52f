"""Whether the sequences are what they are said to be: the voxels' own word, held against the roles that were given.

A study from a PACS was recognised by the same means; research files come with a name alone. A T2 that is given as FLAIR
leads any network astray without looking strange to it; so does one volume that is given twice.
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
"""Probability of the given role at which the score is 1: what is recognised leaves the others no more together."""

LEAST = 1e-4
"""Smallest probability that counts; the score ends at 5.7."""

EQUAL = 0.999
"""Correlation of tissue from which two sequences are one volume; T1 before and after contrast reach 0.87 in BraTS."""

LOOKED_AT = 4
"""Every fourth voxel along each axis is compared."""

_WEIGHTING = {Role.T1: "T1", Role.T1CE: "T1", Role.T2: "T2", Role.FLAIR: "FLAIR"}


def contrast_judgements(volumes: Mapping[Role, ImageVolume]) -> list[Callable[[], float]]:
    """Return what tells how unlikely the roles are, each judgement by itself, so that several cores may make them.

    The largest counts: 0 for a certain role, 1 for `UNLIKELY`, more for less; what cannot be judged says 0.

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
    """Tell whether two sequences show the same, whatever their scale."""
    one, other = (volume.voxels[::LOOKED_AT, ::LOOKED_AT, ::LOOKED_AT].astype(np.float32) for volume in (first, second))
    tissue = (one > tissue_level(one)) & (other > tissue_level(other))
    one, other = one[tissue], other[tissue]
    return bool(one.size and one.std() and other.std() and np.corrcoef(one, other)[0, 1] > EQUAL)
