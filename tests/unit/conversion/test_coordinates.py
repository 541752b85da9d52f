"""The same place in the patient, whatever the way: masks known in mm through every function that touches orientation.

What is expected is computed from the standard's formula and the mask's equation alone, never by the product.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from conversion.alignment import align, labels_on, resample
from conversion.nifti import read_nifti, write_canonical_nifti, write_nifti
from conversion.reading import dicom_files, read_series, read_study
from conversion.sequences import Role
from conversion.simpleitk_bridge import from_simpleitk, grid_from_simpleitk, labels_from_simpleitk, to_simpleitk
from conversion.volume import Grid, ImageVolume, LabelVolume
from tests.support.dicom_series import mr_slices, write_slices
from tests.support.strategies import SIGNED_PERMUTATIONS, grids, tilted

FIELD_MM = 170.0
LESION_MM = np.array([24.0, -14.0, 19.0])
"""Centre of the lesion from the head's centre: off every plane of symmetry, so that no flip goes unseen."""

LESION_RADIUS_MM = 22.0
STRUCTURES = (
    ((-30.0, 12.0, -8.0), 12.0, -180.0),
    ((10.0, 34.0, -22.0), 15.0, 220.0),
    ((-14.0, -30.0, 28.0), 10.0, 260.0),
)
"""Centre, width and height of what else a registration can hold on to."""


