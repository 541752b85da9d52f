"""Finds the slice in which the tumour of a segmentation is largest, for a viewer to open at."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.pixels.utils import iter_pixels

__all__ = ["LargestSlice", "largest_slice"]


@dataclass(frozen=True, kw_only=True)
class LargestSlice:
    """The slice of the source series in which the segments together cover the largest area.

    Attributes
    ----------
    series_uid
        The source series.
    sop_instance_uid
        The source image of the slice.
    centre_mm
        The centre of the segments in it, in the patient's coordinates (LPS, mm).
    frame_of_reference_uid
        Frame of reference of `centre_mm`.
    """

    series_uid: str
    sop_instance_uid: str
    centre_mm: tuple[float, float, float]
    frame_of_reference_uid: str


def largest_slice(seg: Dataset) -> LargestSlice | None:
    """Return the largest slice; of equal ones that of the first frame. None if no voxel is marked.

    Parameters
    ----------
    seg
        A Segmentation that the node has made (PS3.3 A.51): its segments do not overlap, and each frame names its source
        image and its position.
    """
    totals: dict[tuple[float, ...], NDArray[np.float64]] = {}
    frames: dict[tuple[float, ...], Dataset] = {}
    for pixels, frame in zip(iter_pixels(seg), seg.PerFrameFunctionalGroupsSequence, strict=True):
        position = tuple(float(value) for value in frame.PlanePositionSequence[0].ImagePositionPatient)
        totals[position] = totals.get(position, np.zeros(3)) + _marked(np.asarray(pixels) > 0)
        frames.setdefault(position, frame)
    if not totals:
        return None
    position, (area, rows, columns) = max(totals.items(), key=lambda entry: entry[1][0])
    if not area:
        return None
    centre = np.array(position) + _steps(seg) @ (columns / area, rows / area)
    source = frames[position].DerivationImageSequence[0].SourceImageSequence[0]
    return LargestSlice(
        series_uid=str(seg.ReferencedSeriesSequence[0].SeriesInstanceUID),
        sop_instance_uid=str(source.ReferencedSOPInstanceUID),
        centre_mm=(float(centre[0]), float(centre[1]), float(centre[2])),
        frame_of_reference_uid=str(seg.FrameOfReferenceUID),
    )


def _marked(mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the number of marked pixels, and the sums of their rows and of their columns."""
    in_rows, in_columns = mask.sum(axis=1), mask.sum(axis=0)
    return np.array(
        [in_rows.sum(), in_rows @ np.arange(len(in_rows)), in_columns @ np.arange(len(in_columns))], dtype=np.float64
    )


def _steps(seg: Dataset) -> NDArray[np.float64]:
    """Return the steps in the patient from one column to the next, and from one row to the next (PS3.3 C.7.6.2.1.1)."""
    shared = seg.SharedFunctionalGroupsSequence[0]
    cosines = np.array(shared.PlaneOrientationSequence[0].ImageOrientationPatient, dtype=np.float64).reshape(2, 3)
    between_rows, between_columns = (float(mm) for mm in shared.PixelMeasuresSequence[0].PixelSpacing)
    return np.asarray((cosines * [[between_columns], [between_rows]]).T)
