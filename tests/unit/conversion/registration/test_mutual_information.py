"""The metric: what mutual information is, where it looks, and matrices of transforms."""

from threading import Event

import numpy as np
import pytest
import SimpleITK as sitk
from numpy.typing import NDArray

from conversion.registration.mutual_information import Metric, matrix_of, rigid_transform
from conversion.registration.pyramid import Level
from tests.support.moved_volumes import move


def _level(array: NDArray[np.float32], origin_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> Level:
    image = sitk.GetImageFromArray(array.astype(np.float32))
    image.SetSpacing([2.0, 2.0, 3.0])
    image.SetOrigin(origin_mm)
    mask = sitk.GetImageFromArray((array > 0).astype(np.uint8))
    mask.CopyInformation(image)
    return Level(image=image, mask=mask)


def _body(seed: int = 1) -> NDArray[np.float32]:
    """Return smooth blobs inside a ball, indexed (slice, row, column)."""
    z, y, x = np.indices((20, 30, 28)).astype(float)
    rng = np.random.default_rng(seed)
    waves = np.sum([np.sin(a * x + b * y + c * z + d) for a, b, c, d in rng.normal(0, 0.4, (8, 4))], axis=0)
    inside = ((x - 14) / 11) ** 2 + ((y - 15) / 12) ** 2 + ((z - 10) / 8) ** 2 < 1
    return np.where(inside, 100 + 20 * waves, 0).astype(np.float32)


HERE = np.eye(4)


def test_a_function_of_the_same_anatomy_shares_its_information() -> None:
    own, inverted = _level(_body()), _level(np.where(_body() > 0, 300 - _body(), 0))
    of_itself, share = Metric(own, own, 5000).value(HERE)
    assert share == pytest.approx(1.0)
    assert Metric(own, inverted, 5000).value(HERE)[0] > 0.6 * of_itself
    assert Metric(own, _level(_body(seed=2)), 5000).value(HERE)[0] < 0.3 * of_itself


def test_information_is_lost_beside_the_place() -> None:
    metric = Metric(_level(_body()), _level(_body()), 5000)
    for axis in range(3):
        beside = np.eye(4)
        beside[axis, 3] = 6.0
        assert metric.value(beside)[0] < 0.8 * metric.value(HERE)[0]


def test_places_are_compared_and_not_indices() -> None:
    """The second image starts elsewhere, so that the same anatomy lies 10, -4 and 6 mm away."""
    away = move((0.0, 0.0, 0.0), (10.0, -4.0, 6.0), np.zeros(3))
    fixed, shifted = _level(_body()), _level(_body(), (10.0, -4.0, 6.0))
    there = Metric(fixed, shifted, 5000).value(away)[0]
    assert there == pytest.approx(Metric(fixed, fixed, 5000).value(HERE)[0])
    assert there > 1.5 * Metric(fixed, shifted, 5000).value(HERE)[0]


def test_a_sliver_of_overlap_never_wins() -> None:
    metric = Metric(_level(_body()), _level(_body()), 5000)
    away = np.eye(4)
    away[0, 3] = 40.0
    value, share = metric.value(away)
    assert 0 < share < 0.5
    assert metric.score(away) == pytest.approx(value * share)
    away[0, 3] = 500.0
    assert metric.value(away) == (0.0, 0.0)
    assert metric.descend(rigid_transform(away, np.zeros(3)), (2.0, 0.2), Event()) is None


def test_the_descent_finds_the_place_again() -> None:
    metric, pivot = Metric(_level(_body()), _level(_body()), 5000), np.array([27.0, 29.0, 28.5])
    start = move((3.0, -3.0, 3.0), (3.0, -2.0, 2.0), pivot)
    found = metric.descend(rigid_transform(start, pivot), (1.0, 0.01), Event())
    assert found is not None
    corners = np.array([[x, y, z, 1.0] for x in (7, 47) for y in (9, 49) for z in (9, 49)])
    assert np.linalg.norm((corners @ (matrix_of(found) - HERE).T)[:, :3], axis=1).max() < 0.6
    assert np.allclose(matrix_of(rigid_transform(start, pivot)), start)  # the start itself is left alone


def test_a_stopped_descent_stays_near_its_start() -> None:
    metric, pivot = Metric(_level(_body()), _level(_body()), 5000), np.array([27.0, 29.0, 28.5])
    start, stop = rigid_transform(move((0.0, 0.0, 0.0), (8.0, 0.0, 0.0), pivot), pivot), Event()
    stop.set()
    found = metric.descend(start, (0.5, 0.01), stop)
    assert found is not None
    assert matrix_of(found)[0, 3] > 6.0


def test_a_matrix_and_its_transform_move_points_alike() -> None:
    pivot = np.array([10.0, -20.0, 30.0])
    matrix = move((12.0, -7.0, 20.0), (4.0, 5.0, -6.0), pivot)
    transform = rigid_transform(matrix, pivot)
    assert np.allclose(transform.TransformPoint((1.0, 2.0, 3.0)), (matrix @ [1.0, 2.0, 3.0, 1.0])[:3])
    assert np.allclose(matrix_of(transform), matrix)
    affine = sitk.AffineTransform([1.1, 0.1, 0, 0, 0.9, 0, 0.2, 0, 1], [1.0, 2.0, 3.0], [5.0, 6.0, 7.0])
    assert np.allclose(affine.TransformPoint((3.0, 4.0, 5.0)), (matrix_of(affine) @ [3.0, 4.0, 5.0, 1.0])[:3])
