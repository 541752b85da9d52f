"""Connected parts of masks and distances to surfaces: those of SimpleITK's filters, voxel by voxel."""

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray

from inference.components import (
    box_around,
    components,
    filled_body,
    largest_component,
    surface_distance,
    touching,
    without_islands,
)

FEW = settings(max_examples=40, deadline=None, derandomize=True)
Mask = NDArray[np.bool_]
MASKS = array_shapes(min_dims=3, max_dims=3, min_side=1, max_side=9).flatmap(
    lambda shape: st.builds(
        lambda seed, share: np.random.default_rng(seed).random(shape) < share,
        st.integers(0, 2**32 - 1),
        st.sampled_from([0.1, 0.3, 0.6, 0.9]),
    )
)


def _image(mask: Mask) -> sitk.Image:
    return sitk.GetImageFromArray(mask.astype(np.uint8))


@given(MASKS, st.booleans())
@FEW
def test_parts_are_those_of_simpleitk(mask: Mask, corners: bool) -> None:  # noqa: FBT001 - drawn
    numbers, sizes = components(torch.from_numpy(mask), corners=corners)
    expected = sitk.GetArrayFromImage(sitk.ConnectedComponent(_image(mask), corners))
    pairs = set(zip(expected.ravel().tolist(), numbers.flatten().tolist(), strict=True))
    assert len(pairs) == len({one for one, _ in pairs}) == len({other for _, other in pairs})
    assert (0, 0) in pairs or mask.all()
    counts = np.bincount(numbers.flatten().numpy(), minlength=len(sizes))
    assert sizes[0] == 0
    assert np.array_equal(sizes[1:], counts[1:])
    firsts = [int(np.flatnonzero(numbers.flatten() == number)[0]) for number in range(1, len(sizes))]
    assert firsts == sorted(firsts)


@given(MASKS)
@FEW
def test_the_body_is_the_largest_part_with_what_it_closes_off(mask: Mask) -> None:
    mask[0, 0, 0] = True
    parts = sitk.RelabelComponent(sitk.ConnectedComponent(_image(mask)), sortByObjectSize=True)
    expected = sitk.GetArrayFromImage(sitk.BinaryFillhole(parts == 1))
    sizes = np.bincount(sitk.GetArrayViewFromImage(parts).ravel())[1:]
    found = filled_body(torch.from_numpy(mask)).numpy()
    if np.count_nonzero(sizes == sizes.max()) == 1:
        assert np.array_equal(found, expected > 0)


def test_a_hole_that_is_open_to_one_side_is_none() -> None:
    mask = torch.zeros(9, 9, 9, dtype=torch.bool)
    mask[1:8, 1:8, 1:8] = True
    mask[3:6, 3:6, 3:6] = False
    assert filled_body(mask)[4, 4, 4]
    mask[:4, 4, 4] = False
    assert not filled_body(mask)[4, 4, 4]
    assert filled_body(mask).sum() == mask.sum()


@given(MASKS, st.sampled_from([1.0, 2.0, 2.5]))
@FEW
def test_distances_are_those_of_simpleitk_as_far_as_they_reach(mask: Mask, spacing_mm: float) -> None:
    mask = np.pad(mask, [(2, 0), (0, 1), (1, 1)])
    mask[2, 0, 1] = True
    image = _image(mask)
    image.SetSpacing([spacing_mm] * 3)
    away = sitk.SignedMaurerDistanceMap(image, insideIsPositive=False, squaredDistance=False, useImageSpacing=True)
    found = surface_distance(torch.from_numpy(mask), spacing_mm, 4 * spacing_mm)
    assert np.allclose(found, np.clip(sitk.GetArrayFromImage(away), -4 * spacing_mm, 4 * spacing_mm), atol=1e-4)


def test_a_box_holds_a_mask_and_stays_inside() -> None:
    mask = torch.zeros(10, 12, 14, dtype=torch.bool)
    assert box_around(mask) is None
    mask[2, 3, 4] = mask[5, 9, 13] = True
    assert box_around(mask) == (slice(2, 6), slice(3, 10), slice(4, 14))
    assert box_around(mask, 3) == (slice(0, 9), slice(0, 12), slice(1, 14))


