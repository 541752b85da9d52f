"""Shapes of lesions, and where a box comes to lie."""

import numpy as np
import pytest

from inference.training.heads.lesion_shapes import AXES, ZOOM, TumourShape, blob, overlap, placed_shape
from tests.support.small_label_map import small_shape


@pytest.mark.parametrize("centre", [(5, 6, 7), (0, 0, 0), (9, 11, 13), (1, 11, 7)])
@pytest.mark.parametrize("reach", [1, 4, 20])
def test_a_box_and_a_volume_meet_where_both_are(centre: tuple[int, int, int], reach: int) -> None:
    shape = (10, 12, 14)
    place = overlap(reach, centre, shape)
    box = np.stack(np.meshgrid(*[np.arange(-reach, reach + 1)] * 3, indexing="ij"))[(slice(None), *place.box)]
    volume = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"))[(slice(None), *place.volume)]
    assert np.array_equal(volume - box, np.broadcast_to(np.reshape(centre, (3, 1, 1, 1)), box.shape))
    assert (np.abs(volume - np.reshape(centre, (3, 1, 1, 1))) <= reach).all()
    near = [range(max(0, c - reach), min(n, c + reach + 1)) for c, n in zip(centre, shape, strict=True)]
    assert volume[0].size == np.prod([len(part) for part in near])


@pytest.mark.parametrize("seed", range(3))
def test_a_blob_has_its_radius_and_fits_its_box(seed: int) -> None:
    away = blob(np.random.default_rng(seed), 12.0, 2.0)
    middle = len(away) // 2
    assert len(away) % 2 == 1
    assert away[middle, middle, middle] < 0.5
    ball = 4 / 3 * np.pi * 12.0**3
    assert 0.8 * AXES[0] ** 3 < (away < 1).sum() * 8 / ball < 1.2 * AXES[1] ** 3
    rim = np.ones(away.shape, bool)
    rim[1:-1, 1:-1, 1:-1] = False
    assert not (away[rim] < 1).any()


def test_a_blob_is_as_large_in_millimetres_on_any_grid() -> None:
    fine, coarse = (blob(np.random.default_rng(3), 15.0, spacing) for spacing in (1.0, 2.5))
    assert (coarse < 1).sum() * 2.5**3 == pytest.approx((fine < 1).sum(), rel=0.15)


@pytest.mark.parametrize("seed", range(5))
def test_a_shape_keeps_its_parts_when_it_is_turned_and_zoomed(seed: int) -> None:
    shape = small_shape()
    placed = placed_shape(np.random.default_rng(seed), shape, 2.0)
    before, after = (np.bincount(labels.ravel(), minlength=4)[1:] for labels in (shape.labels, placed))
    assert placed.shape[0] % 2 == 1
    assert len(after) == 3
    zoom = (after.sum() * 8 / before.sum()) ** (1 / 3)
    assert 0.95 * ZOOM[0] < zoom < 1.05 * ZOOM[1]
    assert np.allclose(after / after.sum(), before / before.sum(), atol=0.08)
    middle = len(placed) // 2
    assert placed[middle, middle, middle] == 1
    assert not placed[[0, -1]].any(), "nothing of it is cut off"
    assert not placed[:, [0, -1]].any()
    assert not placed[:, :, [0, -1]].any()


def test_a_shapes_own_spacing_counts() -> None:
    thick = TumourShape(labels=np.full((5, 20, 20), 2, np.int16), spacing_mm=(4.0, 1.0, 1.0))
    thin = TumourShape(labels=np.full((20, 20, 20), 2, np.int16), spacing_mm=(1.0, 1.0, 1.0))
    volumes = [(placed_shape(np.random.default_rng(1), shape, 1.0) > 0).sum() for shape in (thick, thin)]
    assert volumes[0] == pytest.approx(volumes[1], rel=0.1)


def test_both_numbers_of_enhancing_tumour_are_understood_and_emptiness_is_none() -> None:
    labels = np.zeros((6, 6, 6), int)
    assert TumourShape.of_brats(labels, (1.0, 1.0, 1.0)) is None
    labels[2, 2, 1:5] = [1, 2, 3, 4]
    shape = TumourShape.of_brats(labels, (1.0, 1.0, 1.0))
    assert shape is not None
    assert shape.labels.tolist() == [[[1, 2, 3, 3]]]
