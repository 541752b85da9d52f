"""From a DICOM dataset, classic or enhanced, to the headers of its images and of its acquisition."""

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
"""Values of ImageType and ComplexImageComponent; Philips writes M_FFE and M as third and fourth, Siemens M or P."""

_SINGLE_NUMBERS = (
    "RepetitionTime", "EchoTime", "InversionTime", "FlipAngle", "EchoTrainLength", "SliceThickness", "TriggerTime",
    "RescaleSlope", "RescaleIntercept", "InstanceNumber",
)  # fmt: skip
"""Attributes with one number that decide what an image is; what stands there and is none is said."""

_NO_AGENT = ("", "no", "none", "n/a", "without")
"""What scanners write into ContrastBolusAgent when none was given."""


def image_headers(path: Path, ds: Dataset) -> list[ImageHeader]:
    """Return the header of each image of an instance: one, or one for each frame."""
    frames = list(Attributes.of_frames(ds))
    if not frames:
        image = _image(path, ds, None, derivation_of(ds))
        frames_of_pixels = pixel_format(ds).frames
        if frames_of_pixels == 1:
            return [image]
        # Frames without functional groups have no place of their own, so none is taken for all.
        said = f"ImagePositionPatient for one of {frames_of_pixels} frames (NumberOfFrames)"
        return [replace(image, position_mm=None, unreadable=(*image.unreadable, said))]
    return [_image(path, ds, k, derivation_of(ds, k, told), told) for k, told in enumerate(frames)]


def unreadable_values(images: Sequence[ImageHeader]) -> str:
    """Return a sentence on the numbers of a series that stand in its files and cannot be read; empty without any."""
    first: dict[str, str] = {}
    counts = Counter(said.partition(" ")[0] for image in images for said in image.unreadable)
    for said in (said for image in images for said in image.unreadable):
        first.setdefault(said.partition(" ")[0], said)
    found = [f"{first[keyword]} ({count} image{'s' * (count > 1)})" for keyword, count in counts.items()]
    return f"stands in the headers and tells nothing: {', '.join(found)}" if found else ""


def stated_instances(datasets: Iterable[Dataset]) -> int:
    """Return how many instances a series has by its own headers; 0 where they are silent or deny what has come.

    GE states the images of the series (0025,1007); the standard those of an acquisition (0020,1002
    ImagesInAcquisition), the parts of a concatenation (0020,9163), and how often the anatomy is imaged (0020,0105
    NumberOfTemporalPositions); Philips the slices (2001,1018) and echoes (2001,1014) of classic images. An enhanced
    instance is whole in itself.
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
    path: Path, ds: Dataset, frame: int | None, derivation: Derivation, told: Attributes | None = None
) -> ImageHeader:
    """Return the header of an image, or of a frame, counted from 0; what all frames share stands in no group of one."""
    whole = Attributes(ds)
    told = told or whole
    directions, position = told.directions(), told.vector("ImagePositionPatient")
    row_direction, column_direction = directions or (None, None)
    row_spacing_mm, column_spacing_mm = told.spacing_mm() or (0.0, 0.0)
    return ImageHeader(
        path=path,
        sop_instance_uid=whole.text("SOPInstanceUID"),
        instance_number=told.integer("InstanceNumber"),
        frame=None if frame is None else frame + 1,
        rows=whole.integer("Rows"),
        columns=whole.integer("Columns"),
        position_mm=position if directions else None,
        row_direction=row_direction if position else None,
        column_direction=column_direction if position else None,
        row_spacing_mm=row_spacing_mm,
        column_spacing_mm=column_spacing_mm,
        slice_thickness_mm=told.number("SliceThickness"),
        colour=is_coloured(whole),
        rescale=_rescale(told),
        traits=_traits(told),
        unreadable=_unreadable(told, directed=directions is not None, sized=row_spacing_mm > 0),
        contrast_agent=_agent(told),
        derivation=derivation,
    )


def _unreadable(told: Attributes, *, directed: bool, sized: bool) -> tuple[str, ...]:
    """Return which of an image's numbers stand in the file and cannot be read, each with what stands there."""
    dumb = [keyword for keyword in _SINGLE_NUMBERS if told.number(keyword) is None]
    if told.vector("ImagePositionPatient") is None:
        dumb.append("ImagePositionPatient")
    if not directed:
        dumb.append("ImageOrientationPatient")
    if not sized:
        dumb.append("PixelSpacing")
    if told.number("RescaleSlope") == 0:
        dumb.append("RescaleSlope")
    return tuple(f"{keyword} {said}" for keyword in dumb if (said := told.quoted(keyword)))


