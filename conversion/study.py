"""What the headers of a study say, before any pixel is read."""

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
    """From stored values to values that compare between images: ``stored * slope + intercept``.

    Attributes
    ----------
    origin
        What states it: the ``modality`` (RescaleSlope), the ``scanner`` (private values of Philips), or ``none``.
    """

    slope: float = 1.0
    intercept: float = 0.0
    origin: str = "none"

    @property
    def changes_nothing(self) -> bool:
        """Tell whether stored values are the values."""
        return (self.slope, self.intercept) == (1.0, 0.0)


@dataclass(frozen=True, kw_only=True)
class Traits:
    """What can tell an image from others of its series that show the same place; times in ms, b in s/mm².

    A value is None, empty or 0 where the header is silent.
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
    made_at: float | None = None  # ContentTime: when pixels were made of what was acquired


@dataclass(frozen=True, kw_only=True)
class Derivation:
    """How an image was made from others, as its header says; empty where it is silent.

    Attributes
    ----------
    codes
        Values of the DICOM codes (scheme DCM) that name what was done.
    words
        Descriptions and the meanings of codes, parted by semicolons.
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
        What stands in the file as a number and is none, for sentences: the keyword and the value, quoted.
    contrast_agent
        Whether it names one.
    derivation
        How it was made from other images.
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
        """The frame's number, or the instance's: how the image is called in messages."""
        return self.frame or self.instance_number


@dataclass(frozen=True, kw_only=True)
class Acquisition:
    """What tells one contrast from another; times in ms, empty where the header is silent.

    Attributes
    ----------
    acquired_at
        Seconds from a fixed day to the first acquisition, so that times compare across midnight.
    description, protocol
        SeriesDescription and ProtocolName as the site wrote them.
    text
        Both in lower case, with spaces for underscores.
    derivation
        How its images were made from others: what any of them says.
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
    """One volume's worth of images: a DICOM series, or one of the volumes that were sent in it.

    Attributes
    ----------
    part
        What tells this volume from the others of the same DICOM series, for example ``echo 20 ms``; empty where the
        series is one volume.
    stated_instances
        How many instances the DICOM series has by its own headers; 0 where they are silent.
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
        """How the series is called in decisions: its number and part say enough and name no patient."""
        return f"series {self.number} ({self.part})" if self.part else f"series {self.number}"

    @property
    def key(self) -> tuple[SeriesUID, str]:
        """What no other series of the study shares."""
        return self.series_uid, self.part


@dataclass(frozen=True, kw_only=True)
class PatientFacts:
    """What is known of the patient; silent headers leave the fields empty.

    Attributes
    ----------
    age_years
        At the time of the study; the younger where birth date and stated age contradict each other.
    age_unreadable
        Whether a birth date or an age stands in the headers, and none of them can be read.
    operated
        The words that tell of an operation, out of a fixed vocabulary and so without patient data.
    """

    age_years: float | None = None
    operated: str = ""
    age_unreadable: bool = False


@dataclass(frozen=True, kw_only=True)
class Study:
    """The MR series of one study, and what was left aside while reading it.

    Attributes
    ----------
    patients
        How many patients its files name.
    """

    study_uid: StudyUID
    series: tuple[Series, ...]
    decisions: tuple[Decision, ...]
    patient: PatientFacts = field(default_factory=PatientFacts)
    patients: int = 1
