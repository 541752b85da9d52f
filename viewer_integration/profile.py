"""What a destination wants of a result: which objects, in which form, under which series numbers."""

import enum
from dataclasses import dataclass

__all__ = ["DEFAULT_PROFILE", "ResultProfile", "SegForm"]


class SegForm(enum.StrEnum):
    """How voxels stand in a SEG (PS3.3 C.8.20.2.3)."""

    BINARY = "binary"  # one plane for each segment; what OHIF and most viewers read
    LABELMAP = "labelmap"  # one plane of segment numbers; smaller, and read by few so far


@dataclass(frozen=True, kw_only=True)
class ResultProfile:
    """What decides an object's content beside findings and provenance.

    Attributes
    ----------
    seg_series, sr_series
        Series numbers; high enough by default to stand behind what scanners number.
    """

    seg_form: SegForm = SegForm.BINARY
    seg_series: int = 7701
    sr_series: int = 7702

    @property
    def key(self) -> str:
        """Name that no other profile has; empty for the default."""
        return "" if self == DEFAULT_PROFILE else f"{self.seg_form}-{self.seg_series}-{self.sr_series}"


DEFAULT_PROFILE = ResultProfile()
