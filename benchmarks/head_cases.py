"""Makes training cases from the shared whole heads: elderly and MS persons without a tumour, operated glioblastomas.

    python benchmarks/head_cases.py --heads DIR --out DIR

``--heads`` is the folder that unpack_heads.py wrote. The folders elderly, ms and operated are written to OUT in BraTS'
layout. The sequences of each case are registered onto one grid, as in the node. In persons without a tumour all regions
are known to be empty. In the operated heads only enhancing tumour is annotated.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np

from conversion.alignment import align
from conversion.nifti import read_nifti, write_nifti
from conversion.sequences import Role
from conversion.volume import LabelVolume
from inference.cases.brats import TRAINING_SET, open_brats
from inference.cases.case import CaseSet

__all__ = ["KINDS", "head_sets"]

ROLES = {"t1": Role.T1, "t1ce": Role.T1CE, "t2": Role.T2, "flair": Role.FLAIR}
ENHANCING = 4


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One kind of heads.

    Attributes
    ----------
    prefix
        Prefix of its file names.
    annotated
        Regions that are annotated.
    """

    prefix: str
    annotated: tuple[str, ...] = ("WT", "TC", "ET")


KINDS = {
    "elderly": Kind(prefix="elderly"),
    "ms": Kind(prefix="ms"),
    "operated": Kind(prefix="postop", annotated=("ET",)),
}


def head_sets(folder: Path) -> list[CaseSet]:
    """Return the cases that `main` wrote, one set per kind. All studies of a person belong to one patient."""
    sets = []
    for kind in KINDS:
        found = open_brats(folder / kind)
        cases = tuple(replace(case, patient="_".join(case.case_id.split("_")[:2])) for case in found.cases)
        sets.append(CaseSet(source=kind, cases=cases, skipped=found.skipped))
    return sets


def main() -> None:
    """Register the heads and write the cases."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--heads", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    chosen = parser.parse_args()
    for name, kind in KINDS.items():
        folder = chosen.out / name
        cases = []
        for case, files in _cases(chosen.heads, kind):
            _write(folder / case, case, files)
            cases.append({"case": case, "annotated": list(kind.annotated)})
            print(name, case, ", ".join(files))
        (folder / TRAINING_SET).write_text(json.dumps({"cases": cases}, indent=1), encoding="utf-8")


def _cases(heads: Path, kind: Kind) -> Iterator[tuple[str, dict[str, Path]]]:
    """Yield the name of each case and its files by sequence. ``mask`` is the expert's annotation."""
    images = [path for path in sorted(heads.glob(f"{kind.prefix}_*.nii.gz")) if _sequence(path) in ROLES]
    for case in sorted({_case(path) for path in images}):
        files = {_sequence(path): path for path in images if _case(path) == case}
        mask = heads / f"{case}_enhancing.nii.gz"
        yield case, files | ({"mask": mask} if mask.exists() else {})


def _write(folder: Path, case: str, files: dict[str, Path]) -> None:
    volumes = {ROLES[name]: read_nifti(path) for name, path in files.items() if name in ROLES}
    reference = next(role for role in (Role.T1CE, Role.FLAIR) if role in volumes)
    aligned = align(volumes, reference)
    for decision in aligned.decisions:
        if decision.subject in aligned.refused:
            print(case, decision.reason)
    for name, role in ROLES.items():
        if role in aligned.volumes:
            write_nifti(aligned.volumes[role], folder / f"{case}_{name}.nii.gz")
    labels = np.zeros(aligned.grid.shape, np.uint8)
    if "mask" in files:
        labels[read_nifti(files["mask"]).voxels > 0.5] = ENHANCING
    write_nifti(LabelVolume(grid=aligned.grid, labels=labels), folder / f"{case}_seg.nii.gz")


def _case(path: Path) -> str:
    return path.name.removesuffix(".nii.gz").rpartition("_")[0]


def _sequence(path: Path) -> str:
    return path.name.removesuffix(".nii.gz").rpartition("_")[2]


if __name__ == "__main__":
    main()
