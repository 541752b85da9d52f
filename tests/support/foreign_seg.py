"""A SEG as other programs write it: any plane, any order of frames, empty ones left out; written by the standard alone.

Shares no code with what the product reads or writes (PS3.3 A.51, C.8.20).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian
from pydicom.valuerep import format_number_as_ds

from tests.support.dicom_series import uid_of

__all__ = ["ForeignSegment", "foreign_seg"]

Masks = NDArray[np.bool_]
Matrix = NDArray[np.float64]

_SEGMENTATION, _LABEL_MAP = "1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7"
_TISSUE = ("85756007", "SCT", "Tissue")


@dataclass(frozen=True, kw_only=True, eq=False)
class ForeignSegment:
    """One segment.

    Attributes
    ----------
    mask
        Shape (plane, row, column); of a FRACTIONAL SEG, probabilities.
    code
        Property type: value, scheme, meaning.
    """

    label: str
    mask: NDArray[np.generic]
    code: tuple[str, str, str] = _TISSUE
    algorithm: str = "MANUAL"


def foreign_seg(
    source: Sequence[Dataset],
    segments: Sequence[ForeignSegment],
    affine: Matrix,
    *,
    kind: str = "BINARY",
    seed: int = 0,
    **attributes: object,
) -> Dataset:
    """Return a SEG whose frames are the planes of an affine, in an order drawn by a seed.

    Parameters
    ----------
    source
        The instances it refers to; the frames themselves name none.
    affine
        Shape (4, 4), index (plane, row, column, 1) of the masks to LPS mm.
    attributes
        Further attributes by keyword, or other values than the usual ones.
    """
    ds = _header(source, segments, kind)
    frames = _frames(segments, kind)
    order = np.random.default_rng(seed).permutation(len(frames))
    frames = [frames[k] for k in order]
    ds.NumberOfFrames = len(frames)
    ds.Rows, ds.Columns = segments[0].mask.shape[1:]
    ds.SharedFunctionalGroupsSequence = [_shared(affine)]
    ds.PerFrameFunctionalGroupsSequence = [_own(affine, plane, number) for plane, number, _ in frames]
    _write_pixels(ds, [pixels for _, _, pixels in frames], kind)
    for keyword, value in attributes.items():
        setattr(ds, keyword, value)
    ds.file_meta.MediaStorageSOPClassUID, ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPClassUID, ds.SOPInstanceUID
    return ds


def _header(source: Sequence[Dataset], segments: Sequence[ForeignSegment], kind: str) -> Dataset:
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.SOPClassUID = _LABEL_MAP if kind == "LABELMAP" else _SEGMENTATION
    ds.SOPInstanceUID, ds.SeriesInstanceUID = uid_of("foreign seg"), uid_of("foreign seg series")
    for keyword in ("StudyInstanceUID", "FrameOfReferenceUID", "PatientID", "PatientName"):
        setattr(ds, keyword, source[0].get(keyword))
    ds.Modality, ds.SeriesNumber, ds.InstanceNumber, ds.Manufacturer = "SEG", 300, 1, "Another viewer"
    ds.ContentDate, ds.ContentTime = "20240105", "120000"
    ds.SegmentationType = kind
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PixelRepresentation = 1, "MONOCHROME2", 0
    series = Dataset()
    series.SeriesInstanceUID = source[0].SeriesInstanceUID
    series.ReferencedInstanceSequence = [_reference(each) for each in source]
    ds.ReferencedSeriesSequence = [series]
    ds.SegmentSequence = [_segment(number, each) for number, each in enumerate(segments, 1)]
    return ds


def _reference(instance: Dataset) -> Dataset:
    ds = Dataset()
    ds.ReferencedSOPClassUID, ds.ReferencedSOPInstanceUID = instance.SOPClassUID, instance.SOPInstanceUID
    return ds


def _segment(number: int, segment: ForeignSegment) -> Dataset:
    ds = Dataset()
    ds.SegmentNumber, ds.SegmentLabel, ds.SegmentAlgorithmType = number, segment.label, segment.algorithm
    ds.SegmentedPropertyCategoryCodeSequence = [_code(_TISSUE)]
    ds.SegmentedPropertyTypeCodeSequence = [_code(segment.code)]
    ds.TrackingID, ds.TrackingUID = f"lesion {number}", uid_of("lesion", str(number))
    return ds


def _code(code: tuple[str, str, str]) -> Dataset:
    ds = Dataset()
    ds.CodeValue, ds.CodingSchemeDesignator, ds.CodeMeaning = code
    return ds


def _frames(segments: Sequence[ForeignSegment], kind: str) -> list[tuple[int, int, NDArray[np.generic]]]:
    """Return plane, segment number and pixels of every frame that holds something."""
    if kind == "LABELMAP":
        labels = np.zeros(segments[0].mask.shape, np.uint8)
        for number, segment in enumerate(segments, 1):
            labels[segment.mask > 0] = number
        return [(plane, 0, pixels) for plane, pixels in enumerate(labels) if pixels.any()]
    return [
        (plane, number, pixels)
        for number, segment in enumerate(segments, 1)
        for plane, pixels in enumerate(segment.mask)
        if pixels.any()
    ]


def _shared(affine: Matrix) -> Dataset:
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    measures, orientation, ds = Dataset(), Dataset(), Dataset()
    measures.PixelSpacing = [format_number_as_ds(float(spacing[1])), format_number_as_ds(float(spacing[2]))]
    measures.SpacingBetweenSlices = measures.SliceThickness = format_number_as_ds(float(spacing[0]))
    along = (*(affine[:3, 2] / spacing[2]), *(affine[:3, 1] / spacing[1]))
    orientation.ImageOrientationPatient = [format_number_as_ds(float(value)) for value in along]
    ds.PixelMeasuresSequence, ds.PlaneOrientationSequence = [measures], [orientation]
    return ds


def _own(affine: Matrix, plane: int, number: int) -> Dataset:
    position, ds = Dataset(), Dataset()
    place = affine[:3, 3] + plane * affine[:3, 0]
    position.ImagePositionPatient = [format_number_as_ds(float(value)) for value in place]
    ds.PlanePositionSequence = [position]
    if number:
        segment = Dataset()
        segment.ReferencedSegmentNumber = number
        ds.SegmentIdentificationSequence = [segment]
    return ds


def _write_pixels(ds: Dataset, frames: Sequence[NDArray[np.generic]], kind: str) -> None:
    bits: Mapping[str, int] = {"BINARY": 1}
    ds.BitsAllocated = ds.BitsStored = bits.get(kind, 8)
    ds.HighBit = ds.BitsStored - 1
    stack = np.stack(frames) if frames else np.zeros((0, ds.Rows, ds.Columns), bool)
    if kind == "BINARY":
        content = np.packbits(stack.ravel() > 0, bitorder="little").tobytes()
    elif kind == "FRACTIONAL":
        ds.SegmentationFractionalType, ds.MaximumFractionalValue = "PROBABILITY", 200
        content = np.rint(stack * 200).astype(np.uint8).tobytes()
    else:
        content = stack.astype(np.uint8).tobytes()
    ds.PixelData = content + b"\0" * (len(content) % 2)
    ds["PixelData"].VR = "OB"
