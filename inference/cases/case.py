"""One annotated case, and a set of them that is read case by case."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from conversion.alignment import AlignedVolumes
from inference.regions import Region

__all__ = ["AnnotatedCase", "CaseReference", "CaseSet", "SkippedCase"]


@dataclass(frozen=True, kw_only=True, eq=False)
class AnnotatedCase:
    """The volumes of one patient at one time, on one grid, and the regions that experts drew on it.

    Attributes
    ----------
    case_id
        Name of the case in its set.
    patient
        Identifier of the person in its set; the unit of every split.
    site
        Where the case was acquired, as far as its set tells; empty where it does not.
    volumes
        Sequences on the grid of the reference; the case's missing ones are not there.
    regions
        By region (WT, TC, ET), bool, shape of the grid, read-only; only the regions that were annotated.
    spacing_known
        False where the set records no voxel size, so that nothing in mm or ml may be stated.
    """

    case_id: str
    patient: str
    site: str
    volumes: AlignedVolumes
    regions: Mapping[Region, NDArray[np.bool_]]
    spacing_known: bool = True

    def __post_init__(self) -> None:
        """Refuse regions off the grid, and close their arrays."""
        closed = {}
        for region, mask in self.regions.items():
            if mask.shape != self.volumes.grid.shape:
                message = f"{self.case_id}: {region} has the shape {mask.shape}, the grid {self.volumes.grid.shape}"
                raise ValueError(message)
            view = np.asarray(mask, bool).view()
            view.setflags(write=False)
            closed[Region(region)] = view
        object.__setattr__(self, "regions", MappingProxyType(closed))


@dataclass(frozen=True, kw_only=True)
class CaseReference:
    """A case that can be read when its turn comes.

    Attributes
    ----------
    read
        Returns the case; raises `UnreadableCase` with the reason where its files turn out to be unusable.
    """

    case_id: str
    patient: str
    site: str
    read: Callable[[], AnnotatedCase]


@dataclass(frozen=True, kw_only=True)
class SkippedCase:
    """What of a set is not used, and why.

    Attributes
    ----------
    reason
        One sentence for a person: what is missing, and what would work.
    """

    name: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class CaseSet:
    """All cases of one folder.

    Attributes
    ----------
    source
        ``lgg``, ``brats``, ``msd`` or ``dicom``.
    """

    source: str
    cases: tuple[CaseReference, ...]
    skipped: tuple[SkippedCase, ...]
