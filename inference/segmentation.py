"""What a model says about a study: labels and probabilities on the reference's native grid."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from conversion.decision import Decision
from conversion.volume import LabelVolume
from inference.regions import REGION_LABELS, Region

__all__ = ["ModelIdentity", "Segmentation"]


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
    """

    label_volume: LabelVolume
    regions: tuple[Region, ...]
    probabilities: Mapping[Region, NDArray[np.float16]]
    model: ModelIdentity
    sequences: tuple[str, ...]
    decisions: tuple[Decision, ...]

    def __post_init__(self) -> None:
        """Close the probabilities."""
        object.__setattr__(
            self,
            "probabilities",
            MappingProxyType({region: _closed(values) for region, values in self.probabilities.items()}),
        )

    def mask_of(self, region: Region) -> NDArray[np.bool_]:
        """Return the voxels of a region, the unions among them; shape of the grid."""
        return np.isin(self.label_volume.labels, list(REGION_LABELS[region]))


def _closed(values: NDArray[np.float16]) -> NDArray[np.float16]:
    view = np.asarray(values, np.float16).view()
    view.setflags(write=False)
    return view
