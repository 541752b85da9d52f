"""Registration: a known move is found again, the same way every time, and what cannot be proved is refused."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from numpy.typing import NDArray

from conversion.errors import ConversionReason, RegistrationFailed
from conversion.registration.quality import doubts
from conversion.registration.register import Registration, confirm, register
from conversion.volume import Grid, ImageVolume
from tests.support.moved_volumes import degraded, errors_mm, move, shifted_grid, tissue_mm
from tests.support.small_head import CENTRE_MM, FRAME, head_volume, points_of


def _angle_deg(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    turn = first[:3, :3] @ second[:3, :3].T
    return float(np.degrees(np.arccos(np.clip((np.trace(turn) - 1) / 2, -1, 1))))


@pytest.fixture(scope="module")
def fixed() -> ImageVolume:
    return head_volume("axial", (3.0, 2.0, 2.0))


@pytest.fixture(scope="module")
def moving() -> ImageVolume:
    matrix = move((0.0, 2.0, -3.0), (2.0, 1.0, -2.0), CENTRE_MM)
    return head_volume("axial", (4.0, 2.5, 2.5), np.asarray(np.linalg.inv(matrix)))


@pytest.fixture(scope="module")
def found(fixed: ImageVolume, moving: ImageVolume) -> Registration:
    return register(fixed, moving)


def test_a_known_move_is_found_across_planes_and_contrasts(fixed: ImageVolume) -> None:
    """The moving series has dark and bright exchanged, as T1 and T2 have."""
    expected = move((4.0, -3.0, 6.0), (5.0, -4.0, 3.0), CENTRE_MM)
    moved = head_volume("coronal", (2.5, 2.0, 2.0), np.asarray(np.linalg.inv(expected), np.float64))
    inverted = ImageVolume(grid=moved.grid, voxels=np.where(moved.voxels > 0, 400 - moved.voxels, 0))
    found = register(fixed, inverted)
    assert np.median(errors_mm(found.matrix, expected, tissue_mm(fixed))) < 1.0
    assert _angle_deg(found.matrix, expected) < 1.0
    centre = fixed.grid.position_mm((np.array(fixed.grid.shape) - 1) / 2)
    assert found.move_mm == pytest.approx(np.linalg.norm((found.matrix @ [*centre, 1])[:3] - centre))
    assert found.move_mm == pytest.approx(np.linalg.norm([5.0, -4.0, 3.0]), abs=1.0)
    assert found.rotation_deg == pytest.approx(np.degrees(np.arccos((np.trace(expected[:3, :3]) - 1) / 2)), abs=1.0)
    assert found.metric_after < found.metric_before < 0
    assert found.overlap == 1.0
    assert found.inverse_consistency_mm < 2.5
    assert (found.attempts, found.shared_frame, doubts(found)) == (1, True, ())


@pytest.mark.parametrize(
    ("turn_deg", "shift_mm", "spacing_mm"),
    [
        ((20.0, -20.0, 20.0), (25.0, 25.0, -25.0), (2.0, 2.0, 2.0)),
        ((-20.0, -20.0, -20.0), (-25.0, 25.0, 25.0), (5.0, 1.5, 1.5)),
    ],
    ids=["fine", "thick"],
)
def test_the_largest_moves_are_captured(
    fixed: ImageVolume,
    turn_deg: tuple[float, float, float],
    shift_mm: tuple[float, float, float],
    spacing_mm: tuple[float, float, float],
) -> None:
    expected = move(turn_deg, shift_mm, CENTRE_MM)
    placed = shifted_grid(head_volume("sagittal", spacing_mm), expected)
    found = register(fixed, degraded(placed, np.random.default_rng(3)))
    error = errors_mm(found.matrix, expected, tissue_mm(fixed))
    assert np.median(error) < 0.5
    assert np.percentile(error, 95) < 1.5
    assert not doubts(found)


def test_another_frame_of_reference_is_brought_together_from_afar(fixed: ImageVolume) -> None:
    far = np.eye(4)
    far[:3, 3] = [150.0, -90.0, 400.0]
    elsewhere = shifted_grid(head_volume("sagittal", (2.5, 2.0, 2.0), frame="1.2.4"), far)
    found = register(fixed, elsewhere)
    assert errors_mm(found.matrix, far, tissue_mm(fixed)).max() < 1.0
    assert not found.shared_frame
    assert not doubts(found)


def test_the_same_input_gives_the_same_bits_alone_and_in_company(
    fixed: ImageVolume, moving: ImageVolume, found: Registration
) -> None:
    with ThreadPoolExecutor(max_workers=2) as pool:
        others = list(pool.map(lambda _: register(fixed, moving), range(2)))
    for other in others:
        assert np.array_equal(found.matrix, other.matrix)
        assert (found.metric_before, found.metric_after) == (other.metric_before, other.metric_after)
        assert (found.sharpness, found.inverse_consistency_mm) == (other.sharpness, other.inverse_consistency_mm)


def test_a_volume_in_its_place_stays_there_exactly(fixed: ImageVolume) -> None:
    """So that it is not resampled by a hair's breadth for nothing."""
    found = register(fixed, fixed)
    assert np.array_equal(found.matrix, np.eye(4))
    assert (found.move_mm, found.rotation_deg) == (0.0, 0.0)
    assert found.metric_before == found.metric_after
    with pytest.raises(ValueError, match="read-only"):
        found.matrix[0, 3] = 1.0


def test_there_and_back_are_each_others_inverse(fixed: ImageVolume, moving: ImageVolume, found: Registration) -> None:
    back = register(moving, fixed)
    assert errors_mm(back.matrix @ found.matrix, np.eye(4), tissue_mm(fixed)).max() < 0.5


