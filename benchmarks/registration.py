"""Measures the registration: known transforms, reference transforms, the gate, alternatives, time and memory.

Run ``python benchmarks/registration.py`` (an hour and a half on one core) or with ``--quick`` (minutes). It writes
``benchmarks/registration.md``. With ``--kept FILE`` every outcome is appended to a file at once, and a run that was
stopped resumes from there. The data are in the folder ``GLIONODE_TEST_DATA``, by default ``../shared/data``.
"""

import argparse
import json
import os
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from itertools import chain
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))  # this folder holds a conversion.py of its own

import numpy as np
from numpy.typing import NDArray

from benchmarks.recognition_data import data_folder
from benchmarks.registration_alternatives import compare
from benchmarks.registration_cases import Pair, known_moves, native_references, patients, whole_heads, wrong_pairs
from conversion.alignment import align, resample
from conversion.errors import RegistrationFailed
from conversion.registration.quality import doubts
from conversion.registration.register import Registration, register
from conversion.sequences import Role
from conversion.volume import Grid, ImageVolume
from tests.support.moved_volumes import degraded, errors_mm, random_move, shifted_grid, tissue_mm

SEED = 20261121
REPORT = Path(__file__).with_suffix(".md")
SHAPE = (160, 256, 256)
Row = tuple[str, ...]


def main() -> None:
    """Measure and write the report, or measure one figure in a child process."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="use every eighth patient only, and write no report")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--every", type=int, default=1, help="use every n-th patient")
    parser.add_argument("--kept", type=Path, help="file for outcomes, one JSON line each")
    parser.add_argument("--memory", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    folder = data_folder()
    if chosen.memory:
        print(json.dumps(_study_of_four(chosen.memory)))
        return
    every = 8 if chosen.quick else chosen.every
    kept = Kept(chosen.kept)
    accuracy, gate = _accuracy(folder, every, chosen.seed, kept)
    references = [_reference(pair) for pair in native_references(folder)]
    gate += _gate(folder, every, chosen.seed, kept)
    others = compare(folder, 4 * every, chosen.seed, kept.outcome)
    text = _report(accuracy, references, gate, others, _cost(folder))
    print(text)
    if not chosen.quick:
        REPORT.write_text(text)


def _tried(fixed: ImageVolume, moving: ImageVolume) -> Registration | None:
    try:
        return register(fixed, moving)
    except RegistrationFailed:
        return None


class Kept:
    """Outcomes by key. They are stored in a file, if one is given, so that they survive the process."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        lines = path.read_text().splitlines() if path and path.exists() else []
        self._known: dict[str, Any] = dict(json.loads(line) for line in lines)

    def outcome(self, key: str, work: Callable[[], Any]) -> Any:  # noqa: ANN401 - whatever JSON holds
        """Return the outcome stored under a key. If there is none, do the work and store its outcome."""
        if key not in self._known:
            self._known[key] = work()
            if self._path:
                with self._path.open("a") as file:
                    file.write(json.dumps((key, self._known[key])) + "\n")
        return self._known[key]


def _accuracy(folder: Path, every: int, seed: int, kept: Kept) -> tuple[list[Row], list[Row]]:
    """Return the errors by group, and the verdicts of the gate."""
    errors: dict[str, list[NDArray[np.float64]]] = {}
    verdicts: dict[str, list[str]] = {}
    slices: dict[str, float] = {}
    for number, pair in enumerate(chain(known_moves(folder, every, seed), whole_heads(folder, every, seed))):
        verdict, found = kept.outcome(f"known {number} {pair.group} {pair.name}", lambda pair=pair: _known(pair))
        verdicts.setdefault(pair.group, []).append(verdict)
        slices[pair.group] = max(pair.slice_mm, slices.get(pair.group, 0.0))
        if found:
            errors.setdefault(pair.group, []).append(np.array(found))
            print(f"{pair.group}: {pair.name}: {np.median(found):.2f} mm, {verdict}", flush=True)
    rows = []
    for group, values in errors.items():
        every_point = np.concatenate(values)
        medians = [float(np.median(error)) for error in values]
        figures = (np.median(every_point), np.percentile(every_point, 95), max(medians))
        rows.append((group, str(len(values)), f"{slices[group]:.1f}", *(f"{figure:.2f}" for figure in figures)))
    return rows, [(f"right: {group}", *_counts(given)) for group, given in verdicts.items()]


