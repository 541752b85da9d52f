"""Training and held-out patients: a split is always by patient, and it is stored.

With slices or studies of one patient on both sides of a split, the figures measure how well a network remembers a head,
not how well it finds a tumour in a new one (data leakage). Such splits are refused, whatever their origin.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from inference.cases.case import CaseReference, CaseSet
from inference.cases.stored_case import unreadable

__all__ = ["Split", "check_sides", "make_split", "perhaps_the_same_person", "split_from_json", "split_to_json"]

METHOD = "patients ranked by SHA-256 of seed and name within each set, dealt to the folds in turn"

FORMAT = 1

_WHY = (
    "slices or cases of one patient on both sides are data leakage: the figures would measure memory, not skill. Split "
    "by patient; a split by slice is refused"
)

_UNLINKED_BRATS = r"BraTS20_Training_\d+|BraTS2021_\d+|BraTS-GLI-\d+|BRATS_\d+"
"""Names in sets that contain persons of other sets under new numbers: BraTS 2020, 2021, since 2023, and MSD Task01."""

_PERHAPS_THE_SAME: tuple[tuple[str, str], ...] = (
    (r"BraTS_TCIA\d*_\w+", r"TCGA_\w+"),
    (_UNLINKED_BRATS, r"TCGA_\w+"),
    (_UNLINKED_BRATS, r"BraTS_\w+"),
    (r"BraTS-GLI-\d+|BRATS_\d+", r"BraTS2021_\d+|BraTS20_Training_\d+"),
    (r"BRATS_\d+", r"BraTS-GLI-\d+"),
    (r"BraTS2021_\d+", r"BraTS20_Training_\d+"),
)
"""Patients named as on the left may be persons named as on the right: both sets used the same archive, and the names do
not link them. TCIA is the archive of TCGA, the source of the LGG set."""


@dataclass(frozen=True, kw_only=True)
class Split:
    """Folds of patients.

    Attributes
    ----------
    folds
        Sorted names of the patients of each fold; each fold is held out once.
    always_training
        Patients that are never held out, because they may also be in another set under another name.
    seed
        Seed of the hash that assigned patients to folds.
    how
        How the folds were made, as a text for people.
    """

    folds: tuple[tuple[str, ...], ...]
    always_training: tuple[str, ...] = ()
    seed: int
    how: str = METHOD

    def __post_init__(self) -> None:
        """Sort the names, and refuse a patient that is in two folds."""
        object.__setattr__(self, "folds", tuple(tuple(sorted(fold)) for fold in self.folds))
        object.__setattr__(self, "always_training", tuple(sorted(self.always_training)))
        placed: set[str] = set()
        for group in (*self.folds, self.always_training):
            for patient in group:
                if patient in placed:
                    raise unreadable(f"patient {patient} is in two folds of the split; {_WHY}")
                placed.add(patient)

    @property
    def sha256(self) -> str:
        """SHA-256 over the names of every fold, the seed and the method, in hexadecimal."""
        return hashlib.sha256(json.dumps(self._content(), sort_keys=True).encode()).hexdigest()

    def held_out(self, fold: int) -> frozenset[str]:
        """Return the patients that a fold holds out."""
        return frozenset(self.folds[fold])

    def training(self, fold: int) -> frozenset[str]:
        """Return the training patients while a fold is held out."""
        others = (name for k, names in enumerate(self.folds) if k != fold for name in names)
        return frozenset((*others, *self.always_training))

    def _content(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "how": self.how,
            "seed": self.seed,
            "always_training": list(self.always_training),
            "folds": [list(fold) for fold in self.folds],
        }


def make_split(sets: Sequence[CaseSet], folds: int, seed: int) -> Split:
    """Assign the patients of one or several sets to folds.

    Each set is distributed evenly, so each fold contains about the same share of each set.

    Parameters
    ----------
    folds
        At least two; each fold holds out a share of 1 / `folds`.
    seed
        The same seed gives the same folds on every computer, another seed other folds.

    Raises
    ------
    UnreadableCase
        When fewer patients may be held out than there are folds.
    """
    if folds < 2:
        raise ValueError("a split needs at least two folds, one of which is held out")
    everyone = {case.patient for one in sets for case in one.cases}
    kept = perhaps_the_same_person(everyone)
    dealt: list[list[str]] = [[] for _ in range(folds)]
    place = 0
    for one in sets:
        known = {name for fold in dealt for name in fold}
        for patient in sorted({case.patient for case in one.cases} - kept - known, key=lambda p: _rank(seed, p)):
            dealt[place % folds].append(patient)
            place += 1
    if place < folds:
        raise unreadable(f"only {place} patients may be held out, too few for {folds} folds")
    return Split(folds=tuple(map(tuple, dealt)), always_training=tuple(kept), seed=seed)


def _rank(seed: int, patient: str) -> str:
    return hashlib.sha256(f"{seed}\0{patient}".encode()).hexdigest()


def perhaps_the_same_person(patients: Iterable[str]) -> set[str]:
    """Return the patients who may be in `patients` a second time, under a name of another set.

    If they were held out, they could have been trained on under the other name. They are therefore always trained on.
    A single set has none.
    """
    names = set(patients)
    kept: set[str] = set()
    for first, second in _PERHAPS_THE_SAME:
        if any(re.fullmatch(second, name) for name in names):
            kept |= {name for name in names if re.fullmatch(first, name)}
    return kept


def check_sides(training: Iterable[str], held_out: Iterable[str], cases: Iterable[CaseReference]) -> None:
    """Refuse a split that has one patient on both sides, whether it lists patients, cases or slices.

    Parameters
    ----------
    training, held_out
        Names of patients, of cases, or of slices (``<case>_<k>``, with or without ``.tif``).
    cases
        The cases that the names refer to.

    Raises
    ------
    UnreadableCase
        When a patient is on both sides, or a name belongs to no case.
    """
    patient_of = {case.case_id: case.patient for case in cases}
    patient_of |= {patient: patient for patient in patient_of.values()}
    trained = {_patient(name, patient_of): name for name in training}
    for name in held_out:
        patient = _patient(name, patient_of)
        if patient in trained:
            both = f"'{trained[patient]}' is trained on and '{name}' held out"
            raise unreadable(f"patient {patient} is on both sides of the split ({both}); {_WHY}")


def _patient(name: str, patient_of: Mapping[str, str]) -> str:
    stem = re.sub(r"(\.nii)?(\.gz)?$|\.tiff?$|\.png$", "", name.rsplit("/", 1)[-1])
    for wanted in (name, stem, re.sub(r"_mask$", "", stem)):
        for case in (wanted, re.sub(r"[_-]\d+$", "", wanted)):
            if case in patient_of:
                return patient_of[case]
    raise unreadable(f"the split names '{name}', which is neither a patient nor a case of the set")


def split_to_json(split: Split) -> str:
    """Return a split as JSON; equal splits give equal text."""
    return json.dumps({**split._content(), "sha256": split.sha256}, indent=1) + "\n"  # noqa: SLF001 - its own format


def split_from_json(text: str, cases: Iterable[CaseReference]) -> Split:
    """Read a split: the text of `split_to_json`, or a list of ``{"train": [...], "val": [...]}``.

    nnU-Net and many scripts write such lists. The names may be those of patients, cases or slices. The held-out names
    make the folds, always by patient. Patients of a ``test`` part are in no fold and not trained on.

    Parameters
    ----------
    cases
        The cases that the split refers to.

    Raises
    ------
    UnreadableCase
        When the text is not a split, was changed by hand, or has a patient on both sides.
    """
    cases = tuple(cases)
    try:
        content = json.loads(text)
        if isinstance(content, dict) and "sha256" in content:
            return _own(content)
        return _foreign(_as_pairs(content), cases)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise unreadable("not a split: 'folds' of patients, or a list of 'train' and 'val', is needed") from error


def _own(content: Mapping[str, Any]) -> Split:
    split = Split(
        folds=tuple(tuple(str(name) for name in fold) for fold in content["folds"]),
        always_training=tuple(str(name) for name in content["always_training"]),
        seed=int(content["seed"]),
        how=str(content["how"]),
    )
    if content["sha256"] != split.sha256:
        raise unreadable("the split was changed after it was made: its SHA-256 does not match its contents")
    return split


def _as_pairs(content: Any) -> list[dict[str, list[str]]]:  # noqa: ANN401 - whatever a file holds
    """Return folds as training and held-out names; names under ``test`` belong to neither."""
    if isinstance(content, dict) and "folds" in content:
        folds = [list(fold) for fold in content["folds"]]
        return [
            {"train": [name for other in folds[:k] + folds[k + 1 :] for name in other], "val": fold, "test": []}
            for k, fold in enumerate(folds)
        ]
    return [
        {
            "train": list(fold["train"] if "train" in fold else fold["training"]),
            "val": list(fold["val"] if "val" in fold else fold["validation"]),
            "test": list(fold.get("test", [])),
        }
        for fold in (content if isinstance(content, list) else [content])
    ]


def _foreign(folds: Sequence[Mapping[str, Sequence[str]]], cases: Sequence[CaseReference]) -> Split:
    patient_of = {case.case_id: case.patient for case in cases} | {case.patient: case.patient for case in cases}
    held_out = []
    trained: set[str] = set()
    for fold in folds:
        for first, second in (("train", "val"), ("train", "test"), ("val", "test")):
            check_sides(fold[first], fold[second], cases)
        held_out.append(tuple({_patient(name, patient_of) for name in fold["val"]}))
        trained |= {_patient(name, patient_of) for name in fold["train"]}
    always = trained - {name for names in held_out for name in names}
    return Split(folds=tuple(held_out), always_training=tuple(always), seed=0, how="given as a file, held out by it")
