"""Turns a DICOM dataset, classic or enhanced, into the headers of its images and of its acquisition."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from pydicom import Dataset

from conversion import values
from conversion.attributes import Attributes
from conversion.derivation import derivation_of, joined
from conversion.pixel_format import is_coloured, pixel_format
from conversion.study import Acquisition, Derivation, ImageHeader, Rescale, Traits

__all__ = ["acquisition_header", "image_headers", "stated_instances", "unreadable_values"]

_PHILIPS_IMAGING = (0x2001, "Philips Imaging DD 001")
_PHILIPS_MR = (0x2005, "Philips MR Imaging DD 001")
_GE_SERIES = (0x0025, "GEMS_SERS_01")
_GE_PARAMETERS = (0x0043, "GEMS_PARM_01")
_SIEMENS_MR = (0x0019, "SIEMENS MR HEADER")
_GE_COMPONENTS = ("magnitude", "phase", "real", "imaginary")
"""GE's image type (0043,102F), 0 to 3."""

_COMPONENTS = {
    "M": "magnitude", "MAGNITUDE": "magnitude", "M_FFE": "magnitude", "M_SE": "magnitude", "M_IR": "magnitude",
    "P": "phase", "PHASE": "phase", "PHASE MAP": "phase", "VELOCITY MAP": "phase",
    "R": "real", "REAL": "real", "I": "imaginary", "IMAGINARY": "imaginary",
}  # fmt: skip
"""Values of ImageType and ComplexImageComponent. Philips writes M_FFE and M as third and fourth, Siemens M or P."""

_SINGLE_NUMBERS = (
    "RepetitionTime", "EchoTime", "InversionTime", "FlipAngle", "EchoTrainLength", "SliceThickness", "TriggerTime",
    "RescaleSlope", "RescaleIntercept", "InstanceNumber",
)  # fmt: skip
"""Attributes with one number that determine what an image is; a value that is not a number is reported."""

_NO_AGENT = ("", "no", "none", "n/a", "without")
"""What scanners write into ContrastBolusAgent when none was given."""


def image_headers(path: Path, ds: Dataset) -> list[ImageHeader]:
    """Return the headers of the images of an instance: one, or one for each frame."""
    frames = list(Attributes.of_frames(ds))
    if not frames:
        image = _image(path, ds, None, derivation_of(ds))
        frames_of_pixels = pixel_format(ds).frames
        if frames_of_pixels == 1:
            return [image]
        # Frames without functional groups have no positions of their own, and one position cannot serve for all.
        flaw = f"ImagePositionPatient for one of {frames_of_pixels} frames (NumberOfFrames)"
        return [replace(image, position_mm=None, unreadable=(*image.unreadable, flaw))]
    return [_image(path, ds, k, derivation_of(ds, k, attributes), attributes) for k, attributes in enumerate(frames)]


def unreadable_values(images: Sequence[ImageHeader]) -> str:
    """Return a sentence on the numbers in the headers of a series that cannot be read; empty if there are none."""
    first: dict[str, str] = {}
    counts = Counter(value.partition(" ")[0] for image in images for value in image.unreadable)
    for value in (value for image in images for value in image.unreadable):
        first.setdefault(value.partition(" ")[0], value)
    found = [f"{first[keyword]} ({count} image{'s' * (count > 1)})" for keyword, count in counts.items()]
    return f"header values cannot be read: {', '.join(found)}" if found else ""


def stated_instances(datasets: Iterable[Dataset]) -> int:
    """Return how many instances a series has by its own headers.

    Returns 0 if the headers do not state it, or state fewer instances than were received.

    GE states the images of the series (0025,1007). The standard states those of an acquisition (0020,1002
    ImagesInAcquisition), the parts of a concatenation (0020,9163), and how often the anatomy is imaged (0020,0105
    NumberOfTemporalPositions). Philips states the slices (2001,1018) and echoes (2001,1014) of classic images. An
    enhanced instance is complete in itself.
    """
    headers = list(datasets)
    first = Attributes(headers[0])
    if values.items(headers[0], "PerFrameFunctionalGroupsSequence"):
        stated = first.integer("InConcatenationTotalNumber") or 1
    elif (number := first.private_integer(*_GE_SERIES, 0x07)) and "ge" in first.text("Manufacturer").lower():
        stated = number
    elif first.integer("ImagesInAcquisition") > 0:
        stated = first.integer("ImagesInAcquisition") * len(
            {Attributes(ds).text("AcquisitionNumber") for ds in headers}
        )
    else:
        slices, echoes = (first.private_integer(*_PHILIPS_IMAGING, element) for element in (0x18, 0x14))
        stated = (slices or 0) * max(1, echoes or 1) * max(1, first.integer("NumberOfTemporalPositions"))
    return stated if stated >= len(headers) else 0


