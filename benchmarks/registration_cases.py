"""Pairs of volumes from the shared data sets: some with a known transform, some that no transform can register."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from benchmarks.recognition_data import Case, brats, dicom, native
from conversion.volume import ImageVolume
from tests.support.moved_volumes import (
    cut,
    degraded,
    mirrored,
    random_move,
    scanned,
    sharing_frame,
    shifted_grid,
    tissue_mm,
)

__all__ = ["Pair", "known_moves", "native_references", "patients", "whole_heads", "wrong_pairs"]

FINE_MM = (1.1, 0.95, 1.05)
THICK_MM = (5.0, 0.9, 0.9)
SEQUENCES = ("T1", "T1CE", "T2", "FLAIR")
STRUCTURAL = ("T2 401", "T1 502", "FLAIR 701", "T1 901", "T1CE 1103", "T1CE 1201", "T2 301", "FLAIR 401", "T1 601")


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A pair of volumes with its known transform.

    Attributes
    ----------
    group
        Row of the table.
    move
        The known transform, shape (4, 4), from the fixed to the moving volume in LPS mm. None if none is right.
    unmoved
        The moving volume without the transform, if its own position is known by registration only (two sequences).
    slice_mm
        Thickest slice of either volume.
    """

    group: str
    name: str
    fixed: ImageVolume
    moving: ImageVolume
    move: NDArray[np.float64] | None
    unmoved: ImageVolume | None = None
    slice_mm: float = 1.0


def patients(folder: Path, every: int, ahead: int = 0) -> Iterator[Case]:
    """Yield every n-th patient of the skull-stripped set, or the patient `ahead` places after each, one at a time."""
    names = list(json.loads((folder / "brats" / "cases.json").read_text()))
    for number in range(0, len(names), every):
        yield from brats(folder, (names[(number + ahead) % len(names)],))


def known_moves(folder: Path, every: int, seed: int) -> Iterator[Pair]:
    """Yield the skull-stripped patients with known transforms: one and two sequences, 1 mm and 5 mm slices."""
    for number, case in enumerate(patients(folder, every)):
        rng = np.random.default_rng((seed, number))
        first, second = (SEQUENCES[k] for k in rng.choice(4, 2, replace=False))
        fixed = case.volumes[first]
        move = random_move(rng, tissue_mm(fixed).mean(axis=0))
        for spacing, slices in ((FINE_MM, "1 mm"), (THICK_MM, "5 mm slices")):
            thick = spacing[0] if spacing is THICK_MM else 1.0
            noisy = degraded(fixed, rng)
            moving = degraded(scanned(fixed, move, rng, spacing), rng)
            name = f"{case.patient} {first}"
            yield Pair(
                group=f"one sequence, {slices}", name=name, fixed=noisy, moving=moving, move=move, slice_mm=thick
            )
            other = case.volumes[second]
            moving, still = (degraded(scanned(other, m, rng, spacing), rng) for m in (move, np.eye(4)))
            group, name = f"two sequences, {slices}", f"{case.patient} {first} {second}"
            yield Pair(group=group, name=name, fixed=noisy, moving=moving, move=move, unmoved=still, slice_mm=thick)


def _heads(folder: Path) -> dict[str, dict[str, ImageVolume]]:
    studies = {case.patient: case.volumes for case in (*dicom(folder), *native(folder))}
    return {
        patient: {name: volume for name, volume in volumes.items() if patient == "TCGA-DU-7294" or name in STRUCTURAL}
        for patient, volumes in studies.items()
    }


def whole_heads(folder: Path, every: int, seed: int) -> Iterator[Pair]:
    """Yield pairs of real series on their own grids. The transforms are exact, since only the grid is transformed."""
    number = 0
    for patient, volumes in _heads(folder).items():
        for first in volumes:
            for second in volumes:
                number += 1
                if first == second or number % every:
                    continue
                rng = np.random.default_rng((seed, number))
                fixed, moving = volumes[first], volumes[second]
                move = random_move(rng, tissue_mm(fixed).mean(axis=0))
                yield Pair(
                    group=f"two sequences, {patient}",
                    name=f"{first} {second}",
                    fixed=degraded(fixed, rng),
                    moving=degraded(shifted_grid(moving, move), rng),
                    move=move,
                    unmoved=moving,
                    slice_mm=float(max(fixed.grid.spacing_mm.max(), moving.grid.spacing_mm.max())),
                )


