"""Chooses the SEG that annotates a study, by its segments, the series it was drawn on, and whether a person drew it."""

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
    """A SEG that can be used as an annotation.

    Attributes
    ----------
    regions
        Region of each segment, by segment number; only the segments that are recognised.
    drawn_on
        UID of the series whose images it was drawn on.
    """

    path: Path
    header: SegmentationHeader
    regions: Mapping[int, Region]
    drawn_on: str

    @property
    def by_hand(self) -> bool:
        """Tell whether a person drew or corrected any of the recognised segments."""
        recognised = (segment for segment in self.header.segments if segment.number in self.regions)
        return any(segment.algorithm_type in _BY_HAND for segment in recognised)

    @property
    def rank(self) -> tuple[bool, str, int]:
        """Sort key: drawn by hand before automatic, then the newest, then the higher series number."""
        return self.by_hand, self.header.content_at, self.header.series_number


def choose_annotation(
    paths: Iterable[Path], series_of: Mapping[str, str], codes: Codes, *, automatic: bool
) -> tuple[Annotation | None, list[str]]:
    """Return the SEG that annotates a study, and the reasons why other SEGs and some segments are not used.

    Parameters
    ----------
    paths
        The SEGs of the study.
    series_of
        Series UID of each of the study's MR images, by SOP Instance UID.
    automatic
        Whether a SEG that no person drew or corrected is used.
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
    reasons += [f"segment {one.number} ('{one.label}') is not recognised as a part of a tumour" for one in unknown]
    return chosen, reasons


def _preferred(chosen: Annotation, other: Annotation) -> str:
    reason = "drawn by hand" if chosen.by_hand and not other.by_hand else "newer"
    return f"SEG of series {other.header.series_number} is not used: series {chosen.header.series_number} is {reason}"


def _annotation(path: Path, series_of: Mapping[str, str], codes: Codes) -> Annotation | str:
    """Return a SEG as an annotation, or the reason why it cannot be used."""
    try:
        header = segmentation_header(read_instance(path, pixels=False))
    except ConversionError as error:
        return str(error)
    except Exception as error:  # noqa: BLE001 - pydicom raises many kinds of errors for a broken file; each is reported
        return f"its header cannot be read ({type(error).__name__})"
    regions = {segment.number: region_of_segment(segment, codes) for segment in header.segments}
    known = {number: region for number, region in regions.items() if region is not None}
    if not known:
        names = ", ".join(f"'{segment.label}'" for segment in header.segments) or "none"
        return f"none of the segments of series {header.series_number} is recognised as a part of a tumour ({names})"
    drawn_on = _drawn_on(header, series_of)
    if not drawn_on:
        return f"the images that series {header.series_number} was drawn on are not in the folder"
    return Annotation(path=path, header=header, regions=MappingProxyType(known), drawn_on=drawn_on)


def _drawn_on(header: SegmentationHeader, series_of: Mapping[str, str]) -> str:
    """Return the series that most frames were drawn on, or the series in the header if no frame names an image.

    Of series with as many frames the one that the header lists first counts, then the lesser UID: a choice that does
    not change from run to run.
    """
    sources = Counter(series_of[uid] for uid in header.source_instance_uids if uid in series_of)
    if sources:
        order = {uid: place for place, uid in enumerate(header.referenced_series_uids)}
        return min(sources, key=lambda uid: (-sources[uid], order.get(uid, len(order)), uid))
    present = set(series_of.values())
    return next((uid for uid in header.referenced_series_uids if uid in present), "")
