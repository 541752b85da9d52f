"""Small classic MR series, written as a scanner sends them: any grid, any slice order, any plain or compressed syntax.

The geometry is written from an affine alone and with the standard's formula (PS3.3 C.7.6.2.1.1), so that a test can
hold what the product reads against it without asking the product.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, MRImageStorage, generate_uid
from pydicom.valuerep import format_number_as_ds

__all__ = ["axis_aligned", "mr_slices", "uid_of", "write_slices"]

STUDY = "study"
"""Name of the study that every series belongs to unless its headers say otherwise."""

_DIRECTIONS = {
    "axial": ((0, 0, 1), (0, 1, 0), (1, 0, 0)),
    "sagittal": ((1, 0, 0), (0, 0, -1), (0, 1, 0)),
    "coronal": ((0, 1, 0), (0, 0, -1), (1, 0, 0)),
}
"""LPS directions of (slice, row, column) as scanners store the three planes; sagittal slices run to the left."""


def uid_of(*names: str) -> str:
    """Return a UID that depends on its names only."""
    return str(generate_uid(entropy_srcs=["glionode tests", *names]))


def axis_aligned(
    plane: str,
    spacing_mm: tuple[float, float, float] = (3.0, 1.5, 1.25),
    origin_mm: tuple[float, float, float] = (-20.0, -30.0, 10.0),
) -> NDArray[np.float64]:
    """Return the affine (slice, row, column, 1) to LPS mm of an axial, sagittal or coronal stack."""
    affine = np.eye(4)
    affine[:3, :3] = np.array(_DIRECTIONS[plane], float).T * spacing_mm
    affine[:3, 3] = origin_mm
    return affine


def mr_slices(
    voxels: NDArray[np.generic], affine: NDArray[np.float64], series: str = "series", **attributes: object
) -> list[Dataset]:
    """Return one MR instance for each slice, in the order of the first axis.

    Parameters
    ----------
    voxels
        16-bit stored values, shape (slice, row, column).
    affine
        Shape (4, 4), index (slice, row, column, 1) to LPS in mm.
    series
        Name of the series, from which its UIDs come.
    attributes
        Further attributes by keyword, or other values than the usual ones.
    """
    return [_instance(voxels[k], affine, series, k, attributes) for k in range(len(voxels))]


def write_slices(
    folder: Path, slices: Iterable[Dataset], order: Sequence[int] | None = None, transfer_syntax: str | None = None
) -> list[Path]:
    """Write instances as files whose names sort in `order`; RLE and JPEG 2000 compress without loss.

    Returns
    -------
    list of pathlib.Path
        The files, in the order of their names.
    """
    instances = list(slices)
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for place, k in enumerate(order if order is not None else range(len(instances))):
        ds = instances[k]
        if transfer_syntax is not None:
            _encode(ds, UID(transfer_syntax))
        paths.append(folder / f"{ds.SeriesNumber:04d}-{place:04d}.dcm")
        ds.save_as(paths[-1], enforce_file_format=True)
    return paths


def _encode(ds: Dataset, transfer_syntax: UID) -> None:
    if transfer_syntax.is_compressed:
        ds.compress(transfer_syntax, generate_instance_uid=False)
    ds.file_meta.TransferSyntaxUID = transfer_syntax


def _instance(
    pixels: NDArray[np.generic], affine: NDArray[np.float64], series: str, k: int, attributes: dict[str, object]
) -> Dataset:
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.SpecificCharacterSet = "ISO_IR 100"
    ds.SOPClassUID, ds.SOPInstanceUID = MRImageStorage, uid_of(series, "instance", str(k))
    ds.StudyInstanceUID, ds.SeriesInstanceUID = uid_of(STUDY), uid_of(series)
    ds.FrameOfReferenceUID, ds.PositionReferenceIndicator = uid_of("frame of reference"), ""
    ds.PatientName, ds.PatientID, ds.PatientBirthDate, ds.PatientSex = "Phantom^Synthetic", "TEST-1", "19700101", "O"
    ds.StudyDate, ds.StudyTime, ds.StudyID, ds.AccessionNumber = "20240102", "101500", "1", "A1"
    ds.SeriesDate, ds.SeriesTime, ds.ContentDate, ds.ContentTime = "20240102", "101600", "20240102", "101600"
    ds.AcquisitionTime, ds.ReferringPhysicianName, ds.Manufacturer = "101600", "", "GlioNode tests"
    ds.Modality, ds.SeriesDescription, ds.SeriesNumber, ds.InstanceNumber = "MR", "T1 post contrast", 1, k + 1
    ds.ImageType, ds.ScanningSequence, ds.SequenceVariant = ["ORIGINAL", "PRIMARY", "M", "SE"], "SE", "NONE"
    ds.ScanOptions, ds.MRAcquisitionType, ds.EchoTrainLength = "", "2D", 1
    ds.RepetitionTime, ds.EchoTime = 600.0, 12.0
    _place(ds, affine, k)
    ds.Rows, ds.Columns = pixels.shape
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 16, 16, 15
    ds.PixelRepresentation = int(np.issubdtype(pixels.dtype, np.signedinteger))
    ds.PixelData = np.ascontiguousarray(pixels, pixels.dtype.newbyteorder("<")).tobytes()
    ds["PixelData"].VR = "OW"
    for keyword, value in attributes.items():
        setattr(ds, keyword, value)
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    return ds


def _place(ds: Dataset, affine: NDArray[np.float64], k: int) -> None:
    """Write position, orientation and spacing: columns run along the row direction, rows along the column direction."""
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    along_row, along_column = affine[:3, 2] / spacing[2], affine[:3, 1] / spacing[1]
    ds.ImageOrientationPatient = [format_number_as_ds(float(v)) for v in (*along_row, *along_column)]
    ds.ImagePositionPatient = [format_number_as_ds(float(v)) for v in affine[:3, 3] + k * affine[:3, 0]]
    ds.PixelSpacing = [format_number_as_ds(float(spacing[1])), format_number_as_ds(float(spacing[2]))]
    ds.SliceThickness = format_number_as_ds(float(spacing[0]))
