"""Trains the classes of `conversion.recognition.tissue_contrast` on measured slabs, unchanged or changed at random."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from conversion.recognition.enhancement import CUT
from conversion.recognition.head_region import HeadSlabs, Surroundings, distance_mm
from conversion.recognition.tissue_contrast import CLIP, WEIGHTINGS, ContrastModel
from conversion.recognition.tissue_features import Measurements

__all__ = ["changed", "learn", "learn_enhancement", "store"]

SHRINKAGE = 0.05
"""Weight of the mean variance in the covariance (Ledoit and Wolf 2004). Values from 0.02 to 0.2 differ little."""

FREEDOM = 60.0
"""Degrees of freedom of the tails. Fewer make every result less confident. More give confident results for outliers."""


def changed(slabs: HeadSlabs, random: np.random.Generator) -> HeadSlabs:
    """Return the slabs as another scanner, protocol or brain mask might give them."""
    if random.random() < 0.5 and slabs.surroundings is Surroundings.SKULL:
        slabs = replace(slabs, values=slabs.values * slabs.brain, surroundings=Surroundings.MASKED)
    slabs = replace(slabs, brain=_moved_rim(slabs, float(random.uniform(-3, 3))))
    slabs = _fewer(slabs, random)
    values = slabs.values
    scale = float(np.percentile(values[slabs.brain], 95)) or 1.0
    values = np.sign(values) * np.abs(values / scale) ** random.uniform(0.8, 1.25)
    values = values * _shading(values.shape, random)
    sigmas = random.uniform(0, 1.2, 2) * (random.random() < 0.6)
    if random.random() < 0.15:
        sigmas[random.integers(2)] = random.uniform(1.2, 2.2)  # thick sagittal or coronal slices
    sigmas = sigmas / np.array(slabs.spacing_mm)
    values = ndimage.gaussian_filter(values, (0, *sigmas))
    values = values + random.normal(0, random.uniform(0, 0.04), values.shape) * (values != 0)
    return replace(slabs, values=values.astype(np.float32))


def _moved_rim(slabs: HeadSlabs, outwards_mm: float) -> NDArray[np.bool_]:
    if outwards_mm < 0:
        return distance_mm(slabs.brain, slabs.spacing_mm) > -outwards_mm
    return (distance_mm(~slabs.brain, slabs.spacing_mm) <= outwards_mm) & slabs.head


def _fewer(slabs: HeadSlabs, random: np.random.Generator) -> HeadSlabs:
    """Keep a random run of at least five slabs."""
    count = len(slabs.values)
    keep = int(random.integers(min(5, count), count + 1))
    start = int(random.integers(0, count - keep + 1))
    part = slice(start, start + keep)
    return replace(slabs, values=slabs.values[part], head=slabs.head[part], brain=slabs.brain[part])


def _shading(shape: tuple[int, ...], random: np.random.Generator) -> NDArray[np.float64]:
    """Return a smooth field with a factor of at most 1.5 either way, as surface coils cause it."""
    rows, columns = (np.linspace(-1, 1, n) for n in shape[1:])
    slope = random.uniform(-0.2, 0.2, 4)
    field = slope[0] * rows[:, None] + slope[1] * columns + slope[2] * rows[:, None] ** 2 + slope[3] * columns**2
    return np.exp(field)[None]


def learn(
    samples: Sequence[Measurements], weightings: Sequence[str], shrinkage: float = SHRINKAGE, freedom: float = FREEDOM
) -> ContrastModel:
    """Return the classes fitted to the samples."""
    names = tuple(samples[0])
    values = np.array([[sample[name] for name in names] for sample in samples])
    labels = np.array(weightings)
    centre, scale = values.mean(0), values.std(0) + 1e-2
    standard = np.clip((values - centre) / scale, -CLIP, CLIP)
    means = np.array([standard[labels == name].mean(0) for name in WEIGHTINGS])
    rest = standard - means[np.searchsorted(WEIGHTINGS, labels)]
    spread = rest.T @ rest / len(rest)
    spread = (1 - shrinkage) * spread + shrinkage * np.trace(spread) / len(names) * np.eye(len(names))
    return ContrastModel(
        names=names, centre=centre, scale=scale, means=means, precision=np.linalg.inv(spread), freedom=freedom
    )


def store(model: ContrastModel, path: Path) -> None:
    """Write a model in the format that the product reads."""
    np.savez_compressed(
        path,
        names=np.array(model.names),
        centre=model.centre.astype(np.float32),
        scale=model.scale.astype(np.float32),
        means=model.means.astype(np.float32),
        precision=model.precision.astype(np.float32),
        freedom=np.float32(model.freedom),
    )


def learn_enhancement(
    evidence: NDArray[np.float64], penalty: float = 0.01
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return scales and weights of a logistic regression without offset, for pairs whose second is after contrast.

    Parameters
    ----------
    evidence
        Shape (pair, value). Every pair also represents its swapped version, so no second class is needed.
    """
    scales = np.sqrt((evidence**2).mean(0))
    values = np.clip(evidence / scales, -CUT, CUT)
    weights = np.zeros(evidence.shape[1])
    for _ in range(100):
        after = 1 / (1 + np.exp(-values @ weights))
        slope = values.T @ (1 - after) / len(values) - penalty * weights
        bend = (values * (after * (1 - after))[:, None]).T @ values / len(values) + penalty * np.eye(len(weights))
        weights = weights + np.linalg.solve(bend, slope)
    return scales, weights
