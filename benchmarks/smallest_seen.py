"""Measures the smallest tumours that a model finds, by contrast and slice thickness.

    python benchmarks/smallest_seen.py --model DIR --brats DIR --cache DIR --split FILE [--each N] [--into]

Tumours of held-out patients are scaled to given volumes and implanted into tumour-free brains of patients who were held
out from the same networks. A tumour is found if any of its voxels is marked. With --into, the smallest volume from
which nine in ten are found is written into the model's manifest.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from tqdm import tqdm

from conversion.alignment import AlignedVolumes
from conversion.sequences import Role
from conversion.volume import Grid, ImageVolume
from inference.cases.layouts import open_cases
from inference.cases.prepared import Preparation, PreparedCase, PreparedReference, prepare_cases
from inference.cases.splits import split_from_json
from inference.components import box_around
from inference.errors import UnsuitableInput
from inference.evaluation.held_out import HeldOutSegmenters
from inference.manifest import read_manifest
from inference.model_bundle import load_model
from inference.preprocessing import CHANNELS
from inference.regions import Region
from inference.segmenter import Segmenter
from inference.smallest_seen import contrast_of
from inference.training.model_card import restate
from inference.training.tumours.made_whole import whole_cases

TABLE = Path(__file__).with_suffix(".md")
SEED = 20261129
VOLUMES_ML = (0.3, 0.5, 1.0, 2.0, 5.0)
SETS = (("T1", "T1CE", "T2", "FLAIR"), ("T1", "FLAIR"), ("T1CE",))
THICK_SLICES = 5
"""Number of 1 mm slices that are averaged into one thick slice."""

WANTED = 0.9
MOST_SHRUNK = 0.25
MOST_GROWN = 1.5
"""Limits of the scaling of a tumour's diameter. Below the lower limit its rim would be thinner than a voxel."""

MARGIN = 4
SOFT_MM = 1.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Implanted:
    """A brain with one small tumour.

    Attributes
    ----------
    images
        Shape (channel, slice, row, column), voxels of 1 mm.
    tumour
        Shape (slice, row, column).
    """

    images: NDArray[np.float32]
    tumour: NDArray[np.bool_]


