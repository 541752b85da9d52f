"""One grid for all sequences: resampling keeps the anatomy in place, and nothing is resampled without need."""

import numpy as np
import pytest
from hypothesis import given, settings
from numpy.typing import NDArray

from conversion.alignment import align, already_aligned, resample
from conversion.sequences import Role
from conversion.volume import Grid, ImageVolume
from tests.support.dicom_series import axis_aligned
from tests.support.strategies import grids

FEW = settings(max_examples=20, deadline=None, derandomize=True)
SLOPE = np.array([0.7, -1.3, 2.1])
"""Brightness per mm along x, y and z: linear interpolation reproduces it everywhere inside."""


def _positions(grid: Grid) -> NDArray[np.float64]:
    index = np.stack(np.meshgrid(*(np.arange(float(n)) for n in grid.shape), indexing="ij"), axis=-1)
    return grid.position_mm(index)


def _ramp(grid: Grid) -> ImageVolume:
    return ImageVolume(grid=grid, voxels=(_positions(grid) @ SLOPE).astype(np.float32))


def _within(points: NDArray[np.float64], grid: Grid) -> NDArray[np.bool_]:
    """Tell which points lie between the outermost voxel centres of a grid."""
    back = np.linalg.inv(grid.affine)
    index = points @ back[:3, :3].T + back[:3, 3]
    return np.asarray(np.all((index >= 1e-6) & (index <= np.array(grid.shape) - 1 - 1e-6), axis=-1))


def _grid(shape: tuple[int, int, int] = (12, 14, 16), frame: str = "1.2.3") -> Grid:
    affine = axis_aligned("axial", (2.0, 1.5, 1.0), (-8.0, -10.0, -11.0))
    return Grid(shape=shape, affine=affine, frame_of_reference_uid=frame)


def _blob(grid: Grid, centre_mm: tuple[float, float, float]) -> ImageVolume:
    """Return a smooth, lopsided brightness that a registration can hold on to."""
    x, y, z = np.moveaxis(_positions(grid) - np.array(centre_mm), -1, 0)
    return ImageVolume(
        grid=grid,
        voxels=(
            100 * np.exp(-(x**2 + y**2 / 2 + z**2) / 30) + 60 * np.exp(-((x - 5) ** 2 + (y - 4) ** 2 + z**2) / 8)
        ).astype(np.float32),
    )


@given(grids(), grids())
@FEW
def test_resampling_reads_the_anatomy_at_its_own_place(source: Grid, target: Grid) -> None:
    centred = np.array(target.affine)
    middle = (np.array(source.shape) - 1) / 2
    centred[:3, 3] = source.position_mm(middle) - centred[:3, :3] @ ((np.array(target.shape) - 1) / 2)
    grid = Grid(shape=target.shape, affine=centred, frame_of_reference_uid="1.2.3")
    sampled = resample(_ramp(source), grid)
    inside = _within(_positions(grid), source)
    assert sampled.grid is grid
    assert np.allclose(sampled.voxels[inside], (_positions(grid) @ SLOPE)[inside], rtol=1e-3, atol=5e-3)


def test_resampling_applies_the_move_from_the_target_to_the_source() -> None:
    matrix = np.eye(4)
    matrix[:3, :3] = [[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]
    matrix[:3, 3] = [1.0, 2.0, -3.0]
    source = _grid((20, 40, 60))
    target = Grid(shape=(3, 3, 3), affine=np.eye(4), frame_of_reference_uid="1.2.9")
    sampled = resample(_ramp(source), target, matrix)
    points = _positions(target) @ matrix[:3, :3].T + matrix[:3, 3]
    assert np.all(_within(points, source))
    assert np.allclose(sampled.voxels, points @ SLOPE, atol=1e-3)


def test_outside_the_source_there_is_nothing() -> None:
    affine = _grid().affine.copy()
    affine[:3, 3] += 500
    far = Grid(shape=(2, 2, 2), affine=affine, frame_of_reference_uid="1.2.3")
    assert not resample(ImageVolume(grid=_grid(), voxels=np.ones(_grid().shape, np.float32)), far).voxels.any()


def test_resampling_onto_the_own_grid_changes_nothing() -> None:
    volume = _ramp(_grid())
    assert np.allclose(resample(volume, _grid()).voxels, volume.voxels, atol=1e-4)


def test_volumes_on_one_grid_are_taken_as_they_are() -> None:
    volumes = {Role.T1CE: _ramp(_grid()), Role.FLAIR: _ramp(_grid())}
    aligned = already_aligned(volumes, Role.T1CE)
    assert aligned is not None
    assert dict(aligned.volumes) == volumes
    assert aligned.reference is Role.T1CE
    assert aligned.grid is volumes[Role.T1CE].grid
    assert not aligned.registrations
    assert [decision.code for decision in aligned.decisions] == ["already_aligned"]


@pytest.mark.parametrize("other", [_grid((12, 14, 15)), _grid(frame="1.2.4")], ids=["shape", "frame of reference"])
def test_volumes_on_other_grids_are_not(other: Grid) -> None:
    assert already_aligned({Role.T1CE: _ramp(_grid()), Role.FLAIR: _ramp(other)}, Role.T1CE) is None


def test_align_brings_every_sequence_onto_the_reference_and_says_how() -> None:
    reference = _grid((24, 32, 40))
    shifted = Grid(
        shape=(30, 34, 36),
        affine=axis_aligned("coronal", (1.6, 1.6, 1.2), (-14.0, -16.0, 30.0)),
        frame_of_reference_uid="1.2.3",
    )
    volumes = {Role.T1CE: _blob(reference, (4, 3, 12)), Role.FLAIR: _blob(shifted, (9, 6, 9))}
    aligned = align(volumes, Role.T1CE)
    assert aligned.volumes[Role.T1CE] is volumes[Role.T1CE]
    assert aligned.volumes[Role.FLAIR].grid is reference
    assert aligned.registrations.keys() == {Role.FLAIR}
    assert aligned.registrations[Role.FLAIR].move_mm == pytest.approx(np.linalg.norm([5, 3, 3]), abs=1.0)
    peak = np.unravel_index(np.argmax(aligned.volumes[Role.FLAIR].voxels), reference.shape)
    wanted = np.unravel_index(np.argmax(volumes[Role.T1CE].voxels), reference.shape)
    assert np.linalg.norm((np.array(peak) - np.array(wanted)) * reference.spacing_mm) < 2.1
    (decision,) = aligned.decisions
    assert (decision.code, decision.subject) == ("registered", "FLAIR")
    assert f"moved by {aligned.registrations[Role.FLAIR].move_mm:.1f} mm" in decision.reason


def test_a_reference_alone_needs_no_registration() -> None:
    aligned = align({Role.FLAIR: _ramp(_grid())}, Role.FLAIR)
    assert set(aligned.volumes) == {Role.FLAIR}
    assert aligned.decisions == ()
