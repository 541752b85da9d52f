"""Measures how well and how fast the shipped network finds the brain in heads that it was not trained on.

    python benchmarks/brain.py --heads DIR [--masks DIR] [--brats DIR] [--pictures DIR]

Writes ``benchmarks/brain.md``. HEADS is the folder that ``unpack_heads.py`` wrote. MASKS contains the brain masks of
another network for comparison, ``<name>.npy`` in a head's axial order. Pictures of every real head are written to a
folder of your choice: they show patients.
"""

import argparse
import resource
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
import torch
from monai.inferers.utils import sliding_window_inference
from numpy.typing import NDArray
from scipy import ndimage

from benchmarks.brain_heads import HeadFolders, axial_file, is_held_out, read_heads
from benchmarks.brain_pictures import write_pictures
from conversion.alignment import AlignedVolumes
from conversion.sequences import Role
from conversion.volume import Grid, ImageVolume
from inference.brain_network import BrainNetwork, brain_on_cubes
from inference.brain_region import BrainFound, find_brain
from inference.cases.brats import open_brats
from inference.evaluation.surface import hd95
from inference.model_bundle import load_brain
from inference.study_tensors import StudyTensors
from inference.training.heads.bodies import drawn_body
from inference.training.heads.contrasts import ContrastChances
from inference.training.heads.coverage import CoverageChances
from inference.training.heads.degradation import DegradationLimits
from inference.training.heads.label_map import closed_brain
from inference.training.heads.sampler import HeadSampler, Recipe

TABLE = Path(__file__).with_suffix(".md")
CPU = torch.device("cpu")
SEED = 20261130
SAMPLES = 48
"""Number of synthetic images of the held-out label maps."""

COMMON = Recipe(
    brainless=0.0,
    real=0.0,
    contrasts=ContrastChances(like_a_sequence=1.0),
    degradation=DegradationLimits(curved=0.0, ghosted=0.0, noise=0.04, shading=0.25),
    coverage=CoverageChances(partial=0.0, defaced=0.0, stripped=0.0),
)
"""Whole heads as the node mostly receives them, in slices of up to 7.5 mm, with the usual tumours, cavities and opened
skulls."""

INSIDE, FAR_MM, FAR_SHARE = 0.985, 6.0, 0.08
"""Targets for the elderly: the least share of the labelled brain that is found, and the largest share of the result
that is this far outside its hull."""

BY_HAND = "## Visual check"
"""The text below this heading is written by a person, and is kept."""

LOAD_SHAPE = (160, 256, 256)
REPEATS = 5


@dataclass(frozen=True, kw_only=True)
class Row:
    """One figure."""

    what: str
    value: str
    target: str = "-"
    met: bool | None = None

    def __str__(self) -> str:
        """Return the row of a table."""
        met = {None: "-", True: "yes", False: "**no**"}[self.met]
        return f"| {self.what} | {self.value} | {self.target} | {met} |"


