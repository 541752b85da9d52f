"""The pictures of a run as the node keeps them: a drawn head with a tumour, for pages and their tests."""

from pathlib import Path

import numpy as np

from conversion.alignment import AlignedVolumes
from conversion.sequences import Role
from conversion.volume import Grid, ImageVolume, LabelVolume
from dicom_node.runs.artifacts import Artifacts
from dicom_node.runs.pictures import keep_pictures
from inference.regions import Label, Region
from inference.segmentation import ModelIdentity, Segmentation

__all__ = ["SHAPE", "hold_pictures", "save_drawn_arrays"]

SHAPE = (12, 80, 64)
_AFFINE = np.array([[0, 0, 2.5, -80.0], [0, 2.5, 0, -100.0], [8.0, 0, 0, 10.0], [0, 0, 0, 1]])


def save_drawn_arrays(kept: Artifacts) -> None:
    """Store the arrays of a run: two sequences of an ellipsoid, and a ball of edema with an enhancing core in it."""
    grid = Grid(shape=SHAPE, affine=_AFFINE, frame_of_reference_uid="1.2.3")
    k, row, column = np.indices(SHAPE)
    head = np.hypot(np.hypot((row - 40) / 34, (column - 32) / 27), (k - 6) / 7) < 1
    ball = np.hypot(np.hypot(row - 30, column - 22), 3.2 * (k - 7))
    labels = np.where(ball < 9, Label.ED, Label.BACKGROUND).astype(np.uint8)
    labels[ball < 4] = Label.ET
    flair = np.where(head, 300.0, 0.0) + 500.0 * (ball < 9)
    t1ce = np.where(head, 400.0, 0.0) + 900.0 * (ball < 4)
    volumes = {Role.T1CE: t1ce, Role.FLAIR: flair}
    kept.save_aligned(
        AlignedVolumes(
            reference=Role.T1CE,
            volumes={
                role: ImageVolume(grid=grid, voxels=values.astype(np.float32)) for role, values in volumes.items()
            },
            registrations={},
            decisions=(),
        )
    )
    kept.save_segmentation(
        Segmentation(
            label_volume=LabelVolume(grid=grid, labels=labels),
            regions=tuple(Region),
            probabilities={Region.WT: np.clip(1.2 - ball / 15, 0, 1).astype(np.float16)},
            model=ModelIdentity(name="drawn", version="1", sha256="0" * 64),
            sequences=("T1CE", "FLAIR"),
            decisions=(),
        )
    )


def hold_pictures(folder: Path, run_id: str) -> None:
    """Keep the pictures of a run, without its arrays, as when it is done."""
    kept = Artifacts(folder, run_id)
    save_drawn_arrays(kept)
    keep_pictures(kept, kept.folder, withheld=False)
    kept.clear_arrays()
