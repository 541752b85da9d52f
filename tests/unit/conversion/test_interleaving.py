"""Stacks between each other in one series: parted where each is even by itself, and one where one explains all."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from conversion.interleaving import passes_along, stacks_apart
from conversion.study import ImageHeader, Traits, Vector

ROW, COLUMN = (0.6, 0.8, 0.0), (0.0, 0.0, -1.0)
"""Of an oblique stack."""

NORMAL = np.cross(ROW, COLUMN)


def _image(at_mm: float, number: int, stack: int = 0, across_mm: float = 0.0) -> ImageHeader:
    """Return an image at a place along the normal; its corner may lie further along its own rows."""
    x, y, z = NORMAL * at_mm + np.array(ROW) * across_mm + (30.0, -20.0, 5.0)
    return ImageHeader(
        path=Path(f"{number}"),
        sop_instance_uid=f"1.{number}",
        instance_number=number,
        rows=8,
        columns=8,
        position_mm=(float(x), float(y), float(z)),
        row_direction=ROW,
        column_direction=COLUMN,
        row_spacing_mm=1.0,
        column_spacing_mm=1.0,
        traits=Traits(acquisition_number=stack, echo_number=number % 2),
    )


def _stacks(*places_mm: Sequence[float], across_mm: float = 0.0) -> tuple[ImageHeader, ...]:
    """Return stacks in the order of their numbers, each with its own acquisition number."""
    images: list[ImageHeader] = []
    for stack, places in enumerate(places_mm, start=1):
        images += [_image(at, len(images) + k + 1, stack, k * across_mm) for k, at in enumerate(places)]
    return tuple(images)


def _by(key: Callable[[ImageHeader], int]) -> Callable[[tuple[ImageHeader, ...]], list[tuple[ImageHeader, ...]]]:
    return lambda images: [
        tuple(image for image in images if key(image) == value) for value in sorted({key(image) for image in images})
    ]


WAYS = [
    ("echo", _by(lambda image: image.traits.echo_number)),
    ("acquisition", _by(lambda image: image.traits.acquisition_number)),
]


def _sizes(images: tuple[ImageHeader, ...]) -> tuple[str, list[int]]:
    word, groups = stacks_apart(images, WAYS)
    assert sorted(image.number for group in groups for image in group) == sorted(image.number for image in images)
    return word, [len(group) for group in groups]


def _even(start: float, step: float, count: int) -> list[float]:
    return [start + k * step for k in range(count)]


@pytest.mark.parametrize("across_mm", [0.0, 2.0])
@pytest.mark.parametrize("off_mm", [0.5, 1.0, 4.2])
def test_two_even_stacks_are_parted_by_the_first_way_that_makes_them_even(off_mm: float, across_mm: float) -> None:
    images = _stacks(_even(0.0, 5.0, 9), _even(off_mm, 5.0, 9), across_mm=across_mm)
    word, groups = stacks_apart(images, WAYS)
    assert word == "acquisition"
    assert [{image.traits.acquisition_number for image in group} for group in groups] == [{1}, {2}]
    assert stacks_apart(images, WAYS[:1]) == ("", [images])
    assert stacks_apart(images, [("again", WAYS[1][1]), *WAYS])[0] == "again"


def test_three_stacks_of_different_distances_are_parted() -> None:
    images = _stacks(_even(0.0, 6.0, 8), _even(0.7, 6.0, 8), _even(1.1, 5.5, 8))
    assert _sizes(images) == ("acquisition", [8, 8, 8])


def test_an_even_stack_is_one_however_it_was_acquired() -> None:
    assert _sizes(_stacks(_even(0.0, 6.0, 8), _even(3.0, 6.0, 8))) == ("", [16])


@pytest.mark.parametrize(("count", "parted"), [(2, False), (3, True)])
def test_three_slices_are_the_smallest_stack(count: int, *, parted: bool) -> None:
    images = _stacks(_even(0.0, 6.0, count), _even(1.0, 6.0, count))
    assert _sizes(images) == (("acquisition", [count, count]) if parted else ("", [2 * count]))


def test_a_small_stack_beside_a_large_one_is_none() -> None:
    assert _sizes(_stacks(_even(0.0, 6.0, 8), _even(1.0, 6.0, 2))) == ("", [10])


@pytest.mark.parametrize(("off_mm", "parted"), [(0.08, True), (0.25, False)])
def test_a_slice_off_its_place_makes_a_stack_uneven(off_mm: float, *, parted: bool) -> None:
    places = _even(1.0, 6.0, 8)
    places[3] += off_mm
    assert _sizes(_stacks(_even(0.0, 6.0, 8), places))[0] == ("acquisition" if parted else "")


@pytest.mark.parametrize(("start_mm", "parted"), [(16.0, True), (40.0, False)])
def test_stacks_cover_the_same_part_of_the_head_at_least_by_half(start_mm: float, *, parted: bool) -> None:
    images = _stacks(_even(0.0, 5.0, 9), _even(start_mm, 5.0, 9))
    assert _sizes(images)[0] == ("acquisition" if parted else "")


@pytest.mark.parametrize(("step_mm", "parted"), [(1.0, True), (2.0, False)])
def test_packages_of_one_stack_lie_a_third_of_their_distance_apart(step_mm: float, *, parted: bool) -> None:
    """All slices lie a whole number of steps apart: one stack with gaps if they are packages, but not if closer."""
    images = _stacks(_even(0.0, 6.0, 8), _even(step_mm, 6.0, 8))
    assert _sizes(images)[0] == ("acquisition" if parted else "")


def _numbers(passes: list[tuple[ImageHeader, ...]]) -> list[list[int]]:
    return [[image.number for image in one] for one in passes]


@pytest.mark.parametrize("towards", [1.0, -1.0])
def test_a_pass_begins_where_the_next_image_lies_far_back(towards: float) -> None:
    first, second = [towards * at for at in _even(0.0, 5.0, 6)], [towards * at for at in _even(1.0, 5.0, 6)]
    images = _stacks(first, second)
    shuffled = tuple(images[k] for k in np.random.default_rng(3).permutation(12))
    assert _numbers(passes_along(shuffled)) == [[1, 2, 3, 4, 5, 6], [7, 8, 9, 10, 11, 12]]


def test_a_short_way_back_begins_no_pass() -> None:
    images = _stacks([0.0, 10.0, 20.0, 30.0, 18.0, 28.0, 38.0, 48.0])
    assert _numbers(passes_along(images)) == [[1, 2, 3, 4, 5, 6, 7, 8]]


def test_images_of_a_stack_without_directions_are_taken_as_axial() -> None:
    places: list[Vector] = [(0.0, 0.0, float(at)) for at in (*_even(0.0, 5.0, 4), *_even(1.0, 5.0, 4))]
    images = tuple(
        ImageHeader(
            path=Path("a"),
            sop_instance_uid=f"1.{k}",
            instance_number=k,
            rows=8,
            columns=8,
            position_mm=place,
            row_direction=None,
            column_direction=None,
            row_spacing_mm=1.0,
            column_spacing_mm=1.0,
        )
        for k, place in enumerate(places)
    )
    assert _numbers(passes_along(images)) == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert stacks_apart(images, [("pass", passes_along)])[0] == "pass"
