"""What the headers of a study say, before any pixel is read."""

from dataclasses import dataclass
from pathlib import Path
from typing import NewType

from conversion.decision import Decision

__all__ = ["InstanceHeader", "Series", "SeriesUID", "Study", "StudyUID"]

StudyUID = NewType("StudyUID", str)
SeriesUID = NewType("SeriesUID", str)

Vector = tuple[float, float, float]


@dataclass(frozen=True, kw_only=True)
class InstanceHeader:
    """Geometry of one classic MR instance; lengths in mm, coordinates in LPS (PS3.3 C.7.6.2)."""

    path: Path
    sop_instance_uid: str
    instance_number: int
    rows: int
    columns: int
    position_mm: Vector | None
    row_direction: Vector | None
    column_direction: Vector | None
    row_spacing_mm: float
    column_spacing_mm: float


@dataclass(frozen=True, kw_only=True)
class Acquisition:
    """What tells one contrast from another; times in ms, empty where the header is silent.

    `acquired_at` is seconds since midnight of the first acquisition time of the series.
    """

    image_type: tuple[str, ...] = ()
    scanning_sequence: tuple[str, ...] = ()
    sequence_variant: tuple[str, ...] = ()
    technique: str = ""  # SequenceName, or Philips' scanning technique (2001,1020)
    text: str = ""  # SeriesDescription and ProtocolName, lower case
    repetition_time_ms: float | None = None
    echo_time_ms: float | None = None
    inversion_time_ms: float | None = None
    diffusion_b_value: float | None = None
    contrast_agent: bool = False
    acquired_at: float | None = None


@dataclass(frozen=True, kw_only=True)
class Series:
    """One MR series, its instances in the order they were read."""

    series_uid: SeriesUID
    number: int
    sop_class_uid: str
    frame_of_reference_uid: str
    acquisition: Acquisition
    instances: tuple[InstanceHeader, ...]

    @property
    def name(self) -> str:
        """How the series is called in decisions: its number says enough and names no patient."""
        return f"series {self.number}"


@dataclass(frozen=True, kw_only=True)
class Study:
    """The MR series of one study, and what was left aside while reading it."""

    study_uid: StudyUID
    series: tuple[Series, ...]
    decisions: tuple[Decision, ...]
