"""Numbers of headers are one where they differ by rounding alone: never an image too many, never a volume too many."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conversion.likeness import (
    SAME_B_VALUE,
    at_one_place,
    grouped,
    runs,
    same_directions,
    same_echo,
    same_gradient,
    same_place,
    same_size,
)
from conversion.reading import read_study
from conversion.splitting import split_images
from conversion.stack import stack_slices
from conversion.study import ImageHeader, Traits, Vector
from tests.support.dicom_series import axis_aligned, mr_slices, write_slices

_VOXELS = np.arange(6 * 8 * 10, dtype=np.uint16).reshape(6, 8, 10)


def _image(k: int, number: int, **traits: object) -> ImageHeader:
    """Return an image of slice k of 3 mm slices; `number` is the instance's."""
    return ImageHeader(
        path=Path(f"{number}"),
        sop_instance_uid=f"1.{number}",
        instance_number=number,
        rows=8,
        columns=8,
        position_mm=(0.0, 0.0, 3.0 * k),
        row_direction=(1.0, 0.0, 0.0),
        column_direction=(0.0, 1.0, 0.0),
        row_spacing_mm=1.0,
        column_spacing_mm=1.0,
        traits=Traits(**traits),  # type: ignore[arg-type]
    )


@pytest.mark.parametrize(
    ("keyword", "first", "second"),
    [
        ("PixelSpacing", ["0.7995", "0.7995"], ["0.79949999", "0.79949999"]),
        ("EchoTime", "12", "12.000001"),
        ("DiffusionBValue", 1000.0, 999.9999),
        ("ImageOrientationPatient", ["1", "0", "0", "0", "1", "0"], ["0.9999999", "1e-8", "0", "0", "1", "0"]),
    ],
)
def test_images_that_differ_by_rounding_are_one_volume(
    tmp_path: Path, keyword: str, first: object, second: object
) -> None:
    slices = mr_slices(_VOXELS, axis_aligned("axial"))
    for k, ds in enumerate(slices):
        setattr(ds, keyword, second if k % 2 else first)
    (series,) = read_study(write_slices(tmp_path, slices)).series
    assert len(stack_slices(series).images) == 6


@pytest.mark.parametrize(
    ("trait", "values"),
    [
        ("inversion_time_ms", (100.0, 2500.0)),
        ("trigger_time_ms", (0.0, 40.0)),
        ("acquired_at", (1000.0, 1030.0)),
        ("b_value", (0.0, 1000.0)),
    ],
)
def test_volumes_are_told_apart_by_numbers_that_scatter_by_rounding(trait: str, values: tuple[float, float]) -> None:
    images = tuple(
        _image(k, 1 + 4 * volume + k, **{trait: value * (1 + 1e-8 * k) + 1e-6 * k})
        for volume, value in enumerate(values)
        for k in range(4)
    )
    parts = split_images(images)
    assert [len(part.images) for part in parts] == [4, 4]
    assert [{image.instance_number for image in part.images} for part in parts] == [{1, 2, 3, 4}, {5, 6, 7, 8}]


def test_a_copy_whose_place_was_written_anew_is_a_copy(tmp_path: Path) -> None:
    slices, again = (mr_slices(_VOXELS, axis_aligned("axial")) for _ in range(2))
    for k, ds in enumerate(again):
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = f"1.2.{k + 1}"
        ds.ImagePositionPatient = [f"{float(value) + 1e-6:.7f}" for value in ds.ImagePositionPatient]
    study = read_study(write_slices(tmp_path, [*slices, *again]))
    assert [decision.code for decision in study.decisions] == ["copied_image"]
    assert [len(series.images) for series in study.series] == [6]


def test_images_at_one_place_are_found_among_thousands() -> None:
    images = [_image(k, k + 1) for k in range(3000)] + [_image(1500, 4000)]
    (place,) = (group for group in at_one_place(images) if len(group) > 1)
    assert {image.instance_number for image in place} == {1501, 4000}


def test_numbers_are_cut_where_they_lie_apart() -> None:
    images = [_image(0, n, acquired_at=at) for n, at in enumerate((5.0, 1.0, 5.0001, None, 1.0002, None, 9.0))]
    found = runs(images, lambda image: image.traits.acquired_at, 0.001)
    assert [[image.instance_number for image in group] for group in found] == [[0, 2], [1, 4], [3, 5], [6]]


def test_silent_echo_times_are_alike_and_unlike_any_that_is_told() -> None:
    assert same_echo(None, None)
    assert not same_echo(None, 10.0)
    assert same_echo(10.0, 10.4)
    assert not same_echo(10.0, 11.0)


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({"row_spacing_mm": 1.0009}, True),
        ({"row_spacing_mm": 1.0012}, False),
        ({"column_spacing_mm": 0.9988}, False),
        ({"rows": 9}, False),
        ({"columns": 7}, False),
        ({"rows": 7, "columns": 9}, False),
        ({"position_mm": None}, True),
    ],
)
def test_a_size_is_a_matrix_and_a_spacing(change: dict[str, Any], *, same: bool) -> None:
    one, other = _image(0, 1), replace(_image(0, 2), **change)
    assert same_size(one, other) is same
    assert same_size(other, one) is same


