"""The errors between DICOM files and aligned volumes.

::

    ConversionError
    ├── UnusableStudy          no MR, no series that could carry a result, or images of several patients
    ├── UnsettledEncoding      the stated encoding of a file contradicts its content
    ├── UnreadableSeries       headers or pixels of a selected series cannot be read
    ├── BrokenGeometry         slices missing, duplicate, sheared, of mixed shape or mixed values
    └── RegistrationFailed     two volumes could not be registered

Each error has a stable `reason` and a sentence without patient data.
"""

import enum

__all__ = [
    "BrokenGeometry",
    "ConversionError",
    "ConversionReason",
    "RegistrationFailed",
    "UnreadableSeries",
    "UnsettledEncoding",
    "UnusableStudy",
]


class ConversionReason(enum.StrEnum):
    """Stable codes of everything this package refuses."""

    NO_IMAGES = "no_images"
    NO_MR = "no_mr"
    NO_REFERENCE = "no_reference"
    PATIENTS_MIXED = "patients_mixed"
    CONTRADICTORY_ENCODING = "contradictory_encoding"
    UNREADABLE_PIXELS = "unreadable_pixels"
    MISSING_SLICE = "missing_slice"
    DOUBLED_SLICE = "doubled_slice"
    MIXED_GEOMETRY = "mixed_geometry"
    SHEARED_STACK = "sheared_stack"
    MISSING_POSITION = "missing_position"
    MISSING_SPACING = "missing_spacing"
    UNEVEN_SPACING = "uneven_spacing"
    MIXED_VALUES = "mixed_values"
    COLOUR_IMAGE = "colour_image"
    REGISTRATION_FAILED = "registration_failed"


class ConversionError(Exception):
    """Base of this package's errors.

    Attributes
    ----------
    reason
        Stable code.
    """

    def __init__(self, reason: ConversionReason, sentence: str) -> None:
        super().__init__(sentence)
        self.reason = reason


class UnusableStudy(ConversionError):  # noqa: N818 - named for what happened
    """The study contains nothing that could carry a result."""


class UnsettledEncoding(ConversionError):  # noqa: N818
    """The stated encoding of a file contradicts its content, and the contradiction cannot be resolved."""


class UnreadableSeries(ConversionError):  # noqa: N818
    """A series that is needed cannot be read."""


class BrokenGeometry(ConversionError):  # noqa: N818
    """The slices of a series do not form a volume."""


class RegistrationFailed(ConversionError):  # noqa: N818
    """Two volumes could not be registered."""
