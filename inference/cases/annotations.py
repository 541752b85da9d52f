"""Which of a study's SEGs annotates it: what its segments are, what it was drawn on, and whether a person drew it."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from conversion.encoding import read_instance
from conversion.errors import ConversionError
from conversion.segmentation_reading import SegmentationHeader, segmentation_header
from inference.cases.segment_regions import region_of_segment
from inference.regions import Region

__all__ = ["Annotation", "Codes", "choose_annotation"]

Codes = Mapping[tuple[str, str], Region]
"""Region of a coded property type, by code value and coding scheme designator."""

_BY_HAND = ("MANUAL", "SEMIAUTOMATIC")


@dataclass(frozen=True, kw_only=True)
class Annotation:
    """A SEG that can be used.

    Attributes
    ----------
    regions
        What each segment shows, by number; only those that are understood.
    drawn_on
        UID of the series whose images it was drawn on.
    """

    path: Path
    header: SegmentationHeader
    regions: Mapping[int, Region]
    drawn_on: str

    @property
    def by_hand(self) -> bool:
        """Tell whether a person had a hand in any of the segments that count."""
        counting = (segment for segment in self.header.segments if segment.number in self.regions)
        return any(segment.algorithm_type in _BY_HAND for segment in counting)

    @property
    def rank(self) -> tuple[bool, str, int]:
        """Order annotations: by hand before automatic, then the newest, then the higher number of series."""
        return self.by_hand, self.header.content_at, self.header.series_number


def choose_annotation(
    paths: Iterable[Path], series_of: Mapping[str, str], codes: Codes, *, automatic: bool
) -> tuple[Annotation | None, list[str]]:
    """Return the SEG that annotates a study, and why others and some of its segments do not count.

    Parameters
    ----------
    paths
        The SEGs of the study.
    series_of
        Series UID of each of the study's MR images, by SOP Instance UID.
    automatic
        Whether a SEG that no person had a hand in counts.
    """
    usable: list[Annotation] = []
    reasons: list[str] = []
    for path in paths:
        found = _annotation(path, series_of, codes)
        if isinstance(found, str):
            reasons.append(f"a SEG is not used: {found}")
        elif not (automatic or found.by_hand):
            number = found.header.series_number
            reasons.append(f"SEG of series {number} is automatic: no person has drawn or corrected it")
        else:
            usable.append(found)
    if not usable:
        return None, reasons
    chosen, *others = sorted(usable, key=lambda annotation: annotation.rank, reverse=True)
    reasons += [_preferred(chosen, other) for other in others]
    unknown = [segment for segment in chosen.header.segments if segment.number not in chosen.regions]
    reasons += [f"segment {one.number} ('{one.label}') is not understood as a part of a tumour" for one in unknown]
    return chosen, reasons


def _preferred(chosen: Annotation, other: Annotation) -> str:
    why = "drawn by hand" if chosen.by_hand and not other.by_hand else "newer"
    return f"SEG of series {other.header.series_number} is not used: series {chosen.header.series_number} is {why}"


def _annotation(path: Path, series_of: Mapping[str, str], codes: Codes) -> Annotation | str:
    """Return what a SEG annotates, or why it cannot be used."""
    try:
        header = segmentation_header(read_instance(path, pixels=False))
    except ConversionError as error:
        return str(error)
    except Exception as error:  # noqa: BLE001 - pydicom raises many kinds for a broken file; each is reported
        return f"its header cannot be read ({type(error).__name__})"
    regions = {segment.number: region_of_segment(segment, codes) for segment in header.segments}
    known = {number: region for number, region in regions.items() if region is not None}
    if not known:
        names = ", ".join(f"'{segment.label}'" for segment in header.segments) or "none"
        return f"none of the segments of series {header.series_number} is understood as a part of a tumour ({names})"
    drawn_on = _drawn_on(header, series_of)
    if not drawn_on:
        return f"the images that series {header.series_number} was drawn on are not in the folder"
    return Annotation(path=path, header=header, regions=MappingProxyType(known), drawn_on=drawn_on)


def _drawn_on(header: SegmentationHeader, series_of: Mapping[str, str]) -> str:
    """Return the series that most frames were drawn on; where frames name no image, the one that the header names."""
    sources = Counter(series_of[uid] for uid in header.source_instance_uids if uid in series_of)
    if sources:
        return sources.most_common(1)[0][0]
    here = set(series_of.values())
    return next((uid for uid in header.referenced_series_uids if uid in here), "")