def main() -> None:
    """Measure and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--heads", type=Path, required=True)
    parser.add_argument("--masks", type=Path)
    parser.add_argument("--brats", type=Path)
    parser.add_argument("--pictures", type=Path)
    chosen = parser.parse_args()
    network = load_brain(CPU)
    rows = list(_speed(network))  # before anything else uses memory
    rows += [*_label_maps(network, chosen.heads), *_elderly(network, chosen.heads, chosen.masks)]
    rows += _bodies(network)
    if chosen.brats:
        rows += _stripped(network, chosen.brats)
    if chosen.pictures:
        write_pictures(_real_heads(network, chosen.heads), chosen.pictures)
    TABLE.write_text(_page(rows), encoding="utf-8")


def _found(network: BrainNetwork, voxels: NDArray[np.float32], spacing_mm: Sequence[float]) -> BrainFound | None:
    """Return the brain of a head whose axes run up, to the back and to the left."""
    affine = np.zeros((4, 4))
    affine[[2, 1, 0], [0, 1, 2]] = spacing_mm
    affine[3, 3] = 1
    shape = (voxels.shape[0], voxels.shape[1], voxels.shape[2])
    volume = ImageVolume(grid=Grid(shape=shape, affine=affine, frame_of_reference_uid="1"), voxels=voxels)
    aligned = AlignedVolumes(reference=Role.T1, volumes={Role.T1: volume}, registrations={}, decisions=())
    return find_brain(network, StudyTensors.of(aligned, CPU))


def _dice(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> float:
    return 2 * np.count_nonzero(first & second) / (np.count_nonzero(first) + np.count_nonzero(second))


def _label_maps(network: BrainNetwork, folder: Path) -> Iterator[Row]:
    """Measure on images of held-out label maps: with common contrasts, and with any contrast and fault."""
    held = read_heads(HeadFolders(heads=folder), held_out=True)
    for name, recipe in (
        ("held-out label maps, contrast of T1, T1CE, T2 or FLAIR", COMMON),
        ("held-out label maps, any contrast and fault", Recipe(brainless=0.0, real=0.0)),
        ("held-out elderly heads, changed in the same way", Recipe(brainless=0.0, real=1.0)),
    ):
        sampler = HeadSampler(held, recipe, SEED)
        dice, distance = [], []
        for number in range(SAMPLES):
            view = sampler.sample(number)
            found = _found(network, view.image, (recipe.grid.spacing_mm,) * 3)
            mask = np.zeros(view.brain.shape, bool)
            if found is not None:
                mask = np.asarray(found.away_mm <= 0)  # the outline that it was trained on
            dice.append(_dice(mask, view.brain))
            distance.append(hd95(mask, view.brain, np.full(3, recipe.grid.spacing_mm)))
            _say(f"{name} {number}: Dice {dice[-1]:.3f}, HD95 {distance[-1]:.1f} mm")
        low, middle = np.percentile(dice, (5, 50))
        value = f"{np.mean(dice):.3f} (median {middle:.3f}, 5th percentile {low:.3f})"
        yield Row(what=f"{name}: mean Dice", value=value, target="at least 0.97", met=bool(np.mean(dice) >= 0.97))
        middle, high = np.percentile(distance, (50, 95))
        value = f"{middle:.1f} (95th percentile {high:.1f})"
        yield Row(what=f"{name}: median HD95 (mm)", value=value, target="at most 3", met=bool(middle <= 3))


def _elderly(network: BrainNetwork, folder: Path, masks: Path | None) -> Iterator[Row]:
    for path in sorted(folder.glob("elderly_*_t1.nii.gz")):
        name = path.name.removesuffix(".nii.gz")
        if not is_held_out(name):
            continue
        image, spacing_mm = axial_file(path)
        labelled = axial_file(folder / f"{name}_structures.nii.gz")[0] > 0
        far = ndimage.distance_transform_edt(~closed_brain(labelled, spacing_mm), sampling=spacing_mm) > FAR_MM
        found = _found(network, image, spacing_mm)
        answers = {"": np.zeros(image.shape, bool) if found is None else np.asarray(found.mask)}
        if masks is not None and (masks / f"{name}.npy").exists():
            answers[", the reference network"] = np.load(masks / f"{name}.npy").astype(bool)
        for who, mask in answers.items():
            inside = np.count_nonzero(mask & labelled) / np.count_nonzero(labelled)
            outside = np.count_nonzero(mask & far) / max(1, np.count_nonzero(mask))
            yield Row(
                what=f"{name}{who}: share of the brain found, share of the result far outside",
                value=f"{inside:.1%}, {outside:.1%}",
                target=f"at least {INSIDE:.1%}, at most {FAR_SHARE:.0%}",
                met=bool(inside >= INSIDE and outside <= FAR_SHARE),
            )


def _stripped(network: BrainNetwork, folder: Path) -> Iterator[Row]:
    known, total = 0, 0
    for case in open_brats(folder).cases:
        volumes = case.read().volumes
        for role, volume in volumes.volumes.items():
            alone = AlignedVolumes(reference=role, volumes={role: volume}, registrations={}, decisions=())
            found = find_brain(network, StudyTensors.of(alone, CPU))
            total += 1
            known += found is not None and found.stripped
    what = "skull-stripped volumes (BraTS), recognised as such and left unchanged"
    yield Row(what=what, value=f"{known} of {total}", target="all", met=known == total)


def _speed(network: BrainNetwork) -> Iterator[Row]:
    """Time a study of two sequences, 256 x 256 x 160 at 1 mm, against MONAI's sliding window with the same network."""
    slices, rows, columns = np.meshgrid(*(np.linspace(-1, 1, n, dtype=np.float32) for n in LOAD_SHAPE), indexing="ij")
    radius = np.sqrt(slices**2 / 0.8 + rows**2 / 0.7 + columns**2 / 0.5)
    head = np.where(radius < 1, 400 + 200 * np.sin(20 * radius), 0).astype(np.float32)
    affine = np.array([[0.0, 0, 1, 0], [0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1]])
    volume = ImageVolume(grid=Grid(shape=LOAD_SHAPE, affine=affine, frame_of_reference_uid="1"), voxels=head)
    study = AlignedVolumes(
        reference=Role.T1CE, volumes={Role.T1CE: volume, Role.FLAIR: volume}, registrations={}, decisions=()
    )
    before_kib = _peak_kib()
    find_brain(network, StudyTensors.of(study, CPU))
    taken_kib = _peak_kib() - before_kib
    whole, windows = [], []
    cubes = brain_on_cubes(network, torch.tensor(head), volume.grid)[1]  # only its shape matters for the time
    for _ in range(REPEATS):
        begun = time.perf_counter()
        find_brain(network, StudyTensors.of(study, CPU))
        whole.append(time.perf_counter() - begun)
        begun = time.perf_counter()
        with torch.inference_mode():
            for _ in range(2):
                sliding_window_inference(cubes[None, None], (96, 96, 96), 1, network.module, overlap=0.25)
        windows.append(time.perf_counter() - begun)
    seconds, reference = float(np.median(whole)), float(np.median(windows))
    value = f"{seconds:.2f}; network alone with MONAI's sliding window {reference:.2f} ({reference / seconds:.1f} x)"
    yield Row(what="complete study of two sequences (s)", value=value, target="at most 1.5", met=seconds <= 1.5)
    value = f"{taken_kib / 2**20:.2f} in addition to {before_kib / 2**20:.2f} for torch, MONAI and the images"
    yield Row(what="memory of this study (GiB)", value=value, target="at most 1", met=taken_kib <= 2**20)


