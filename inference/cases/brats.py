"""The layouts and labels of the BraTS challenges from 2017 to 2023, also in ``HGG`` and ``LGG`` folders.

A layout is recognised by its file names alone.

==============  ==============================================  ==========================
year            files of a case                                 labels
==============  ==============================================  ==========================
2017 to 2021    ``<case>_{t1,t1ce,t2,flair,seg}.nii[.gz]``      1 NCR, 2 ED, 4 ET
since 2023      ``<case>-{t1n,t1c,t2w,t2f,seg}.nii[.gz]``       1 NCR, 2 ED, 3 ET
==============  ==============================================  ==========================
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from conversion.reading import folders_below
from conversion.sequences import Role
from inference.cases.case import AnnotatedCase, CaseSet, SkippedCase
from inference.cases.one_grid import EXPERT_REGIONS, as_delivered, read_image, read_labels, regions_of, volume_of
from inference.cases.stored_case import StoredCase, unreadable
from inference.regions import Label, Region

__all__ = ["LAYOUT", "TRAINING_SET", "CaseName", "case_name", "open_brats"]

LAYOUT = (
    "for each case <case>_{t1,t1ce,t2,flair,seg}.nii.gz (to 2021) or <case>-{t1n,t1c,t2w,t2f,seg}.nii.gz (since 2023), "
    "in folders of any depth; seg is required, and T1CE or FLAIR"
)

TRAINING_SET = "training_set.json"
"""File that `glionode export --training` writes beside its cases; it lists the annotated regions of each case."""

_ROLES_UNTIL_2021 = {"t1": Role.T1, "t1ce": Role.T1CE, "t2": Role.T2, "flair": Role.FLAIR}
_ROLES_SINCE_2023 = {"t1n": Role.T1, "t1c": Role.T1CE, "t2w": Role.T2, "t2f": Role.FLAIR}
_ROLES: Mapping[str, Role] = _ROLES_UNTIL_2021 | _ROLES_SINCE_2023

_FILE = re.compile(r"(?P<case>.+)(?:_(?P<old>t1|t1ce|t2|flair|seg)|-(?P<new>t1n|t1c|t2w|t2f|seg))\.nii(?:\.gz)?")

_NAMES = (
    re.compile(r"(?P<patient>BraTS-[A-Z]+-\d+)-(?P<timepoint>\d+)"),
    re.compile(r"(?P<patient>GlioNode-[0-9a-f]+)-(?P<timepoint>[0-9a-f]+)"),
    re.compile(r"BraTS\d\d_(?P<person>(?P<site>[A-Z]+\d*|2013)_\w+)_(?P<timepoint>\d+)", re.IGNORECASE),
)
"""Names since 2023, names of this node's own training sets, and names from 2017 to 2019, which contain a centre."""


@dataclass(frozen=True, kw_only=True)
class CaseName:
    """The facts in the name of a case.

    Attributes
    ----------
    patient
        The name without year and time point, so that a person is the same patient in the sets of several years.
    """

    patient: str
    site: str = ""
    timepoint: str = ""


@dataclass(frozen=True, kw_only=True)
class _Files:
    """The files of one case."""

    images: Mapping[Role, Path]
    labels: Path
    since_2023: bool
    annotated: tuple[Region, ...] = EXPERT_REGIONS


def case_name(case_id: str) -> CaseName:
    """Return the facts in the name of a case; a name of unknown form is taken as the patient.

    >>> case_name("Brats18_CBICA_AAB_1")
    CaseName(patient='BraTS_CBICA_AAB', site='CBICA', timepoint='1')
    >>> case_name("BraTS-GLI-00000-000")
    CaseName(patient='BraTS-GLI-00000', site='', timepoint='000')
    """
    for pattern in _NAMES:
        if match := pattern.fullmatch(case_id):
            groups = match.groupdict()
            patient = groups.get("patient") or f"BraTS_{groups['person']}"
            return CaseName(patient=patient, site=groups.get("site") or "", timepoint=groups["timepoint"])
    return CaseName(patient=case_id)


def open_brats(root: Path) -> CaseSet:
    """Find the cases of the set; each is read only when it is needed."""
    annotated = _annotated(root / TRAINING_SET)
    cases: dict[str, StoredCase] = {}
    skipped: list[SkippedCase] = []
    for (_, case_id), found in sorted(_found(root, skipped).items()):
        reason = _what_is_missing(case_id, found)
        if case_id in cases:
            reason = f"{case_id} exists twice; the one in {cases[case_id].files[0].parent.name} is used"
        if reason:
            skipped.append(SkippedCase(name=case_id, reason=reason))
            continue
        files = _Files(
            images={_ROLES[key]: paths[0] for key, paths in found.items() if key != "seg"},
            labels=found["seg"][0],
            since_2023=not _ROLES_UNTIL_2021.keys() & found.keys(),
            annotated=annotated.get(case_id, EXPERT_REGIONS),
        )
        cases[case_id] = _reference(root, case_id, files)
    return CaseSet(source="brats", cases=tuple(cases.values()), skipped=tuple(skipped))


