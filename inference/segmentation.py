"""What a model says about a study: labels and probabilities on the reference's native grid."""

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
    """Which model it was.

    Attributes
    ----------
    sha256
        Hash of the manifest, which itself holds the hash of the weights.
    """

    name: str
    version: str
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Quality:
    """How far an answer can be trusted, as far as the model itself can tell.

    Attributes
    ----------
    input
        ``slices`` or ``volume``: which of the model's networks answered; empty where nothing is known of it.
    looks
        How often the study was looked at, by all networks together.
    agreement
        Mean Dice between what a look marks and what all together mark.
    interval_ml
        Lowest and highest volume that are to be expected; 90 % of such intervals held the experts' volume.
    novelty
        How unlike its training the study is to the model: 1 is what 95 of 100 patients stay below; None where the model
        has no measure of it or the input no voxel size.
    smallest_seen_ml
        Volume from which nine in ten tumours are found in such images, or None where that was not measured.
    arithmetic
        In which numbers and on what the networks reckoned, such as ``bfloat16 on cpu``; another may differ by single
        voxels. Empty where it is not known.
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
    """Labels of `inference.regions.Label`, and what they rest on.

    Attributes
    ----------
    regions
        The regions that could be told apart: all five, or WT alone.
    probabilities
        float16, shape of the grid, read-only; for WT, and where known TC and ET.
    sequences
        The sequences the model was given.
    uncertainty
        Standard deviation of the probability between the model's looks; float16, as `probabilities`.
    flags
        What the model itself finds doubtful.
    brain
        Where the brain is, shape of the grid, read-only; None where none was found, and for pictures.
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
        """Close the maps."""
        for name in ("probabilities", "uncertainty"):
            maps = {region: _closed(values) for region, values in getattr(self, name).items()}
            object.__setattr__(self, name, MappingProxyType(maps))
        if self.brain is not None:
            closed = self.brain.view()
            closed.setflags(write=False)
            object.__setattr__(self, "brain", closed)

    def mask_of(self, region: Region) -> NDArray[np.bool_]:
        """Return the voxels of a region, the unions among them; shape of the grid."""
        return region_mask(self.label_volume.labels, region)


def _closed(values: NDArray[np.float16]) -> NDArray[np.float16]:
    view = np.asarray(values, np.float16).view()
    view.setflags(write=False)
    return view
