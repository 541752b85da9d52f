"""What an image shows of a head: image and brain are cut alike, and no tool takes brain away."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from inference.training.heads.coverage import (
    CoverageChances,
    View,
    covered,
    defaced,
    stripped,
    within_field,
)

WHOLE = CoverageChances(partial=0, defaced=0, stripped=0)
MM = 2.0


def _view() -> View:
    brain = np.zeros((40, 44, 40), bool)
    brain[14:34, 12:36, 10:30] = True
    head = ndimage.binary_dilation(brain, iterations=4)
    head[:20, 4:20, 12:28] = True  # a face
    return View(image=np.where(head, np.float32(0.7), np.float32(0)), brain=brain)


def _covered(seed: int, *, axis: int = 0, bare: bool = False, **changes: object) -> View:
    return covered(np.random.default_rng(seed), _view(), axis, MM, replace(WHOLE, **changes), bare=bare)


def _equal(one: View, other: View) -> bool:
    return np.array_equal(one.image, other.image) and np.array_equal(one.brain, other.brain)


def test_without_chances_all_is_shown() -> None:
    assert all(_equal(_covered(seed), _view()) for seed in range(5))


@pytest.mark.parametrize("axis", range(3))
def test_a_partial_field_of_view_cuts_image_and_brain(axis: int) -> None:
    view = _view()
    cut = within_field(view, axis, 16, 28)
    inside = np.zeros(view.brain.shape, bool)
    inside[tuple(slice(16, 29) if k == axis else slice(None) for k in range(3))] = True
    assert np.array_equal(cut.brain, view.brain & inside)
    assert np.array_equal(cut.image, np.where(inside, view.image, 0))
    assert _equal(view, _view()), "what came in is left as it is"
    assert _equal(within_field(view, axis, -5, 90), view)
    assert not within_field(view, axis, 3, -9).image.any()


@pytest.mark.parametrize("axis", range(3))
def test_partial_fields_of_view_are_of_the_slices_axis_and_lose_no_more_than_said(axis: int) -> None:
    others = tuple(k for k in range(3) if k != axis)
    extent = _view().brain.any(axis=others).sum()
    left = []
    for seed in range(40):
        view = _covered(seed, axis=axis, partial=1.0, each_side=1.0, brain_lost=0.3)
        planes = view.brain.any(axis=others)
        assert np.array_equal(view.brain, _view().brain & planes.reshape([-1 if k == axis else 1 for k in range(3)]))
        shown = view.image.any(axis=others)
        assert shown[planes].all(), "where there is brain there is an image"
        left.append(planes.sum() / extent)
    assert 0.35 <= min(left) < 0.7
    assert all(_equal(_covered(seed, partial=1.0, each_side=0.0), _view()) for seed in range(4))
    assert all(_covered(seed, partial=1.0, brain_lost=0.0).brain.sum() == _view().brain.sum() for seed in range(20))


def test_the_margin_beyond_the_brain_is_in_millimetres() -> None:
    def ends(margin_mm: float) -> int:
        views = [_covered(s, partial=1.0, each_side=1.0, brain_lost=0.0, margin_mm=margin_mm) for s in range(30)]
        return max(int(np.flatnonzero(view.image.any(axis=(1, 2)))[-1]) - 33 for view in views)

    assert ends(0.0) == 0
    assert 1 <= ends(6.0) <= 3


@pytest.mark.parametrize("margin", [0, 1, 2])
def test_the_brain_of_a_stripped_head_is_what_is_left(margin: int) -> None:
    view = stripped(_view(), margin)
    assert np.array_equal(view.image > 0, view.brain)
    assert np.array_equal(
        view.brain, ndimage.binary_dilation(_view().brain, iterations=margin) if margin else _view().brain
    )


def test_stripping_is_as_often_as_said_and_leaves_no_more_than_said() -> None:
    for seed in range(10):
        view = _covered(seed, stripped=1.0, strip_margin=1)
        assert np.array_equal(view.image > 0, view.brain)
        assert view.brain.sum() <= ndimage.binary_dilation(_view().brain).sum()
    margins = {int(_covered(seed, stripped=1.0, strip_margin=2).brain.sum()) for seed in range(30)}
    assert len(margins) == 3


def test_a_stripped_head_in_a_partial_field_of_view_has_no_brain_beyond_it() -> None:
    for seed in range(20):
        view = _covered(seed, stripped=1.0, strip_margin=2, partial=1.0, each_side=1.0)
        assert np.array_equal(view.image > 0, view.brain)


def test_a_face_is_taken_away_and_the_brain_is_not() -> None:
    whole, view = _view(), defaced(_view(), 10.0, 20.0, MM)
    gone = (whole.image > 0) & (view.image == 0)
    assert gone.any()
    assert np.array_equal(view.brain, whole.brain)
    assert not (gone & ndimage.binary_dilation(whole.brain, iterations=2)).any()
    slices, rows, _ = np.nonzero(gone)
    assert slices.max() < 14 + 10
    assert rows.max() < 12 + 5
    assert defaced(_view(), 16.0, 20.0, MM).image.sum() < defaced(_view(), -4.0, 20.0, MM).image.sum()
    assert defaced(_view(), 4.0, 60.0, MM).image.sum() < defaced(_view(), 4.0, 10.0, MM).image.sum()
    assert _covered(3, defaced=1.0).image.sum() < whole.image.sum()


def test_no_tool_is_used_on_a_bare_brain() -> None:
    assert all(_equal(_covered(seed, bare=True, stripped=1.0, defaced=1.0), _view()) for seed in range(5))
    assert any(not _equal(_covered(seed, bare=True, partial=1.0), _view()) for seed in range(5))


def test_an_empty_brain_is_left_alone() -> None:
    empty = View(image=np.ones((8, 8, 8), np.float32), brain=np.zeros((8, 8, 8), bool))
    assert _equal(defaced(empty, 4.0, 10.0, MM), empty)
    cut = covered(np.random.default_rng(1), empty, 0, MM, replace(WHOLE, partial=1.0))
    assert _equal(cut, empty)
