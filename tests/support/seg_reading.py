"""Reads a BINARY SEG by the standard alone (PS3.3 A.51): bits, frames, positions; shares no code with the product."""

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

__all__ = ["VALUES", "seg_labels", "seg_points"]

VALUES = {"Necrotic core": 1, "Edema": 2, "Enhancing tumor": 3, "Whole tumor": 5}
"""The label value of each segment, by its name."""

Labels = NDArray[np.uint8]
Matrix = NDArray[np.float64]


def seg_points(ds: Dataset) -> dict[str, Matrix]:
    """Decode a SEG by the standard alone: bits, frames, positions; return LPS mm of the voxels of each segment."""
    frames, rows, columns = int(ds.NumberOfFrames), int(ds.Rows), int(ds.Columns)
    bits = np.unpackbits(np.frombuffer(ds.PixelData, np.uint8), bitorder="little")[: frames * rows * columns]
    shared = ds.SharedFunctionalGroupsSequence[0]
    cosines = np.array([float(v) for v in shared.PlaneOrientationSequence[0].ImageOrientationPatient])
    row_step, column_step = (float(v) for v in shared.PixelMeasuresSequence[0].PixelSpacing)
    labels = {int(item.SegmentNumber): str(item.SegmentLabel) for item in ds.SegmentSequence}
    points: dict[str, list[Matrix]] = {name: [] for name in labels.values()}
    for frame, item in zip(bits.reshape(frames, rows, columns), ds.PerFrameFunctionalGroupsSequence, strict=True):
        origin = np.array([float(v) for v in item.PlanePositionSequence[0].ImagePositionPatient])
        row, column = np.nonzero(frame)
        places = origin + np.outer(row * row_step, cosines[3:]) + np.outer(column * column_step, cosines[:3])
        points[labels[int(item.SegmentIdentificationSequence[0].ReferencedSegmentNumber)]].append(places)
    return {name: np.concatenate(groups) for name, groups in points.items()}


def seg_labels(ds: Dataset, affine: Matrix, shape: tuple[int, ...]) -> Labels:
    """Return the labels on the grid that the source was written from; every voxel has to lie on it."""
    labels = np.zeros(shape, np.uint8)
    into = np.linalg.inv(affine)
    for name, points in seg_points(ds).items():
        index = points @ into[:3, :3].T + into[:3, 3]
        place = np.round(index).astype(int)
        assert np.allclose(index, place, atol=0.01)
        assert not labels[tuple(place.T)].any(), "segments overlap"
        labels[tuple(place.T)] = VALUES[name]
    return labels
