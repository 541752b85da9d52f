"""Measures a model on whole heads: persons without a tumour, operated glioblastomas, a tumour in thick slices.

    python benchmarks/whole_heads.py --model DIR --cases DIR --split FILE [--drawn DIR] [--pictures DIR] [--out FILE]

Each person is segmented by the tumour networks that were not trained on them. The brain is found as in the node.
``--cases`` is the folder that benchmarks/head_cases.py wrote. ``--split`` is the split.json of the trainings.
``--drawn`` is a DICOM study that was in no training, with an expert's outline (ROI.nii.gz) in its folder. Pictures of
every head are written to a folder of your choice: they show patients.
"""

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
from numpy.typing import NDArray

from benchmarks.brain_pictures import write_pictures
from benchmarks.head_cases import head_sets
from conversion.alignment import align, labels_on
from conversion.nifti import read_nifti
from conversion.reading import dicom_files, read_series, read_study, read_volumes
from conversion.recognition.recognise import recognise
from conversion.selection import select_series
from conversion.sequences import Role
from conversion.volume import ImageVolume, LabelVolume
from inference.cases.case import AnnotatedCase
from inference.cases.splits import split_from_json
from inference.evaluation.held_out import HeldOutSegmenters
from inference.evaluation.judging import ask
from inference.evaluation.overlap import count, overlap
from inference.model_bundle import load_model
from inference.regions import Region
from inference.segmentation import Segmentation
from inference.segmenter import Segmenter

TABLE = Path(__file__).with_suffix(".md")
LEAST_ET_DICE = 0.7
LEAST_DRAWN_DICE = 0.85
OUTLINE = "ROI.nii.gz"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One study.

    Attributes
    ----------
    found_ml
        Volume of the whole tumour.
    et_dice
        Dice of enhancing tumour, if an expert drew it.
    """

    kind: str
    case: str
    found_ml: float
    agreement: float
    flags: tuple[str, ...]
    withheld: bool
    et_dice: float | None
    seconds: float

    def __str__(self) -> str:
        """Return the row of a table."""
        flags = ", ".join(self.flags) or "-"
        dice = "-" if self.et_dice is None else f"{self.et_dice:.3f}"
        held = "yes" if self.withheld else "no"
        return f"| {self.case} | {self.found_ml:.1f} | {dice} | {self.agreement:.2f} | {flags} | {held} |"


def main() -> None:
    """Segment every held-out head, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="glioma", help="a shipped model, or a folder")
    parser.add_argument("--cases", type=Path, required=True)
    parser.add_argument("--split", type=Path, required=True)
    parser.add_argument("--drawn", type=Path, help=f"a DICOM study with {OUTLINE} in its folder")
    parser.add_argument("--pictures", type=Path)
    parser.add_argument("--out", type=Path, default=TABLE)
    chosen = parser.parse_args()
    model = load_model(chosen.model, "auto", 2)
    segmenters = HeldOutSegmenters(model, split_from_json(chosen.split.read_text("utf-8"), []))
    rows = []
    for kind, case, found, seconds in _answers(segmenters, chosen.cases):
        rows.append(_row(kind, case, found, seconds))
        print(rows[-1], f"{seconds:.1f} s", flush=True)
        if chosen.pictures:
            write_pictures(_heads(case, found), chosen.pictures)
    drawn = _drawn_dice(Segmenter(model), chosen.drawn) if chosen.drawn else None
    text = "\n".join(_page(rows, f"{model.manifest.name} {model.manifest.version}", drawn))
    chosen.out.write_text(text, encoding="utf-8")


def _answers(segmenters: HeldOutSegmenters, folder: Path) -> Iterator[tuple[str, AnnotatedCase, Segmentation, float]]:
    for one in head_sets(folder):
        for reference in (case for case in one.cases if segmenters.fold_of(case.patient) is not None):
            case, began = reference.read(), time.perf_counter()
            answer = ask(segmenters.for_case(reference), case, ())
            if answer.segmentation is None:
                print(reference.case_id, answer.problem)
                continue
            yield one.source, case, answer.segmentation, time.perf_counter() - began


