"""The form of results for a destination: encoding of the segmentation, and series numbers."""

import enum
from dataclasses import dataclass

__all__ = ["DEFAULT_PROFILE", "ResultProfile", "SegForm"]


class SegForm(enum.StrEnum):
    """How voxels are stored in a SEG (PS3.3 C.8.20.2.3)."""

    BINARY = "binary"  # one plane for each segment; what OHIF and most viewers read
    LABELMAP = "labelmap"  # one plane of segment numbers; smaller, but few viewers read it so far


@dataclass(frozen=True, kw_only=True)
class ResultProfile:
    """What determines an object's content besides findings and provenance.

    Attributes
    ----------
    seg_series, sr_series
        Series numbers; by default high enough to be listed after the scanner's series.
    """

    seg_form: SegForm = SegForm.BINARY
    seg_series: int = 7701
    sr_series: int = 7702

    @property
    def key(self) -> str:
        """Unique name of the profile; empty for the default."""
        return "" if self == DEFAULT_PROFILE else f"{self.seg_form}-{self.seg_series}-{self.sr_series}"


DEFAULT_PROFILE = ResultProfile()