def test_a_head_far_outside_the_coil_is_brought_together_and_declared(fixed: ImageVolume) -> None:
    """The frame of reference is the same and the coordinates are 900 mm apart: a broken converter."""
    far = np.eye(4)
    far[:3, 3] = 900.0
    found = register(fixed, shifted_grid(fixed, far))
    assert errors_mm(found.matrix, far, tissue_mm(fixed)).max() < 0.5
    assert found.metric_before == 0.0
    assert doubts(found) == ("a translation of 1559 mm is more than a head coil leaves room for",)


def test_an_affine_registration_finds_a_stretch(fixed: ImageVolume) -> None:
    stretch = np.diag([1.04, 0.97, 1.03, 1.0])
    stretch[:3, 3] = CENTRE_MM - stretch[:3, :3] @ CENTRE_MM
    moved = head_volume("axial", (2.5, 2.0, 2.0), np.asarray(np.linalg.inv(stretch)))
    rigid, affine = register(fixed, moved), register(fixed, moved, affine=True)
    points = tissue_mm(fixed)
    assert np.median(errors_mm(affine.matrix, stretch, points)) < 0.5
    assert np.median(errors_mm(rigid.matrix, stretch, points)) > 0.6
    assert np.allclose(np.linalg.svd(rigid.matrix[:3, :3], compute_uv=False), 1.0)
    assert affine.metric_after < rigid.metric_after
    assert affine.rotation_deg < 1.0


def _stranger(seed: int) -> ImageVolume:
    """Return a head that is a little narrower and longer, with other contents."""
    grid, rng = head_volume("axial", (3.0, 2.0, 2.0)).grid, np.random.default_rng(seed)
    x, y, z = np.moveaxis(points_of(grid) - CENTRE_MM, -1, 0)
    waves = np.sum([np.sin((x * a + y * b + z * c) / 8 + d) for a, b, c, d in rng.normal(size=(12, 4))], axis=0)
    inside = (x / 31) ** 2 + (y / 46) ** 2 + (z / 36) ** 2 < 1
    return ImageVolume(grid=grid, voxels=np.where(inside, 110 + 15 * waves, 0).astype(np.float32))


def _noise(shape: tuple[int, int, int] = (33, 50, 50)) -> NDArray[np.float32]:
    return np.random.default_rng(5).normal(100, 30, shape).astype(np.float32)


def test_noise_and_strangers_are_refused_with_figures(fixed: ImageVolume) -> None:
    static = ImageVolume(grid=_stranger(1).grid, voxels=_noise(_stranger(1).grid.shape))
    for wrong in (static, _stranger(1)):
        with pytest.raises(RegistrationFailed, match=r"loses only -?\d+% of the mutual information") as caught:
            register(fixed, wrong)
        assert caught.value.reason is ConversionReason.REGISTRATION_FAILED


@pytest.mark.parametrize(
    ("voxels", "sentence"),
    [
        (np.zeros((30, 40, 40)), "less than 1 ml of tissue"),
        (np.full((30, 40, 40), 7.0), "hardly overlap"),
        (_noise((2, 40, 40)), "2 slices is too thin"),
    ],
    ids=["empty", "even", "flat"],
)
def test_what_holds_no_head_is_refused(fixed: ImageVolume, voxels: NDArray[np.float64], sentence: str) -> None:
    shape = (voxels.shape[0], voxels.shape[1], voxels.shape[2])
    grid = Grid(shape=shape, affine=fixed.grid.affine, frame_of_reference_uid=FRAME)
    with pytest.raises(RegistrationFailed, match=sentence):
        register(fixed, ImageVolume(grid=grid, voxels=voxels.astype(np.float32)))


def test_a_registration_that_takes_too_long_is_refused(fixed: ImageVolume, moving: ImageVolume) -> None:
    with pytest.raises(RegistrationFailed, match="took longer than 0 s"):
        register(fixed, moving, time_limit_s=0.0)


def test_a_shared_place_is_confirmed_by_anatomy_alone(fixed: ImageVolume) -> None:
    aside = np.eye(4)
    aside[:3, 3] = [12.0, 0.0, 0.0]
    assert confirm(fixed, degraded(fixed, np.random.default_rng(1))) == ""
    assert "the anatomy does not match clearly" in confirm(fixed, shifted_grid(fixed, aside))
    empty = ImageVolume(grid=fixed.grid, voxels=np.zeros(fixed.grid.shape, np.float32))
    assert confirm(fixed, empty) == "this could not be checked (a series contains less than 1 ml of tissue)"


def _smooth(shift_mm: float) -> ImageVolume:
    """Return a brightness without any sharp detail, shifted along x."""
    affine = np.eye(4)
    affine[:3, :3] = np.fliplr(np.eye(3)) * 8.0
    affine[:3, 3] = -144.0
    grid = Grid(shape=(37, 37, 37), affine=affine, frame_of_reference_uid=FRAME)
    x, y, z = np.moveaxis(points_of(grid) - [shift_mm, 0, 0], -1, 0)
    brightness = 200 * np.exp(-((x / 90) ** 2 + (y / 70) ** 2 + (z / 60) ** 2))
    texture = 40 * np.sin(x / 30) + 30 * np.cos(y / 25 + z / 40)
    return ImageVolume(grid=grid, voxels=(brightness + texture).astype(np.float32))


def test_what_has_no_sharp_anatomy_is_registered_and_declared() -> None:
    """A smooth phantom: the way back proves the move to half a millimetre, so it is not refused."""
    found = register(_smooth(0.0), _smooth(40.0))
    assert found.move_mm == pytest.approx(40.0, abs=1.0)
    (doubt,) = doubts(found)
    assert "the anatomy does not match clearly" in doubt
