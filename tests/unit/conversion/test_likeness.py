"""Numbers of headers are one where they differ by rounding alone: never an image too many, never a volume too many."""

from pathlib import Path

import numpy as np
import pytest

from conversion.likeness import at_one_place, runs, same_echo
from conversion.reading import read_study
from conversion.splitting import split_images
from conversion.stack import stack_slices
from conversion.study import ImageHeader, Traits
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