@pytest.mark.parametrize(
    ("row", "column", "same"),
    [
        ((1.0, 0.0009, 0.0), (0.0, 1.0, 0.0), True),
        ((1.0, 0.0011, 0.0), (0.0, 1.0, 0.0), False),
        ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0011), False),
        ((-1.0, 0.0, 0.0), (0.0, 1.0, 0.0), False),
        ((1.0, 0.0, 0.0), (0.0, -1.0, 0.0), False),
        (None, None, True),
    ],
)
def test_directions_are_alike_within_their_rounding_and_with_their_sign(
    row: Vector | None, column: Vector | None, *, same: bool
) -> None:
    one, other = _image(0, 1), replace(_image(0, 2), row_direction=row, column_direction=column)
    assert same_directions(one, other) is same
    assert same_directions(other, one) is same


def test_a_gradient_that_is_not_stated_is_like_no_other() -> None:
    assert same_gradient(None, None)
    assert not same_gradient(None, (1.0, 0.0, 0.0))
    assert not same_gradient((1.0, 0.0, 0.0), None)
    assert same_gradient((1.0, 0.0, 0.0), (0.9995, 0.0009, -0.0009))
    assert not same_gradient((1.0, 0.0, 0.0), (-1.0, 0.0, 0.0))


def test_places_are_compared_along_every_axis() -> None:
    assert same_place((1.0, 2.0, 3.0), (1.015, 1.985, 3.0))
    assert not any(same_place((1.0, 2.0, 3.0), moved) for moved in ((1.03, 2, 3), (1, 1.97, 3), (1, 2, 3.03)))
    with pytest.raises(ValueError, match="shorter"):
        same_place((1.0, 2.0, 3.0), (1.0, 2.0))


def test_a_group_is_compared_by_its_first_image_and_does_not_creep() -> None:
    images = [_image(0, n, echo_time_ms=te) for n, te in enumerate((10.0, 10.4, 10.8, 10.45))]
    found = grouped(images, lambda a, b: same_echo(a.traits.echo_time_ms, b.traits.echo_time_ms))
    assert [[image.instance_number for image in group] for group in found] == [[0, 1, 3], [2]]
    assert grouped([], lambda _a, _b: True) == []


def test_a_run_goes_on_as_long_as_neighbours_are_near() -> None:
    images = [_image(0, n, b_value=value) for n, value in enumerate((1003.0, 1000.0, 1002.0, 1001.0, 1004.5))]
    found = runs(images, lambda image: image.traits.b_value, SAME_B_VALUE)
    assert [[image.instance_number for image in group] for group in found] == [[0, 1, 2, 3], [4]]


@pytest.mark.parametrize(
    ("first", "second", "together"),
    [
        ({}, {}, True),
        ({"echo_time_ms": 20.0}, {"echo_time_ms": 20.5}, True),
        ({"echo_time_ms": 20.0}, {"echo_time_ms": 90.0}, False),
        ({"b_value": 1000.0}, {"b_value": 999.5}, True),
        ({"b_value": 1000.0}, {"b_value": None}, False),
        ({"inversion_time_ms": 900.0}, {"inversion_time_ms": 901.0}, False),
        ({"trigger_time_ms": 40.0}, {"trigger_time_ms": 40.4}, True),
        ({"acquired_at": 10.0}, {"acquired_at": 10.01}, False),
        ({"made_at": 10.0}, {"made_at": 99.0}, True),
        ({"gradient_direction": (1.0, 0.0, 0.0)}, {"gradient_direction": (0.0, 1.0, 0.0)}, False),
        ({"component": "phase"}, {"component": "magnitude"}, False),
        ({"stack_id": "1"}, {"stack_id": "2"}, False),
        ({"temporal_position": 1}, {"temporal_position": 2}, False),
    ],
)
def test_images_at_one_place_are_together_where_nothing_tells_them_apart(
    first: dict[str, Any], second: dict[str, Any], *, together: bool
) -> None:
    images = [_image(2, 1, **first), _image(5, 2), _image(2, 3, **second)]
    found = {tuple(image.instance_number for image in group) for group in at_one_place(images)}
    assert found == ({(1, 3), (2,)} if together else {(1,), (2,), (3,)})


def test_rounding_on_every_axis_leaves_images_at_one_place() -> None:
    images = [replace(_image(0, n), position_mm=(shift, shift, shift)) for n, shift in enumerate([0.0, 0.011])]
    assert [len(group) for group in at_one_place(images)] == [2]


def test_images_of_equal_sums_of_coordinates_are_not_at_one_place() -> None:
    images = [replace(_image(0, n), position_mm=place) for n, place in enumerate([(3.0, 0.0, 0.0), (0.0, 3.0, 0.0)])]
    assert [len(group) for group in at_one_place(images)] == [1, 1]


def test_images_without_a_place_stay_alone() -> None:
    images = [replace(_image(0, n), position_mm=None) for n in range(3)]
    assert [len(group) for group in at_one_place(images)] == [1, 1, 1]
