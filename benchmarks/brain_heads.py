"""Reads the shared heads (unpacked) and BraTS cases to train the brain network on, and holds some persons out."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from conversion.nifti import read_nifti
from conversion.sequences import Role
from conversion.volume import Grid, ImageVolume
from inference.cases.brats import open_brats
from inference.training.heads.label_map import LabelMap, closed_brain
from inference.training.heads.lesion_shapes import TumourShape
from inference.training.heads.real_head import RealHead
from inference.training.heads.sample_grid import SampleGrid
from inference.training.heads.sampler import Heads

__all__ = ["HELD_OUT", "HeadFolders", "axial_file", "is_held_out", "read_heads"]

HELD_OUT = (
    *("labelmap_05", "labelmap_10", "labelmap_15", "labelmap_20"),
    *("elderly_02", "elderly_10", "elderly_17", "elderly_23"),
    "ms_04",
)
"""Never trained on. The 20 label maps are of 20 persons. T1 and FLAIR of an elderly person, and the studies of an MS
patient, are held out together."""

BRATS_EVERY = 5
"""Every network of this kind gets skull-stripped heads right, so a few examples are enough."""

BRATS_ROLES = ((Role.T1, Role.FLAIR), (Role.T1CE, Role.T2))
"""Used in turns, so that each sequence is equally frequent."""

Spacing = tuple[float, float, float]
Say = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class HeadFolders:
    """The folders of the data.

    Attributes
    ----------
    heads
        The folder that ``unpack_heads.py`` wrote.
    brats
        The folder that ``unpack_brats.py`` wrote. None to use no BraTS cases.
    masks
        Brain masks of a reference network for heads without labels: ``<name>.nii.gz`` on a head's own grid, or
        ``<name>.npy`` in its axial order. None to use none of these heads.
    """

    heads: Path
    brats: Path | None = None
    masks: Path | None = None


def is_held_out(name: str) -> bool:
    """Tell whether a head is one of those that are never trained on."""
    return name.startswith(HELD_OUT)


def read_heads(folders: HeadFolders, *, held_out: bool, say: Say = lambda _: None) -> Heads:
    """Return the heads to train on, or the held-out ones (no BraTS case is held out)."""
    maps = []
    for path in sorted(folders.heads.glob("labelmap_*.nii.gz")):
        name = _stem(path)
        if is_held_out(name) == held_out:
            say(name)
            labels, spacing_mm = axial_file(path)
            maps.append(LabelMap.of(name, labels.astype(np.int16), spacing_mm))
    real = []
    for head in _real(folders, held_out=held_out):
        say(head.name)
        real.append(head)
    return Heads(maps=maps, real=real, shapes=[] if held_out else list(_shapes(folders.heads)))


def _real(folders: HeadFolders, *, held_out: bool) -> Iterator[RealHead]:
    target_mm = SampleGrid().spacing_mm
    for path in sorted(folders.heads.glob("*.nii.gz")):
        name = _stem(path)
        if not name.startswith(("elderly", "ms", "postop")) or is_held_out(name) != held_out:
            continue
        brain = _brain(folders, name)
        if brain is not None:
            image, spacing_mm = axial_file(path)
            yield RealHead.of(name, image, brain, spacing_mm, target_mm)
    if folders.brats is not None and not held_out:
        yield from _brats(folders.brats, target_mm)


def _brain(folders: HeadFolders, name: str) -> NDArray[np.bool_] | None:
    """Return the brain of a head in axial order, from its labels or from a stored mask. None without either."""
    labelled = folders.heads / f"{name}_structures.nii.gz"
    if labelled.exists():
        structures, spacing_mm = axial_file(labelled)
        return closed_brain(structures > 0, spacing_mm)  # numbered up to 207, unlike the label maps of whole heads
    if folders.masks is None:
        return None
    if (folders.masks / f"{name}.npy").exists():
        return np.asarray(np.load(folders.masks / f"{name}.npy"), bool)
    drawn = folders.masks / f"{name}.nii.gz"
    return axial_file(drawn)[0] > 0.5 if drawn.exists() else None


def _brats(folder: Path, target_mm: float) -> Iterator[RealHead]:
    for turn, case in enumerate(open_brats(folder).cases[::BRATS_EVERY]):
        volumes = case.read().volumes.volumes
        for role in BRATS_ROLES[turn % len(BRATS_ROLES)]:
            if role in volumes:
                yield RealHead.of_bare(f"{case.case_id} {role}", *_axial(volumes[role]), target_mm)


def _shapes(folder: Path) -> Iterator[TumourShape]:
    for path in sorted(folder.glob("shape_*.nii.gz")):
        labels, spacing_mm = axial_file(path)
        shape = TumourShape.of_brats(labels.astype(np.int16), spacing_mm)
        if shape is not None:
            yield shape


def axial_file(path: Path) -> tuple[NDArray[np.float32], Spacing]:
    """Return a NIfTI file as voxels whose axes run up, to the back and to the left, and their spacing."""
    return _axial(read_nifti(path))


def _axial(volume: ImageVolume) -> tuple[NDArray[np.float32], Spacing]:
    """Return voxels whose axes run up, to the back and to the left, and their spacing."""
    axes, flips = volume.grid.axial_order()
    grid: Grid = volume.grid.permuted(axes, flips)
    steps = tuple(slice(None, None, -1 if flip else 1) for flip in flips)
    slices, rows, columns = grid.spacing_mm.tolist()
    return volume.voxels.transpose(axes)[steps], (slices, rows, columns)


def _stem(path: Path) -> str:
    return path.name.removesuffix(".nii.gz")
