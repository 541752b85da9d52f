"""Rigid registration: a known move of a synthetic head is found again, the same way every time."""

import numpy as np
import pytest
from numpy.typing import NDArray

from conversion.errors import ConversionReason, RegistrationFailed
from conversion.registration import Registration, register
from conversion.volume import Grid, ImageVolume
from tests.support.dicom_series import axis_aligned

FRAME = "1.2.3"
CENTRE_MM = np.array([-25.0, 38.0, 40.0])
"""Middle of the head in its own coordinates."""


def _move(degrees: tuple[float, float, float], shift_mm: tuple[float, float, float]) -> NDArray[np.float64]:
    """Return a rigid move that turns about `CENTRE_MM` by angles about x, y and z, then shifts."""
    matrix = np.eye(4)
    for axis, angle in enumerate(np.radians(degrees)):
        first, second = (axis + 1) % 3, (axis + 2) % 3
        turn = np.eye(3)
        turn[first, first] = turn[second, second] = np.cos(angle)
        turn[first, second], turn[second, first] = -np.sin(angle), np.sin(angle)
        matrix[:3, :3] = turn @ matrix[:3, :3]
    matrix[:3, 3] = CENTRE_MM + shift_mm - matrix[:3, :3] @ CENTRE_MM
    return matrix


