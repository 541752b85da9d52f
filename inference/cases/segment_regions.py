"""Maps the segments of a DICOM Segmentation to the regions that they annotate.

===============================================  ==========================================================
segments                                         annotated regions
===============================================  ==========================================================
ED, and NCR or ET (the parts, as BraTS has them)  WT, TC and ET, each the union of its parts; an absent part is empty
WT                                               WT
ED alone                                         WT: the FLAIR abnormality
TC, or NCR without ED                            TC, including NCR and ET; not WT, as nothing shows where edema ends
ET                                               ET
===============================================  ==========================================================

Regions are nested: ET is part of TC where both are annotated, and both are part of WT.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from conversion.segmentation_reading import SegmentDescription
from inference.cases.region_names import region_of_words
from inference.regions import Region

__all__ = ["annotated_regions", "region_of_segment"]

Masks = dict[Region, NDArray[np.bool_]]

_CORE = (Region.TC, Region.NCR, Region.ET)
_WHOLE = (Region.WT, Region.ED, *_CORE)


def region_of_segment(segment: SegmentDescription, codes: Mapping[tuple[str, str], Region]) -> Region | None:
    """Return the region that a segment shows, or None where it is not recognised.

    The coded property type decides, unless it is only "neoplasm", which is also used for parts of a tumour. Then, and
    if the code is unknown, the words of the label decide, and last the words of the code's meaning. Viewers that know
    no code write "Tissue" and let the person name the segment.

    Parameters
    ----------
    codes
        Region by code value and coding scheme designator.
    """
    coded = codes.get((segment.property_type.value, segment.property_type.scheme))
    if coded not in (None, Region.WT):
        return coded
    return region_of_words(segment.label) or coded or region_of_words(segment.property_type.meaning)


def annotated_regions(parts: Mapping[Region, NDArray[np.bool_]]) -> Masks:
    """Return the annotated regions, by the table of this module.

    Parameters
    ----------
    parts
        Mask of each segmented part, all on one grid.
    """
    complete_scheme = Region.ED in parts and bool({Region.NCR, Region.ET} & parts.keys())
    known: Masks = {}
    if complete_scheme or Region.ET in parts:
        known[Region.ET] = _union(parts, (Region.ET,))
    if complete_scheme or {Region.TC, Region.NCR} & parts.keys():
        known[Region.TC] = _union(parts, _CORE)
    if {Region.WT, Region.ED} & parts.keys():
        known[Region.WT] = _union(parts, _WHOLE)
    return known


def _union(parts: Mapping[Region, NDArray[np.bool_]], of: tuple[Region, ...]) -> NDArray[np.bool_]:
    joined = np.zeros(next(iter(parts.values())).shape, bool)
    for region in of:
        if region in parts:
            joined |= parts[region]
    return joined
