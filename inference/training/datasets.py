"""Training cases read from the layouts that the LGG (kaggle_3m) and BraTS sets are downloaded in."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from inference.preprocessing import normalise_intensity

__all__ = ["TrainingCase", "read_brats", "read_lgg", "split_by_patient"]

REGIONS = ("WT", "TC", "ET")


@dataclass(frozen=True, kw_only=True)
class TrainingCase:
    """One patient, as stacks of axial slices.

    Attributes
    ----------
    patient
        Identifier of the patient in the source set; the unit of every split.
    source
        "lgg" or "brats".
    images
        Normalised intensities, float16, shape (4 channels, slice, row, column).
    present
        Which of the four channels hold a real sequence.
    regions
        Masks of WT, TC, ET, bool, shape (3 regions, slice, row, column).
    annotated
        Which of the three regions the source's experts drew.
    """

    patient: str
    source: str
    images: NDArray[np.float16]
    present: tuple[bool, bool, bool, bool]
    regions: NDArray[np.bool_]
    annotated: tuple[bool, bool, bool]


def read_lgg(root: Path) -> Iterator[TrainingCase]:
    """Read `root/<case>/<case>_<k>.tif` (T1, FLAIR, T1 after contrast) with `_mask.tif` beside each.

    A T1 or T1CE that equals FLAIR was missing in the source and is treated so.
    """
    for folder in sorted(path for path in root.iterdir() if path.is_dir()):
        masks = sorted(folder.glob("*_mask.tif"), key=lambda path: int(path.stem.split("_")[-2]))
        slices = [_read(mask.with_name(mask.name.replace("_mask", ""))) for mask in masks]
        t1, flair, t1ce = np.moveaxis(np.stack(slices), -1, 0)
        wt = np.stack([_read(mask) for mask in masks]) > 0
        has_t1, has_t1ce = not _equal(t1, flair), not _equal(t1ce, flair)
        channels = [t1 if has_t1 else None, t1ce if has_t1ce else None, None, flair]
        yield TrainingCase(
            patient="_".join(folder.name.split("_")[:3]),
            source="lgg",
            images=_channels(channels, wt.shape),
            present=(has_t1, has_t1ce, False, True),
            regions=np.stack([wt, np.zeros_like(wt), np.zeros_like(wt)]),
            annotated=(True, False, False),
        )


def read_brats(root: Path) -> Iterator[TrainingCase]:
    """Read `root/<case>/<case>_{t1,t1ce,t2,flair,seg}.nii.gz`; labels 1 NCR, 2 ED, 4 (since 2023: 3) ET."""
    for folder in sorted(path for path in root.iterdir() if path.is_dir()):
        volumes = [_read(folder / f"{folder.name}_{key}.nii.gz") for key in ("t1", "t1ce", "t2", "flair", "seg")]
        brain = np.nonzero(volumes[3])
        box = tuple(slice(int(axis.min()), int(axis.max()) + 1) for axis in brain)
        labels = volumes[4][box]
        et = (labels == 4) | (labels == 3)
        yield TrainingCase(
            patient=folder.name,
            source="brats",
            images=_channels([volume[box] for volume in volumes[:4]], labels.shape),
            present=(True, True, True, True),
            regions=np.stack([labels > 0, et | (labels == 1), et]),
            annotated=(True, True, True),
        )


def split_by_patient(cases: list[TrainingCase], held_out: int) -> tuple[list[TrainingCase], list[TrainingCase]]:
    """Split into (training, held out) by a hash of the patient's identifier.

    BraTS cases of site TCIA are never held out: the same persons may occur in the LGG set, which
    comes from the same archive.
    """
    allowed = [case for case in cases if "TCIA" not in case.patient]
    ranked = sorted({case.patient for case in allowed}, key=lambda name: hashlib.sha256(name.encode()).hexdigest())
    chosen = set(ranked[:held_out])
    return (
        [case for case in cases if case.patient not in chosen],
        [case for case in cases if case.patient in chosen],
    )


def _read(path: Path) -> NDArray[np.uint8]:
    return np.asarray(sitk.GetArrayFromImage(sitk.ReadImage(str(path))))


def _equal(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> bool:
    difference = np.abs(first.astype(np.int16) - second.astype(np.int16))
    return float(difference.mean()) < 1.0


def _channels(volumes: list[NDArray[np.uint8] | None], shape: tuple[int, ...]) -> NDArray[np.float16]:
    missing = np.zeros(shape, np.float32)
    channels = [missing if volume is None else normalise_intensity(volume) for volume in volumes]
    return np.stack(channels).astype(np.float16)
