"""Random windows: labels move with their images, and the whole case can be seen."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from inference.cases.prepared import PreparedCase
from inference.training.windows import VIEWS, View, Volume, Window, slice_window, volume_window
from tests.support.training_cases import training_case

SEEDS = range(10)
CPU = torch.device("cpu")


def _marked() -> PreparedCase:
    """Return a case whose four channels and first region show the same lopsided body."""
    body = np.zeros((24, 60, 80), np.float16)
    body[6:17, 22:40, 30:52] = 1.0
    body[6:10, 22:28, 30:36] = 0.0
    case = training_case("brats", 1)
    return replace(case, images=np.repeat(body[None], 4, axis=0), regions=np.repeat(body[None] > 0, 3, axis=0))


def _agreement(bright: Tensor, region: Tensor) -> float:
    return float(2 * (bright & (region > 0)).sum() / (bright.sum() + region.sum()))


def _windows(case: PreparedCase) -> list[Window]:
    return [slice_window(case, 12, 1, (64, 64), 1), volume_window(Volume.of(case, CPU), (24, 64, 64))]


@pytest.mark.parametrize("seed", SEEDS)
def test_a_label_moves_with_its_image(seed: int) -> None:
    torch.manual_seed(seed)
    flat, space = _windows(_marked())
    assert flat.images.shape == (4, 3, 64, 64)
    assert flat.regions.shape == (3, 1, 64, 64)
    assert space.images.shape == (4, 24, 64, 64)
    assert space.regions.shape == (3, 24, 64, 64)
    for window, shown in ((flat, flat.images[:, 1:2]), (space, space.images)):
        assert torch.equal(window.regions, window.regions.round())
        assert torch.equal(window.regions[0], window.regions[2])
        assert all(_agreement(channel > 0.5, window.regions[0]) > 0.9 for channel in shown)


@pytest.mark.parametrize("view", VIEWS, ids=lambda view: str(view.axes))
def test_every_view_shows_the_body_across_its_own_axis(view: View) -> None:
    case = _marked()
    shape = [case.images.shape[1:][axis] for axis in view.axes]
    extent = np.argwhere(case.regions[0].transpose(view.axes))
    low, high = extent.min(axis=0), extent.max(axis=0) + 1
    torch.manual_seed(2)
    inside, outside = (
        [slice_window(case, middle, 1, (96, 96), 1, view) for _ in range(12)]
        for middle in (int(low[0] + high[0]) // 2, shape[0] - 1)
    )
    assert all(_agreement(window.images[0, 1:2] > 0.5, window.regions[0]) > 0.85 for window in inside)
    assert not any(window.regions.any() for window in outside)
    spread = np.mean([_spread(window.regions[0, 0]) for window in inside], axis=0)
    wide = (high - low)[2] > (high - low)[1]
    assert (spread[1] > spread[0]) == wide


def _spread(mask: Tensor) -> list[float]:
    return [float(places.float().std()) for places in torch.nonzero(mask, as_tuple=True)]


@pytest.mark.parametrize("view", VIEWS, ids=lambda view: str(view.axes))
def test_only_views_from_side_to_side_are_mirrored(view: View) -> None:
    """A mark lies before the body along the view's columns; where the columns turn round, it lies behind."""
    case = _marked()
    centre = [12, 30, 40]
    body, mark = (np.zeros((24, 60, 80), bool) for _ in range(2))
    body[tuple(slice(middle - 6, middle + 6) for middle in centre)] = True
    centre[view.axes[2]] -= 15
    mark[tuple(slice(middle - 3, middle + 3) for middle in centre)] = True
    case = replace(case, regions=np.stack([body, mark, mark]))
    torch.manual_seed(1)
    behind = []
    for _ in range(30):
        regions = slice_window(case, centre[view.axes[0]], 0, (128, 128), 1, view).regions
        columns = [torch.nonzero(region[0], as_tuple=True)[1].float().mean() for region in regions[:2]]
        behind.append(bool(columns[1] > columns[0]))
    assert any(behind) == (view.axes[2] == 2), "columns run from side to side"
    assert not all(behind)


def test_without_change_of_seed_nothing_changes() -> None:
    case = _marked()
    torch.manual_seed(3)
    first = _windows(case)
    torch.manual_seed(3)
    second = _windows(case)
    assert all(torch.equal(a.images, b.images) for a, b in zip(first, second, strict=True))
    assert not torch.equal(first[1].images, _windows(case)[1].images)


def test_sizes_and_sides_change_within_their_limits() -> None:
    """A cube of 12 voxels keeps its size to the scales that are wanted, and is seen on both sides."""
    case = training_case("brats", 1)
    cube = np.zeros((28, 60, 100), bool)
    cube[8:20, 24:36, 40:52] = True
    case = replace(case, images=np.repeat(cube[None], 4, axis=0).astype(np.float16), regions=np.stack([cube] * 3))
    torch.manual_seed(5)
    areas, volumes, left = [], [], 0
    for _ in range(40):
        flat = slice_window(case, 14, 0, (96, 96), 1).regions[0, 0]
        space = volume_window(Volume.of(case, CPU), (32, 96, 96)).regions[0]
        rows, columns = torch.nonzero(flat, as_tuple=True)
        areas.append(float(flat.sum()) / 144)
        volumes.append(float(space.sum()) / 1728)
        assert 0.7 < float(rows.float().std() / columns.float().std()) < 1.4
        left += int(columns.float().mean() < 48)
    assert 0.45 < min(areas) < 0.8
    assert 1.2 < max(areas) < 1.9
    assert max(volumes) < 2.5
    assert 0 < left < 40


@pytest.mark.parametrize(("middle", "step"), [(0, 1), (11, 1), (3, 5)])
def test_neighbours_stay_within_the_stack(middle: int, step: int) -> None:
    """Beyond the ends the last slice repeats."""
    case = training_case("lgg", 1)
    level = np.arange(12, dtype=np.float16)[None, :, None, None]
    case = replace(case, images=np.broadcast_to(level, case.images.shape).copy())
    torch.manual_seed(1)
    seen = slice_window(case, middle, 1, (16, 16), step).images.amax(dim=(0, 2, 3))
    assert seen.tolist() == pytest.approx([max(0, middle - step), middle, min(11, middle + step)], abs=1e-3)


def test_nested_regions_stay_nested() -> None:
    torch.manual_seed(4)
    for _ in range(6):
        wt, tc, et = volume_window(Volume.of(training_case("brats", 2), CPU), (12, 32, 32)).regions
        assert bool((wt >= tc).all())
        assert bool((tc >= et).all())