def _peak_kib() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _bodies(network: BrainNetwork) -> Iterator[Row]:
    """Count in how many images of noise, bottles, limbs and trunks no brain is found."""
    recipe = Recipe()
    none = 0
    for number in range(SAMPLES):
        body = drawn_body(np.random.default_rng([SEED, number]), recipe.grid, recipe.bodies)
        none += _found(network, body, (recipe.grid.spacing_mm,) * 3) is None
    value = f"{none} of {SAMPLES}"
    yield Row(what="images of noise and bodies in which no brain is found", value=value)


def _real_heads(
    network: BrainNetwork, folder: Path
) -> Iterator[tuple[str, NDArray[np.float32], Sequence[float], NDArray[np.bool_]]]:
    for path in sorted(folder.glob("*.nii.gz")):
        name = path.name.removesuffix(".nii.gz")
        if name.startswith(("elderly", "ms", "postop")) and not name.endswith(("_structures", "_enhancing")):
            image, spacing_mm = axial_file(path)
            found = _found(network, image, spacing_mm)
            yield name, image, spacing_mm, np.zeros(image.shape, bool) if found is None else np.asarray(found.mask)


def _page(rows: Sequence[Row]) -> str:
    return "\n".join(
        [
            "# Finding the brain",
            "",
            "The shipped network on heads that it was not trained on: label maps 05, 10, 15, 20,",
            "elderly 02, 10, 17, 23. Made by `python benchmarks/brain.py`. For its training see",
            "`benchmarks/brain_learning.py`.",
            "",
            "| measurement | value | target | met |",
            "|---|---|---|---|",
            *map(str, rows),
            "",
            "Brain means tissue and ventricles with the fluid in sulci up to 10 mm wide (closed by 5 mm).",
            "All synthetic images have slices of up to 7.5 mm, tumours, cavities and opened skulls. Those with any",
            "contrast and fault also have partial fields of view, ghosts, strong shading and noise, and half of them",
            "have a contrast that no sequence has. Their Dice is that of the network's own outline. For real heads,",
            "the brain that is written is measured, which is 1 mm wider.",
            "",
            BY_HAND + (TABLE.read_text("utf-8").partition(BY_HAND)[2] if TABLE.exists() else "\n"),
        ]
    )


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