def _known(pair: Pair) -> tuple[str, list[float]]:
    """Return the verdict on a pair with a known transform, and the error at every point, or no errors if refused."""
    found = _tried(pair.fixed, pair.moving)
    if found is None or pair.move is None:
        return _verdict(found), []
    unmoved = np.eye(4) if pair.unmoved is None else register(pair.fixed, pair.unmoved).matrix
    error = errors_mm(found.matrix, pair.move @ unmoved, tissue_mm(pair.fixed))
    return _verdict(found), [round(float(value), 4) for value in error]


def _verdict(found: Registration | None) -> str:
    if found is None:
        return "refused"
    return "declared" if doubts(found) else "passed"


def _counts(verdicts: list[str]) -> Row:
    return (str(len(verdicts)), *(str(verdicts.count(verdict)) for verdict in ("passed", "declared", "refused")))


def _gate(folder: Path, every: int, seed: int, kept: Kept) -> list[Row]:
    verdicts: dict[str, list[str]] = {}
    for number, pair in enumerate(wrong_pairs(folder, every, seed)):
        label, verdict = kept.outcome(f"gate {number} {pair.name}", lambda pair=pair: _judged(pair))
        verdicts.setdefault(label, []).append(verdict)
        print(f"{label}: {pair.name}: {verdict}", flush=True)
    return [(group, *_counts(given)) for group, given in verdicts.items()]


def _judged(pair: Pair) -> tuple[str, str]:
    found = _tried(pair.fixed, pair.moving)
    return _label(pair, found), _verdict(found)


def _label(pair: Pair, found: Registration | None) -> str:
    """Return the row of a pair. Cropped volumes are right or wrong by their error within the part that is left."""
    if pair.move is None:
        return f"wrong: {pair.group}"
    if found is None:
        return f"cropped: {pair.group}, position unknown"
    back = np.linalg.inv(pair.moving.grid.affine) @ pair.move
    points = tissue_mm(pair.fixed, 20_000)
    index = points @ back[:3, :3].T + back[:3, 3]
    inside = np.all((index > -0.5) & (index < np.array(pair.moving.grid.shape) - 0.5), axis=1)
    error = float(np.median(errors_mm(found.matrix, pair.move, points[inside])))
    return f"cropped: {pair.group}, {'within' if error <= 2.0 else 'beyond'} 2 mm"


def _reference(pair: Pair) -> Row:
    found = register(pair.fixed, pair.moving)
    error = errors_mm(found.matrix, pair.move, tissue_mm(pair.fixed, 20_000))
    return (pair.name, *(f"{figure:.2f}" for figure in (np.median(error), np.percentile(error, 95), error.max())))


def _large(volume: ImageVolume) -> ImageVolume:
    """Return a patient on 256 by 256 by 160 voxels."""
    spacing = np.array([1.0, 0.94, 0.94])
    affine = np.eye(4)
    affine[:3, :3] = volume.grid.directions * spacing
    middle = tissue_mm(volume).mean(axis=0)
    affine[:3, 3] = middle - affine[:3, :3] @ ((np.array(SHAPE) - 1) / 2)
    return resample(volume, Grid(shape=SHAPE, affine=affine, frame_of_reference_uid="1.2.3"))


def _four(folder: Path) -> dict[Role, ImageVolume]:
    case = next(patients(folder, 1))
    rng = np.random.default_rng(SEED)
    volumes = {Role(name): degraded(_large(volume), rng) for name, volume in case.volumes.items()}
    middle = tissue_mm(volumes[Role.T1CE]).mean(axis=0)
    return {
        role: volume if role is Role.T1CE else shifted_grid(volume, random_move(rng, middle))
        for role, volume in volumes.items()
    }


def _study_of_four(path: Path) -> dict[str, float]:
    """Align four large volumes in this otherwise empty process, and return its time and memory."""
    with np.load(path) as kept:
        volumes = {
            role: ImageVolume(
                grid=Grid(shape=SHAPE, affine=kept[f"{role} affine"], frame_of_reference_uid="1.2.3"),
                voxels=kept[str(role)],
            )
            for role in Role
        }
    before = _peak_gib()
    began, used = time.perf_counter(), time.process_time()
    align(volumes, Role.T1CE)
    took, used = time.perf_counter() - began, time.process_time() - used
    return {"before_gib": before, "peak_gib": _peak_gib(), "s": took, "cpu_s": used}


def _peak_gib() -> float:
    """Return the peak memory of this program. getrusage would give that of the parent process if it was larger."""
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) / 2**20


