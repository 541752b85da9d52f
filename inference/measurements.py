"""Findings: the measurements of a segmentation. Volume is voxel count times voxel volume, on the native grid."""

from dataclasses import dataclass, replace

import numpy as np

from inference.flags import Flag
from inference.regions import Region
from inference.segmentation import Segmentation
from inference.smallest_seen import no_tumour_sentence

__all__ = ["Findings", "RegionFinding", "measure"]


@dataclass(frozen=True, kw_only=True)
class RegionFinding:
    """One region of one study.

    Attributes
    ----------
    centroid_mm
        LPS coordinates of the region's centre of mass, or None when it is empty.
    interval_ml
        Lowest and highest volume to be expected, or None where the model states none.
    """

    region: Region
    voxels: int
    volume_ml: float
    centroid_mm: tuple[float, float, float] | None
    interval_ml: tuple[float, float] | None = None


@dataclass(frozen=True, kw_only=True)
class Findings:
    """All regions that the model could distinguish, disjoint ones first, and the doubts about them.

    Attributes
    ----------
    withheld
        Why the result is withheld, as a sentence; there are no regions then. Empty where it is not.
    no_tumour
        A sentence that no tumour was found, and how small a tumour may have been missed. Empty where one was found.
    """

    regions: tuple[RegionFinding, ...]
    flags: tuple[Flag, ...] = ()
    withheld: str = ""
    no_tumour: str = ""

    def __post_init__(self) -> None:
        """Refuse a withheld result that still contains numbers."""
        if self.withheld and self.regions:
            raise ValueError("a withheld result must not contain regions")

    def of(self, region: Region) -> RegionFinding:
        """Return the finding of one region."""
        return next(finding for finding in self.regions if finding.region is region)


def measure(segmentation: Segmentation) -> Findings:
    """Measure every known region; flags begin with the model's own."""
    regions = tuple(_measure(segmentation, region) for region in segmentation.regions)
    found = Findings(regions=regions, flags=segmentation.flags)
    if found.of(Region.WT).voxels:
        return found
    return replace(found, no_tumour=no_tumour_sentence(segmentation.quality.smallest_seen_ml, segmentation.sequences))


def _measure(segmentation: Segmentation, region: Region) -> RegionFinding:
    grid = segmentation.label_volume.grid
    indices = np.argwhere(segmentation.mask_of(region))
    centre = grid.position_mm(indices.mean(axis=0)) if len(indices) else None
    return RegionFinding(
        region=region,
        voxels=len(indices),
        volume_ml=len(indices) * grid.voxel_volume_ml,
        centroid_mm=None if centre is None else (float(centre[0]), float(centre[1]), float(centre[2])),
        interval_ml=segmentation.quality.interval_ml.get(region),
    )
