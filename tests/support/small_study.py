"""A very small brain study of four series with a bright lesion: quick to send and to process."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid

ROLES = ("T1", "T1CE", "T2", "FLAIR")
SLICES, ROWS, COLUMNS = 10, 48, 40
SPACING_MM, SLICE_MM = 4.0, 11.0
_MIDDLE_MM, _BRAIN_MM = (50.0, 96.0, 80.0), (50.0, 80.0, 64.0)
"""Of the head, and the brain's radii: slice, row, column."""

_TIMING = {"T1": (560.0, 11.0), "T1CE": (560.0, 11.0), "T2": (4600.0, 100.0), "FLAIR": (9000.0, 120.0)}
_TISSUE = {  # scalp, brain, ventricles, edema, rim, core
    "T1": (900, 500, 150, 380, 420, 250),
    "T1CE": (900, 500, 150, 380, 1100, 250),
    "T2": (600, 400, 1100, 850, 700, 1000),
    "FLAIR": (500, 400, 80, 900, 800, 600),
}


def uid_of(*names: str) -> str:
    """Return a UID that depends on its names only."""
    return str(generate_uid(entropy_srcs=list(names)))


def make_small_study(
    name: str, roles: Sequence[str] = ROLES, patient_id: str = "SMALL-1", patient_name: str = "SMALL^STUDY"
) -> list[Dataset]:
    """Return the instances of a study whose UIDs depend on its name only."""
    instances = []
    for number, role in enumerate(roles, start=1):
        voxels = _voxels(role)
        for k in range(SLICES):
            ds = _identity(name, role, number, k)
            ds.PatientID, ds.PatientName = patient_id, patient_name
            _describe(ds, role, number)
            _place(ds, k)
            ds.PixelData = voxels[k].astype("<u2").tobytes()
            instances.append(ds)
    return instances


def _identity(name: str, role: str, number: int, k: int) -> Dataset:
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.SpecificCharacterSet = "ISO_IR 100"
    ds.SOPClassUID, ds.SOPInstanceUID = MRImageStorage, uid_of(name, role, str(k))
    ds.StudyInstanceUID, ds.SeriesInstanceUID = uid_of(name), uid_of(name, role)
    ds.FrameOfReferenceUID, ds.PositionReferenceIndicator = uid_of(name, "frame of reference"), ""
    ds.SeriesNumber, ds.InstanceNumber = number, k + 1
    return ds


def _describe(ds: Dataset, role: str, number: int) -> None:
    ds.PatientBirthDate, ds.PatientSex = "19700101", "O"
    ds.StudyDate = ds.SeriesDate = ds.AcquisitionDate = ds.ContentDate = "20240102"
    ds.StudyTime = "100000"
    ds.SeriesTime = ds.AcquisitionTime = ds.ContentTime = f"10{5 * number:02d}00"
    ds.StudyID, ds.AccessionNumber, ds.ReferringPhysicianName = "1", "A1", ""
    ds.StudyDescription, ds.SeriesDescription, ds.Manufacturer = "Synthetic brain", role, "GlioNode tests"
    ds.Modality, ds.ImageType, ds.MRAcquisitionType = "MR", ["ORIGINAL", "PRIMARY", "M"], "2D"
    ds.ScanningSequence, ds.SequenceVariant, ds.ScanOptions = "SE", "NONE", ""
    ds.RepetitionTime, ds.EchoTime = _TIMING[role]
    ds.EchoTrainLength = 1
    if role == "FLAIR":
        ds.ScanningSequence, ds.InversionTime = ["SE", "IR"], 2500.0
    if role == "T1CE":
        ds.ContrastBolusAgent = "Synthetic agent"


def _place(ds: Dataset, k: int) -> None:
    ds.Rows, ds.Columns, ds.PixelSpacing = ROWS, COLUMNS, [SPACING_MM, SPACING_MM]
    ds.SliceThickness = ds.SpacingBetweenSlices = SLICE_MM
    ds.ImageOrientationPatient = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]
    ds.ImagePositionPatient = [-COLUMNS * SPACING_MM / 2, -ROWS * SPACING_MM / 2, k * SLICE_MM]
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0


def _voxels(role: str) -> NDArray[np.float64]:
    scalp, brain, ventricles, edema, rim, core = _TISSUE[role]
    middle = _MIDDLE_MM
    voxels = np.zeros((SLICES, ROWS, COLUMNS))
    for radii, value in (((58.0, 90.0, 74.0), scalp), (_BRAIN_MM, brain), ((10.0, 24.0, 12.0), ventricles)):
        voxels[_distance(middle, radii) < 1] = value
    inside = _distance(middle, _BRAIN_MM) < 1
    for place, radius in _furrows():
        furrow = inside & (_distance(place, (radius, radius, radius)) < 1)
        voxels[furrow] = ventricles
    lesion = (55.0, 80.0, 110.0)
    for radius, value in ((25.0, edema), (16.0, rim), (9.0, core)):
        voxels[_distance(lesion, (radius, radius, radius)) < 1] = value
    texture = np.sin(np.indices(voxels.shape) * [[[[1.3]]], [[[0.9]]], [[[1.1]]]]).sum(axis=0)
    return np.where(voxels > 0, np.rint(voxels * (1 + 0.04 * texture)), 0)


def _furrows() -> list[tuple[tuple[float, ...], float]]:
    """Return where the brain holds fluid, and how wide: without such detail no registration could be proved."""
    rng = np.random.default_rng(1)
    places = np.array(_MIDDLE_MM) + rng.uniform(-0.75, 0.75, (25, 3)) * np.array(_BRAIN_MM)
    return [(tuple(place), float(radius)) for place, radius in zip(places, rng.uniform(8, 14, 25), strict=True)]


def _distance(centre_mm: tuple[float, ...], radii_mm: tuple[float, ...]) -> NDArray[np.float64]:
    """Return the distance from a centre in units of the radii, both in the order slice, row, column."""
    steps = zip(np.indices((SLICES, ROWS, COLUMNS)), (SLICE_MM, SPACING_MM, SPACING_MM), strict=True)
    parts = zip(steps, centre_mm, radii_mm, strict=True)
    return np.asarray(np.sqrt(sum(((index * mm - middle) / radius) ** 2 for (index, mm), middle, radius in parts)))
