"""The bridge to SimpleITK: equal physical points in both directions, for every orientation."""

import numpy as np
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st

from conversion.simpleitk_bridge import from_simpleitk, grid_from_simpleitk, like_grid, to_simpleitk
from conversion.volume import Grid, ImageVolume, LabelVolume
from tests.support.strategies import grids

FEW = settings(max_examples=25, deadline=None, derandomize=True)


@st.composite
def _grid_and_index(draw: st.DrawFn) -> tuple[Grid, tuple[int, int, int]]:
    grid = draw(grids())
    slice_, row, column = (draw(st.integers(0, n - 1)) for n in grid.shape)
    return grid, (slice_, row, column)


@given(_grid_and_index())
@FEW
def test_a_voxel_lies_at_the_same_point_on_both_sides(case: tuple[Grid, tuple[int, int, int]]) -> None:
    grid, (k, i, j) = case
    voxels = np.zeros(grid.shape, np.float32)
    voxels[k, i, j] = 7.0
    image = to_simpleitk(ImageVolume(grid=grid, voxels=voxels))
    point = grid.position_mm(np.array([k, i, j], float))
    assert np.allclose(image.TransformIndexToPhysicalPoint((j, i, k)), point, atol=1e-6)
    assert image.GetPixel(*image.TransformPhysicalPointToIndex([float(v) for v in point])) == 7.0


@given(_grid_and_index())
@FEW
def test_the_way_back_gives_the_same_grid(case: tuple[Grid, tuple[int, int, int]]) -> None:
    grid, index = case
    image = to_simpleitk(LabelVolume(grid=grid, labels=np.zeros(grid.shape, np.uint8)))
    back = grid_from_simpleitk(image, "1.2.3")
    assert back.equals(grid)
    k, i, j = index
    point = image.TransformIndexToPhysicalPoint((j, i, k))
    assert np.allclose(back.position_mm(np.array(index, float)), point, atol=1e-6)


def test_a_foreign_image_keeps_its_points() -> None:
    """Built by SimpleITK alone: 5 columns, 4 rows, 3 slices, turned about z by 30°."""
    image = sitk.Image([5, 4, 3], sitk.sitkFloat32)
    image.SetSpacing([0.5, 0.7, 6.0])
    image.SetOrigin([-11.0, 22.0, 33.0])
    cos, sin = np.cos(np.pi / 6), np.sin(np.pi / 6)
    image.SetDirection([cos, -sin, 0, sin, cos, 0, 0, 0, 1])
    grid = grid_from_simpleitk(image, "1.2.9")
    assert grid.shape == (3, 4, 5)
    assert grid.frame_of_reference_uid == "1.2.9"
    assert np.allclose(grid.spacing_mm, [6.0, 0.7, 0.5])
    for k, i, j in ((0, 0, 0), (2, 0, 0), (0, 3, 0), (0, 0, 4), (2, 3, 4)):
        point = image.TransformIndexToPhysicalPoint((j, i, k))
        assert np.allclose(grid.position_mm(np.array([k, i, j], float)), point, atol=1e-6)


@given(grids())
@FEW
def test_voxels_come_back_in_their_places(grid: Grid) -> None:
    voxels = np.arange(np.prod(grid.shape), dtype=np.float32).reshape(grid.shape)
    back = from_simpleitk(to_simpleitk(ImageVolume(grid=grid, voxels=voxels)), grid)
    assert np.array_equal(back.voxels, voxels)
    assert back.grid is grid


@given(_grid_and_index())
@FEW
def test_an_image_is_given_the_geometry_of_a_grid(case: tuple[Grid, tuple[int, int, int]]) -> None:
    grid, (k, i, j) = case
    image = sitk.Image([int(n) for n in grid.shape[::-1]], sitk.sitkUInt8)
    like_grid(image, grid)
    point = grid.affine @ [k, i, j, 1]
    assert np.allclose(image.TransformIndexToPhysicalPoint((j, i, k)), point[:3], atol=1e-6)


def test_labels_stay_integers_and_images_stay_floats() -> None:
    grid = Grid(shape=(2, 2, 2), affine=np.eye(4), frame_of_reference_uid="1.2.3")
    labels = to_simpleitk(LabelVolume(grid=grid, labels=np.full(grid.shape, 5, np.uint8)))
    image = to_simpleitk(ImageVolume(grid=grid, voxels=np.full(grid.shape, 0.5, np.float32)))
    assert labels.GetPixelID() == sitk.sitkUInt8
    assert image.GetPixelID() == sitk.sitkFloat32
