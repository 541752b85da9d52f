"""Encodes the objects of one run, reads them again and verifies them before anything is sent."""

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from conversion.decision import Decision
from conversion.likeness import EVEN_STACK_MM
from conversion.reading import SourceImages
from conversion.volume import Grid
from inference.measurements import Findings
from inference.segmentation import Segmentation
from viewer_integration.codes import VOLUME
from viewer_integration.errors import ProofFailed, ResultReason
from viewer_integration.profile import SegForm
from viewer_integration.provenance import Provenance, at_the_images_hour, offset_of
from viewer_integration.report_object import VOLUME_DECIMALS, encode_report
from viewer_integration.segmentation_object import encode_segmentation, segment_labels
from viewer_integration.source_header import clean_source_headers
from viewer_integration.study_values import put_study_values

__all__ = ["ResultObject", "ResultObjects", "decode_labels", "encode_results"]


@dataclass(frozen=True, kw_only=True)
class ResultObject:
    """One encoded object: a complete DICOM file in memory."""

    kind: str
    sop_class_uid: str
    sop_instance_uid: str
    series_uid: str
    content: bytes


@dataclass(frozen=True, kw_only=True)
class ResultObjects:
    """Everything a run sends, SEG before the SR that references it."""

    objects: tuple[ResultObject, ...]
    decisions: tuple[Decision, ...]


def encode_results(
    source: SourceImages,
    segmentation: Segmentation,
    findings: Findings,
    provenance: Provenance,
    selection: Iterable[Decision] = (),
) -> ResultObjects:
    """Encode SEG and SR, read them again and verify them. A withheld result is an SR alone, which states the reason.

    Parameters
    ----------
    source
        The reference series.
    selection
        Decisions from the selection of series. The report lists the series that got a role, and why.

    Raises
    ------
    UnusableSource
        When the source lacks an attribute that places a result in space.
    ProofFailed
        When an encoded object, read again, differs from what was measured.
    """
    provenance = at_the_images_hour(provenance, source.instances)
    slices, decisions = clean_source_headers(source)
    seg = None if findings.withheld else encode_segmentation(slices, segmentation, provenance)
    roles = [decision for decision in selection if decision.code == "role"]
    report = encode_report(slices, seg, segmentation, findings, provenance, roles)
    for ds in (seg, report):
        if ds is not None:
            put_study_values(ds, slices[0].values)
            if offset := offset_of(source.instances):  # it also applies to the study's times, so only theirs is right
                ds.TimezoneOffsetFromUTC = offset
    objects = [_object("SR", report)]
    if seg is not None:
        objects.insert(0, _object("SEG", seg))
        _prove(objects[0].content, segmentation)
        _prove_references(objects[0].content, source, segmentation.label_volume.grid)
    elif not findings.withheld:
        reason = f"{findings.no_tumour}. The result is a report without a segmentation"
        decisions = (*decisions, Decision(code="no_tumour", subject="SEG", reason=reason))
    _prove_report(objects[-1].content, findings)
    return ResultObjects(objects=tuple(objects), decisions=decisions)


def _object(kind: str, ds: Dataset) -> ResultObject:
    buffer = io.BytesIO()
    ds.save_as(buffer, enforce_file_format=True)
    return ResultObject(
        kind=kind,
        sop_class_uid=str(ds.SOPClassUID),
        sop_instance_uid=str(ds.SOPInstanceUID),
        series_uid=str(ds.SeriesInstanceUID),
        content=buffer.getvalue(),
    )


def _prove_report(content: bytes, findings: Findings) -> None:
    """Read an SR independently of its writer and compare every volume, in order."""
    written = _volumes_ml(pydicom.dcmread(io.BytesIO(content)))
    measured = [round(finding.volume_ml, VOLUME_DECIMALS) for finding in findings.regions]
    if written != measured:
        sentence = "the encoded report does not contain the measured volumes; nothing is sent"
        raise ProofFailed(ResultReason.PROOF_FAILED, sentence)


def _volumes_ml(item: Dataset) -> list[float]:
    """Return the values of all volumes in a content tree, depth first."""
    volumes = []
    for child in item.get("ContentSequence", []):
        if child.ValueType == "NUM" and child.ConceptNameCodeSequence[0].CodeValue == VOLUME.value:
            volumes.append(float(child.MeasuredValueSequence[0].NumericValue))
        volumes += _volumes_ml(child)
    return volumes


