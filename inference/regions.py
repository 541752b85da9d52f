"""The tumour's regions: names and label values, the same for every model and every result.

A voxel has one label. NCR, ED and ET are disjoint; TC and WT are unions of them (BraTS). Where a model segments only
the whole tumour, its voxels have a separate label.
"""

import enum
from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

__all__ = ["REGION_LABELS", "REGION_NAMES", "Label", "Region", "region_mask"]


class Label(enum.IntEnum):
    """Values in a label volume; 4 stays free, because BraTS before 2023 used it for ET."""

    BACKGROUND = 0
    NCR = 1
    ED = 2
    ET = 3
    WHOLE_TUMOUR = 5


class Region(enum.StrEnum):
    """Names of the regions that are measured."""

    NCR = "NCR"
    ED = "ED"
    ET = "ET"
    WT = "WT"
    TC = "TC"


REGION_NAMES: Mapping[Region, str] = MappingProxyType(
    {
        Region.WT: "Whole tumour",
        Region.TC: "Tumour core",
        Region.ET: "Enhancing tumour",
        Region.NCR: "Necrotic core",
        Region.ED: "Edema",
    }
)
"""What people read, in the order in which pages and reports show them. SEG and SR have names of their own."""

REGION_LABELS: Mapping[Region, frozenset[Label]] = MappingProxyType(
    {
        Region.NCR: frozenset({Label.NCR}),
        Region.ED: frozenset({Label.ED}),
        Region.ET: frozenset({Label.ET}),
        Region.TC: frozenset({Label.NCR, Label.ET}),
        Region.WT: frozenset({Label.NCR, Label.ED, Label.ET, Label.WHOLE_TUMOUR}),
    }
)
"""Which labels make up each region."""


def region_mask(labels: NDArray[np.uint8], region: Region) -> NDArray[np.bool_]:
    """Return the mask of a region, which may be a union such as WT; shape of the labels."""
    return np.isin(labels, list(REGION_LABELS[region]))