def _row(kind: str, case: AnnotatedCase, found: Segmentation, seconds: float) -> Row:
    drawn = case.regions.get(Region.ET)
    operated = kind == "operated" and drawn is not None
    return Row(
        kind=kind,
        case=case.case_id,
        found_ml=int(np.count_nonzero(found.mask_of(Region.WT))) * case.volumes.grid.voxel_volume_ml,
        agreement=found.quality.agreement[Region.WT],
        flags=tuple(str(flag.code) for flag in found.flags),
        withheld=any(flag.closes for flag in found.flags),
        et_dice=overlap(count(found.mask_of(Region.ET), drawn)).dice if operated and drawn is not None else None,
        seconds=seconds,
    )


def _drawn_dice(segmenter: Segmenter, folder: Path) -> float:
    """Return the Dice of the whole tumour and an expert's outline, on the grid of the reference."""
    study = read_study(path for path in dicom_files(folder) if path.name != OUTLINE)
    selection = select_series(study, recognise(study, read_series))
    found = segmenter.segment(align(read_volumes(selection), selection.reference))
    outline = read_nifti(folder / OUTLINE)
    labels = LabelVolume(grid=outline.grid, labels=(outline.voxels > 0).astype(np.uint8))
    drawn = labels_on(labels, found.label_volume.grid).labels > 0
    return overlap(count(found.mask_of(Region.WT), drawn)).dice


def _page(rows: Sequence[Row], model: str, drawn: float | None) -> Iterator[str]:
    healthy = [row for row in rows if row.kind != "operated"]
    quiet = [row for row in healthy if not row.found_ml and not row.withheld]
    operated = [row for row in rows if row.et_dice is not None]
    dice = float(np.mean([row.et_dice for row in operated])) if operated else 0.0
    yield "# Whole heads\n"
    yield f"`{model}`, each person by the tumour networks that were not trained on them. Made by"
    yield "`python benchmarks/whole_heads.py`. The thresholds and the limits for disease on both sides and for faint"
    yield "spots were chosen on these heads, and the brain network was trained on T1 of some of them. Results on other"
    yield "heads will be a little worse.\n"
    yield "| measurement | value | target | met |"
    yield "|---|---|---|---|"
    yield _bar("heads without a tumour in which none is found", len(quiet), len(healthy), len(healthy) - 1)
    kept = [row for row in operated if not row.withheld]
    yield _bar("operated heads with a result that is not withheld", len(kept), len(operated), len(operated) - 1)
    yield _dice_bar("operated heads, ET, mean Dice", dice, LEAST_ET_DICE)
    if drawn is not None:
        yield _dice_bar("slices of 6 mm without contrast agent, WT against an outline, Dice", drawn, LEAST_DRAWN_DICE)
    yield "\n| study | found (ml) | ET Dice | agreement | flags | withheld |"
    yield "|---|---|---|---|---|---|"
    yield from map(str, rows)
    yield ""


def _bar(what: str, value: int, of: int, least: int) -> str:
    return f"| {what} | {value} of {of} | at least {least} | {'yes' if value >= least else '**no**'} |"


def _dice_bar(what: str, dice: float, least: float) -> str:
    return f"| {what} | {dice:.3f} | at least {least:.2f} | {'yes' if dice >= least else '**no**'} |"


def _heads(
    case: AnnotatedCase, found: Segmentation
) -> Iterator[tuple[str, NDArray[np.float32], Sequence[float], NDArray[np.bool_]]]:
    """Yield the sequences with the outline of the tumour, as `write_pictures` takes them."""
    grid = case.volumes.grid
    axes, flips = grid.axial_order()
    turned = tuple(slice(None, None, -1 if flip else 1) for flip in flips)
    tumour = found.mask_of(Region.WT).transpose(axes)[turned]
    spacing = [float(step) for step in grid.permuted(axes, flips).spacing_mm]
    for role in (Role.FLAIR, Role.T1CE):
        volume: ImageVolume | None = case.volumes.volumes.get(role)
        if volume is not None:
            yield f"{case.case_id}_{role}", volume.voxels.transpose(axes)[turned], spacing, tumour


if __name__ == "__main__":
    main()