def _image(
    path: Path, ds: Dataset, frame: int | None, derivation: Derivation, attributes: Attributes | None = None
) -> ImageHeader:
    """Return the header of an image, or of a frame counted from 0; some attributes are stored for the instance only."""
    instance = Attributes(ds)
    attributes = attributes or instance
    directions, position = attributes.directions(), attributes.vector("ImagePositionPatient")
    row_direction, column_direction = directions or (None, None)
    row_spacing_mm, column_spacing_mm = attributes.spacing_mm() or (0.0, 0.0)
    return ImageHeader(
        path=path,
        sop_instance_uid=instance.text("SOPInstanceUID"),
        instance_number=attributes.integer("InstanceNumber"),
        frame=None if frame is None else frame + 1,
        rows=instance.integer("Rows"),
        columns=instance.integer("Columns"),
        position_mm=position if directions else None,
        row_direction=row_direction if position else None,
        column_direction=column_direction if position else None,
        row_spacing_mm=row_spacing_mm,
        column_spacing_mm=column_spacing_mm,
        slice_thickness_mm=attributes.number("SliceThickness"),
        colour=is_coloured(instance),
        rescale=_rescale(attributes),
        traits=_traits(attributes),
        unreadable=_unreadable(attributes, directed=directions is not None, sized=row_spacing_mm > 0),
        contrast_agent=_agent(attributes),
        derivation=derivation,
    )


def _unreadable(attributes: Attributes, *, directed: bool, sized: bool) -> tuple[str, ...]:
    """Return which numbers of an image cannot be read, each with the value in the file."""
    unusable = [keyword for keyword in _SINGLE_NUMBERS if attributes.number(keyword) is None]
    if attributes.vector("ImagePositionPatient") is None:
        unusable.append("ImagePositionPatient")
    if not directed:
        unusable.append("ImageOrientationPatient")
    if not sized:
        unusable.append("PixelSpacing")
    if attributes.number("RescaleSlope") == 0:
        unusable.append("RescaleSlope")
    return tuple(f"{keyword} {value}" for keyword in unusable if (value := attributes.quoted(keyword)))


def _rescale(attributes: Attributes) -> Rescale:
    """Return the rescaling to comparable values: with Philips the "floating point value", else the Modality LUT.

    Philips' rescale slope is made for display and differs between series. Dividing by the private scale slope reverses
    that: FP = (stored * slope + intercept) / (slope * scale slope) (Chenevert et al., Transl Oncol 2014, 7:65).
    """
    stated, intercept = _stated(attributes, "RescaleSlope"), _stated(attributes, "RescaleIntercept")
    slope = stated or 1.0  # a slope of zero would make all values equal, so it counts as absent
    scale = (
        attributes.private_float(*_PHILIPS_MR, 0x0E) if "philips" in attributes.text("Manufacturer").lower() else None
    )
    if scale and slope * scale:
        return Rescale(slope=1.0 / scale, intercept=intercept / (slope * scale), origin="scanner")
    origin = "modality" if stated else "none"
    return Rescale(slope=slope, intercept=intercept, origin=origin)


def _stated(attributes: Attributes, keyword: str) -> float:
    """Return a number; 0 if it is absent, and NaN, which reading refuses, if the value is not a number."""
    number = attributes.number(keyword)
    return (math.nan if attributes.quoted(keyword) else 0.0) if number is None else number


def _traits(attributes: Attributes) -> Traits:
    return Traits(
        component=_component(attributes),
        image_type=_image_type(attributes),
        echo_number=attributes.integer("EchoNumbers"),
        echo_time_ms=_echo_time(attributes),
        inversion_time_ms=_inversion_time(attributes),
        b_value=_b_value(attributes),
        gradient_direction=attributes.vector("DiffusionGradientOrientation"),
        stack_id=attributes.text("StackID"),
        temporal_position=attributes.integer("TemporalPositionIdentifier")
        or attributes.integer("TemporalPositionIndex"),
        trigger_time_ms=_first(attributes, "TriggerTime", "NominalCardiacTriggerDelayTime"),
        acquisition_number=attributes.integer("AcquisitionNumber") or attributes.integer("FrameAcquisitionNumber"),
        acquired_at=_acquired_at(attributes),
        made_at=_seconds(
            attributes.text("ContentDate") or attributes.text("StudyDate"), attributes.text("ContentTime")
        ),
    )


def _image_type(attributes: Attributes) -> tuple[str, ...]:
    return tuple(value.upper() for value in attributes.texts("FrameType") or attributes.texts("ImageType"))


def _component(attributes: Attributes) -> str:
    ge = attributes.private_integer(*_GE_PARAMETERS, 0x2F)
    if ge is not None and 0 <= ge < len(_GE_COMPONENTS) and "ge" in attributes.text("Manufacturer").lower():
        return _GE_COMPONENTS[ge]
    values = (*attributes.texts("ComplexImageComponent"), *attributes.texts("ImageType")[2:])
    return next((_COMPONENTS[value.upper()] for value in values if value.upper() in _COMPONENTS), "")


