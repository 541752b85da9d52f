"""A real image of a head with its brain, as an expert, a reference network or its cut-out edge gives it."""

from dataclasses import dataclass, field
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from inference.brightness import relative_brightness
from inference.training.heads.label_map import box_of, middle_of, read_only

__all__ = ["RealHead", "inverted"]

TURNED_AT = 1.1
"""Brightness that an inverted image takes from what was shown; somewhat above the brightest common tissue."""

SHOWN = 0.03
"""Darker is air, and stays dark in an inverted image."""


@dataclass(frozen=True, kw_only=True, eq=False)
class RealHead:
    """A head, its axes running up, to the back and to the left.

    Attributes
    ----------
    name
        Tells patients apart where some are held out.
    image
        Shape (slice, row, column), in units of common brightness.
    brain
        Same shape.
    spacing_mm
        Of slices, rows and columns.
    bare
        Whether the image shows the brain alone.
    """

    name: str
    image: NDArray[np.float32]
    brain: NDArray[np.bool_]
    spacing_mm: tuple[float, float, float]
    bare: bool = False
    middle: NDArray[np.float64] = field(init=False)

    def __post_init__(self) -> None:
        """Refuse a head without a brain, and close the arrays."""
        if self.image.shape != self.brain.shape or not self.brain.any():
            message = f"{self.name}: an image of shape {self.image.shape} needs a brain of the same shape"
            raise ValueError(message)
        object.__setattr__(self, "image", read_only(self.image))
        object.__setattr__(self, "brain", read_only(self.brain))
        object.__setattr__(self, "middle", middle_of(self.brain))

    @classmethod
    def of(
        cls,
        name: str,
        image: NDArray[np.floating],
        brain: NDArray[np.bool_],
        spacing_mm: tuple[float, float, float],
        target_mm: float,
    ) -> Self:
        """Return a head whose voxels are averaged up to the size that is aimed at, not beyond it."""
        blocks = [max(1, int(target_mm / spacing + 1e-6)) for spacing in spacing_mm]
        return cls(
            name=name,
            image=relative_brightness(torch.from_numpy(_averaged(image, blocks))).numpy(),
            brain=_averaged(brain, blocks) >= 0.5,
            spacing_mm=(spacing_mm[0] * blocks[0], spacing_mm[1] * blocks[1], spacing_mm[2] * blocks[2]),
        )

    @classmethod
    def of_bare(
        cls, name: str, image: NDArray[np.floating], spacing_mm: tuple[float, float, float], target_mm: float
    ) -> Self:
        """Return a skull-stripped head, whose brain is what it shows, holes filled."""
        box = box_of(image > 0)
        head = cls.of(name, image[box], ndimage.binary_fill_holes(image[box] > 0), spacing_mm, target_mm)
        return cls(name=name, image=head.image, brain=head.brain, spacing_mm=head.spacing_mm, bare=True)


def inverted(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return an image in which what was bright is dark; air stays dark."""
    return np.where(image > SHOWN, np.maximum(np.float32(TURNED_AT) - image, 0), image)


def _averaged(volume: NDArray[np.generic], blocks: list[int]) -> NDArray[np.float32]:
    """Return the means of blocks of voxels; what fills no block at the far ends is left out."""
    kept = volume[tuple(slice(size // block * block) for size, block in zip(volume.shape, blocks, strict=True))]
    parts = [part for size, block in zip(kept.shape, blocks, strict=True) for part in (size // block, block)]
    return np.asarray(kept.astype(np.float32).reshape(parts).mean(axis=(1, 3, 5)))