def _islands() -> torch.Tensor:
    """Return a bar of 5 voxels, a pair that touches at a corner only, and a single voxel."""
    mask = torch.zeros(5, 8, 9, dtype=torch.bool)
    mask[0, 0, 0:5] = True
    mask[2, 4, 4] = mask[3, 5, 5] = True
    mask[4, 0, 8] = True
    return mask


@pytest.mark.parametrize(("minimum", "kept"), [(0, 8), (1, 8), (2, 7), (3, 5), (5, 5), (6, 0)])
def test_islands_below_the_minimum_go_and_corners_connect(minimum: int, kept: int) -> None:
    assert int(without_islands(_islands(), minimum).sum()) == kept


def test_what_is_kept_stays_where_it_is() -> None:
    expected = torch.zeros(5, 8, 9, dtype=torch.bool)
    expected[0, 0, 0:5] = True
    mask = _islands()
    assert torch.equal(without_islands(mask, 3), expected)
    assert torch.equal(mask, _islands())


def test_parts_that_touch_a_place_are_kept_whole() -> None:
    places = torch.zeros(5, 8, 9, dtype=torch.bool)
    places[0, 0, 3] = places[3, 5, 5] = places[1, 1, 1] = True
    kept = touching(_islands(), places)
    assert kept[0, 0, 0:5].all()
    assert kept[2, 4, 4]
    assert int(kept.sum()) == 7


def test_an_empty_mask_stays_empty() -> None:
    empty = torch.zeros(2, 3, 4, dtype=torch.bool)
    assert not without_islands(empty, 10).any()
    assert not touching(empty, ~empty).any()
    assert not filled_body(empty).any()
    assert largest_component(empty) == 0


def test_the_largest_component_is_counted() -> None:
    mask = _islands()
    assert largest_component(mask) == 5
    mask[0, 0, 0:4] = False
    assert largest_component(mask) == 2


@given(arrays(np.bool_, (3, 4, 5)), st.integers(0, 12))
@FEW
def test_nothing_is_added_and_twice_is_once(mask: Mask, minimum: int) -> None:
    once = without_islands(torch.from_numpy(mask), minimum)
    assert not (once & ~torch.from_numpy(mask)).any()
    assert torch.equal(without_islands(once, minimum), once)


def test_a_snake_through_all_rows_is_one_component() -> None:
    """As many runs as there are rows, each of which knows only the next."""
    snake = torch.zeros(1, 201, 9, dtype=torch.bool)
    snake[0, ::2] = True
    snake[0, 1::4, -1] = snake[0, 3::4, 0] = True
    numbers, sizes = components(snake, corners=False)
    assert sizes.tolist() == [0, 101 * 9 + 100]
    assert torch.equal(numbers > 0, snake)
    snake[0, 101] = False
    assert components(snake, corners=False)[1].tolist() == [0, 51 * 9 + 50, 50 * 9 + 49]


def test_the_end_of_a_row_does_not_touch_the_beginning_of_the_next() -> None:
    mask = torch.zeros(2, 4, 4, dtype=torch.bool)
    mask[0, 1, 3] = mask[0, 2, 0] = mask[0, 3, 3] = mask[1, 0, 0] = True
    assert components(mask)[1].tolist() == [0, 1, 1, 1, 1]
    assert components(mask)[0][mask].tolist() == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("to", "faces", "corners"),
    [((1, 1, 2), 1, 1), ((1, 2, 0), 2, 1), ((1, 2, 2), 2, 1), ((2, 2, 2), 2, 1), ((0, 2, 0), 2, 1), ((1, 1, 3), 2, 2)],
)
def test_edges_and_corners_connect_on_request(to: tuple[int, int, int], faces: int, corners: int) -> None:
    mask = torch.zeros(3, 3, 4, dtype=torch.bool)
    mask[1, 1, 1] = mask[to] = True
    assert len(components(mask, corners=False)[1]) - 1 == faces
    assert len(components(mask)[1]) - 1 == corners


def test_distances_stop_at_the_reach_and_are_negative_inside() -> None:
    mask = torch.zeros(9, 9, 15, dtype=torch.bool)
    mask[2:7, 2:7, 2:7] = True
    away = surface_distance(mask, 2.0, 7.0)
    assert away[4, 4, 2:].tolist() == pytest.approx([0, -2, -4, -2, 0, 2, 4, 6, 7, 7, 7, 7, 7])
    assert away[4, 8, 8].item() == pytest.approx(np.hypot(4, 4))
    assert away[4, 8, 10].item() == pytest.approx(7.0)
