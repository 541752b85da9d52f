"""The LGG segmentation set ("kaggle_3m", Buda et al. 2019): axial slices of three channels with a mask beside each.

``<case>/<case>_<k>.tif`` holds T1, FLAIR and T1 after contrast of slice k (1 is the lowest), ``<case>_<k>_mask.tif``
holds the FLAIR abnormality. Voxel sizes are not recorded. The channel of a T1 or T1CE that was never acquired is a copy
of FLAIR.
"""

import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from conversion.sequences import Role
from conversion.volume import Grid, ImageVolume
from inference.cases.case import AnnotatedCase, CaseSet, SkippedCase
from inference.cases.one_grid import as_delivered
from inference.cases.stored_case import StoredCase, unreadable
from inference.regions import Region

__all__ = ["LAYOUT", "SLICE_DISTANCE_MM", "open_lgg"]

LAYOUT = (
    "one folder for each case with <case>_<k>.tif (three channels: T1, FLAIR, T1 after contrast) and "
    "<case>_<k>_mask.tif for every slice k = 1, 2, ..."
)

PIXEL_MM = 1.0
SLICE_DISTANCE_MM = 5.0
"""Assumed voxel size, because the set records none: 256 pixels over a usual field of view of 220 to 260 mm, and half of
the cases have 36 slices or fewer for a head of about 180 mm from the vertex to the jaw. Nothing stated in mm or ml may
depend on it."""

SAME_AS_FLAIR = 0.05
"""A channel is a copy of FLAIR if their mean difference is below this share of FLAIR's mean. The copies in the set
differ by 0.000, the most similar real pair (CS_6186) by 0.208."""

_CHANNELS = (Role.T1, Role.FLAIR, Role.T1CE)


def open_lgg(root: Path) -> CaseSet:
    """Find the cases of the set; the folder may also be the parent of ``kaggle_3m``.

    Returns
    -------
    CaseSet
        Patients are the first three parts of a name ``TCGA_<site>_<number>_<date>``, sites the second part.
    """
    if (root / "kaggle_3m").is_dir():
        root = root / "kaggle_3m"
    cases: list[StoredCase] = []
    skipped: list[SkippedCase] = []
    for path in sorted(path for path in root.iterdir() if not path.name.startswith(".")):
        if not path.is_dir():
            skipped.append(SkippedCase(name=path.name, reason="a file beside the case folders, not a folder of slices"))
        elif reason := _what_is_missing(path):
            skipped.append(SkippedCase(name=path.name, reason=reason))
        else:
            cases.append(_reference(root, path))
    return CaseSet(source="lgg", cases=tuple(cases), skipped=tuple(skipped))


def _numbers(folder: Path, suffix: str) -> set[int]:
    pattern = re.compile(rf"{re.escape(folder.name)}_(\d+){suffix}\.tif")
    found = (pattern.fullmatch(path.name) for path in folder.iterdir())
    return {int(match[1]) for match in found if match}


def _what_is_missing(folder: Path) -> str:
    """Return why a folder is not a complete case; empty where it is one."""
    images, masks = _numbers(folder, ""), _numbers(folder, "_mask")
    if not images:
        return f"contains no slices named {folder.name}_<k>.tif"
    if images != masks:
        k = min(images ^ masks)
        what = "mask" if k in images else "image"
        return f"slice {k} has no {what}; every {folder.name}_<k>.tif needs a {folder.name}_<k>_mask.tif and vice versa"
    gaps = set(range(min(images), max(images))) - images
    if gaps:
        return f"slice {min(gaps)} of {min(images)} to {max(images)} is missing, so the slices are not evenly spaced"
    return ""


def _reference(root: Path, folder: Path) -> StoredCase:
    parts = folder.name.split("_")
    of_tcga = parts[0] == "TCGA" and len(parts) >= 3
    patient, site = ("_".join(parts[:3]), parts[1]) if of_tcga else (folder.name, "")
    numbers = sorted(_numbers(folder, ""))
    files = [folder / f"{folder.name}_{k}{suffix}.tif" for k in numbers for suffix in ("", "_mask")]
    return StoredCase(
        case_id=folder.name,
        patient=patient,
        site=site,
        read=partial(_read, folder, numbers, patient, site),
        root=root,
        files=tuple(files),
    )


def _read(folder: Path, numbers: Sequence[int], patient: str, site: str) -> AnnotatedCase:
    images = _stack([folder / f"{folder.name}_{k}.tif" for k in numbers])
    masks = _stack([folder / f"{folder.name}_{k}_mask.tif" for k in numbers])
    if images.ndim != 4 or images.shape[-1] != len(_CHANNELS):
        raise unreadable(f"{folder.name}: its slices need three channels (T1, FLAIR, T1 after contrast)")
    if masks.shape != images.shape[:3]:
        raise unreadable(f"{folder.name}: masks of shape {masks.shape[1:]}, but slices of shape {images.shape[1:3]}")
    grid = _grid(masks.shape)
    flair = images[..., _CHANNELS.index(Role.FLAIR)]
    volumes = {
        role: ImageVolume(grid=grid, voxels=images[..., channel].astype(np.float32))
        for channel, role in enumerate(_CHANNELS)
        if role is Role.FLAIR or not _is_copy(images[..., channel], flair)
    }
    return AnnotatedCase(
        case_id=folder.name,
        patient=patient,
        site=site,
        volumes=as_delivered(folder.name, volumes),
        regions={Region.WT: masks > 0},
        spacing_known=False,
    )


def _stack(paths: Sequence[Path]) -> NDArray[np.uint8]:
    try:
        slices = [np.asarray(sitk.GetArrayFromImage(sitk.ReadImage(str(path)))) for path in paths]
    except RuntimeError as error:
        raise unreadable(f"{paths[0].parent.name}: a slice cannot be read; the file is damaged or no TIFF") from error
    if len({one.shape for one in slices}) > 1:
        raise unreadable(f"{paths[0].parent.name}: slices of different size or different number of channels")
    return np.stack(slices)


def _grid(shape: tuple[int, ...]) -> Grid:
    """Return an axial stack in LPS: rows run to posterior, columns to the left, slices to superior."""
    affine = np.zeros((4, 4))
    affine[2, 0], affine[1, 1], affine[0, 2], affine[3, 3] = SLICE_DISTANCE_MM, PIXEL_MM, PIXEL_MM, 1.0
    return Grid(shape=(shape[0], shape[1], shape[2]), affine=affine, frame_of_reference_uid="lgg")


def _is_copy(channel: NDArray[np.uint8], flair: NDArray[np.uint8]) -> bool:
    difference = np.abs(channel.astype(np.int16) - flair.astype(np.int16))
    return float(difference.mean()) < SAME_AS_FLAIR * float(flair.mean())
