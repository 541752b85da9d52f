"""A very small study of one series with a SEG by an expert: what `glionode train` and `evaluate` read."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pydicom import Dataset

from tests.support.foreign_seg import ForeignSegment, foreign_seg
from tests.support.small_study import COLUMNS, ROWS, SLICE_MM, SLICES, SPACING_MM, make_small_study, uid_of

__all__ = ["annotated_study", "write_instances"]


def annotated_study(name: str, patient_id: str) -> tuple[list[Dataset], Dataset]:
    """Return the FLAIR images of a study and the SEG of a tumour that was drawn on them."""
    images = make_small_study(name, ["FLAIR"], patient_id, f"{patient_id}^OF")
    mask = np.zeros((SLICES, ROWS, COLUMNS), bool)
    mask[3:7, 16:26, 22:34] = True
    affine = np.diag([0.0, SPACING_MM, 0.0, 1.0])
    affine[2, 0], affine[0, 2] = SLICE_MM, SPACING_MM
    affine[:3, 3] = [float(value) for value in images[0].ImagePositionPatient]
    seg = foreign_seg(images, [ForeignSegment(label="Tumor", mask=mask)], affine, SOPInstanceUID=uid_of(name, "seg"))
    return images, seg


def write_instances(folder: Path, instances: Sequence[Dataset]) -> None:
    """Write instances into a folder beside what is there."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, ds in enumerate(instances, len(list(folder.iterdir()))):
        ds.save_as(folder / f"{number:04d}.dcm", enforce_file_format=True)
