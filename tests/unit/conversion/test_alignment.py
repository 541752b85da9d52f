"""One grid for all sequences: resampling keeps the anatomy in place, and nothing is resampled without need."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from conversion.alignment import align, already_aligned, labels_on, resample
from conversion.sequences import Role
from conversion.volume import Grid, ImageVolume, LabelVolume
from tests.support.dicom_series import axis_aligned
from tests.support.moved_volumes import cut, degraded, errors_mm, move, tissue_mm
from tests.support.small_head import CENTRE_MM, head_volume
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


@pytest.fixture(scope="module")
def head() -> ImageVolume:
    return head_volume("axial", (3.0, 2.0, 2.0))


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


def test_volumes_on_one_grid_are_taken_as_they_are(head: ImageVolume) -> None:
    volumes = {Role.T1CE: head, Role.FLAIR: degraded(head, np.random.default_rng(1))}
    aligned = already_aligned(volumes, Role.T1CE)
    assert aligned is not None
    assert dict(aligned.volumes) == volumes
    assert aligned.reference is Role.T1CE
    assert aligned.grid is volumes[Role.T1CE].grid
    assert not aligned.registrations
    assert [decision.code for decision in aligned.decisions] == ["already_aligned"]


def test_one_grid_is_no_proof_of_one_space(head: ImageVolume) -> None:
    rolled = ImageVolume(grid=head.grid, voxels=np.roll(head.voxels, 8, axis=2))
    aligned = already_aligned({Role.T1CE: head, Role.T1: head, Role.FLAIR: rolled}, Role.T1CE)
    assert aligned is not None
    assert aligned.volumes[Role.FLAIR] is rolled
    _, doubt = aligned.decisions
    assert (doubt.code, doubt.subject) == ("alignment_doubtful", "FLAIR")
    assert "may not be aligned with it: the anatomy does not match clearly" in doubt.reason


@pytest.mark.parametrize("other", [_grid((12, 14, 15)), _grid(frame="1.2.4")], ids=["shape", "frame of reference"])
def test_volumes_on_other_grids_are_not(other: Grid) -> None:
    assert already_aligned({Role.T1CE: _ramp(_grid()), Role.FLAIR: _ramp(other)}, Role.T1CE) is None


def test_align_brings_every_sequence_onto_the_reference_and_says_how(head: ImageVolume) -> None:
    expected = move((3.0, -2.0, 4.0), (5.0, 3.0, -3.0), CENTRE_MM)
    flair = head_volume("coronal", (2.0, 2.0, 2.0), np.asarray(np.linalg.inv(expected)))
    aligned = align({Role.T1CE: head, Role.FLAIR: flair}, Role.T1CE)
    assert aligned.volumes[Role.T1CE] is head
    assert aligned.volumes[Role.FLAIR].grid is head.grid
    assert aligned.registrations.keys() == {Role.FLAIR}
    found = aligned.registrations[Role.FLAIR]
    assert np.median(errors_mm(found.matrix, expected, tissue_mm(head))) < 0.5
    inside = head.voxels > 0
    assert np.corrcoef(aligned.volumes[Role.FLAIR].voxels[inside], head.voxels[inside])[0, 1] > 0.9
    (decision,) = aligned.decisions
    assert (decision.code, decision.subject) == ("registered", "FLAIR")
    assert (
        f"registered to T1CE by a translation of {found.move_mm:.1f} mm and a rotation of {found.rotation_deg:.1f}°"
        in decision.reason
    )
    assert f"an offset of 4 mm loses {found.sharpness:.0%} of it" in decision.reason
    assert aligned.refused == ()


def test_what_cannot_be_registered_is_left_out_and_declared_whatever_the_threads(head: ImageVolume) -> None:
    """A slab is used and declared, an empty series is left out, the study goes on; alike on 1 and 3 threads."""
    volumes = {
        Role.T1CE: head,
        Role.T1: ImageVolume(grid=head.grid, voxels=np.zeros(head.grid.shape, np.float32)),
        Role.FLAIR: cut(head, 0.3, 0.7),
    }
    alone, together = (align(volumes, Role.T1CE, threads) for threads in (1, 3))
    assert set(alone.volumes) == set(together.volumes) == {Role.T1CE, Role.FLAIR}
    assert alone.registrations.keys() == {Role.FLAIR}
    assert alone.refused == together.refused == (Role.T1,)
    assert alone.decisions == together.decisions
    assert np.array_equal(alone.registrations[Role.FLAIR].matrix, together.registrations[Role.FLAIR].matrix)
    assert np.array_equal(alone.volumes[Role.FLAIR].voxels, together.volumes[Role.FLAIR].voxels)
    said = {(decision.code, decision.subject): decision.reason for decision in alone.decisions}
    why = "a series contains less than 1 ml of tissue"
    refusal = f"not registered to T1CE, so the sequence is left out and counts as missing ({why})"
    assert said["registration_refused", "T1"] == refusal
    assert "of the reference's tissue (limit 75%)" in said["registration_doubtful", "FLAIR"]
    assert ("registered", "FLAIR") in said


def _rotation(angles_deg: tuple[float, float, float], shift_mm: tuple[float, float, float]) -> NDArray[np.float64]:
    return move(angles_deg, shift_mm, np.array([3.0, -2.0, 5.0]))


@given(grids(), grids(), st.tuples(*[st.floats(-40, 40)] * 3), st.tuples(*[st.floats(-9, 9)] * 3), st.integers(0, 99))
@FEW
def test_labels_go_back_to_the_grid_of_a_source(
    source: Grid, target: Grid, angles: tuple[float, float, float], shift: tuple[float, float, float], seed: int
) -> None:
    """Every voxel of the source's grid gets the label that lies nearest to where its anatomy is in the reference."""
    labels = np.random.default_rng(seed).integers(0, 5, source.shape).astype(np.uint8)
    matrix = _rotation(angles, shift)
    centred = np.array(target.affine)
    middle = matrix @ [*source.position_mm((np.array(source.shape) - 1) / 2), 1.0]
    centred[:3, 3] = middle[:3] - centred[:3, :3] @ ((np.array(target.shape) - 1) / 2)
    grid = Grid(shape=target.shape, affine=centred, frame_of_reference_uid="1.2.9")
    brought = labels_on(LabelVolume(grid=source, labels=labels), grid, matrix)
    assert brought.grid is grid
    back = np.linalg.inv(source.affine) @ np.linalg.inv(matrix)
    index = _positions(grid) @ back[:3, :3].T + back[:3, 3]
    nearest = np.round(index).astype(int)
    clear = np.all(np.abs(index - np.floor(index) - 0.5) > 1e-3, axis=-1)
    within = np.all((nearest >= 0) & (nearest < source.shape), axis=-1)
    wanted = np.where(within, labels[tuple(np.where(within[..., np.newaxis], nearest, 0).transpose(3, 0, 1, 2))], 0)
    assert np.array_equal(brought.labels[clear], wanted[clear])


