"""Measures how well a model detects studies it was not made for: wrong contrasts, half heads, noise, other body parts.

Run ``python benchmarks/novelty.py --data DIR --split SPLIT`` (half an hour on one core). It writes
``benchmarks/novelty.md``. DIR contains BraTS cases. SPLIT is the split of the autoencoder's training. Only held-out
patients are used.
"""

import argparse
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
from numpy.typing import NDArray

from conversion.alignment import AlignedVolumes
from conversion.sequences import Role
from conversion.volume import ImageVolume
from inference.cases.brats import open_brats
from inference.cases.splits import split_from_json
from inference.errors import UnsuitableInput
from inference.model_bundle import load_model
from inference.segmenter import Segmenter

REPORT = Path(__file__).with_suffix(".md")
ROLES = (Role.T1, Role.T1CE, Role.T2, Role.FLAIR)
SUBSETS = (ROLES, (Role.T1CE, Role.FLAIR), (Role.FLAIR,))
THICK_VOXELS = 5
NOISE = 0.7
"""Standard deviation of added noise in units of the brain's median."""

Kind = tuple[str, AlignedVolumes]


def main() -> None:
    """Measure and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="glioma", help="a shipped model, or a folder")
    parser.add_argument("--data", type=Path, required=True, help="folder of BraTS cases")
    parser.add_argument("--split", type=Path, required=True)
    parser.add_argument("--fold", type=int, default=0)
    chosen = parser.parse_args()
    segmenter = Segmenter(load_model(chosen.model, "cpu", 1))
    cases = open_brats(chosen.data)
    held = split_from_json(chosen.split.read_text("utf-8"), cases.cases).held_out(chosen.fold)
    scores: dict[tuple[int, str], list[float]] = {}
    for number, case in enumerate(one for one in cases.cases if one.patient in held):
        volumes = case.read().volumes
        for place, roles in enumerate(SUBSETS):
            for kind, study in _studies(volumes, roles, np.random.default_rng(number)):
                scores.setdefault((place, kind), []).append(_score(segmenter, study))
        print(f"{number + 1} of {len(held)} patients", file=sys.stderr, flush=True)
    autoencoder = segmenter.model.manifest.autoencoder
    limit = autoencoder.flag if autoencoder is not None else float("inf")
    text = _report(scores, chosen.model, len(held), limit)
    print(text)
    REPORT.write_text(text, encoding="utf-8")


def _score(segmenter: Segmenter, study: AlignedVolumes) -> float:
    try:
        found = segmenter.novelty(study)
    except UnsuitableInput:  # the images are empty
        return float("inf")
    return 0.0 if found is None else found


def _studies(volumes: AlignedVolumes, roles: tuple[Role, ...], rng: np.random.Generator) -> Iterator[Kind]:
    """Yield the study unchanged and in thick slices, and the unusual studies made from it."""
    given = {role: volumes.volumes[role].voxels for role in roles}
    yield "as it is", _with(volumes, given)
    yield "as it is", _with(volumes, {role: _thick(voxels) for role, voxels in given.items()})
    for claimed in roles:
        for other in ROLES:
            if other is not claimed:
                yield "wrong contrast", _with(volumes, {**given, claimed: volumes.volumes[other].voxels})
    shown = np.any([voxels > 0 for voxels in given.values()], axis=0)
    for axis, side in ((2, 0), (2, 1), (1, 0), (0, 0)):
        gone = _half(shown, axis, side)
        yield "half a head", _with(volumes, {role: np.where(gone, 0, voxels) for role, voxels in given.items()})
    medians = {role: float(np.median(voxels[voxels > 0])) for role, voxels in given.items()}
    yield (
        "noise",
        _with(
            volumes,
            {
                role: np.where(shown, np.abs(voxels + rng.normal(0, NOISE * medians[role], voxels.shape)), 0)
                for role, voxels in given.items()
            },
        ),
    )
    yield "noise", _with(volumes, {role: rng.uniform(0, 300, voxels.shape) for role, voxels in given.items()})
    for draw in (_trunk, _limb):
        yield "another body part", _with(volumes, {role: draw(shown.shape, rng) for role in roles})


def _with(volumes: AlignedVolumes, voxels: dict[Role, NDArray[np.floating]]) -> AlignedVolumes:
    made = {
        role: ImageVolume(grid=volumes.grid, voxels=np.asarray(values, np.float32)) for role, values in voxels.items()
    }
    reference = Role.T1CE if Role.T1CE in made else next(iter(made))
    return replace(volumes, reference=reference, volumes=made)


def _thick(voxels: NDArray[np.floating]) -> NDArray[np.floating]:
    """Average slices over 5 mm, like a thick acquisition on a fine grid."""
    whole = len(voxels) // THICK_VOXELS * THICK_VOXELS
    means = voxels[:whole].reshape(-1, THICK_VOXELS, *voxels.shape[1:]).mean(axis=1)
    places = (np.arange(len(voxels)) - (THICK_VOXELS - 1) / 2) / THICK_VOXELS
    low = np.clip(np.floor(places).astype(int), 0, len(means) - 2)
    share = np.clip(places - low, 0, 1)[:, None, None]
    return np.asarray(means[low] * (1 - share) + means[low + 1] * share)


def _half(shown: NDArray[np.bool_], axis: int, side: int) -> NDArray[np.bool_]:
    places = np.flatnonzero(shown.any(axis=tuple(other for other in range(3) if other != axis)))
    index = np.arange(shown.shape[axis])
    middle = (places[0] + places[-1]) / 2
    gone = index < middle if side == 0 else index >= middle
    return np.broadcast_to(gone.reshape([-1 if other == axis else 1 for other in range(3)]), shown.shape)


def _coordinates(shape: tuple[int, ...]) -> list[NDArray[np.float64]]:
    return list(np.meshgrid(*(np.arange(size) - size / 2 for size in shape), indexing="ij", sparse=True))


def _trunk(shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.float64]:
    """Return a slab of a synthetic trunk: fat around organs of different brightness, and a spine."""
    _, y, x = _coordinates(shape)
    wide, deep = rng.uniform(95, 115), rng.uniform(70, 90)
    radius = np.broadcast_to((y / deep) ** 2 + (x / wide) ** 2, shape)
    body = np.where(radius < 1, 220.0, 0.0)
    body[radius < 0.75] = rng.uniform(60, 120)
    for _ in range(4):
        cy, cx, size = rng.uniform(-40, 40), rng.uniform(-60, 60), rng.uniform(12, 35)
        body[np.broadcast_to((y - cy) ** 2 + (x - cx) ** 2 < size**2, shape)] = rng.uniform(30, 260)
    body[np.broadcast_to((y - 45) ** 2 + x**2 < 20**2, shape)] = rng.uniform(80, 160)
    return np.asarray(body * rng.uniform(0.9, 1.1, shape))


def _limb(shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.float64]:
    """Return a synthetic thigh or knee: muscle, fat, and a bone with bright marrow."""
    _, y, x = _coordinates(shape)
    radius = np.broadcast_to(np.hypot(y, x * rng.uniform(0.9, 1.1)), shape)
    size = rng.uniform(55, 75)
    limb = np.where(radius < size, 240.0, 0.0)
    limb[radius < size - 10] = rng.uniform(60, 110)
    limb[radius < 18] = 10.0
    limb[radius < 13] = rng.uniform(150, 260)
    return np.asarray(limb * rng.uniform(0.9, 1.1, shape))


def auroc(usual: list[float], strange: list[float]) -> float:
    """Return how often an unusual study scores higher than a usual one. Ties count half."""
    first, second = np.array(usual)[:, None], np.array(strange)[None, :]
    return float(np.mean((second > first) + 0.5 * (second == first)))


def noticed(scores: list[float], limit: float) -> float:
    """Return the share that is flagged or withheld because its novelty is too high or it shows no brain."""
    return float(np.mean(np.array(scores) >= limit))


def _report(scores: dict[tuple[int, str], list[float]], model: str, patients: int, limit: float) -> str:
    kinds = [kind for place, kind in scores if place == 0 and kind != "as it is"]
    lines = [
        "# Novelty",
        "",
        f"{patients} BraTS patients on which the autoencoder of `{Path(model).name}` was not trained, each unchanged",
        "and in 5 mm slices, against studies that the model was not made for. AUROC: how often the unusual study",
        "scores higher than the usual one. After it: the share that is flagged or withheld at the shipped limit,",
        f"{limit:g}. Other flags (predictions that differ, a poor registration) are not counted.",
        "Made by `python benchmarks/novelty.py`.",
        "",
        f"| sequences given | {' | '.join(kinds)} | all | usual: median, 95th percentile, highest | usual, flagged |",
        f"|---|{'---|' * (len(kinds) + 3)}",
    ]
    for place, roles in enumerate(SUBSETS):
        usual = scores[place, "as it is"]
        strange = [scores[place, kind] for kind in kinds]
        groups = [*strange, [value for group in strange for value in group]]
        cells = [f"{auroc(usual, group):.3f}, {noticed(group, limit):.0%}" for group in groups]
        low, high, top = np.quantile(usual, (0.5, 0.95, 1.0))
        cells += [f"{low:.2f}, {high:.2f}, {top:.2f}", f"{noticed(usual, limit):.0%}"]
        lines.append(f"| {', '.join(roles)} | {' | '.join(cells)} |")
    lines += ["", "The program defines each kind. The trunk and the limb are synthetic, not scanned."]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
