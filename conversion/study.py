"""The headers of a study as data classes, before any pixel is read."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import NewType

from conversion.decision import Decision

__all__ = [
    "Acquisition",
    "Derivation",
    "ImageHeader",
    "PatientFacts",
    "Rescale",
    "Series",
    "SeriesUID",
    "Study",
    "StudyUID",
    "Traits",
]

StudyUID = NewType("StudyUID", str)
SeriesUID = NewType("SeriesUID", str)

Vector = tuple[float, float, float]


@dataclass(frozen=True, kw_only=True)
class Rescale:
    """Rescaling to comparable values: ``stored * slope + intercept``.

    Attributes
    ----------
    origin
        Source of the numbers: ``modality`` (RescaleSlope), ``scanner`` (private values of Philips), or ``none``.
    """

    slope: float = 1.0
    intercept: float = 0.0
    origin: str = "none"

    @property
    def changes_nothing(self) -> bool:
        """Return whether rescaling leaves the stored values as they are."""
        return (self.slope, self.intercept) == (1.0, 0.0)


@dataclass(frozen=True, kw_only=True)
class Traits:
    """What can distinguish an image from others of its series at the same position; times in ms, b in s/mm².

    A value is None, empty or 0 if the header does not state it.
    """

    component: str = ""  # magnitude, phase, real, imaginary
    image_type: tuple[str, ...] = ()
    echo_number: int = 0
    echo_time_ms: float | None = None
    inversion_time_ms: float | None = None
    b_value: float | None = None
    gradient_direction: Vector | None = None
    stack_id: str = ""
    temporal_position: int = 0
    trigger_time_ms: float | None = None
    acquisition_number: int = 0
    acquired_at: float | None = None
    made_at: float | None = None  # ContentTime: when the pixels were computed from the acquired data


@dataclass(frozen=True, kw_only=True)
class Derivation:
    """How an image was derived from others according to its header; empty if it does not state it.

    Attributes
    ----------
    codes
        Values of the DICOM codes (scheme DCM) of the derivation.
    words
        Descriptions and the meanings of codes, separated by semicolons.
    technique
        VolumeBasedCalculationTechnique, in upper case; empty for ``NONE``.
    """

    codes: tuple[str, ...] = ()
    words: str = ""
    technique: str = ""


@dataclass(frozen=True, kw_only=True)
class ImageHeader:
    """One two-dimensional image: a classic instance, or one frame of an enhanced one.

    Lengths in mm, coordinates in LPS (PS3.3 C.7.6.2).

    Attributes
    ----------
    frame
        Number of the frame in its instance, counted from 1; None for a classic instance.
    unreadable
        Values that should be numbers and are not, for messages: the keyword and the value, quoted.
    contrast_agent
        Whether the header names one.
    derivation
        How it was derived from other images.
    """

    path: Path
    sop_instance_uid: str
    instance_number: int
    frame: int | None = None
    rows: int
    columns: int
    position_mm: Vector | None
    row_direction: Vector | None
    column_direction: Vector | None
    row_spacing_mm: float
    column_spacing_mm: float
    slice_thickness_mm: float | None = None
    colour: bool = False
    rescale: Rescale = Rescale()
    traits: Traits = Traits()
    unreadable: tuple[str, ...] = ()
    contrast_agent: bool = False
    derivation: Derivation = Derivation()

    @property
    def number(self) -> int:
        """The number of the frame, or of the instance, by which messages name the image."""
        return self.frame or self.instance_number


@dataclass(frozen=True, kw_only=True)
class Acquisition:
    """What distinguishes image contrasts; times in ms; a value is empty if the header does not state it.

    Attributes
    ----------
    acquired_at
        Seconds from a fixed day to the first acquisition, so that times compare across midnight.
    description, protocol
        SeriesDescription and ProtocolName as the site wrote them.
    text
        Both in lower case, with spaces for underscores.
    derivation
        How its images were derived from others, as stated by any of them.
    """

    image_type: tuple[str, ...] = ()
    component: str = ""
    scanning_sequence: tuple[str, ...] = ()
    sequence_variant: tuple[str, ...] = ()
    technique: str = ""  # SequenceName or PulseSequenceName, and Philips' scanning technique (2001,1020)
    acquisition_contrast: str = ""  # enhanced MR: AcquisitionContrast, for example FLUID_ATTENUATED
    dimensions: str = ""  # MRAcquisitionType: 2D or 3D
    description: str = ""
    protocol: str = ""
    text: str = ""
    manufacturer: str = ""
    station: str = ""
    repetition_time_ms: float | None = None
    echo_time_ms: float | None = None
    inversion_time_ms: float | None = None
    flip_angle_deg: float | None = None
    echo_train_length: float | None = None
    diffusion_b_value: float | None = None
    contrast_agent: bool = False
    derivation: Derivation = Derivation()
    acquired_at: float | None = None


@dataclass(frozen=True, kw_only=True)
class Series:
    """The images of one volume: a DICOM series, or one of the volumes that were sent in it.

    Attributes
    ----------
    part
        What distinguishes this volume from the others of the same DICOM series, for example ``echo 20 ms``; empty if
        the series is one volume.
    stated_instances
        How many instances the DICOM series has by its own headers; 0 if they do not state it.
    """

    series_uid: SeriesUID
    part: str = ""
    number: int
    stated_instances: int = 0
    sop_class_uid: str
    frame_of_reference_uid: str
    acquisition: Acquisition
    images: tuple[ImageHeader, ...]

    @property
    def name(self) -> str:
        """The name of the series in decisions: its number and part, without patient data."""
        return f"series {self.number} ({self.part})" if self.part else f"series {self.number}"

    @property
    def key(self) -> tuple[SeriesUID, str]:
        """The key that is unique within the study."""
        return self.series_uid, self.part


@dataclass(frozen=True, kw_only=True)
class PatientFacts:
    """What is known about the patient; a field is empty if the headers do not state it.

    Attributes
    ----------
    age_years
        At the time of the study; the younger one if birth date and stated age contradict each other.
    age_unreadable
        Whether the headers contain a birth date or an age, but none that can be read.
    operated
        The words that indicate an operation, from a fixed vocabulary and so without patient data.
    """

    age_years: float | None = None
    operated: str = ""
    age_unreadable: bool = False


@dataclass(frozen=True, kw_only=True)
class Study:
    """The MR series of one study, and the decisions made while reading it.

    Attributes
    ----------
    patients
        How many different patients its files name.
    """

    study_uid: StudyUID
    series: tuple[Series, ...]
    decisions: tuple[Decision, ...]
    patient: PatientFacts = field(default_factory=PatientFacts)
    patients: int = 1
