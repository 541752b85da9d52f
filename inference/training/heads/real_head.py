"""A real image of a head with a brain mask from an expert, a reference network or skull-stripping."""

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
"""Brightness from which an inverted image subtracts the original. It is slightly above the brightest common tissue."""

SHOWN = 0.03
"""Anything darker is air, which stays dark in an inverted image."""


@dataclass(frozen=True, kw_only=True, eq=False)
class RealHead:
    """A head, its axes running up, to the back and to the left.

    Attributes
    ----------
    name
        Identifies the patient, so that some can be held out.
    image
        Shape (slice, row, column), in units of common brightness.
    brain
        Same shape.
    spacing_mm
        Of slices, rows and columns.
    bare
        Whether the image is skull-stripped.
    """

    name: str
    image: NDArray[np.float32]
    brain: NDArray[np.bool_]
    spacing_mm: tuple[float, float, float]
    bare: bool = False
    middle: NDArray[np.float64] = field(init=False)

    def __post_init__(self) -> None:
        """Refuse a head without a brain, and make the arrays read-only."""
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
        """Return a head with voxels averaged up to the target size, but not beyond it."""
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
        """Return a skull-stripped head. Its brain is everything that the image shows, with holes filled."""
        box = box_of(image > 0)
        head = cls.of(name, image[box], ndimage.binary_fill_holes(image[box] > 0), spacing_mm, target_mm)
        return cls(name=name, image=head.image, brain=head.brain, spacing_mm=head.spacing_mm, bare=True)


def inverted(image: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return an image with dark and bright exchanged. Air stays dark."""
    return np.where(image > SHOWN, np.maximum(np.float32(TURNED_AT) - image, 0), image)


def _averaged(volume: NDArray[np.generic], blocks: list[int]) -> NDArray[np.float32]:
    """Return the means of blocks of voxels. Incomplete blocks at the far ends are left out."""
    kept = volume[tuple(slice(size // block * block) for size, block in zip(volume.shape, blocks, strict=True))]
    parts = [part for size, block in zip(kept.shape, blocks, strict=True) for part in (size // block, block)]
    return np.asarray(kept.astype(np.float32).reshape(parts).mean(axis=(1, 3, 5)))