def _head(points: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return the brightness at points in mm: an uneven ellipsoid with three bodies off every plane of symmetry."""
    x, y, z = np.moveaxis(points - CENTRE_MM, -1, 0)
    tissue = 110 + 25 * np.sin(x / 6 + y / 11) + 20 * np.cos(y / 7 - z / 13) + 15 * np.sin(z / 8 + x / 15)
    brightness = np.where((x / 34) ** 2 + (y / 44) ** 2 + (z / 38) ** 2 < 1, tissue, 0.0)
    for centre, radius, value in (((12, 15, 8), 10, 220), ((-15, -12, -10), 13, 40), ((8, -24, 16), 7, 300)):
        distance = np.sqrt((x - centre[0]) ** 2 + (y - centre[1]) ** 2 + (z - centre[2]) ** 2)
        brightness = np.where(distance < radius, float(value), brightness)
    return brightness.astype(np.float32)


def _points(grid: Grid) -> NDArray[np.float64]:
    index = np.stack(np.meshgrid(*(np.arange(float(n)) for n in grid.shape), indexing="ij"), axis=-1)
    return grid.position_mm(index)


def _volume(
    plane: str, spacing_mm: tuple[float, float, float], move: NDArray[np.float64] | None = None, frame: str = FRAME
) -> ImageVolume:
    """Return the head on a grid around its centre; `move` takes LPS mm of the grid to the head's own."""
    affine = axis_aligned(plane, spacing_mm)
    shape = tuple(int(np.ceil(100.0 / step)) for step in spacing_mm)
    affine[:3, 3] = CENTRE_MM - affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    grid = Grid(shape=(shape[0], shape[1], shape[2]), affine=affine, frame_of_reference_uid=frame)
    points = _points(grid)
    if move is not None:
        points = points @ move[:3, :3].T + move[:3, 3]
    return ImageVolume(grid=grid, voxels=_head(points))


def _error(found: Registration, expected: NDArray[np.float64]) -> tuple[float, float]:
    """Return the largest distance in mm over the head's box, and the angle between both rotations."""
    corners = np.array([[x, y, z] for x in (-30, 30) for y in (-40, 40) for z in (-35, 35)]) + CENTRE_MM
    difference = found.matrix - expected
    distance = np.linalg.norm(corners @ difference[:3, :3].T + difference[:3, 3], axis=1).max()
    turn = found.matrix[:3, :3] @ expected[:3, :3].T
    return float(distance), float(np.degrees(np.arccos(np.clip((np.trace(turn) - 1) / 2, -1, 1))))


@pytest.fixture(scope="module")
def fixed() -> ImageVolume:
    return _volume("axial", (3.0, 2.0, 2.0))


@pytest.mark.parametrize("plane", ["axial", "coronal"])
def test_a_known_move_is_found_across_planes_and_contrasts(fixed: ImageVolume, plane: str) -> None:
    """The moving series has dark and bright exchanged, as T1 and T2 have."""
    expected = _move((4.0, -3.0, 6.0), (5.0, -4.0, 3.0))
    moved = _volume(plane, (2.5, 2.0, 2.0), np.asarray(np.linalg.inv(expected), np.float64))
    inverted = ImageVolume(grid=moved.grid, voxels=np.where(moved.voxels > 0, 400 - moved.voxels, 0))
    found = register(fixed, inverted)
    distance_mm, angle_deg = _error(found, expected)
    assert distance_mm < 1.0
    assert angle_deg < 1.0
    centre = fixed.grid.position_mm((np.array(fixed.grid.shape) - 1) / 2)
    assert found.move_mm == pytest.approx(np.linalg.norm((found.matrix @ [*centre, 1])[:3] - centre))
    assert found.move_mm == pytest.approx(np.linalg.norm([5.0, -4.0, 3.0]), abs=1.0)
    assert found.rotation_deg == pytest.approx(np.degrees(np.arccos((np.trace(expected[:3, :3]) - 1) / 2)), abs=1.0)
    assert found.metric_after < found.metric_before


def test_another_frame_of_reference_is_brought_together_from_afar(fixed: ImageVolume) -> None:
    far = np.eye(4)
    far[:3, 3] = [150.0, -90.0, 400.0]
    moved = _volume("sagittal", (2.5, 2.0, 2.0), frame="1.2.4")
    affine = far @ moved.grid.affine
    elsewhere = ImageVolume(
        grid=Grid(shape=moved.grid.shape, affine=affine, frame_of_reference_uid="1.2.4"), voxels=moved.voxels
    )
    distance_mm, angle_deg = _error(register(fixed, elsewhere), far)
    assert distance_mm < 1.0
    assert angle_deg < 1.0


def test_the_same_input_gives_the_same_matrix_to_the_bit(fixed: ImageVolume) -> None:
    moving = _volume("axial", (4.0, 2.5, 2.5), _move((0.0, 2.0, -3.0), (2.0, 1.0, -2.0)))
    first, second = register(fixed, moving), register(fixed, moving)
    assert np.array_equal(first.matrix, second.matrix)
    assert (first.metric_before, first.metric_after) == (second.metric_before, second.metric_after)


def test_a_volume_in_its_place_stays_there(fixed: ImageVolume) -> None:
    found = register(fixed, fixed)
    assert found.move_mm < 0.2
    assert found.rotation_deg < 0.2
    with pytest.raises(ValueError, match="read-only"):
        found.matrix[0, 3] = 1.0


def test_volumes_that_do_not_overlap_are_refused(fixed: ImageVolume) -> None:
    affine = fixed.grid.affine.copy()
    affine[:3, 3] += 900.0
    far = ImageVolume(
        grid=Grid(shape=fixed.grid.shape, affine=affine, frame_of_reference_uid=FRAME), voxels=fixed.voxels
    )
    with pytest.raises(RegistrationFailed) as caught:
        register(fixed, far)
    assert caught.value.reason is ConversionReason.REGISTRATION_FAILED


def _wide(shift_mm: float) -> ImageVolume:
    """Return a brightness so wide that a registration sees it from far away, shifted along x."""
    affine = np.eye(4)
    affine[:3, :3] = np.fliplr(np.eye(3)) * 6.0
    affine[:3, 3] = -147.0
    grid = Grid(shape=(50, 50, 50), affine=affine, frame_of_reference_uid=FRAME)
    x, y, z = np.moveaxis(_points(grid) - [shift_mm, 0, 0], -1, 0)
    brightness = 200 * np.exp(-((x / 90) ** 2 + (y / 70) ** 2 + (z / 60) ** 2))
    texture = 40 * np.sin(x / 30) + 30 * np.cos(y / 25 + z / 40)
    return ImageVolume(grid=grid, voxels=(brightness + texture).astype(np.float32))


def test_a_move_larger_than_a_coil_allows_is_refused() -> None:
    assert register(_wide(0.0), _wide(40.0)).move_mm == pytest.approx(40.0, abs=1.0)
    with pytest.raises(RegistrationFailed, match="64 mm, more than a head can move"):
        register(_wide(0.0), _wide(64.0))