def _rescale(told: Attributes) -> Rescale:
    """Return the way to comparable values: with Philips the "floating point value", else the Modality LUT's.

    Philips' rescale slope is made for display and differs from series to series; dividing by the private scale slope
    undoes that: FP = (stored * slope + intercept) / (slope * scale slope) (Chenevert et al., Transl Oncol 2014, 7:65).
    """
    stated, intercept = _stated(told, "RescaleSlope"), _stated(told, "RescaleIntercept")
    slope = stated or 1.0  # a slope of nought would make all values one: it is no slope, as none is
    scale = told.private_float(*_PHILIPS_MR, 0x0E) if "philips" in told.text("Manufacturer").lower() else None
    if scale and slope * scale:
        return Rescale(slope=1.0 / scale, intercept=intercept / (slope * scale), origin="scanner")
    origin = "modality" if stated else "none"
    return Rescale(slope=slope, intercept=intercept, origin=origin)


def _stated(told: Attributes, keyword: str) -> float:
    """Return 0 where an attribute is absent, and not-a-number, which reading refuses, where it is no number."""
    number = told.number(keyword)
    return (math.nan if told.quoted(keyword) else 0.0) if number is None else number


def _traits(told: Attributes) -> Traits:
    return Traits(
        component=_component(told),
        image_type=_image_type(told),
        echo_number=told.integer("EchoNumbers"),
        echo_time_ms=_echo_time(told),
        inversion_time_ms=_inversion_time(told),
        b_value=_b_value(told),
        gradient_direction=told.vector("DiffusionGradientOrientation"),
        stack_id=told.text("StackID"),
        temporal_position=told.integer("TemporalPositionIdentifier") or told.integer("TemporalPositionIndex"),
        trigger_time_ms=_first(told, "TriggerTime", "NominalCardiacTriggerDelayTime"),
        acquisition_number=told.integer("AcquisitionNumber") or told.integer("FrameAcquisitionNumber"),
        acquired_at=_acquired_at(told),
        made_at=_seconds(told.text("ContentDate") or told.text("StudyDate"), told.text("ContentTime")),
    )


def _image_type(told: Attributes) -> tuple[str, ...]:
    return tuple(value.upper() for value in told.texts("FrameType") or told.texts("ImageType"))


def _component(told: Attributes) -> str:
    ge = told.private_integer(*_GE_PARAMETERS, 0x2F)
    if ge is not None and 0 <= ge < len(_GE_COMPONENTS) and "ge" in told.text("Manufacturer").lower():
        return _GE_COMPONENTS[ge]
    values = (*told.texts("ComplexImageComponent"), *told.texts("ImageType")[2:])
    return next((_COMPONENTS[value.upper()] for value in values if value.upper() in _COMPONENTS), "")


def _first(told: Attributes, *keywords: str) -> float | None:
    return next((number for keyword in keywords if (number := told.number(keyword)) is not None), None)


def _echo_time(told: Attributes) -> float | None:
    return _first(told, "EffectiveEchoTime", "EchoTime")


def _inversion_time(told: Attributes) -> float | None:
    return _first(told, "InversionTimes", "InversionTime")


def _b_value(told: Attributes) -> float | None:
    standard = told.number("DiffusionBValue")
    if standard is not None:
        return standard
    philips = told.private_float(*_PHILIPS_IMAGING, 0x03)
    siemens = told.private(*_SIEMENS_MR, 0x0C)
    return philips if philips is not None or siemens is None else values.number(siemens)


