"""Reads the shared heads (unpacked) and BraTS cases as what brains are learned from, and keeps some persons apart."""

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
"""Never learned from. Label maps of the 20 are of as many persons; an elderly's T1 and FLAIR, and the studies of an MS
patient, are kept apart together."""

BRATS_EVERY = 5
"""A skull-stripped head every network of the kind gets right; a few are enough to show what one is."""

BRATS_ROLES = ((Role.T1, Role.FLAIR), (Role.T1CE, Role.T2))
"""In turns, so that each sequence comes equally often."""

Spacing = tuple[float, float, float]
Said = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class HeadFolders:
    """Where the data lie.

    Attributes
    ----------
    heads
        What ``unpack_heads.py`` wrote.
    brats
        What ``unpack_brats.py`` wrote; None for none of it.
    masks
        ``<name>.nii.gz`` on a head's own grid, or ``<name>.npy`` on its axial order, for heads without labels: what a
        reference network called brain. None for none of these heads.
    """

    heads: Path
    brats: Path | None = None
    masks: Path | None = None


def is_held_out(name: str) -> bool:
    """Tell whether a head is one of those that are never learned from."""
    return name.startswith(HELD_OUT)


def read_heads(folders: HeadFolders, *, held_out: bool, say: Said = lambda _: None) -> Heads:
    """Return the heads to learn from, or those that are kept apart (no BraTS case is)."""
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
    """Return the brain of a head in axial order, by its labels or by a mask that lies ready; None without either."""
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
