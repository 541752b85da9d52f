"""Makes valid headers of the source images for derived objects; the originals are not changed.

There is one header for each slice, whether the slice is a classic instance or a frame of an enhanced one.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from pydicom.dataset import Dataset
from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    UID,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLSNearLossless,
)
from pydicom.valuerep import format_number_as_ds

from conversion.attributes import Attributes
from conversion.decision import Decision
from conversion.reading import SourceImages
from conversion.study import ImageHeader
from conversion.values import identifier, text
from viewer_integration.errors import ResultReason, UnusableSource
from viewer_integration.study_values import StudyValues, study_values

__all__ = ["SourceSlice", "clean_source_headers", "with_demographics"]

UNICODE = "ISO_IR 192"
"""Character set of every result: it can represent the text of any source character set (PS3.3 C.12.1.1.2)."""

_REQUIRED = ("FrameOfReferenceUID", "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing")
"""Attributes that place an image in space."""

_UIDS = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID")

_CODE_STRING = re.compile(r"[A-Z0-9_ ]{1,16}")
_INDICATOR = re.compile(_CODE_STRING.pattern, re.IGNORECASE)  # VR LO

_LOSSY_METHODS = {
    JPEGBaseline8Bit: "ISO_10918_1",
    JPEGExtended12Bit: "ISO_10918_1",
    JPEGLSNearLossless: "ISO_14495_1",
    JPEG2000: "ISO_15444_1",
    HTJ2K: "ISO_15444_15",
}
"""Transfer syntaxes that may be lossy, with their compression method (PS3.3 C.7.6.1.1.5.1)."""


@dataclass(frozen=True, kw_only=True)
class SourceSlice:
    """One slice of the reference, as results refer to it.

    Attributes
    ----------
    header
        Valid header with the slice's position at the top level, as in a classic instance; the UIDs are the instance's.
    values
        The instance's values of study, patient and equipment, for `put_study_values`.
    frame
        Number of the frame in its instance, counted from 1; None for a classic instance.
    """

    header: Dataset
    values: StudyValues
    frame: int | None = None


def with_demographics(source: SourceImages, current: Mapping[str, str]) -> tuple[SourceImages, tuple[Decision, ...]]:
    """Return the source with the patient data that the PACS has now, after a correction or a merge there.

    Parameters
    ----------
    current
        Values by keyword; other attributes keep the images' values.

    Returns
    -------
    tuple of SourceImages and decisions
        The source itself and no decision when nothing has changed.
    """
    first = source.instances[0]
    changed = {keyword: value for keyword, value in current.items() if text(first, keyword) != value.strip()}
    if not changed:
        return source, ()
    instances = []
    for ds in source.instances:
        copy = Dataset()
        copy.update(ds)
        if hasattr(ds, "file_meta"):
            copy.file_meta = ds.file_meta
        for keyword, value in changed.items():
            copy.add_new(keyword, DICOM_VRS[keyword], value)
        instances.append(copy)
    reason = f"{', '.join(sorted(changed))}: the PACS differs from the images; the results use the PACS's values"
    return replace(source, instances=tuple(instances)), (
        Decision(code="demographics_corrected", subject="study", reason=reason),
    )


DICOM_VRS = {"PatientID": "LO", "PatientName": "PN", "PatientBirthDate": "DA", "PatientSex": "CS"}
"""Attributes that a PACS corrects, with their value representations (PS3.6)."""


def clean_source_headers(source: SourceImages) -> tuple[list[SourceSlice], tuple[Decision, ...]]:
    """Return headers with the attributes that derived objects copy, all valid, whatever the files contain.

    Parameters
    ----------
    source
        The reference series.

    Returns
    -------
    tuple
        One slice for each image, in the order of the grid, and a `Decision` for each attribute that breaks the
        standard and for lossy compression.

    Raises
    ------
    UnusableSource
        When an attribute that places the image in space is missing, or SOP Instance UIDs are not unique.
    """
    decisions: dict[str, Decision] = {}
    instances = {identifier(ds, "SOPInstanceUID"): ds for ds in source.instances}
    if len(instances) < len(source.instances):
        sentence = (
            "images of the reference series share SOP Instance UIDs, so a result cannot reference them "
            f"({len(source.instances)} images, {len(instances)} UIDs); give each image its own UID"
        )
        raise UnusableSource(ResultReason.SOURCE_HEADERS, sentence)
    values = {uid: study_values(ds) for uid, ds in instances.items()}
    for each in values.values():
        decisions |= {decision.subject: decision for decision in each.decisions}
    slices = []
    for image in source.images:
        study = values[image.sop_instance_uid]
        header = _header(instances[image.sop_instance_uid], image, source.frame_of_reference_uid)
        header.update(study.conforming)
        slices.append(SourceSlice(header=header, values=study, frame=image.frame))
    _check_place(each.header for each in slices)
    decisions.update(_assumed_thickness(slices))
    return slices, (*decisions.values(), *_lossy(source.instances))


def _header(instance: Dataset, image: ImageHeader, frame_of_reference_uid: str) -> Dataset:
    """Return the attributes that highdicom needs: identity, position, size, and lossy compression."""
    attributes = Attributes(instance) if image.frame is None else Attributes.of_frame(instance, image.frame - 1)
    ds = Dataset()
    ds.SpecificCharacterSet = UNICODE
    for keyword in _UIDS:
        if uid := identifier(instance, keyword):
            setattr(ds, keyword, uid)
    if frame_of_reference_uid:
        ds.FrameOfReferenceUID = frame_of_reference_uid
    ds.Modality, ds.PositionReferenceIndicator = "MR", ""
    if _INDICATOR.fullmatch(indicator := attributes.text("PositionReferenceIndicator")):
        ds.PositionReferenceIndicator = indicator
    ds.Rows, ds.Columns = image.rows, image.columns
    if attributes.text("LossyImageCompression") == "01":
        ds.LossyImageCompression = "01"
        ds.LossyImageCompressionRatio = [_decimal(ratio) for ratio in attributes.numbers("LossyImageCompressionRatio")]
        ds.LossyImageCompressionMethod = [
            word for word in attributes.texts("LossyImageCompressionMethod") if _CODE_STRING.fullmatch(word)
        ]
    _place(ds, attributes)
    return ds


def _place(ds: Dataset, attributes: Attributes) -> None:
    position, directions = attributes.vector("ImagePositionPatient"), attributes.directions()
    spacing, thickness = attributes.spacing_mm(), attributes.number("SliceThickness")
    if position is not None:
        ds.ImagePositionPatient = [_decimal(value) for value in position]
    if directions is not None:
        ds.ImageOrientationPatient = [_decimal(value) for direction in directions for value in direction]
    if spacing is not None:
        ds.PixelSpacing = [_decimal(value) for value in spacing]
    if thickness is not None and thickness > 0:
        ds.SliceThickness = _decimal(thickness)


def _decimal(value: float) -> str:
    return format_number_as_ds(value)


def _check_place(headers: Iterable[Dataset]) -> None:
    for header in headers:
        for keyword in _REQUIRED:
            if not header.get(keyword):
                sentence = f"the reference series has no {keyword}, so no result can be placed on it"
                raise UnusableSource(ResultReason.SOURCE_HEADERS, sentence)


def _assumed_thickness(slices: Sequence[SourceSlice]) -> dict[str, Decision]:
    if slices[0].header.get("SliceThickness"):
        return {}
    reason = "the images state no slice thickness; the segmentation states the distance between slices instead"
    return {"SliceThickness": Decision(code="thickness_assumed", subject="SliceThickness", reason=reason)}


def _lossy(instances: Sequence[Dataset]) -> tuple[Decision, ...]:
    """Report lossy compression that the headers state, or that a transfer syntax may have caused."""
    stated = sum(Attributes(ds).text("LossyImageCompression") == "01" for ds in instances)
    syntaxes = {UID(str(ds.file_meta.TransferSyntaxUID)) for ds in instances if hasattr(ds, "file_meta")}
    lossy = sorted(syntax.name for syntax in syntaxes if syntax in _LOSSY_METHODS)
    if not stated and not lossy:
        return ()
    received = f" (received as {', '.join(lossy)})" if lossy else ""
    reason = f"the images of the reference series were compressed with loss{received}; their values are approximate"
    return (Decision(code="lossy_source", subject="reference", reason=reason),)
