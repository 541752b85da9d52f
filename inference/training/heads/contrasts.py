"""Turns labels into intensities, with the contrast of a common sequence or of none.

SynthSeg draws a mean and a deviation for every label (Billot 2023, section 3.2), so a network trained on its images
cannot rely on any brightness. Here half of the images roughly resemble the sequences that the node receives.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from inference.training.heads.anatomy import (
    AIR,
    BONE,
    BRAIN_TISSUES,
    CAVITY,
    ENHANCING,
    FLUID,
    HIGHEST_LABEL,
    NECROSIS,
    OEDEMA,
    OUTSIDE,
    VENTRICLES,
    WHITE_MATTER_LESION,
    Tissue,
)
from inference.training.heads.smooth_field import smooth_field

__all__ = ["SEQUENCES", "ContrastChances", "DrawnContrast", "drawn_contrast", "painted"]

SEQUENCES: dict[str, dict[Tissue | int, float]] = {
    "T1": {
        Tissue.WHITE: 0.75, Tissue.GREY: 0.55, Tissue.DEEP: 0.6, Tissue.FLUID: 0.18,
        OEDEMA: 0.5, NECROSIS: 0.35, ENHANCING: 0.55, CAVITY: 0.2, WHITE_MATTER_LESION: 0.6,
    },
    "T1CE": {
        Tissue.WHITE: 0.7, Tissue.GREY: 0.52, Tissue.DEEP: 0.57, Tissue.FLUID: 0.17,
        OEDEMA: 0.47, NECROSIS: 0.33, ENHANCING: 0.95, CAVITY: 0.2, WHITE_MATTER_LESION: 0.57,
    },
    "T2": {
        Tissue.WHITE: 0.35, Tissue.GREY: 0.5, Tissue.DEEP: 0.4, Tissue.FLUID: 0.95,
        OEDEMA: 0.75, NECROSIS: 0.8, ENHANCING: 0.6, CAVITY: 0.95, WHITE_MATTER_LESION: 0.7,
    },
    "FLAIR": {
        Tissue.WHITE: 0.5, Tissue.GREY: 0.62, Tissue.DEEP: 0.55, Tissue.FLUID: 0.12,
        OEDEMA: 0.95, NECROSIS: 0.55, ENHANCING: 0.75, CAVITY: 0.15, WHITE_MATTER_LESION: 0.9,
    },
}  # fmt: skip
"""Rough brightness in units of the brightest common tissue, read off a few clinical images."""

BRIGHTEST = 1.2

TISSUE_SPREAD, LABEL_SPREAD, LESION_SPREAD = 0.07, 0.02, 0.12
"""Standard deviations of brightness: of a tissue between images, of a structure from its tissue, of a lesion."""

STRANGE_SPREAD = 0.04
"""Standard deviation of a structure from its tissue in images that resemble no sequence."""

UNEVEN = (0.01, 0.12)
EVEN = (0.01, 0.07)
"""Standard deviations within a structure, in images that resemble no sequence and in those that resemble one."""

BONE_UP_TO = 0.25
AIR_UP_TO = 0.08
AIR_UNEVEN = 0.03
DIMMED = (0.1, 0.5)
"""Factors on everything outside the brain, as with fat suppression or a distant coil."""

GRAIN = (0.2, 1.0)
CLOUD_NODES = (12, 29)
CLOUD = 1.5
"""Texture within a structure: the strength of a grain of one voxel, and the cells of a smooth field with its largest
standard deviation."""

SOFT_NODES = (5, 19)
SOFT = 0.3
"""Fat, muscle and skin share one label. A smooth field with up to this standard deviation makes them differ."""


@dataclass(frozen=True, kw_only=True)
class ContrastChances:
    """Probabilities of contrasts.

    Attributes
    ----------
    like_a_sequence
        Share of images with the brightness of a common sequence.
    one_fluid, one_fluid_strange
        Share of these, and of the others, in which the fluid around the brain is as bright as in the ventricles.
    dimmed_outside
        Share in which everything outside the brain is darker.
    silent_air
        Share in which the air is exactly zero.
    """

    like_a_sequence: float = 0.55
    one_fluid: float = 0.8
    one_fluid_strange: float = 0.6
    dimmed_outside: float = 0.15
    silent_air: float = 0.6


@dataclass(frozen=True, kw_only=True, eq=False)
class DrawnContrast:
    """Mean and standard deviation of the brightness of each label, shapes (label,)."""

    mean: NDArray[np.float32]
    deviation: NDArray[np.float32]


def drawn_contrast(rng: np.random.Generator, chances: ContrastChances) -> DrawnContrast:
    """Return a random contrast over all labels."""
    mean = rng.uniform(0, 1, HIGHEST_LABEL + 1).astype(np.float32)
    deviation = rng.uniform(*UNEVEN, HIGHEST_LABEL + 1).astype(np.float32)
    if rng.random() < chances.like_a_sequence:
        _like_a_sequence(rng, mean, deviation)
        one_fluid = rng.random() < chances.one_fluid
    else:
        _like_none(rng, mean, deviation)
        one_fluid = rng.random() < chances.one_fluid_strange
    if one_fluid:
        mean[FLUID] = mean[VENTRICLES[0]] + rng.normal(0, LABEL_SPREAD)
    if rng.random() < chances.dimmed_outside:
        mean[slice(*OUTSIDE)] *= rng.uniform(*DIMMED)
    mean[AIR] = 0 if rng.random() < chances.silent_air else rng.uniform(0, AIR_UP_TO)
    deviation[AIR] = rng.uniform(0, AIR_UNEVEN) if mean[AIR] else 0
    return DrawnContrast(mean=np.clip(mean, 0, BRIGHTEST), deviation=deviation)


def painted(rng: np.random.Generator, labels: NDArray[np.int16], contrast: DrawnContrast) -> NDArray[np.float32]:
    """Return an image of the labels without negative values."""
    texture = rng.standard_normal(labels.shape, np.float32) * np.float32(rng.uniform(*GRAIN))
    nodes = int(rng.integers(CLOUD_NODES[0], CLOUD_NODES[1] + 1))
    texture += smooth_field(rng, labels.shape, nodes, CLOUD * rng.uniform())
    image = contrast.mean[labels] + contrast.deviation[labels] * texture
    nodes = int(rng.integers(SOFT_NODES[0], SOFT_NODES[1] + 1))
    soft = (labels >= OUTSIDE[0]) & (labels < OUTSIDE[1])
    image += soft * smooth_field(rng, labels.shape, nodes, rng.uniform(0, SOFT))
    return np.maximum(image, 0, out=image)


def _like_a_sequence(rng: np.random.Generator, mean: NDArray[np.float32], deviation: NDArray[np.float32]) -> None:
    values = list(SEQUENCES.values())[rng.integers(len(SEQUENCES))]
    for tissue, labels in BRAIN_TISSUES.items():
        middle = values[tissue] + rng.normal(0, TISSUE_SPREAD)
        mean[list(labels)] = middle + rng.normal(0, LABEL_SPREAD, len(labels))
        deviation[list(labels)] = rng.uniform(*EVEN, len(labels))
    for lesion in (NECROSIS, OEDEMA, ENHANCING, CAVITY, WHITE_MATTER_LESION):
        mean[lesion] = values[lesion] + rng.normal(0, LESION_SPREAD)
    mean[list(BONE)] = rng.uniform(0, BONE_UP_TO, len(BONE))


def _like_none(rng: np.random.Generator, mean: NDArray[np.float32], deviation: NDArray[np.float32]) -> None:
    for labels in BRAIN_TISSUES.values():
        mean[list(labels)] = rng.uniform(0, 1) + rng.normal(0, STRANGE_SPREAD, len(labels))
        deviation[list(labels)] = rng.uniform(*UNEVEN)
