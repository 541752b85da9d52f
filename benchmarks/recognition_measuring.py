"""Measures the shared data, and classifies every volume and pair with parameters trained on other patients."""

import sys
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.recognition_data import Case, brats, dicom, lgg, native, vendors
from benchmarks.recognition_learning import changed, learn, learn_enhancement, store
from conversion.recognition import enhancement as pairs
from conversion.recognition.head_region import head_slabs
from conversion.recognition.tissue_contrast import (
    ContrastModel,
    judge,
    obstacle,
    shipped_model,
    too_small,
)
from conversion.recognition.tissue_features import Measurements, measure_contrast
from conversion.volume import ImageVolume

__all__ = ["FOLDS", "LEARNED", "Pair", "Sample", "held_out", "judged", "learn_all", "learned", "measured", "ordered"]

LEARNED = ("lgg", "brats")
FOLDS = 10
SEED = 20261121
CHANGES = 4
MODEL = Path(__file__).parents[1] / "conversion" / "recognition" / "tissue_contrast.npz"


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One volume, measured unchanged and changed at random. `why` is the reason if it is not classified."""

    source: str
    patient: str
    sequence: str
    number: str
    measurements: Measurements | None
    why: str
    changes: tuple[Measurements, ...]

    @property
    def truth(self) -> str:
        """The weighting. T1 before and after contrast agent have the same."""
        return "T1" if self.sequence == "T1CE" else self.sequence


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two T1-weighted volumes of a patient: the second is after contrast agent, or both are of the same kind."""

    source: str
    patient: str
    name: str
    values: tuple[float, ...] | None
    alike: bool = False


def sample(case: Case, name: str, volume: ImageVolume) -> Sample:
    """Measure one volume."""
    why = too_small(volume)
    slabs = None if why else head_slabs(volume)
    why = why or obstacle(slabs)
    measurements = measure_contrast(slabs) if slabs is not None and not why else None
    changes: list[Measurements | None] = []
    if measurements is not None and slabs is not None and case.source in LEARNED:
        seed = zlib.crc32(f"{case.patient} {name}".encode())
        changes = [measure_contrast(changed(slabs, np.random.default_rng([seed, k]))) for k in range(CHANGES)]
    sequence, _, number = name.partition(" ")
    return Sample(
        source=case.source,
        patient=case.patient,
        sequence=sequence,
        number=number,
        measurements=measurements,
        why=why or ("" if measurements else "no brain of a usual size"),
        changes=tuple(change for change in changes if change is not None),
    )


def compared(case: Case) -> Iterator[Pair]:
    """Compare every T1 with every T1 after contrast agent, and two of the same kind with each other."""
    before = [name for name in case.volumes if name.split()[0] == "T1"]
    after = [name for name in case.volumes if name.split()[0] == "T1CE"]
    couples = [(a, b, False) for a in before for b in after]
    couples += [(names[0], names[1], True) for names in (before, after) if len(names) > 1]
    for a, b, alike in couples:
        evidence = pairs.enhancement_evidence(case.volumes[a], case.volumes[b])
        values = evidence.values if evidence else None
        yield Pair(source=case.source, patient=case.patient, name=f"{a} / {b}", values=values, alike=alike)


def measured(folder: Path) -> tuple[list[Sample], list[Pair]]:
    """Measure all shared data."""
    samples: list[Sample] = []
    couples: list[Pair] = []
    for case in chain(lgg(folder), brats(folder), native(folder), dicom(folder), vendors(folder)):
        samples += [sample(case, name, volume) for name, volume in case.volumes.items()]
        couples += compared(case)
        print(f"{case.source} {case.patient}", file=sys.stderr)
    return samples, couples


def learned(samples: Sequence[Sample]) -> ContrastModel:
    """Return a model trained on the samples, unchanged and changed."""
    known = [s for s in samples if s.measurements is not None]
    rows = [(m, s.truth) for s in known for m in (s.measurements, *s.changes) if m is not None]
    return learn([m for m, _ in rows], [t for _, t in rows])


def judged(model: ContrastModel, measurements: Measurements | None) -> NDArray[np.float64] | None:
    """Return probabilities over WEIGHTINGS as the product does, or None for an abstention."""
    if measurements is None:
        return None
    shares, why_not = judge(measurements, model)
    return None if why_not else shares


def folds(patients: list[str]) -> dict[str, int]:
    """Assign patients to folds at random, with a fixed seed."""
    names = sorted(set(patients))
    order = np.random.default_rng(SEED).permutation(len(names))
    return {name: int(k) % FOLDS for name, k in zip(names, order, strict=True)}


def held_out(samples: Sequence[Sample]) -> dict[int, list[NDArray[np.float64] | None]]:
    """Return for each training sample (by id) the results of a model without its patient: unchanged, then changed."""
    usable = [s for s in samples if s.source in LEARNED]
    fold = folds([s.patient for s in usable])
    result = {}
    for k in range(FOLDS):
        model = learned([s for s in usable if fold[s.patient] != k])
        for s in usable:
            if fold[s.patient] == k:
                result[id(s)] = [judged(model, m) for m in (s.measurements, *s.changes)]
    return result


def ordered(couples: Sequence[Pair]) -> dict[int, float]:
    """Return for each pair (by id) the probability that the second is after contrast, held out in training sets."""
    usable = [p for p in couples if p.source in LEARNED and p.values is not None]
    fold = folds([p.patient for p in usable])
    result = {id(p): 0.5 for p in couples}
    for k in range(FOLDS):
        scales, weights = learn_enhancement(np.array([p.values for p in usable if fold[p.patient] != k]))
        result |= {id(p): _after(p, scales, weights) for p in usable if fold[p.patient] == k}
    shipped = (np.array(pairs.SCALES), np.array(pairs.WEIGHTS))
    return result | {id(p): _after(p, *shipped) for p in couples if p.source not in LEARNED and p.values is not None}


def _after(pair: Pair, scales: NDArray[np.float64], weights: NDArray[np.float64]) -> float:
    values = np.clip(np.array(pair.values) / scales, -pairs.CUT, pairs.CUT)
    return float(1 / (1 + np.exp(-values @ weights)))


def learn_all(samples: Sequence[Sample], couples: Sequence[Pair]) -> None:
    """Train on all patients of the training sets. Write the model, and print the parameters that are in the code."""
    store(learned([s for s in samples if s.source in LEARNED]), MODEL)
    shipped_model.cache_clear()
    values = [p.values for p in couples if p.source in LEARNED and p.values is not None]
    scales, weights = learn_enhancement(np.array(values))
    print("SCALES =", tuple(scales.round(3).tolist()), "WEIGHTS =", tuple(weights.round(3).tolist()))
