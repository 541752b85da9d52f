"""Writes one series of the phantom as classic MR Image Storage instances (PS3.3 A.4)."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian, MRImageStorage
from pydicom.valuerep import DSfloat

from dicom_node.phantom.contrast import SEQUENCES
from dicom_node.phantom.plan import SeriesPlan

__all__ = ["SeriesIdentity", "write_series"]

_DATE = "20260115"
_THICKEST_3D_MM = 2.5
"""Up to this thickness a T1 is a 3D gradient echo, above it a 2D spin echo."""


@dataclass(frozen=True, kw_only=True)
class SeriesIdentity:
    """Identifiers of a series; `start_minute` is counted from the start of the study."""

    patient_id: str
    study_uid: str
    series_uid: str
    frame_of_reference_uid: str
    instance_uids: tuple[str, ...]
    start_minute: int
    study_description: str = "Brain MRI, synthetic phantom"


@dataclass(frozen=True, kw_only=True)
class _Protocol:
    scanning_sequence: list[str]
    variant: str
    acquisition: str
    repetition_ms: float
    echo_ms: float
    inversion_ms: float | None = None
    echo_train: int = 1
    flip_deg: float = 90.0


_SPIN_ECHO = _Protocol(
    scanning_sequence=["SE"], variant="NONE", acquisition="2D", repetition_ms=560.0, echo_ms=11.0
)  # fmt: skip
_GRADIENT_ECHO_3D = _Protocol(
    scanning_sequence=["GR"], variant="SP", acquisition="3D", repetition_ms=9.8, echo_ms=4.6, flip_deg=15.0
)
_T2 = _Protocol(
    scanning_sequence=["SE"], variant="SK", acquisition="2D", repetition_ms=4600.0, echo_ms=100.0, echo_train=15
)
_FLAIR = _Protocol(
    scanning_sequence=["SE", "IR"],
    variant="SK",
    acquisition="2D",
    repetition_ms=9000.0,
    echo_ms=120.0,
    inversion_ms=2500.0,
    echo_train=21,
)


def write_series(
    series: SeriesPlan,
    identity: SeriesIdentity,
    affine: NDArray[np.float64],
    stored: NDArray[np.uint16],
    folder: Path,
) -> list[Path]:
    """Write one file for each slice, and return the paths in the order of the slices.

    Parameters
    ----------
    affine
        Shape (4, 4), index (slice, row, column, 1) to patient LPS mm.
    stored
        Values, shape (slice, row, column).
    """
    folder.mkdir(parents=True, exist_ok=True)
    common = _common(series, identity)
    paths = []
    for k, plane in enumerate(stored):
        ds = Dataset()
        ds.update(common)
        ds.SOPInstanceUID = identity.instance_uids[k]
        ds.InstanceNumber, ds.ImagesInAcquisition = k + 1, len(stored)
        _add_plane(ds, series, affine, k)
        path = folder / f"{k + 1:04d}.dcm"
        _save(ds, plane, series.transfer_syntax, path)
        paths.append(path)
    return paths


def _common(series: SeriesPlan, identity: SeriesIdentity) -> Dataset:
    """Return the attributes that all instances of a series share."""
    ds = Dataset()
    ds.SOPClassUID = MRImageStorage
    ds.Modality = "MR"
    ds.ImageType = ["ORIGINAL", "PRIMARY", "OTHER"]
    _add_patient_and_study(ds, identity)
    ds.SeriesInstanceUID = identity.series_uid
    ds.SeriesNumber = series.number
    ds.SeriesDescription = series.description
    ds.ProtocolName = series.description
    ds.FrameOfReferenceUID = identity.frame_of_reference_uid
    ds.PositionReferenceIndicator = ""
    ds.BodyPartExamined = "BRAIN"
    ds.PatientPosition = "HFS"
    ds.SeriesDate = ds.AcquisitionDate = ds.ContentDate = _DATE
    start = 9 * 60 + identity.start_minute
    ds.SeriesTime = ds.AcquisitionTime = ds.ContentTime = f"{start // 60:02d}{start % 60:02d}00"
    _add_protocol(ds, series)
    level = SEQUENCES[series.role].scale
    ds.WindowCenter = DSfloat(round(1.0 * level))
    ds.WindowWidth = DSfloat(round(2.0 * level))
    return ds


def _add_patient_and_study(ds: Dataset, identity: SeriesIdentity) -> None:
    ds.SpecificCharacterSet = "ISO_IR 100"
    ds.PatientName = "PHANTOM^GLIONODE"
    ds.PatientID = identity.patient_id
    ds.PatientBirthDate = "19700101"
    ds.PatientSex = "O"
    ds.StudyInstanceUID = identity.study_uid
    ds.StudyID = "PHANTOM"
    ds.StudyDate = _DATE
    ds.StudyTime = "090000"
    ds.StudyDescription = identity.study_description
    ds.AccessionNumber = ""
    ds.ReferringPhysicianName = ""
    ds.Manufacturer = "GlioNode phantom"
    ds.ManufacturerModelName = "made by code, no patient"


def _add_protocol(ds: Dataset, series: SeriesPlan) -> None:
    thin = series.slice_mm <= _THICKEST_3D_MM
    t1 = _GRADIENT_ECHO_3D if thin else _SPIN_ECHO
    protocol = {"T1": t1, "T1CE": t1, "T2": _T2, "FLAIR": _FLAIR}[series.role]
    ds.ScanningSequence = protocol.scanning_sequence
    ds.SequenceVariant = protocol.variant
    ds.ScanOptions = ""
    ds.MRAcquisitionType = protocol.acquisition
    ds.RepetitionTime = DSfloat(protocol.repetition_ms)
    ds.EchoTime = DSfloat(protocol.echo_ms)
    ds.EchoTrainLength = protocol.echo_train
    if protocol.inversion_ms is not None:
        ds.InversionTime = DSfloat(protocol.inversion_ms)
    ds.FlipAngle = DSfloat(protocol.flip_deg)
    ds.MagneticFieldStrength = DSfloat(1.5)
    if series.role == "T1CE":
        ds.ContrastBolusAgent = "Gadolinium based agent (phantom)"
        ds.ContrastBolusRoute = "IV"


def _add_plane(ds: Dataset, series: SeriesPlan, affine: NDArray[np.float64], k: int) -> None:
    """Add the image plane of slice `k` (PS3.3 C.7.6.2)."""
    along_row, along_column = (affine[:3, axis] / series.in_plane_mm for axis in (2, 1))
    ds.ImageOrientationPatient = [_decimal(value) for value in (*along_row, *along_column)]
    ds.ImagePositionPatient = [_decimal(value) for value in affine[:3, 3] + k * affine[:3, 0]]
    ds.PixelSpacing = [_decimal(series.in_plane_mm)] * 2
    ds.SliceThickness = _decimal(series.slice_mm)
    ds.SpacingBetweenSlices = _decimal(series.slice_mm + series.gap_mm)


def _decimal(value: float) -> DSfloat:
    return DSfloat(round(float(value), 10) + 0.0, auto_format=True)


def _save(ds: Dataset, plane: NDArray[np.uint16], transfer_syntax: str, path: Path) -> None:
    ds.SamplesPerPixel = 1
    ds.PhotometricInterpretation = "MONOCHROME2"
    ds.Rows, ds.Columns = plane.shape
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
    ds.PixelData = plane.astype("<u2").tobytes()
    ds.file_meta = FileMetaDataset()
    uncompressed = transfer_syntax in (ExplicitVRLittleEndian, ImplicitVRLittleEndian)
    ds.file_meta.TransferSyntaxUID = UID(transfer_syntax) if uncompressed else ExplicitVRLittleEndian
    if not uncompressed:
        ds.compress(transfer_syntax, generate_instance_uid=False)
    ds.save_as(path, enforce_file_format=True)