_Found = dict[tuple[Path, str], dict[str, list[Path]]]


def _found(root: Path, skipped: list[SkippedCase]) -> _Found:
    """Return files by folder, case and sequence; report other volumes and empty folders."""
    found: _Found = {}
    for folder, paths in folders_below(root):
        if not paths:
            skipped.append(SkippedCase(name=folder.name, reason="an empty folder"))
        _sort_in([path for path in paths if not path.name.startswith(".") and not path.is_dir()], found, skipped)
    return found


def _sort_in(paths: list[Path], found: _Found, skipped: list[SkippedCase]) -> None:
    for path in paths:
        if match := _FILE.fullmatch(path.name):
            key = match["old"] or match["new"]
            found.setdefault((path.parent, match["case"]), {}).setdefault(key, []).append(path)
        elif path.name.endswith((".nii", ".nii.gz")):
            reason = f"named neither like <case>_flair.nii.gz nor like <case>-t2f.nii.gz (in {path.parent.name})"
            skipped.append(SkippedCase(name=path.name, reason=reason))


def _what_is_missing(case_id: str, found: Mapping[str, list[Path]]) -> str:
    twice = [key for key, paths in found.items() if len(paths) > 1]
    if twice:
        return f"{twice[0]} exists twice: {', '.join(path.name for path in found[twice[0]])}"
    if "seg" not in found:
        return f"no annotation: {case_id}_seg.nii.gz or {case_id}-seg.nii.gz is missing"
    roles = [_ROLES[key] for key in found if key != "seg"]
    if not {Role.T1CE, Role.FLAIR} & set(roles):
        return "has neither T1CE (t1ce, t1c) nor FLAIR (flair, t2f); one of them is needed"
    if len(set(roles)) < len(roles):
        return "one sequence has two files, one named as until 2021 and one as since 2023"
    return ""


def _annotated(path: Path) -> dict[str, tuple[Region, ...]]:
    """Return the annotated regions of the cases that this node exported; empty for a set of other origin."""
    if not path.exists():
        return {}
    try:
        kept = json.loads(path.read_text("utf-8"))
        return {case["case"]: tuple(Region(name) for name in case["annotated"]) for case in kept["cases"]}
    except (ValueError, KeyError, TypeError) as error:
        raise unreadable(f"{path.name}: does not state which regions were annotated") from error


def _reference(root: Path, case_id: str, files: _Files) -> StoredCase:
    name = case_name(case_id)
    return StoredCase(
        case_id=case_id,
        patient=name.patient,
        site=name.site,
        read=partial(_read, case_id, files),
        root=root,
        files=(
            *files.images.values(),
            files.labels,
            *((root / TRAINING_SET,) if (root / TRAINING_SET).exists() else ()),
        ),
    )


def _read(case_id: str, files: _Files) -> AnnotatedCase:
    volumes = {role: volume_of(read_image(path), path.name, "brats") for role, path in files.images.items()}
    aligned = as_delivered(case_id, volumes)
    labels = read_labels(files.labels, aligned.grid)
    regions = regions_of(labels, _values(files, labels))
    name = case_name(case_id)
    return AnnotatedCase(
        case_id=case_id,
        patient=name.patient,
        site=name.site,
        volumes=aligned,
        regions={region: regions[region] for region in files.annotated},
    )


def _values(files: _Files, labels: NDArray[np.int16]) -> dict[int, Label]:
    """Return the meaning of each label. ET is 3 since 2023 and 4 before; a file with both is ambiguous and refused."""
    found, name = set(np.unique(labels).tolist()), files.labels.name
    if unknown := found - {0, 1, 2, 3, 4}:
        raise unreadable(f"{name}: label {min(unknown)} is not a BraTS label (0, 1, 2, and 3 or 4)")
    if {3, 4} <= found:
        raise unreadable(
            f"{name}: contains both label 3 and label 4. Enhancing tumour is 4 until 2021 and 3 since 2023, so its "
            "label here is ambiguous (4 marks a resection cavity since 2024)"
        )
    if files.since_2023 and 4 in found:
        raise unreadable(f"{name}: label 4 in a file named as in the sets since 2023, where enhancing tumour is 3")
    return {1: Label.NCR, 2: Label.ED, 3: Label.ET, 4: Label.ET}