def _prove(content: bytes, segmentation: Segmentation) -> None:
    """Read a SEG independently of its writer, by the positions of its frames, and compare every voxel."""
    grid = segmentation.label_volume.grid
    labels = decode_labels(content, grid, segment_labels(segmentation))
    if not np.array_equal(labels, segmentation.label_volume.labels):
        different = int(np.count_nonzero(labels != segmentation.label_volume.labels))
        sentence = f"the encoded segmentation differs from the measured one in {different} voxels; nothing is sent"
        raise ProofFailed(ResultReason.PROOF_FAILED, sentence)


def _prove_references(content: bytes, source: SourceImages, grid: Grid) -> None:
    """Check that each frame of a SEG references the image of the slice on which it lies."""
    to_index = np.linalg.inv(grid.affine)
    for item in pydicom.dcmread(io.BytesIO(content)).PerFrameFunctionalGroupsSequence:
        position = [float(value) for value in item.PlanePositionSequence[0].ImagePositionPatient]
        image = source.images[round(float((to_index @ np.array([*position, 1.0]))[0]))]
        reference = item.DerivationImageSequence[0].SourceImageSequence[0]
        referenced = str(reference.ReferencedSOPInstanceUID), reference.get("ReferencedFrameNumber")
        if referenced != (image.sop_instance_uid, image.frame):
            sentence = "a frame of the segmentation references another image than the slice on which it lies"
            raise ProofFailed(ResultReason.PROOF_FAILED, sentence)


def decode_labels(content: bytes, grid: Grid, labels: Sequence[int]) -> NDArray[np.uint8]:
    """Decode a BINARY or LABELMAP SEG onto a grid, using patient positions alone.

    Parameters
    ----------
    content
        A DICOM file.
    grid
        Grid on which its frames are expected to lie.
    labels
        Label values of segments 1, 2, ...

    Returns
    -------
    numpy.ndarray
        uint8, shape of the grid.

    Raises
    ------
    ProofFailed
        When frame of reference, matrix, orientation or spacing differ, or a frame lies off the grid.
    """
    ds = pydicom.dcmread(io.BytesIO(content))  # not with highdicom, which wrote it
    if str(ds.FrameOfReferenceUID) != grid.frame_of_reference_uid:
        raise ProofFailed(ResultReason.PROOF_FAILED, "the segmentation is in another frame of reference")
    _prove_plane(ds, grid)
    decoded = np.zeros(grid.shape, np.uint8)
    to_index = np.linalg.inv(grid.affine)
    frames = ds.pixel_array.reshape(-1, grid.shape[1], grid.shape[2])
    for frame, item in zip(frames, ds.PerFrameFunctionalGroupsSequence, strict=True):
        position = [float(value) for value in item.PlanePositionSequence[0].ImagePositionPatient]
        index = to_index @ np.array([*position, 1.0])
        k = round(float(index[0]))
        off_mm = (index[:3] - [k, 0, 0]) * grid.spacing_mm
        if not 0 <= k < grid.shape[0] or float(np.abs(off_mm).max()) > PLACE_TOLERANCE_MM:
            sentence = f"a frame of the segmentation lies {np.abs(off_mm).max():.2f} mm off its slice"
            raise ProofFailed(ResultReason.PROOF_FAILED, sentence)
        if ds.SegmentationType == SegForm.LABELMAP.name:
            decoded[k] = np.array([0, *labels], np.uint8)[frame]
        else:
            number = int(item.SegmentIdentificationSequence[0].ReferencedSegmentNumber)
            decoded[k][frame > 0] = labels[number - 1]
    return decoded


def _prove_plane(ds: Dataset, grid: Grid) -> None:
    """Compare matrix, orientation and spacing of a SEG's frames with the grid's slices, at their farthest corner."""
    shared = ds.SharedFunctionalGroupsSequence[0]
    cosines = np.array(shared.PlaneOrientationSequence[0].ImageOrientationPatient, np.float64)
    between_rows, between_columns = (float(value) for value in shared.PixelMeasuresSequence[0].PixelSpacing)
    drift = np.abs(np.column_stack([cosines[3:] * between_rows, cosines[:3] * between_columns]) - grid.affine[:3, 1:3])
    if (ds.Rows, ds.Columns) != grid.shape[1:] or float((drift @ grid.shape[1:]).max()) > PLACE_TOLERANCE_MM:
        sentence = "the frames of the segmentation differ from the slices in matrix, orientation or pixel spacing"
        raise ProofFailed(ResultReason.PROOF_FAILED, sentence)


PLACE_TOLERANCE_MM = EVEN_STACK_MM + 0.01
"""How far a frame may lie from its slice: what `conversion.stack` accepts, plus the rounding of header values."""
