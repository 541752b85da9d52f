"""A head as a label map, with its brain mask."""

from dataclasses import dataclass, field
from typing import Self, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from inference.training.heads.anatomy import AIR, FLUID, OUTSIDE

__all__ = ["LabelMap", "box_of", "closed_brain", "middle_of", "read_only"]

Kind = TypeVar("Kind", bound=np.generic)

CLOSED_MM = 5.0
"""Sulci up to twice as wide count as brain, as in SynthStrip's masks (Hoopes 2022). Fluid outside the hull does not."""


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelMap:
    """A head, its axes running up, to the back and to the left.

    Attributes
    ----------
    name
        Identifies the head, so that some can be held out.
    labels
        Shape (slice, row, column), with the labels of `inference.training.heads.anatomy`.
    brain
        Same shape: brain tissue with the fluid in its sulci and ventricles, without holes.
    spacing_mm
        Of slices, rows and columns.
    """

    name: str
    labels: NDArray[np.int16]
    brain: NDArray[np.bool_]
    spacing_mm: tuple[float, float, float]
    middle: NDArray[np.float64] = field(init=False)

    def __post_init__(self) -> None:
        """Refuse a head without a brain, and make the arrays read-only."""
        if self.labels.shape != self.brain.shape or not self.brain.any():
            message = f"{self.name}: labels of shape {self.labels.shape} need a brain of the same shape"
            raise ValueError(message)
        object.__setattr__(self, "labels", read_only(self.labels))
        object.__setattr__(self, "brain", read_only(self.brain))
        object.__setattr__(self, "middle", middle_of(self.brain))

    @classmethod
    def of(cls, name: str, labels: NDArray[np.integer], spacing_mm: tuple[float, float, float]) -> Self:
        """Return the head, cropped to the smallest box that contains it."""
        box = box_of(labels != AIR)
        kept = np.ascontiguousarray(labels[box], np.int16)
        tissue = (kept > AIR) & (kept < OUTSIDE[0]) & (kept != FLUID)
        return cls(name=name, labels=kept, brain=closed_brain(tissue, spacing_mm), spacing_mm=spacing_mm)


def closed_brain(tissue: NDArray[np.bool_], spacing_mm: tuple[float, float, float]) -> NDArray[np.bool_]:
    """Return tissue with its sulci closed by `CLOSED_MM` and its holes filled.

    Parameters
    ----------
    tissue
        Shape (slice, row, column): every label of the brain except the fluid around it.
    """
    room = int(np.ceil(CLOSED_MM / min(spacing_mm))) + 1
    box = box_of(tissue)
    padded = np.pad(tissue[box], room)
    grown = ndimage.distance_transform_edt(~padded, sampling=spacing_mm) <= CLOSED_MM
    closed = (ndimage.distance_transform_edt(grown, sampling=spacing_mm) > CLOSED_MM) | padded
    inner = (slice(room, -room),) * 3
    brain = np.zeros_like(tissue)
    brain[box] = ndimage.binary_fill_holes(closed[inner])
    return brain


def box_of(mask: NDArray[np.bool_]) -> tuple[slice, ...]:
    """Return the smallest box that contains a mask. For an empty mask, return the complete volume."""
    return ndimage.find_objects(mask.astype(np.int8))[0] if mask.any() else (slice(None),) * mask.ndim


def read_only(array: NDArray[Kind]) -> NDArray[Kind]:
    """Return a read-only view of an array."""
    view = array.view()
    view.setflags(write=False)
    return view


def middle_of(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the mean index (slice, row, column) of a mask."""
    sums = [mask.sum(axis=tuple(other for other in range(3) if other != axis)) for axis in range(3)]
    return np.array([np.average(np.arange(len(count)), weights=count) for count in sums])
