"""Where the halves of a brain meet, on grids of any axes."""

import numpy as np
import pytest
import torch
from scipy import ndimage
from scipy.spatial.transform import Rotation

from conversion.volume import Grid
from inference.midplane import FEWEST, Midplane, find_midplane
from tests.support.leaning_brain import BRAIN_SHAPE, MIDDLE, NORMAL, leaning_brain, sides

LYING = np.eye(4)
LYING[:3, :3] = np.eye(3)[::-1]  # slices run up, rows to the back, columns to the left
LYING[:3, 3] = (-30.0, 12.5, 400.0)

STEP = 3
"""A plane is known far better than a voxel."""


def _grid(affine: np.ndarray, shape: tuple[int, int, int] = BRAIN_SHAPE) -> Grid:
    return Grid(shape=shape, affine=affine, frame_of_reference_uid="1.2.3")


def _brain() -> tuple[torch.Tensor, torch.Tensor, Grid]:
    image, tumour = (part[::STEP, ::STEP, ::STEP] for part in leaning_brain(-16.0))
    affine = LYING.copy()
    affine[:3, :3] *= STEP
    healthy = ~ndimage.binary_dilation(tumour, iterations=2)
    return torch.tensor(image.copy(), dtype=torch.float32), torch.tensor(healthy), _grid(affine, image.shape)


def test_the_midplane_of_a_leaning_brain_is_found() -> None:
    plane = find_midplane(*_brain())
    assert plane is not None
    assert np.degrees(np.arccos(min(1.0, plane.normal @ NORMAL[::-1]))) < 2
    middle = LYING[:3, :3] @ MIDDLE + LYING[:3, 3]
    assert abs(plane.normal @ middle - plane.offset_mm) < 1
    assert plane.likeness > 0.9


def test_it_is_the_same_whichever_way_the_voxels_run() -> None:
    image, healthy, grid = _brain()
    first = find_midplane(image, healthy, grid)
    turned = grid.permuted((2, 0, 1), (True, False, False))  # columns first, from left to right
    other = find_midplane(image.permute(2, 0, 1).flip(0), healthy.permute(2, 0, 1).flip(0), turned)
    assert first is not None
    assert other is not None
    assert other.normal == pytest.approx(first.normal, abs=1e-3)
    assert other.offset_mm == pytest.approx(first.offset_mm, abs=0.1)


def test_a_mirrored_lesion_lies_on_the_other_side() -> None:
    plane = find_midplane(*_brain())
    assert plane is not None
    grid, brain = _grid(LYING), torch.tensor(leaning_brain(-16.0)[0] > 0)
    left_mm = plane.left_mm(grid, brain.device)
    assert np.abs(left_mm.numpy() - sides()[0]).max() < 1.5
    lesion = (left_mm > 10) & (left_mm < 14) & brain
    twin = plane.mirrored(lesion.float(), grid) > 0.5
    assert bool((left_mm[twin] < -9.5).all())
    assert int(twin.count_nonzero()) == pytest.approx(int(lesion.count_nonzero()), rel=0.05)


def test_halves_that_are_no_mirror_images_have_none() -> None:
    _, healthy, grid = _brain()
    clouds = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=grid.shape), 2)
    strange = torch.tensor(np.where(clouds > 0, 1 + clouds, 0), dtype=torch.float32)
    assert find_midplane(strange, torch.ones_like(healthy), grid) is None


def test_an_image_that_shows_nothing_has_none() -> None:
    nothing = torch.zeros(BRAIN_SHAPE)
    assert find_midplane(nothing, nothing == 0, _grid(LYING)) is None


def _oblique_grid() -> Grid:
    """Return a grid of unequal voxels whose axes are none of the patient's."""
    turn = Rotation.from_euler("xyz", [20, -35, 50], degrees=True).as_matrix()
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = turn * [5.0, 0.5, 1.25], (-12.0, 40.0, 7.5)
    return _grid(affine, (4, 5, 6))


def test_millimetres_to_the_left_are_those_of_each_voxel_s_position() -> None:
    grid, normal = _oblique_grid(), np.array([0.8, 0.0, 0.6])
    plane = Midplane(normal=normal, offset_mm=3.0, likeness=1.0)
    places = np.moveaxis(np.indices(grid.shape), 0, -1).astype(float)
    expected = grid.position_mm(places) @ normal - 3.0
    assert np.allclose(plane.left_mm(grid, torch.device("cpu")), expected, atol=1e-4)


@pytest.mark.parametrize(("axis", "direction"), [(0, (0.0, 0.0, 1.0)), (1, (0.0, 1.0, 0.0)), (2, (1.0, 0.0, 0.0))])
def test_a_mirror_image_about_a_plane_between_voxels_is_the_array_reversed(
    axis: int, direction: tuple[float, float, float]
) -> None:
    grid = _grid(LYING, (4, 5, 6))
    values = torch.tensor(np.random.default_rng(1).random((2, 4, 5, 6)), dtype=torch.float32)
    middle = LYING[:3, :3] @ (np.array(grid.shape) - 1) / 2 + LYING[:3, 3]
    normal = np.array(direction)
    plane = Midplane(normal=normal, offset_mm=float(normal @ middle), likeness=1.0)
    assert torch.allclose(plane.mirrored(values, grid), values.flip(axis + 1), atol=1e-4)


def test_a_mirror_image_is_zero_where_nothing_lies_on_the_other_side() -> None:
    grid = _grid(LYING, (2, 3, 6))
    values = torch.arange(1.0, 7.0).expand(2, 3, 6)
    plane = Midplane(normal=np.array([1.0, 0.0, 0.0]), offset_mm=-30.0 + 4.0, likeness=1.0)
    assert plane.mirrored(values, grid)[0, 1].tolist() == pytest.approx([0, 0, 0, 6, 5, 4], abs=1e-4)


def test_a_plane_is_found_only_where_enough_voxels_are_compared() -> None:
    grid = _grid(LYING, (9, 10, 11))
    away = (np.indices(grid.shape) - np.reshape([4.0, 4.5, 5.0], (3, 1, 1, 1))) / np.reshape([4, 5, 3], (3, 1, 1, 1))
    image = torch.tensor(np.clip(1.5 - (away**2).sum(axis=0), 0, None), dtype=torch.float32)
    compared = image > 0
    plane = find_midplane(image, compared, grid)
    assert plane is not None
    assert plane.normal[0] > np.cos(np.radians(1))
    assert plane.offset_mm == pytest.approx(-25.0, abs=0.5)
    compared.view(-1)[compared.view(-1).nonzero()[FEWEST - 1 :]] = False
    assert int(compared.sum()) == FEWEST - 1 == 99
    assert find_midplane(image, compared, grid) is None
