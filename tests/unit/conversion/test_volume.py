"""Grids and volumes: what is refused, what is read-only, and that no operation moves a voxel in the patient."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from conversion.errors import BrokenGeometry, ConversionReason
from conversion.volume import Grid, ImageVolume, LabelVolume
from tests.support.dicom_series import axis_aligned
from tests.support.strategies import affines, directions, grids, shapes

FEW = settings(max_examples=25, deadline=None, derandomize=True)
PERMUTATIONS = [(0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0)]


def _grid(shape: tuple[int, int, int] = (3, 4, 5), affine: NDArray[np.float64] | None = None) -> Grid:
    return Grid(shape=shape, affine=axis_aligned("axial") if affine is None else affine, frame_of_reference_uid="1.2.3")


def _positions(grid: Grid) -> NDArray[np.float64]:
    """Return the position of every voxel by the definition, shape (slice, row, column, 3)."""
    index = np.stack(np.meshgrid(*(np.arange(n) for n in grid.shape), indexing="ij"), axis=-1)
    homogeneous = np.concatenate([index, np.ones((*grid.shape, 1))], axis=-1)
    return np.asarray(np.einsum("ij,...j->...i", grid.affine, homogeneous)[..., :3])


def _reason_for(affine: NDArray[np.float64], shape: tuple[int, int, int] = (3, 4, 5)) -> ConversionReason:
    with pytest.raises(BrokenGeometry) as caught:
        _grid(shape, affine)
    return caught.value.reason


def _with(row: int, column: int, value: float) -> NDArray[np.float64]:
    affine = axis_aligned("axial")
    affine[row, column] = value
    return affine


@pytest.mark.parametrize(
    "affine",
    [np.eye(3), _with(0, 3, np.nan), _with(1, 1, np.inf), _with(3, 0, 0.1), _with(3, 3, 2.0)],
    ids=["3 by 3", "NaN origin", "infinite spacing", "perspective", "scaled homogeneous"],
)
def test_a_grid_needs_a_finite_affine_of_four_by_four(affine: NDArray[np.float64]) -> None:
    assert _reason_for(affine) is ConversionReason.MIXED_GEOMETRY


@pytest.mark.parametrize("shape", [(0, 4, 5), (3, 0, 5), (3, 4, 0), (3, 4, -1)])
def test_a_grid_needs_voxels_along_every_axis(shape: tuple[int, int, int]) -> None:
    assert _reason_for(axis_aligned("axial"), shape) is ConversionReason.MIXED_GEOMETRY


def test_a_grid_of_no_thickness_is_refused() -> None:
    assert _reason_for(axis_aligned("axial", (0.0, 1.0, 1.0))) is ConversionReason.MIXED_GEOMETRY


@pytest.mark.parametrize(("drift_mm", "refused"), [(0.0005, False), (0.02, True), (1.0, True)])
def test_axes_that_are_not_at_right_angles_are_refused(drift_mm: float, refused: bool) -> None:  # noqa: FBT001
    affine = axis_aligned("axial", (1.0, 1.0, 1.0))
    affine[0, 0] = drift_mm
    if refused:
        assert _reason_for(affine) is ConversionReason.SHEARED_STACK
    else:
        _grid(affine=affine)


def test_the_affine_is_a_private_read_only_copy() -> None:
    source = axis_aligned("axial")
    grid = _grid(affine=source)
    source[0, 3] = 999.0
    assert grid.affine[0, 3] == -20.0
    with pytest.raises(ValueError, match="read-only"):
        grid.affine[0, 3] = 0.0


def test_spacing_volume_and_directions_of_a_coronal_grid() -> None:
    grid = _grid(affine=axis_aligned("coronal", (4.0, 0.5, 0.25)))
    assert np.allclose(grid.spacing_mm, [4.0, 0.5, 0.25])
    assert grid.voxel_volume_ml == pytest.approx(0.0005)
    assert np.allclose(grid.directions, [[0, 0, 1], [1, 0, 0], [0, -1, 0]])


def test_position_of_a_voxel_of_a_sagittal_grid() -> None:
    grid = _grid(affine=axis_aligned("sagittal", (3.0, 2.0, 1.0), (10.0, 20.0, 30.0)))
    assert np.allclose(grid.position_mm(np.array([2.0, 3.0, 4.0])), [10 + 6, 20 + 4, 30 - 6])


@given(grids())
@FEW
def test_positions_of_many_voxels_agree_with_the_affine(grid: Grid) -> None:
    index = np.stack(np.meshgrid(*(np.arange(n) for n in grid.shape), indexing="ij"), axis=-1)
    assert np.allclose(grid.position_mm(index.astype(float)), _positions(grid), atol=1e-9)
    assert np.allclose(grid.directions.T @ grid.directions, np.eye(3), atol=1e-9)


@pytest.mark.parametrize(
    ("change", "equal"),
    [
        ({}, True),
        ({"origin_mm": (-20.0, -30.0, 10.0005)}, True),
        ({"origin_mm": (-20.0, -30.0, 10.01)}, False),
        ({"spacing_mm": (3.0, 1.25, 1.5)}, False),
        ({"plane": "coronal"}, False),
    ],
)
def test_equal_grids_put_every_voxel_at_the_same_place(change: dict[str, object], equal: bool) -> None:  # noqa: FBT001
    other = _grid(affine=axis_aligned(**({"plane": "axial"} | change)))  # type: ignore[arg-type]
    assert _grid().equals(other) is equal


def test_grids_of_other_shape_or_frame_of_reference_are_not_equal() -> None:
    elsewhere = Grid(shape=(3, 4, 5), affine=axis_aligned("axial"), frame_of_reference_uid="1.2.4")
    assert not _grid().equals(elsewhere)
    assert not _grid().equals(_grid((3, 5, 4)))


@given(grids(), st.sampled_from(PERMUTATIONS), st.tuples(st.booleans(), st.booleans(), st.booleans()))
@FEW
def test_permuting_and_reversing_axes_moves_no_voxel(
    grid: Grid, axes: tuple[int, int, int], flips: tuple[bool, bool, bool]
) -> None:
    permuted = grid.permuted(axes, flips)
    expected = _positions(grid).transpose(*axes, 3)
    expected = np.flip(expected, tuple(axis for axis, flip in enumerate(flips) if flip))
    assert permuted.shape == expected.shape[:3]
    assert np.allclose(_positions(permuted), expected, atol=1e-9)
    assert permuted.frame_of_reference_uid == grid.frame_of_reference_uid


@given(grids(tilt_deg=20.0))
@FEW
def test_axial_order_points_slices_to_the_head_rows_to_the_back_columns_to_the_left(grid: Grid) -> None:
    axial = grid.permuted(*grid.axial_order())
    head, back, left = axial.directions.T
    assert head[2] > 0.7
    assert back[1] > 0.7
    assert left[0] > 0.7


@pytest.mark.parametrize(
    ("plane", "axes", "flips"),
    [
        ("axial", (0, 1, 2), (False, False, False)),
        ("sagittal", (1, 2, 0), (True, False, False)),
        ("coronal", (1, 0, 2), (True, False, False)),
    ],
)
def test_axial_order_of_the_three_planes(
    plane: str, axes: tuple[int, int, int], flips: tuple[bool, bool, bool]
) -> None:
    assert _grid(affine=axis_aligned(plane)).axial_order() == (axes, flips)


@given(grids(), st.tuples(*[st.sampled_from([0.5, 1.0, 2.5, 7.0])] * 3))
@FEW
def test_a_resampled_grid_covers_the_same_box_around_the_same_centre(
    grid: Grid, spacing_mm: tuple[float, float, float]
) -> None:
    other = grid.resampled(spacing_mm)
    assert np.allclose(other.spacing_mm, spacing_mm)
    assert np.allclose(other.directions, grid.directions)
    before, after = np.array(grid.shape) * grid.spacing_mm, np.array(other.shape) * other.spacing_mm
    assert np.all(after >= before - 1e-4)
    assert np.all(after - before < np.array(spacing_mm))
    assert np.allclose(_positions(other).mean(axis=(0, 1, 2)), _positions(grid).mean(axis=(0, 1, 2)), atol=1e-9)


def test_resampling_to_the_own_spacing_changes_nothing() -> None:
    assert _grid().resampled((3.0, 1.5, 1.25)).equals(_grid())


@given(affines(), shapes())
@FEW
def test_a_volume_keeps_its_voxels_where_they_were(affine: NDArray[np.float64], shape: tuple[int, int, int]) -> None:
    voxels = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    volume = ImageVolume(grid=_grid(shape, affine), voxels=np.asfortranarray(voxels))
    assert np.array_equal(volume.voxels, voxels)
    assert volume.voxels.flags.c_contiguous


def test_voxels_are_float32_labels_are_uint8_and_both_are_read_only() -> None:
    image = ImageVolume(grid=_grid(), voxels=np.ones((3, 4, 5), np.int16))
    labels = LabelVolume(grid=_grid(), labels=np.ones((3, 4, 5), np.int64))
    assert image.voxels.dtype == np.float32
    assert labels.labels.dtype == np.uint8
    with pytest.raises(ValueError, match="read-only"):
        image.voxels[0, 0, 0] = 2
    with pytest.raises(ValueError, match="read-only"):
        labels.labels[0, 0, 0] = 2


def test_closing_a_volume_leaves_the_callers_array_open() -> None:
    voxels = np.zeros((3, 4, 5), np.float32)
    ImageVolume(grid=_grid(), voxels=voxels)
    voxels[0, 0, 0] = 1.0
    assert voxels.flags.writeable


@pytest.mark.parametrize("shape", [(5, 4, 3), (3, 4), (3, 4, 5, 1)])
def test_voxels_that_do_not_fit_the_grid_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(BrokenGeometry, match="do not fit") as caught:
        ImageVolume(grid=_grid(), voxels=np.zeros(shape, np.float32))
    assert caught.value.reason is ConversionReason.MIXED_GEOMETRY
    with pytest.raises(BrokenGeometry):
        LabelVolume(grid=_grid(), labels=np.zeros(shape, np.uint8))


@pytest.mark.parametrize(("stretch", "equal"), [(1e-7, True), (1e-5, True), (1e-4, False), (9e-4, False)])
def test_what_adds_up_over_a_head_is_not_equal(stretch: float, equal: bool) -> None:  # noqa: FBT001
    """A voxel wider by 0.1 µm is nothing; wider by 0.1 % of a mm, the 240th lies a quarter of a voxel away."""
    affine = np.diag([1.0, 1.0, 1.0, 1.0])
    wider = np.diag([1.0, 1.0, 1.0 + stretch, 1.0])
    one, other = (Grid(shape=(155, 240, 240), affine=each, frame_of_reference_uid="1.2.3") for each in (affine, wider))
    assert one.equals(other) is equal


@FEW
@given(grids(), directions(tilt_deg=40.0))
def test_a_turned_grid_covers_every_voxel_with_cubes_along_the_wanted_directions(
    grid: Grid, linear: NDArray[np.float64]
) -> None:
    left_back_head = linear[:, ::-1]
    left_back_head = left_back_head * np.sign(np.linalg.det(left_back_head))
    turned = grid.turned(left_back_head, 0.9)
    assert np.allclose(turned.spacing_mm, 0.9)
    assert np.allclose(turned.directions, left_back_head[:, ::-1])
    assert turned.frame_of_reference_uid == grid.frame_of_reference_uid
    index = (_positions(grid) - turned.affine[:3, 3]) @ np.linalg.inv(turned.affine[:3, :3]).T
    assert index.min() >= -0.5
    assert np.all(index.reshape(-1, 3).max(axis=0) <= np.array(turned.shape) - 0.5)
    reach = np.abs(turned.directions.T @ grid.affine[:3, :3]) @ np.array(grid.shape)
    assert np.all(np.array(turned.shape) * 0.9 < reach + 0.9 + 1e-6), "and no larger than it must be"