def wrong_pairs(folder: Path, every: int, seed: int) -> Iterator[Pair]:
    """Yield pairs that the gate must not pass without remark, and cropped volumes, of which some are right."""
    both = zip(patients(folder, every), patients(folder, every, ahead=7), strict=True)
    for number, (case, stranger) in enumerate(both):
        rng = np.random.default_rng((seed, number, 1))
        first, second = (SEQUENCES[k] for k in rng.choice(4, 2, replace=False))
        spacing = (FINE_MM, THICK_MM)[number % 2]
        fixed = degraded(case.volumes[first], rng)
        move = random_move(rng, tissue_mm(fixed).mean(axis=0))

        def moved(volume: ImageVolume) -> ImageVolume:
            return degraded(scanned(volume, move, rng, spacing), rng)  # noqa: B023 - used within this turn

        own = moved(case.volumes[second])
        static = ImageVolume(grid=own.grid, voxels=rng.normal(100, 30, own.grid.shape).astype(np.float32))
        wrong = {
            "another patient, one sequence": moved(stranger.volumes[first]),
            "another patient, two sequences": moved(stranger.volumes[second]),
            "mirror image, one sequence": moved(mirrored(case.volumes[first])),
            "mirror image, two sequences": moved(mirrored(case.volumes[second])),
            "noise": static,
        }
        for group, volume in wrong.items():
            yield Pair(group=group, name=f"{case.patient} {first} {second}", fixed=fixed, moving=volume, move=None)
        for group, ends in (("middle 40 % of the slices", (0.3, 0.7)), ("middle 16 % of the slices", (0.42, 0.58))):
            part, name = cut(own, *ends), f"{case.patient} {first} {second}"
            yield Pair(group=group, name=name, fixed=fixed, moving=part, move=move, slice_mm=spacing[0])
    yield from _wrong_heads(folder, every)


def _wrong_heads(folder: Path, every: int) -> Iterator[Pair]:
    heads = _heads(folder)
    philips, brainix, stripped = (heads[name] for name in ("philips-1.5T-tumour", "brainix", "TCGA-DU-7294"))
    pairs = [
        ("another patient, whole heads", a, sharing_frame(b, a.grid.frame_of_reference_uid))
        for a in philips.values()
        for b in brainix.values()
    ]
    pairs += [
        ("mirror image, real series", a, mirrored(b))
        for volumes in (philips, brainix, stripped)
        for a in volumes.values()
        for b in volumes.values()
        if a is not b
    ]
    for number, (group, fixed, moving) in enumerate(pairs):
        if number % every == 0:
            yield Pair(group=group, name=str(number), fixed=fixed, moving=moving, move=None)


def native_references(folder: Path) -> Iterator[Pair]:
    """Yield the patient with reference transforms by ANTs, which map points of T1 to points of the other sequence."""
    place = folder / "native" / "TCGA-DU-7294" / "transforms"
    (case,) = native(folder)
    for sequence, stem in (("T1CE", "t1c"), ("T2", "t2"), ("FLAIR", "fla")):
        transform = sitk.ReadTransform(str(place / f"TCGA-DU-7294_{stem}_to_t1_0GenericAffine.mat"))
        matrix = np.eye(4)
        matrix[:3, 3] = transform.TransformPoint((0.0, 0.0, 0.0))
        for axis in range(3):
            corner = tuple(float(k == axis) for k in range(3))
            matrix[:3, axis] = np.array(transform.TransformPoint(corner)) - matrix[:3, 3]
        fixed, moving = case.volumes["T1"], case.volumes[sequence]
        yield Pair(group="ANTs", name=sequence, fixed=fixed, moving=moving, move=matrix, slice_mm=5.0)