@dataclass(frozen=True, kw_only=True)
class Head:
    """A head whose every point has a known value, moved in the scanner by a known rigid move."""

    rotation: NDArray[np.float64]
    shift_mm: NDArray[np.float64]

    def own(self, points_mm: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return where points of the scanner lie in the head."""
        return np.asarray((points_mm - self.shift_mm) @ self.rotation)

    def values(self, points_mm: NDArray[np.float64]) -> NDArray[np.uint16]:
        """Return intensities: tissue 400 in an ellipsoid, soft structures, the lesion 900 with a soft edge."""
        own = self.own(points_mm)
        inside = np.linalg.norm(own / (56.0, 68.0, 60.0), axis=-1)
        tissue = 400.0 + sum(
            height * np.exp(-0.5 * np.sum((own - centre) ** 2, axis=-1) / width**2)
            for centre, width, height in STRUCTURES
        )
        lesion = 1.0 / (1.0 + np.exp(-np.clip(self.depth_mm(points_mm), -30.0, 30.0)))
        return np.asarray((tissue + 500.0 * lesion) * (inside < 1.0), np.uint16)

    def depth_mm(self, points_mm: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return how far inside the lesion's surface points lie."""
        return np.asarray(LESION_RADIUS_MM - np.linalg.norm(self.own(points_mm) - LESION_MM, axis=-1))


def _points(affine: NDArray[np.float64], shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Return the LPS positions of all voxels, by the standard's formula."""
    return np.moveaxis(np.indices(shape), 0, -1) @ affine[:3, :3].T + affine[:3, 3]


def _rotation(angles_deg: Sequence[float]) -> NDArray[np.float64]:
    turn = sitk.Euler3DTransform((0.0, 0.0, 0.0), *[float(np.radians(angle)) for angle in angles_deg])
    return np.array(turn.GetMatrix()).reshape(3, 3)


def _stack(rng: np.random.Generator) -> tuple[NDArray[np.float64], tuple[int, int, int], list[int]]:
    """Draw affine and shape of an anisotropic stack over the whole head, in any orientation, and its slices' order."""
    spacing = np.array([rng.integers(30, 51), rng.integers(20, 31), rng.integers(20, 31)]) / 10
    shape = np.ceil(FIELD_MM / spacing).astype(int)
    affine = np.eye(4)
    affine[:3, :3] = tilted(rng.uniform(-45.0, 45.0, 3).tolist()) @ rng.choice(SIGNED_PERMUTATIONS) * spacing
    if np.linalg.det(affine[:3, :3]) < 0:
        affine[:3, 0] *= -1  # a scanner's slice, row and column directions are what r x c makes them, either way round
    affine[:3, 3] = -affine[:3, :3] @ ((shape - 1) / 2)
    return affine, (int(shape[0]), int(shape[1]), int(shape[2])), rng.permutation(shape[0]).tolist()


def _scan(folder: Path, head: Head, stack: tuple[NDArray[np.float64], tuple[int, int, int], list[int]]) -> ImageVolume:
    """Write the head as a scanner would, and read it."""
    affine, shape, order = stack
    folder.mkdir()
    write_slices(folder, mr_slices(head.values(_points(affine, shape)), affine), order)
    (series,) = read_study(dicom_files(folder)).series
    return read_series(series)


# Seeds instead of Hypothesis: what that draws depends on which modules are loaded, and each draw takes seconds.
@pytest.mark.parametrize("seed", range(5))
def test_a_lesion_found_in_one_space_lies_right_in_each_source(tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    first, second = _stack(rng), _stack(rng)
    moved = Head(rotation=_rotation(rng.uniform(-8.0, 8.0, 3).tolist()), shift_mm=rng.uniform(-6.0, 6.0, 3))
    still = Head(rotation=np.eye(3), shift_mm=np.zeros(3))
    volumes = {
        Role.T1CE: _scan(tmp_path / "reference", still, first),
        Role.FLAIR: _scan(tmp_path / "moved", moved, second),
    }
    aligned = align(volumes, Role.T1CE, threads=1)
    assert aligned.refused == (), aligned.decisions
    found = (aligned.volumes[Role.FLAIR].voxels > 700).astype(np.uint8)
    labels = LabelVolume(grid=aligned.grid, labels=found)
    back = labels_on(labels, volumes[Role.FLAIR].grid, aligned.registrations[Role.FLAIR].matrix)
    # Half a voxel's diagonal of either grid for the sampling, and one millimetre for the registration.
    slack = 1.0 + 0.5 * sum(float(np.linalg.norm(volume.grid.spacing_mm)) for volume in volumes.values())
    for head, volume in ((still, labels), (moved, back)):
        depth = head.depth_mm(_points(volume.grid.affine, volume.grid.shape))
        assert volume.labels[depth > slack].all()
        assert not volume.labels[depth < -slack].any()
        assert abs(depth[volume.labels > 0].size * volume.grid.voxel_volume_ml / 44.6 - 1.0) < 0.25  # 4/3 pi 22^3


@st.composite
def labelled(draw: st.DrawFn) -> LabelVolume:
    """Draw a grid with labels that no flip or permutation maps onto themselves."""
    grid = draw(grids())
    labels = (np.arange(np.prod(grid.shape)) * 7919 % 251).reshape(grid.shape).astype(np.uint8)
    return LabelVolume(grid=grid, labels=labels)


def _places(volume: LabelVolume) -> NDArray[np.float64]:
    """Return rows of (label, x, y, z), in an order of their own."""
    table = np.column_stack([volume.labels.ravel(), _points(volume.grid.affine, volume.grid.shape).reshape(-1, 3)])
    return np.asarray(table[np.lexsort(np.round(table, 2).T)])


@given(labelled())
@settings(max_examples=40, deadline=None, derandomize=True)
def test_permuting_bridging_and_filing_move_no_label(
    tmp_path_factory: pytest.TempPathFactory, volume: LabelVolume
) -> None:
    axes, flips = volume.grid.axial_order()
    turned = volume.labels.transpose(axes)[tuple(slice(None, None, -1 if flip else 1) for flip in flips)]
    axial = LabelVolume(grid=volume.grid.permuted(axes, flips), labels=turned)
    image = to_simpleitk(volume)
    bridged = labels_from_simpleitk(image, grid_from_simpleitk(image, "1.2.3"))
    path = tmp_path_factory.mktemp("nifti") / "labels.nii.gz"
    write_nifti(volume, path)
    kept = read_nifti(path)
    filed = LabelVolume(grid=kept.grid, labels=kept.voxels.astype(np.uint8))
    write_canonical_nifti(ImageVolume(grid=volume.grid, voxels=volume.labels.astype(np.float32)), path)
    kept = read_nifti(path)
    canonical = LabelVolume(grid=kept.grid, labels=kept.voxels.astype(np.uint8))
    expected = _places(volume)
    for other in (axial, bridged, filed, canonical):
        assert np.allclose(_places(other), expected, atol=2e-3)
    towards = axial.grid.directions[::-1]  # rows: how far each axis runs to the head, to the back, to the left
    assert np.all(np.diag(towards) >= 0)
    others = (np.abs(towards[:, list(order)]).trace() for order in permutations(range(3)))
    assert np.trace(towards) >= max(others) - 1e-9


@given(labelled(), st.tuples(*[st.floats(-30.0, 30.0)] * 6))
@settings(max_examples=40, deadline=None, derandomize=True)
def test_labels_go_to_another_grid_by_the_nearest_place(volume: LabelVolume, move: tuple[float, ...]) -> None:
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = _rotation(move[:3]), move[3:]  # type: ignore[arg-type]
    affine = matrix @ volume.grid.affine
    affine[:3, :3] = affine[:3, :3][:, [2, 0, 1]] * (0.7, 1.3, 0.9)
    shape = tuple(int(n) for n in np.array(volume.grid.shape)[[2, 0, 1]])
    target = Grid(shape=(shape[0], shape[1], shape[2]), affine=affine, frame_of_reference_uid="1.2.4")
    moved = labels_on(volume, target, matrix)
    inverse = np.linalg.inv(matrix @ volume.grid.affine)
    index = _points(affine, target.shape) @ inverse[:3, :3].T + inverse[:3, 3]
    near = np.rint(index).astype(int)
    sure = np.all(np.abs(index - near) < 0.49, axis=-1)
    inside = np.all((near >= 0) & (near < volume.grid.shape), axis=-1)
    assert np.array_equal(moved.labels[sure & inside], volume.labels[tuple(near[sure & inside].T)])
    assert not moved.labels[sure & ~inside].any()


@given(grids(), st.tuples(*[st.integers(8, 60)] * 3))
@settings(max_examples=40, deadline=None, derandomize=True)
def test_another_spacing_keeps_every_place(grid: Grid, spacing: tuple[int, int, int]) -> None:
    """Interpolation keeps linear functions of place exactly, so a value tells where its voxel takes itself to be."""
    slope = np.array([0.3, -0.7, 1.1])
    volume = ImageVolume(grid=grid, voxels=(_points(grid.affine, grid.shape) @ slope).astype(np.float32))
    finer = grid.resampled((spacing[0] / 20, spacing[1] / 20, spacing[2] / 20))
    sampled = from_simpleitk(to_simpleitk(resample(volume, finer)), finer)
    points = _points(finer.affine, finer.shape)
    inverse = np.linalg.inv(grid.affine)
    index = points @ inverse[:3, :3].T + inverse[:3, 3]
    inner = np.all((index > 0.001) & (index < np.array(grid.shape) - 1.001), axis=-1)
    assert np.allclose(sampled.voxels[inner], (points @ slope)[inner], atol=0.02)
    corners = np.array([[-0.5, -0.5, -0.5], np.array(finer.shape) - 0.5])
    box = np.array([[-0.5, -0.5, -0.5], np.array(grid.shape) - 0.5])
    covers = np.abs(finer.position_mm(corners) - grid.position_mm(box)) @ np.ones(3)
    assert np.all(covers <= np.sum(finer.spacing_mm) * 1.8)
