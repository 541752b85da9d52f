"""Deformations: in millimetres, within their limits, and the same for labels and brain."""

from dataclasses import replace

import numpy as np
import pytest

from inference.training.heads.anatomy import OUTSIDE
from inference.training.heads.deformation import (
    Deformation,
    DeformationLimits,
    drawn_deformation,
    image_at,
    labels_at,
    turned,
)
from inference.training.heads.sample_grid import SampleGrid
from tests.support.small_label_map import SMALL_GRID, small_map

STILL = DeformationLimits(turn_deg=0, size=(1, 1), scale=0, shear=0, shift_mm=0, further_up_mm=0, bend_mm=0, mirrored=0)


def _plain(**changes: np.ndarray) -> Deformation:
    usual = {"matrix": np.eye(3), "shift_mm": np.zeros(3), "bend_mm": np.zeros((3, 4, 4, 4), np.float32)}
    return Deformation(**{**usual, **changes})


def _places(deformation: Deformation) -> np.ndarray:
    head = small_map()
    return deformation.places(SMALL_GRID, head.middle, head.spacing_mm)


def test_without_a_deformation_the_samples_middle_is_the_brains() -> None:
    head = small_map()
    places = _plain().places(SampleGrid(shape=(3, 3, 3), spacing_mm=3.0), head.middle, head.spacing_mm)
    assert np.allclose(places[:, 1, 1, 1], head.middle, atol=1e-5)
    assert np.allclose(places[:, 2, 2, 0] - places[:, 1, 1, 1], [1.0, 1.2, -1.2], atol=1e-5)


def test_a_mirrored_head_is_mirrored_in_labels_and_brain() -> None:
    head = small_map()
    plain, mirrored = _places(_plain()), _places(_plain(matrix=np.diag([1.0, 1.0, -1.0])))
    labels, brain = labels_at(head.labels, plain), labels_at(head.brain, plain)
    assert not np.array_equal(labels, labels[:, :, ::-1])
    assert np.array_equal(labels_at(head.labels, mirrored), labels[:, :, ::-1])
    assert np.array_equal(labels_at(head.brain, mirrored), brain[:, :, ::-1])


@pytest.mark.parametrize("seed", range(4))
def test_labels_and_brain_never_drift_apart(seed: int) -> None:
    head = small_map()
    places = _places(drawn_deformation(np.random.default_rng(seed), DeformationLimits()))
    inside = labels_at(head.brain, places)
    marked = labels_at(np.where(head.brain, head.labels, 0).astype(np.int16), places)
    labels = labels_at(head.labels, places)
    assert np.array_equal(marked, np.where(inside, labels, 0))
    assert inside.any()
    assert not inside[labels >= OUTSIDE[0]].any()


def test_a_shift_moves_by_its_millimetres() -> None:
    moved = _places(_plain(shift_mm=np.array([3.0, 5.0, -2.5]))) - _places(_plain())
    for axis, voxels in enumerate((1.0, 2.0, -1.0)):
        assert np.allclose(moved[axis], voxels, atol=1e-4)


def test_a_bend_moves_each_axis_by_its_own_nodes() -> None:
    bend = np.zeros((3, 4, 4, 4), np.float32)
    bend[1] = 5.0
    moved = _places(_plain(bend_mm=bend)) - _places(_plain())
    assert np.allclose(moved[1], 2.0, atol=1e-4)
    assert np.allclose(moved[[0, 2]], 0, atol=1e-4)


def test_limits_of_nothing_give_no_deformation() -> None:
    drawn = drawn_deformation(np.random.default_rng(1), STILL)
    assert np.allclose(drawn.matrix, np.eye(3))
    assert not drawn.shift_mm.any()
    assert not drawn.bend_mm.any()


@pytest.mark.parametrize("name", ["turn_deg", "scale", "shear", "shift_mm", "further_up_mm", "bend_mm", "mirrored"])
def test_each_limit_allows_what_it_says_and_nothing_else(name: str) -> None:
    most = getattr(DeformationLimits(), name)
    drawn = [drawn_deformation(np.random.default_rng(seed), replace(STILL, **{name: most})) for seed in range(60)]
    matrices = np.array([one.matrix for one in drawn])
    size = np.linalg.norm(matrices, axis=1)
    shifts = np.array([one.shift_mm for one in drawn])
    moved_up, moved = np.abs(shifts[:, 0]).max(), np.abs(shifts[:, 1:]).max()
    seen = {
        "turn_deg": np.rad2deg(np.arccos(np.clip((np.trace(matrices, axis1=1, axis2=2) - 1) / 2, -1, 1))).max(),
        "scale": np.abs(1 / size - 1).max() if name != "shear" else 0.0,
        "shear": np.abs(matrices - matrices * np.eye(3)).max() if name == "shear" else 0.0,
        "shift_mm": moved,
        "further_up_mm": moved_up if name != "shift_mm" else 0.0,
        "bend_mm": max(one.bend_mm.std() for one in drawn),
        "mirrored": np.mean(np.linalg.det(matrices) < 0),
    }
    if name == "mirrored":
        assert 0.3 < seen.pop("mirrored") < 0.7
        seen.pop("turn_deg")  # a mirrored head has no angle
    elif name == "turn_deg":
        assert most < seen.pop("turn_deg") < 2 * most, "about three axes at once"
    else:
        assert 0.8 * most < seen.pop(name) < 1.2 * most
        if name in ("scale", "shear"):
            seen.pop("turn_deg")
    assert all(value < 1e-6 for value in seen.values()), seen


def test_bends_have_as_many_nodes_as_said() -> None:
    limits = replace(STILL, bend_nodes=(2, 4))
    sizes = {drawn_deformation(np.random.default_rng(seed), limits).bend_mm.shape[1] for seed in range(40)}
    assert sizes == {4, 5, 6}


def test_a_rotation_keeps_lengths_and_sides() -> None:
    matrix = turned(np.random.default_rng(2), 180)
    assert np.allclose(matrix @ matrix.T, np.eye(3))
    assert np.linalg.det(matrix) == pytest.approx(1)


def test_outside_a_head_there_is_nothing() -> None:
    places = np.array([[-0.4, -0.6, 1.4, 1.6]] * 3)
    assert labels_at(np.full((2, 2, 2), 7, np.int16), places).tolist() == [7, 0, 7, 0]
    assert image_at(np.full((2, 2, 2), 7, np.float32), np.array([[0.5, 5.0]] * 3)).tolist() == [7.0, 0.0]


def test_images_are_interpolated_and_labels_are_not() -> None:
    line = np.array([0.0, 10.0, 20.0], np.float32).reshape(3, 1, 1)
    place = np.array([[0.7], [0.0], [0.0]])
    assert image_at(line, place) == pytest.approx(7.0)
    assert labels_at(line.astype(np.int16), place).tolist() == [10]
