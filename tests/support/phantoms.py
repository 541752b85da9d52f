"""Small phantoms for tests: coarse grids in any orientation, one head for all of them, slices in any order."""

import functools
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom

from dicom_node.phantom.phantom import Phantom, PhantomPlan, SeriesPlan, make_phantom, write_study

ROLES = ("T1", "T1CE", "T2", "FLAIR")
_SLICES = {"axial": 26, "sagittal": 27, "coronal": 31}
_SLICE_MM = 6.0


def small_series(
    role: str,
    number: int,
    plane: str = "axial",
    oblique_deg: tuple[float, float, float] = (0.0, 0.0, 0.0),
    slice_mm: float = _SLICE_MM,
) -> SeriesPlan:
    """Return a series of 96 x 96 pixels of 2 mm that covers the brain."""
    return SeriesPlan(
        role=role,
        number=number,
        description=f"{role} {plane}",
        plane=plane,
        oblique_deg=oblique_deg,
        in_plane_mm=2.0,
        slice_mm=slice_mm,
        rows=96,
        columns=96,
        slices=round(_SLICES[plane] * _SLICE_MM / slice_mm),
    )


def small_plan(
    plane: str = "axial",
    oblique_deg: tuple[float, float, float] = (0.0, 0.0, 0.0),
    roles: Sequence[str] = ROLES,
    seed: int = 7,
    size_ml: float = 30.0,
) -> PhantomPlan:
    """Return a plan with one small series for each role, all in one orientation; numbers count from 1."""
    return PhantomPlan(
        seed=seed,
        tumour_centre_mm=(30.0, -30.0, 24.0),
        size_ml=size_ml,
        patient_shift_mm=(3.0, -5.0, 4.0),
        patient_rotation_deg=(4.0, -3.0, 5.0),
        series=tuple(small_series(role, k + 1, plane, oblique_deg) for k, role in enumerate(roles)),
    )


def phantom_of(plan: PhantomPlan) -> Phantom:
    """Make a phantom; plans that differ in their series only share one head, which is the slow part."""
    made = _made(replace(plan, series=()))
    return Phantom(plan=plan, head=made.head, tumour=made.tumour)


@functools.lru_cache(maxsize=3)
def _made(plan: PhantomPlan) -> Phantom:
    return make_phantom(plan)


def write_shuffled(phantom: Phantom, folder: Path, seed: int = 0) -> list[Path]:
    """Write the study with instance numbers and file names that say nothing about the order of the slices."""
    paths = write_study(phantom, folder)
    order = np.random.default_rng(seed).permutation(len(paths))
    shuffled = []
    for path, number in zip(paths, order, strict=True):
        ds = pydicom.dcmread(path)
        ds.InstanceNumber = int(number) + 1
        renamed = path.with_name(f"shuffled-{number:04d}.dcm")
        ds.save_as(renamed, enforce_file_format=True)
        path.unlink()
        shuffled.append(renamed)
    return sorted(shuffled)