def _acquired_at(told: Attributes) -> float | None:
    """Return seconds from a fixed day to the acquisition: from a date with time, or the first pair of both."""
    pairs = [values.moment(told.text("FrameAcquisitionDateTime") or told.text("AcquisitionDateTime"))]
    dates = told.text("AcquisitionDate") or told.text("SeriesDate") or told.text("StudyDate")
    pairs += [(dates, told.text("AcquisitionTime")), (told.text("SeriesDate") or dates, told.text("SeriesTime"))]
    return next((seconds for date, time in pairs if (seconds := _seconds(date, time)) is not None), None)


def _seconds(date: str, time: str) -> float | None:
    seconds, day = values.clock_s(time), values.date(date)
    return seconds if seconds is None or day is None else day.toordinal() * 86400.0 + seconds


def acquisition_header(ds: Dataset, images: Iterable[ImageHeader]) -> Acquisition:
    """Return what one volume's images say of how they were made, by the first of them and the earliest time.

    A contrast agent was given where any of them names one, and they were made from others where any of them says so:
    some writers put it into one image alone.

    Parameters
    ----------
    ds
        The instance that holds the first image.
    images
        The images of the volume.
    """
    headers = list(images)
    first = headers[0]
    told = Attributes(ds) if first.frame is None else Attributes.of_frame(ds, first.frame - 1)
    times = [image.traits.acquired_at for image in headers if image.traits.acquired_at is not None]
    description, protocol = told.text("SeriesDescription"), told.text("ProtocolName")
    technique = (told.text("SequenceName"), told.text("PulseSequenceName"), _philips_technique(told))
    return Acquisition(
        image_type=first.traits.image_type,
        component=first.traits.component,
        scanning_sequence=told.texts("ScanningSequence") or _enhanced_sequence(told),
        sequence_variant=told.texts("SequenceVariant"),
        technique=" ".join(value for value in technique if value).lower(),
        acquisition_contrast=told.text("AcquisitionContrast").upper(),
        dimensions=told.text("MRAcquisitionType").upper(),
        description=description,
        protocol=protocol,
        text=f"{description} {protocol}".lower().replace("_", " "),
        manufacturer=told.text("Manufacturer"),
        station=told.text("StationName"),
        repetition_time_ms=told.number("RepetitionTime"),
        echo_time_ms=first.traits.echo_time_ms,
        inversion_time_ms=first.traits.inversion_time_ms,
        flip_angle_deg=told.number("FlipAngle"),
        echo_train_length=_first(told, "RFEchoTrainLength", "EchoTrainLength"),
        diffusion_b_value=first.traits.b_value,
        contrast_agent=any(image.contrast_agent for image in headers),
        derivation=joined(image.derivation for image in headers),
        acquired_at=min(times) if times else None,
    )


def _enhanced_sequence(told: Attributes) -> tuple[str, ...]:
    """Return in classic terms what the attributes of an enhanced instance say (PS3.3 C.8.13.4 and C.8.13.5.2)."""
    echo = {"SPIN": ("SE",), "GRADIENT": ("GR",), "BOTH": ("SE", "GR")}.get(told.text("EchoPulseSequence").upper(), ())
    planar = ("EP",) if told.text("EchoPlanarPulseSequence").upper() == "YES" else ()
    inverted = ("IR",) if told.text("InversionRecovery").upper() == "YES" else ()
    return (*echo, *planar, *inverted)


def _philips_technique(told: Attributes) -> str:
    value = told.private(*_PHILIPS_IMAGING, 0x20)
    return (value.decode("ascii", "ignore") if isinstance(value, bytes) else str(value or "")).strip()


def _agent(told: Attributes) -> bool:
    """Tell whether the header names a contrast agent: its name, or the code that enhanced instances carry."""
    named = told.text("ContrastBolusAgent").lower() not in _NO_AGENT
    return named or bool(told.text("ContrastBolusIngredient")) or bool(told.items("ContrastBolusAgentSequence"))