def main() -> None:
    """Implant tumours, segment them, and count those that are found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--brats", type=Path, required=True)
    parser.add_argument("--cache", type=Path, required=True, help="folder for prepared cases")
    parser.add_argument("--split", type=Path, required=True)
    parser.add_argument("--each", type=int, default=20, help="number of tumours of each size")
    parser.add_argument("--into", action="store_true", help="write the smallest volumes into the model's manifest")
    chosen = parser.parse_args()
    split = split_from_json(chosen.split.read_text("utf-8"), [])
    segmenters = HeldOutSegmenters(load_model(str(chosen.model.absolute()), "auto", 2), split)
    cases = prepare_cases([open_cases("brats", chosen.brats)], Preparation(cubes=True), chosen.cache, tqdm).cases
    whole = [case for case in whole_cases(cases) if segmenters.fold_of(case.patient) is not None]
    found: dict[tuple[str, float], list[bool]] = {}
    voxels = _sizes(cases)
    rng = np.random.default_rng(SEED)
    for number in tqdm(range(chosen.each)):
        onto = whole[number % len(whole)]
        fold = segmenters.fold_of(onto.patient)
        donors = [one for one in cases if segmenters.fold_of(one.patient) == fold and one.patient != onto.patient]
        for volume_ml in VOLUMES_ML:
            fitting = [one for one in donors if _can_be_scaled(voxels.get(one.case_id, 0), volume_ml)]
            if not fitting:
                continue
            made = implant(rng, onto.read(), fitting[int(rng.integers(len(fitting)))].read(), volume_ml)
            for kind, is_found in _answers(segmenters.for_case(onto), made):  # type: ignore[arg-type]
                found.setdefault((kind, volume_ml), []).append(is_found)
    smallest = {kind: ml for kind in dict.fromkeys(kind for kind, _ in found) if (ml := _smallest(found, kind))}
    TABLE.write_text("\n".join(_page(found, smallest, chosen.model)), encoding="utf-8")
    if chosen.into:
        manifest = read_manifest(str(chosen.model.absolute()))[1]
        restate(chosen.model, replace(manifest, smallest_seen_ml=smallest))


def _sizes(cases: Sequence[PreparedReference]) -> dict[str, int]:
    """Return the number of tumour voxels of each case that has all sequences."""
    read = ((one.case_id, one.read()) for one in tqdm(cases))
    return {name: int(np.count_nonzero(case.regions[0])) for name, case in read if all(case.present)}


def _can_be_scaled(voxels: int, volume_ml: float) -> bool:
    """Tell whether a tumour can be scaled to a volume without changing its character."""
    return bool(voxels) and MOST_SHRUNK <= np.cbrt(volume_ml * 1000 / voxels) <= MOST_GROWN


def implant(rng: np.random.Generator, brain: PreparedCase, donor: PreparedCase, volume_ml: float) -> Implanted:
    """Return a brain with another patient's tumour, scaled to a given volume."""
    tumour = donor.regions[0]
    box = box_around(torch.tensor(tumour), MARGIN)
    if box is None:
        raise ValueError("the donor case has no tumour")
    factor = float(np.cbrt(volume_ml * 1000 / np.count_nonzero(tumour)))
    blur = max(0.0, 0.4 / factor - 0.4)  # the average over voxels that are enlarged relative to the tumour
    small = [
        ndimage.zoom(ndimage.gaussian_filter(channel[box].astype(np.float32), blur), factor, order=1)
        for channel in donor.images
    ]
    mask = ndimage.zoom(tumour[box].astype(np.float32), factor, order=1)
    inside = (brain.images > 0).any(axis=0)
    depth = ndimage.distance_transform_edt(inside)
    places = np.flatnonzero(depth > np.cbrt(volume_ml * 1000 * 0.24))
    middle = np.unravel_index(places[int(rng.integers(len(places)))], inside.shape)
    low = [int(place) - size // 2 for place, size in zip(middle, mask.shape, strict=True)]
    at = tuple(slice(max(0, a), min(end, a + size)) for a, size, end in zip(low, mask.shape, inside.shape, strict=True))
    of = tuple(slice(part.start - a, part.stop - a) for part, a in zip(at, low, strict=True))
    share = ndimage.gaussian_filter(np.clip(mask[of] * 2, 0, 1), SOFT_MM / 2) * inside[at]
    images = brain.images.astype(np.float32)
    for channel, values in zip(images, small, strict=True):
        channel[at] = channel[at] * (1 - share) + values[of] * share
    where = np.zeros(inside.shape, bool)
    where[at] = (mask[of] > 0.5) & inside[at]
    return Implanted(images=images, tumour=where)


def _answers(segmenter: Segmenter, made: Implanted) -> Iterator[tuple[str, bool]]:
    """Yield for each set of sequences and each slice thickness whether the tumour is found."""
    for sequences in SETS:
        for slices in (1, THICK_SLICES):
            thick = _thick(made, slices)
            grid = Grid(
                shape=(thick.tumour.shape[0], thick.tumour.shape[1], thick.tumour.shape[2]),
                affine=np.array([[0.0, 0, 1, 0], [0, 1, 0, 0], [slices, 0, 0, 0], [0, 0, 0, 1]]),
                frame_of_reference_uid="1",
            )
            volumes = {
                Role(name): ImageVolume(grid=grid, voxels=thick.images[CHANNELS.index(name)] * 200)
                for name in sequences
            }
            reference = Role.T1CE if Role.T1CE in volumes else Role.FLAIR
            aligned = AlignedVolumes(reference=reference, volumes=volumes, registrations={}, decisions=())
            try:
                marked = segmenter.segment(aligned).mask_of(Region.WT)
            except UnsuitableInput as refusal:
                print(refusal)
                continue
            near = ndimage.binary_dilation(thick.tumour)
            yield f"{contrast_of(sequences)} {'thin' if slices == 1 else 'thick'}", bool((marked & near).any())


def _thick(made: Implanted, slices: int) -> Implanted:
    count = made.tumour.shape[0] // slices
    images = made.images[:, : count * slices].reshape(len(made.images), count, slices, *made.tumour.shape[1:])
    tumour = made.tumour[: count * slices].reshape(count, slices, *made.tumour.shape[1:])
    return Implanted(images=images.mean(axis=2), tumour=tumour.any(axis=1))


def _smallest(found: dict[tuple[str, float], list[bool]], kind: str) -> float | None:
    """Return the smallest volume from which on nine in ten are found, or None if fewer of the largest are found."""
    smallest = None
    for volume_ml in sorted(VOLUMES_ML, reverse=True):
        if np.mean(found.get((kind, volume_ml), [False])) < WANTED:
            break
        smallest = volume_ml
    return smallest


def _page(found: dict[tuple[str, float], list[bool]], smallest: dict[str, float], model: Path) -> Iterator[str]:
    manifest = read_manifest(str(model.absolute()))[1]
    yield "# The smallest tumours that are found\n"
    yield f"`{manifest.name} {manifest.version}`: implanted tumours of which any voxel is marked, by networks that were"
    yield "trained on neither the tumour nor the brain. Made by `python benchmarks/smallest_seen.py`.\n"
    yield "| images | " + " | ".join(f"{volume:g} ml" for volume in VOLUMES_ML) + " | nine in ten from |"
    yield "|---" * (len(VOLUMES_ML) + 2) + "|"
    for kind in dict.fromkeys(kind for kind, _ in found):
        shares = [_share(found.get((kind, volume), [])) for volume in VOLUMES_ML]
        least = f"{smallest[kind]:g} ml" if kind in smallest else "more than measured"
        yield f"| {kind} | {' | '.join(shares)} | {least} |"
    yield ""


def _share(seen: Sequence[bool]) -> str:
    return f"{sum(seen)} of {len(seen)}" if seen else "-"


if __name__ == "__main__":
    main()