def _first(attributes: Attributes, *keywords: str) -> float | None:
    return next((number for keyword in keywords if (number := attributes.number(keyword)) is not None), None)


def _echo_time(attributes: Attributes) -> float | None:
    return _first(attributes, "EffectiveEchoTime", "EchoTime")


def _inversion_time(attributes: Attributes) -> float | None:
    return _first(attributes, "InversionTimes", "InversionTime")


def _b_value(attributes: Attributes) -> float | None:
    standard = attributes.number("DiffusionBValue")
    if standard is not None:
        return standard
    philips = attributes.private_float(*_PHILIPS_IMAGING, 0x03)
    siemens = attributes.private(*_SIEMENS_MR, 0x0C)
    return philips if philips is not None or siemens is None else values.number(siemens)


def _acquired_at(attributes: Attributes) -> float | None:
    """Return seconds from a fixed day to the acquisition, from a date with time or from the first pair of both."""
    pairs = [values.moment(attributes.text("FrameAcquisitionDateTime") or attributes.text("AcquisitionDateTime"))]
    dates = attributes.text("AcquisitionDate") or attributes.text("SeriesDate") or attributes.text("StudyDate")
    pairs += [
        (dates, attributes.text("AcquisitionTime")),
        (attributes.text("SeriesDate") or dates, attributes.text("SeriesTime")),
    ]
    return next((seconds for date, time in pairs if (seconds := _seconds(date, time)) is not None), None)


def _seconds(date: str, time: str) -> float | None:
    seconds, day = values.clock_s(time), values.date(date)
    return seconds if seconds is None or day is None else day.toordinal() * 86400.0 + seconds


def acquisition_header(ds: Dataset, images: Iterable[ImageHeader]) -> Acquisition:
    """Return how the images of one volume were acquired, by the first of them and the earliest time.

    Contrast agent was given if any image names one. The images were derived from others if any image states so. Some
    writers put this into one image only.

    Parameters
    ----------
    ds
        The instance that holds the first image.
    images
        The images of the volume.
    """
    headers = list(images)
    first = headers[0]
    attributes = Attributes(ds) if first.frame is None else Attributes.of_frame(ds, first.frame - 1)
    times = [image.traits.acquired_at for image in headers if image.traits.acquired_at is not None]
    description, protocol = attributes.text("SeriesDescription"), attributes.text("ProtocolName")
    technique = (attributes.text("SequenceName"), attributes.text("PulseSequenceName"), _philips_technique(attributes))
    return Acquisition(
        image_type=first.traits.image_type,
        component=first.traits.component,
        scanning_sequence=attributes.texts("ScanningSequence") or _enhanced_sequence(attributes),
        sequence_variant=attributes.texts("SequenceVariant"),
        technique=" ".join(value for value in technique if value).lower(),
        acquisition_contrast=attributes.text("AcquisitionContrast").upper(),
        dimensions=attributes.text("MRAcquisitionType").upper(),
        description=description,
        protocol=protocol,
        text=f"{description} {protocol}".lower().replace("_", " "),
        manufacturer=attributes.text("Manufacturer"),
        station=attributes.text("StationName"),
        repetition_time_ms=attributes.number("RepetitionTime"),
        echo_time_ms=first.traits.echo_time_ms,
        inversion_time_ms=first.traits.inversion_time_ms,
        flip_angle_deg=attributes.number("FlipAngle"),
        echo_train_length=_first(attributes, "RFEchoTrainLength", "EchoTrainLength"),
        diffusion_b_value=first.traits.b_value,
        contrast_agent=any(image.contrast_agent for image in headers),
        derivation=joined(image.derivation for image in headers),
        acquired_at=min(times) if times else None,
    )


def _enhanced_sequence(attributes: Attributes) -> tuple[str, ...]:
    """Return the sequence attributes of an enhanced instance in classic terms (PS3.3 C.8.13.4 and C.8.13.5.2)."""
    echo = {"SPIN": ("SE",), "GRADIENT": ("GR",), "BOTH": ("SE", "GR")}.get(
        attributes.text("EchoPulseSequence").upper(), ()
    )
    planar = ("EP",) if attributes.text("EchoPlanarPulseSequence").upper() == "YES" else ()
    inverted = ("IR",) if attributes.text("InversionRecovery").upper() == "YES" else ()
    return (*echo, *planar, *inverted)


def _philips_technique(attributes: Attributes) -> str:
    value = attributes.private(*_PHILIPS_IMAGING, 0x20)
    return (value.decode("ascii", "ignore") if isinstance(value, bytes) else str(value or "")).strip()


def _agent(attributes: Attributes) -> bool:
    """Return whether the header names a contrast agent: by its name, or by the code that enhanced instances contain."""
    named = attributes.text("ContrastBolusAgent").lower() not in _NO_AGENT
    return (
        named
        or bool(attributes.text("ContrastBolusIngredient"))
        or bool(attributes.items("ContrastBolusAgentSequence"))
    )
