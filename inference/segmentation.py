"""A model's result for a study: labels and probabilities on the reference's native grid."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from conversion.decision import Decision
from conversion.volume import LabelVolume
from inference.flags import Flag
from inference.regions import Region, region_mask

__all__ = ["ModelIdentity", "Quality", "Segmentation"]


@dataclass(frozen=True, kw_only=True)
class ModelIdentity:
    """Which model made a result.

    Attributes
    ----------
    sha256
        Hash of the manifest, which itself contains the hash of the weights.
    """

    name: str
    version: str
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Quality:
    """How far a result can be trusted, by the model's own measures.

    Attributes
    ----------
    input
        ``slices`` or ``volume``: which of the model's networks made the result. Empty where this is not known.
    looks
        Number of predictions whose mean is the result: those of all ensemble members, each with its test-time
        augmentation (other axes, mirror image). The name predates these terms and is kept because findings.json and
        the stored results of studies contain it.
    agreement
        Mean Dice between the mask of one prediction and that of all together.
    interval_ml
        Lowest and highest volume to be expected; 90 % of such intervals contained the experts' volume.
    novelty
        How far the study differs from the model's training data; 95 of 100 patients stay below 1. None where the model
        has no measure of it or the input no voxel size.
    smallest_seen_ml
        Volume from which nine in ten tumours are found in such images, or None where that was not measured.
    arithmetic
        Number format and device of the computation, such as ``bfloat16 on cpu``. Results of another one may differ by
        single voxels. Empty where this is not known.
    """

    input: str = ""
    looks: int = 1
    agreement: Mapping[Region, float] = field(default_factory=dict)
    interval_ml: Mapping[Region, tuple[float, float]] = field(default_factory=dict)
    novelty: float | None = None
    smallest_seen_ml: float | None = None
    arithmetic: str = ""


@dataclass(frozen=True, kw_only=True, eq=False)
class Segmentation:
    """Labels of `inference.regions.Label`, and the evidence for them.

    Attributes
    ----------
    regions
        The regions that could be told apart: all five, or WT alone.
    probabilities
        float16, shape of the grid, read-only; for WT, and where known TC and ET.
    sequences
        The sequences the model was given.
    uncertainty
        Standard deviation of the probability between the model's predictions; float16, as `probabilities`.
    flags
        Doubts about the result by the model's own measures.
    brain
        Mask of the brain, shape of the grid, read-only; None where none was found, and for pictures.
    """

    label_volume: LabelVolume
    regions: tuple[Region, ...]
    probabilities: Mapping[Region, NDArray[np.float16]]
    model: ModelIdentity
    sequences: tuple[str, ...]
    decisions: tuple[Decision, ...]
    uncertainty: Mapping[Region, NDArray[np.float16]] = field(default_factory=dict)
    quality: Quality = Quality()
    flags: tuple[Flag, ...] = ()
    brain: NDArray[np.bool_] | None = None

    def __post_init__(self) -> None:
        """Make the maps read-only."""
        for name in ("probabilities", "uncertainty"):
            maps = {region: _read_only(values) for region, values in getattr(self, name).items()}
            object.__setattr__(self, name, MappingProxyType(maps))
        if self.brain is not None:
            brain = self.brain.view()
            brain.setflags(write=False)
            object.__setattr__(self, "brain", brain)

    def mask_of(self, region: Region) -> NDArray[np.bool_]:
        """Return the mask of a region, which may be a union such as WT; shape of the grid."""
        return region_mask(self.label_volume.labels, region)


def _read_only(values: NDArray[np.float16]) -> NDArray[np.float16]:
    view = np.asarray(values, np.float16).view()
    view.setflags(write=False)
    return view