def test_labels_and_intensities_are_not_confused() -> None:
    labels = LabelVolume(grid=_grid(), labels=np.ones(_grid().shape, np.uint8))
    assert np.array_equal(labels_on(labels, _grid()).labels, labels.labels)
    with pytest.raises(TypeError, match="labels_on"):
        resample(labels, _grid())  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="resample"):
        labels_on(_ramp(_grid()), _grid())  # type: ignore[arg-type]


def test_a_lesion_is_found_again_in_every_source(head: ImageVolume) -> None:
    """Drawn on the reference, brought to a coronal source that was moved, it covers the same anatomy."""
    expected = move((3.0, -2.0, 4.0), (5.0, 3.0, -3.0), CENTRE_MM)
    source = head_volume("coronal", (2.0, 2.0, 2.0), np.asarray(np.linalg.inv(expected)))
    lesion = LabelVolume(grid=head.grid, labels=(head.voxels == 300).astype(np.uint8))
    brought = labels_on(lesion, source.grid, expected)
    truth = source.voxels == 300
    both = np.count_nonzero(truth & (brought.labels == 1))
    assert 2 * both / (np.count_nonzero(truth) + np.count_nonzero(brought.labels)) > 0.85


def test_a_reference_alone_needs_no_registration() -> None:
    aligned = align({Role.FLAIR: _ramp(_grid())}, Role.FLAIR)
    assert set(aligned.volumes) == {Role.FLAIR}
    assert aligned.decisions == ()
