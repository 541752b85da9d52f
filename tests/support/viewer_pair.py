"""A synthetic study of two series as a viewer meets it: thin T1 after contrast with a SEG, and thick FLAIR."""

from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray
from pydicom import Dataset

from dicom_node.database.engine import Database
from dicom_node.database.tables import DecisionRow, RunRow, StudyRow
from tests.support.viewer_study import (
    COLUMNS,
    ROWS,
    SLICES,
    SPACING_MM,
    THICKNESS_MM,
    ViewerStudy,
    hold,
    instance_row,
    make_study,
    uid_of,
    write,
)

FLAIR_MM, FLAIR_BEGINS_MM = 6.0, 1.5
THIN_MM = 2.0
ROWS_TOGETHER = 2
"""A coronal slice is as thick as so many rows of the axial ones."""

TUMOUR_SLICE = 3
"""Of `SLICES`: neither the first with a tumour, nor the one in the middle, at which OHIF would open by itself."""


@dataclass(frozen=True, kw_only=True)
class ViewerPair:
    """The study of T1 after contrast, and FLAIR of the same head with finer pixels and thicker slices."""

    study: ViewerStudy
    flair: tuple[Dataset, ...]

    def fullest(self) -> int:
        """Return the slice of T1 after contrast in which the tumour is largest."""
        return int(self.study.masks.sum(axis=(1, 2, 3)).argmax())

    def centre_mm(self) -> tuple[float, float, float]:
        """Return the centre of the tumour in that slice (LPS)."""
        k = self.fullest()
        rows, columns = np.nonzero(self.study.masks[k].any(axis=-1))
        x, y, z = (float(value) for value in self.study.mr[k].ImagePositionPatient)
        return x + float(columns.mean()) * SPACING_MM, y + float(rows.mean()) * SPACING_MM, z

    def nearest_flair(self, index: int) -> int:
        """Return the slice of FLAIR that is nearest to one of T1 after contrast."""
        return _nearest(self.flair, self.study.mr[index])

    def nearest_t1ce(self, index: int) -> int:
        """Return the slice of T1 after contrast that is nearest to one of FLAIR."""
        return _nearest(self.study.mr, self.flair[index])


def make_pair(name: str = "pair", frame_of_reference: str = "frame of reference") -> ViewerPair:
    """Make a study whose UIDs depend on its name only; another frame of reference is that of FLAIR alone."""
    study = make_study(name, tumour_slice=TUMOUR_SLICE)
    count = int(SLICES * THICKNESS_MM / FLAIR_MM)
    return ViewerPair(study=study, flair=tuple(_flair(name, frame_of_reference, study, k) for k in range(count)))


def make_crossed_pair(name: str = "crossed") -> ViewerPair:
    """Make a study of thin axial slices with a segmentation, and thick coronal ones of the same head."""
    study = make_study(name, tumour_slice=TUMOUR_SLICE, thickness_mm=THIN_MM)
    head = np.stack([np.frombuffer(ds.PixelData, np.uint16).reshape(ROWS, COLUMNS) for ds in study.mr])
    return ViewerPair(study=study, flair=tuple(_coronal(name, study, head, k) for k in range(ROWS // ROWS_TOGETHER)))


def _coronal(name: str, study: ViewerStudy, head: NDArray[np.uint16], k: int) -> Dataset:
    """Return a slice through the middle of some rows, from the front to the back; its uppermost row is the top."""
    ds = deepcopy(study.mr[0])
    ds.SOPInstanceUID, ds.SeriesInstanceUID = uid_of(name, "flair", str(k)), uid_of(name, "flair series")
    ds.SeriesDescription, ds.SeriesNumber, ds.InstanceNumber = "FLAIR coronal", 2, k + 1
    ds.Rows, ds.Columns, ds.PixelSpacing = SLICES, COLUMNS, [THIN_MM, SPACING_MM]
    ds.SliceThickness = ds.SpacingBetweenSlices = ROWS_TOGETHER * SPACING_MM
    ds.ImageOrientationPatient = [1.0, 0.0, 0.0, 0.0, 0.0, -1.0]
    front_mm = -90.0 + (ROWS_TOGETHER * k + (ROWS_TOGETHER - 1) / 2) * SPACING_MM
    ds.ImagePositionPatient = [-90.0, front_mm, (SLICES - 1) * THIN_MM]
    together = head[::-1, ROWS_TOGETHER * k : ROWS_TOGETHER * (k + 1)]
    ds.PixelData = (together.mean(axis=1) // 2).astype(np.uint16).tobytes()
    return ds


def hold_pair(database: Database, folder: Path, pair: ViewerPair) -> str:
    """Put a study into the node's books and folder as the listener and a run would leave it; return its key."""
    hold(database, folder, pair.study)
    with database.session() as session:
        session.add_all(instance_row(ds, write(folder, "received", ds)) for ds in pair.flair)
        run = session.scalars(sa.select(RunRow)).one()
        run.summary = {"sequences": {"T1CE": "series 1", "FLAIR": "series 2"}, "reference": "T1CE"}
        for number, ds in enumerate((pair.study.mr[0], pair.flair[0]), start=1):
            session.add(
                DecisionRow(
                    run_id=run.run_id,
                    ordinal=number,
                    code="role",
                    subject=f"series {number}",
                    reason="as in the summary",
                    series_uid=ds.SeriesInstanceUID,
                )
            )
        return session.scalars(sa.select(StudyRow.key)).one()


def _nearest(slices: tuple[Dataset, ...], to: Dataset) -> int:
    distances = [abs(float(ds.ImagePositionPatient[2]) - float(to.ImagePositionPatient[2])) for ds in slices]
    return int(np.argmin(distances))


def _flair(name: str, frame_of_reference: str, study: ViewerStudy, k: int) -> Dataset:
    ds = deepcopy(study.mr[round(k * FLAIR_MM / THICKNESS_MM)])
    ds.SOPInstanceUID, ds.SeriesInstanceUID = uid_of(name, "flair", str(k)), uid_of(name, "flair series")
    ds.FrameOfReferenceUID = uid_of(name, frame_of_reference)
    ds.SeriesDescription, ds.SeriesNumber, ds.InstanceNumber = "FLAIR", 2, k + 1
    ds.Rows, ds.Columns, ds.PixelSpacing = 2 * ROWS, 2 * COLUMNS, [SPACING_MM / 2, SPACING_MM / 2]
    ds.SliceThickness = ds.SpacingBetweenSlices = FLAIR_MM
    corner_mm = -90.0 - SPACING_MM / 4  # of the finer pixels, whose corners lie on the others'
    ds.ImagePositionPatient = [corner_mm, corner_mm, FLAIR_BEGINS_MM + k * FLAIR_MM]
    coarse = np.frombuffer(ds.PixelData, np.uint16).reshape(ROWS, COLUMNS)
    ds.PixelData = np.kron(coarse // 2, np.ones((2, 2), np.uint16)).astype(np.uint16).tobytes()
    return ds
