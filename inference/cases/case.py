"""One annotated case, and a set of cases that are read one by one."""

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
    """The volumes of one patient at one time point, on one grid, and the regions that experts drew on them.

    Attributes
    ----------
    case_id
        Name of the case in its set.
    patient
        Identifier of the person in the set; splits are made by patient.
    site
        Where the case was acquired; empty where the set does not state it.
    volumes
        The available sequences, on the grid of the reference.
    regions
        By region (WT, TC, ET), bool, shape of the grid, read-only; only the regions that were annotated.
    spacing_known
        False where the set records no voxel size; then nothing may be stated in mm or ml.
    """

    case_id: str
    patient: str
    site: str
    volumes: AlignedVolumes
    regions: Mapping[Region, NDArray[np.bool_]]
    spacing_known: bool = True

    def __post_init__(self) -> None:
        """Refuse regions of another shape than the grid, and make their arrays read-only."""
        read_only = {}
        for region, mask in self.regions.items():
            if mask.shape != self.volumes.grid.shape:
                message = f"{self.case_id}: {region} has shape {mask.shape}, the grid {self.volumes.grid.shape}"
                raise ValueError(message)
            view = np.asarray(mask, bool).view()
            view.setflags(write=False)
            read_only[Region(region)] = view
        object.__setattr__(self, "regions", MappingProxyType(read_only))


@dataclass(frozen=True, kw_only=True)
class CaseReference:
    """A case that is read only when it is needed.

    Attributes
    ----------
    read
        Returns the case; raises `UnreadableCase` with the reason if its files are unusable.
    """

    case_id: str
    patient: str
    site: str
    read: Callable[[], AnnotatedCase]


@dataclass(frozen=True, kw_only=True)
class SkippedCase:
    """A part of a set that is not used, with the reason.

    Attributes
    ----------
    reason
        One sentence for the reader: what is missing, and what would work.
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
