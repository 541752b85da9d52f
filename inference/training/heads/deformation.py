"""Random deformations of heads: rotation, scaling, shear, mirroring, shift and bending, alike for labels and brain."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from inference.training.heads.sample_grid import SampleGrid
from inference.training.heads.smooth_field import MARGIN, interpolated

__all__ = ["Deformation", "DeformationLimits", "drawn_deformation", "image_at", "labels_at", "turned"]


@dataclass(frozen=True, kw_only=True)
class DeformationLimits:
    """Limits of the deformation of a head. The ranges are those of SynthSeg (Billot 2023, table 1) unless noted.

    Attributes
    ----------
    turn_deg
        Largest rotation about each axis, either way. SynthSeg has 15; coils and stiff necks cause more.
    size
        Smallest and largest scale of the whole head: from the head of a small woman to that of the MNI152, which is
        larger than any real one.
    scale, shear
        Largest relative change of each axis, either way.
    shift_mm
        Largest shift along each axis, either way.
    further_up_mm
        Largest additional shift along the slice axis, either way, since fields of view differ most in this direction.
    bend_mm
        Largest standard deviation of a node's displacement.
    bend_nodes
        Smallest and largest number of cells of the bending field.
    mirrored
        Probability that left and right are swapped.
    """

    turn_deg: float = 20.0
    size: tuple[float, float] = (0.85, 1.22)
    scale: float = 0.07
    shear: float = 0.08
    shift_mm: float = 12.0
    further_up_mm: float = 8.0
    bend_mm: float = 4.5
    bend_nodes: tuple[int, int] = (3, 7)
    mirrored: float = 0.5


@dataclass(frozen=True, kw_only=True, eq=False)
class Deformation:
    """The mapping from positions in a sample to positions in the head.

    Attributes
    ----------
    matrix
        Shape (3, 3): from mm relative to the sample's centre to mm relative to the brain's, over (slice, row, column).
    shift_mm
        Added before the matrix is applied.
    bend_mm
        Displacement at the nodes, shape (3, n, n, n).
    """

    matrix: NDArray[np.float64]
    shift_mm: NDArray[np.float64]
    bend_mm: NDArray[np.float32]

    def places(
        self, grid: SampleGrid, middle: NDArray[np.float64], spacing_mm: tuple[float, float, float]
    ) -> NDArray[np.float32]:
        """Return the indices into the head for every voxel of the grid.

        Parameters
        ----------
        middle
            Index of the brain's centre in the head.
        spacing_mm
            Voxel spacing of the head.

        Returns
        -------
        numpy.ndarray
            Shape (3, slice, row, column).
        """
        shifted = [offset + shift for offset, shift in zip(grid.offsets_mm(), self.shift_mm, strict=True)]
        places = np.empty((3, *grid.shape), np.float32)
        for axis, row in enumerate(self.matrix):
            straight = sum(factor * part for factor, part in zip(row, shifted, strict=True))
            places[axis] = straight + interpolated(self.bend_mm[axis], grid.shape)
            places[axis] = places[axis] / spacing_mm[axis] + middle[axis]
        return places


def drawn_deformation(rng: np.random.Generator, limits: DeformationLimits) -> Deformation:
    """Return a random deformation."""
    shears = rng.uniform(-limits.shear, limits.shear, (3, 3)) * (1 - np.eye(3))
    scales = np.diag(1 / (rng.uniform(*limits.size) * rng.uniform(1 - limits.scale, 1 + limits.scale, 3)))
    side = -1.0 if rng.random() < limits.mirrored else 1.0
    shift = rng.uniform(-limits.shift_mm, limits.shift_mm, 3)
    shift[0] += rng.uniform(-limits.further_up_mm, limits.further_up_mm)
    nodes = int(rng.integers(limits.bend_nodes[0], limits.bend_nodes[1] + 1)) + MARGIN
    bend = rng.standard_normal((3, nodes, nodes, nodes), np.float32) * np.float32(rng.uniform(0, limits.bend_mm))
    matrix = turned(rng, limits.turn_deg) @ scales @ (np.eye(3) + shears) @ np.diag([1.0, 1.0, side])
    return Deformation(matrix=matrix, shift_mm=shift, bend_mm=bend)


def turned(rng: np.random.Generator, most_deg: float) -> NDArray[np.float64]:
    """Return a random rotation matrix, with angles of up to `most_deg` either way about each axis."""
    a, b, c = np.deg2rad(rng.uniform(-most_deg, most_deg, 3))
    about_slices = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    about_rows = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    about_columns = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    return np.asarray(about_slices @ about_rows @ about_columns)


def labels_at(labels: NDArray[Any], places: NDArray[np.floating]) -> NDArray[Any]:
    """Return the labels of the nearest voxels, zero outside.

    Parameters
    ----------
    labels
        Labels, or a mask.
    places
        Indices, shape (3, ...).
    """
    nearest = np.rint(places).astype(np.int32)
    inside = np.ones(places.shape[1:], bool)
    for index, size in zip(nearest, labels.shape, strict=True):
        inside &= (index >= 0) & (index < size)
        np.clip(index, 0, size - 1, out=index)
    sampled = np.asarray(labels[tuple(nearest)])
    sampled[~inside] = 0
    return sampled


def image_at(image: NDArray[np.float32], places: NDArray[np.floating]) -> NDArray[np.float32]:
    """Return trilinearly interpolated intensities, zero outside."""
    return np.asarray(ndimage.map_coordinates(image, places, output=np.float32, order=1, cval=0.0, prefilter=False))
