"""Tiny sets of annotated cases in the layouts that people download."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from PIL import Image

__all__ = ["SHAPE", "brats_labels", "tissue", "write_brats", "write_lgg", "write_msd", "write_nifti"]

SHAPE = (11, 24, 20)
"""Slices, rows, columns."""


def tissue(seed: int, level: int) -> NDArray[np.uint8]:
    """Return even tissue with a little noise inside a dark rim; its brightest voxel is of its own."""
    rng = np.random.default_rng(seed)
    volume = np.zeros(SHAPE, np.uint8)
    volume[:, 3:-3, 3:-3] = (level + rng.integers(0, 9, SHAPE))[:, 3:-3, 3:-3]
    volume[2, 4, 5 + seed] = 255
    return volume


def brats_labels(enhancing: int = 4) -> NDArray[np.uint8]:
    """Return a lopsided tumour: 1 NCR, 2 ED, and ET of a value."""
    labels = np.zeros(SHAPE, np.uint8)
    labels[5, 8:14, 6:12] = 2
    labels[5, 9:12, 7:10] = 1
    labels[5, 9, 7:10] = enhancing
    return labels


def write_lgg(root: Path, case: str, channels: Mapping[str, NDArray[np.uint8]] | None = None) -> Path:
    """Write slices 1 to 11; the mask of slice k marks row k. Returns the case's folder.

    Parameters
    ----------
    channels
        Of ``t1``, ``flair`` and ``t1ce``, those that differ from the usual ones.
    """
    volumes = {"t1": tissue(1, 60), "flair": tissue(2, 180), "t1ce": tissue(3, 110), **(channels or {})}
    folder = root / case
    folder.mkdir(parents=True)
    for k in range(SHAPE[0]):
        mask = np.zeros(SHAPE[1:], np.uint8)
        mask[k + 1, 5:9] = 255
        stacked = np.stack([volumes["t1"][k], volumes["flair"][k], volumes["t1ce"][k]], axis=-1)
        Image.fromarray(stacked).save(folder / f"{case}_{k + 1}.tif")
        Image.fromarray(mask).save(folder / f"{case}_{k + 1}_mask.tif")
    return folder


def write_brats(
    root: Path,
    case: str,
    labels: NDArray[np.generic] | None = None,
    *,
    keys: Sequence[str] = ("t1", "t1ce", "t2", "flair"),
    joint: str = "_",
    suffix: str = ".nii.gz",
) -> Path:
    """Write a case with its annotation into a folder of its name, and return that.

    Parameters
    ----------
    keys
        What the files of the sequences are called; sequence k has the seed k.
    joint
        What stands between the case's name and the key.
    """
    folder = root / case
    folder.mkdir(parents=True)
    for seed, key in enumerate(keys):
        write_nifti(folder / f"{case}{joint}{key}{suffix}", tissue(seed, 60 + 40 * seed))
    write_nifti(folder / f"{case}{joint}seg{suffix}", brats_labels() if labels is None else labels)
    return folder


def write_nifti(path: Path, voxels: NDArray[np.generic], origin: tuple[float, ...] = (0.0, -239.0, 0.0)) -> None:
    """Write an axial volume of 1 mm, where BraTS has its origin."""
    image = sitk.GetImageFromArray(voxels)
    image.SetOrigin([*origin, *[0.0] * (image.GetDimension() - 3)])
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(image, str(path))


def write_msd(root: Path, cases: Sequence[str], modality: Sequence[str], labels: Mapping[int, str]) -> None:
    """Write Task01 with its `dataset.json`; channel k has the seed k, labels are those of `brats_labels(3)`."""
    root.mkdir(parents=True, exist_ok=True)
    content = {"modality": dict(enumerate(modality)), "labels": labels, "numTraining": len(cases)}
    (root / "dataset.json").write_text(json.dumps(content))
    channels = [tissue(seed, 60 + 40 * seed) for seed in range(len(modality))]
    for case in cases:
        image = sitk.JoinSeries([sitk.GetImageFromArray(channel) for channel in channels])
        image.SetOrigin((0.0, -239.0, 0.0, 0.0))
        (root / "imagesTr").mkdir(exist_ok=True)
        sitk.WriteImage(image, str(root / "imagesTr" / f"{case}.nii.gz"))
        (root / "imagesTr" / f"._{case}.nii.gz").write_bytes(b"Mac OS X")
        write_nifti(root / "labelsTr" / f"{case}.nii.gz", brats_labels(3))
