"""Reads the shared data sets as volumes with their true weighting, one patient at a time.

Needs tifffile and imagecodecs (JPEG XL) for the packed sets and nibabel for the NIfTI files; the product does not.
"""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np
import tifffile
from numpy.typing import NDArray

from conversion.reading import dicom_files, read_series, read_study
from conversion.volume import Grid, ImageVolume

__all__ = ["Case", "brats", "data_folder", "dicom", "lgg", "native", "nifti_volume", "vendors"]

LGG_PIXEL_MM = 0.94
"""Not recorded: a field of view of 240 mm over 256 pixels is assumed."""

LGG_HEIGHT_MM = 140.0
"""Not recorded: the slices are assumed to cover this height, 1.5 to 6.5 mm apart."""

MISSING_DIFFERENCE = 1.5
"""A channel that differs from FLAIR by fewer grey levels on average was missing and filled with FLAIR."""

PHILIPS = {
    303: "ADC",
    304: "DWI",
    401: "T2",
    502: "T1",
    701: "FLAIR",
    901: "T1",
    1103: "T1CE",
    1201: "T1CE",
    1301: "FLAIR",
}
BRAINIX = {301: "T2", 401: "FLAIR", 601: "T1"}


@dataclass(frozen=True, kw_only=True)
class Case:
    """One patient's volumes by name. The first word of the name is the true sequence."""

    source: str
    patient: str
    volumes: dict[str, ImageVolume]


def data_folder() -> Path:
    """Return the folder of the shared data sets."""
    return Path(os.environ.get("GLIONODE_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))


def _volume(voxels: NDArray[np.generic], affine: NDArray[np.float64], frame: str) -> ImageVolume:
    shape = (int(voxels.shape[0]), int(voxels.shape[1]), int(voxels.shape[2]))
    grid = Grid(shape=shape, affine=affine, frame_of_reference_uid=frame)
    return ImageVolume(grid=grid, voxels=np.asarray(voxels, np.float32))


def _axial(spacing_mm: tuple[float, float, float]) -> NDArray[np.float64]:
    affine = np.zeros((4, 4))
    affine[2, 0], affine[1, 1], affine[0, 2], affine[3, 3] = *spacing_mm, 1.0
    return affine


def lgg(folder: Path, names: tuple[str, ...] = ()) -> Iterator[Case]:
    """Yield the patients of the lower-grade glioma set, without the channels that were filled with FLAIR."""
    for path in sorted((folder / "lgg").glob("*_mask.tif")):
        name = path.name.removesuffix("_mask.tif")
        if names and name not in names:
            continue
        images = tifffile.imread(path.with_name(f"{name}.tif"))
        spacing = (float(np.clip(LGG_HEIGHT_MM / len(images), 1.5, 6.5)), LGG_PIXEL_MM, LGG_PIXEL_MM)
        volumes = {}
        for k, sequence in enumerate(("T1", "FLAIR", "T1CE")):
            difference = np.abs(images[:, k].astype(float) - images[:, 1]).mean()
            if sequence == "FLAIR" or difference >= MISSING_DIFFERENCE:
                volumes[sequence] = _volume(images[:, k], _axial(spacing), name)
        yield Case(source="lgg", patient=name, volumes=volumes)


def brats(folder: Path, names: tuple[str, ...] = ()) -> Iterator[Case]:
    """Yield the skull-stripped patients on their 1 mm grid, 240 by 240 by 155 voxels."""
    for name, case in json.loads((folder / "brats" / "cases.json").read_text()).items():
        if names and name not in names:
            continue
        brain = tifffile.imread(folder / "brats" / f"{name}_seg.tif") >= 8
        planes = tifffile.imread(folder / "brats" / f"{name}.tif") * brain
        box = tuple(slice(o, o + n) for o, n in zip(case["offset"][::-1], brain.shape, strict=True))
        volumes = {}
        for sequence, block in zip(case.get("sequences", ("t1", "t1ce", "t2", "flair")), planes, strict=True):
            full = np.zeros(case["shape"][::-1], np.uint8)
            full[box] = block
            volumes[sequence.upper()] = _volume(full, _lps(np.array(case["affine"])), name)
        yield Case(source="brats", patient=name, volumes=volumes)


def _lps(affine: NDArray[np.float64]) -> NDArray[np.float64]:
    """Convert a NIfTI affine over (x, y, z) to ours over (slice, row, column)."""
    return np.asarray((np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine)[:, [2, 1, 0, 3]])


def nifti_volume(path: Path) -> ImageVolume:
    """Return a NIfTI file as a volume. Of several volumes, return the first."""
    image = nibabel.load(path)
    voxels = np.asarray(image.dataobj)
    voxels = voxels[..., 0] if voxels.ndim == 4 else voxels
    return _volume(voxels.transpose(2, 1, 0), _lps(np.asarray(image.affine)), "")


def native(folder: Path) -> Iterator[Case]:
    """Yield the patient whose four skull-stripped sequences are on their original grids."""
    place = folder / "native" / "TCGA-DU-7294"
    files = {"T1": "t1", "T1CE": "t1c", "T2": "t2", "FLAIR": "fla"}
    volumes = {sequence: nifti_volume(place / f"{stem}.nii.gz") for sequence, stem in files.items()}
    yield Case(source="native", patient="TCGA-DU-7294", volumes=volumes)


def dicom(folder: Path) -> Iterator[Case]:
    """Yield the two real studies as scanners sent them. The localizer is no volume and is left out."""
    for patient, truth in (("philips-1.5T-tumour", PHILIPS), ("brainix", BRAINIX)):
        study = read_study(dicom_files(folder / "dicom" / patient))
        chosen = [series for series in study.series if series.number in truth]
        volumes = {f"{truth[series.number]} {series.number}": read_series(series) for series in chosen}
        yield Case(source="dicom", patient=patient, volumes=volumes)


def vendors(folder: Path) -> Iterator[Case]:
    """Yield the small test volumes of several vendors: noise in 2 to 8 slices, without a brain."""
    place = folder / "dicom" / "vendors"
    paths = sorted(place.rglob("*_ground_truth.nii.gz"))
    names = [f"noise {path.relative_to(place)}".removesuffix("_ground_truth.nii.gz") for path in paths]
    images = [nibabel.load(path) for path in paths]
    volumes = {n: nifti_volume(p) for n, p, i in zip(names, paths, images, strict=True) if i.ndim >= 3}
    yield Case(source="vendors", patient="noise", volumes=volumes)