def _cost(folder: Path) -> list[Row]:
    volumes = _four(folder)
    fixed = volumes[Role.T1CE]
    unit, _ = _seconds(lambda: resample(volumes[Role.T1], fixed.grid), 5)
    rows = []
    for role in (Role.T1, Role.T2, Role.FLAIR):
        took, used = _seconds(lambda role=role: register(fixed, volumes[role]), 5)
        rows.append((f"T1CE and {role}", f"{took:.1f} s", f"{used:.1f} s", f"{took / unit:.0f}"))
    study = _apart(volumes)
    name = "a study of four volumes, registered and resampled"
    rows.append((name, f"{study['s']:.1f} s", f"{study['cpu_s']:.1f} s", f"{study['s'] / unit:.0f}"))
    peak = f"{study['peak_gib']:.2f} GiB ({study['before_gib']:.2f} GiB with the four volumes alone)"
    return [*rows, ("peak memory of its process", peak, "", "")]


def _apart(volumes: dict[Role, ImageVolume]) -> dict[str, float]:
    """Align a study in a separate process."""
    with tempfile.TemporaryDirectory() as folder:
        path, figures = Path(folder) / "four.npz", Path(folder) / "figures.json"
        kept = {str(role): volume.voxels for role, volume in volumes.items()}
        np.savez(path, **kept, **{f"{role} affine": volume.grid.affine for role, volume in volumes.items()})
        command = ["/bin/sh", "-c", f'exec "{sys.executable}" "{__file__}" --memory "{path}" > "{figures}"']
        if os.waitpid(os.posix_spawn(command[0], command, os.environ), 0)[1]:
            message = "the study of four volumes could not be aligned in a separate process"
            raise RuntimeError(message)
        return dict(json.loads(figures.read_text()))


def _seconds(work: Callable[[], object], times: int) -> tuple[float, float]:
    """Return the shortest elapsed time and CPU time of several runs: other work on the machine only adds to them."""
    took, used = [], []
    for _ in range(times):
        began, spent = time.perf_counter(), time.process_time()
        work()
        took.append(time.perf_counter() - began)
        used.append(time.process_time() - spent)
    return min(took), min(used)


def _table(head: Row, rows: Iterable[Row]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _report(accuracy: list[Row], references: list[Row], gate: list[Row], others: list[Row], cost: list[Row]) -> str:
    parts = [
        "# Registration\n\nMade by `python benchmarks/registration.py`; every figure comes from it.",
        "## Known transforms\n\nRandom rotations of up to ± 20° about each axis and translations of up to ± 25 mm "
        "along each, applied to real volumes: skull-stripped patients (BraTS) resampled on a tilted grid with axes in "
        "any order, and real series (whole heads of two scanners at 6 mm, a skull-stripped brain at 2.5 to 5 mm) whose "
        "grid was transformed. Both volumes have 4 % Rician noise and independent shading (about 30 %). The figures "
        "are target registration errors over the tissue, in mm. Two sequences are measured against the same pair "
        "registered without the transform. Worst: the largest median of a pair.\n\n"
        + _table(("pairs", "number", "thickest slice", "median", "95th percentile", "worst"), accuracy),
        "## Reference transforms\n\nTCGA-DU-7294 on its native grids, against the rigid transforms of ANTs (T1 to each "
        "sequence), over the brain, in mm.\n\n"
        + _table(("sequence", "median", "95th percentile", "largest"), references),
        "## The gate\n\nPassed: used without remark. Declared: used, with a decision that states what is doubtful. "
        "Refused: left out, with a decision.\n\n"
        + _table(("pairs", "number", "passed", "declared", "refused"), sorted(gate)),
        "## Alternatives\n\nMedian target registration error in mm of T1CE to T1CE (one sequence) and T1CE to FLAIR "
        "(two), started 4 mm and 4° away from the truth. Two sequences are measured against the data set's own "
        "alignment, which is no better than some tenths of a millimetre.\n\n"
        + _table(("setting", "one, 1 mm", "one, 5 mm", "two, 1 mm", "two, 5 mm", "worst", "s per pair"), others),
        f"## Time and memory\n\nVolumes of 256 by 256 by 160 on this machine ({os.cpu_count()} cores). The ratio is "
        "relative to one linear resampling of such a volume. One registration uses one core.\n\n"
        + _table(("work", "elapsed time", "CPU time", "ratio"), cost),
    ]
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    main()
