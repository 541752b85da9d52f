"""Several volumes in one DICOM series: told apart by what distinguishes them, and never mixed or halved."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom import Dataset

from conversion.errors import BrokenGeometry, ConversionReason
from conversion.reading import dicom_files, read_series, read_study
from conversion.splitting import positions_of, split_images
from conversion.study import ImageHeader, Study, Traits, Vector
from tests.support.dicom_series import axis_aligned, mr_slices, uid_of, write_slices

SLICES = 6


def _slices(first: int, plane: str = "axial", **attributes: object) -> list[Dataset]:
    """Return one volume of a series that holds several; every voxel says which volume and slice it is of."""
    voxels = np.full((SLICES, 5, 4), first, np.uint16) + np.arange(SLICES, dtype=np.uint16)[:, None, None]
    found = mr_slices(voxels, axis_aligned(plane), "series", **attributes)
    for k, ds in enumerate(found):
        ds.InstanceNumber = first + k
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = uid_of("series", str(first), str(k))
    return found


def _read(folder: Path, *volumes: list[Dataset]) -> Study:
    write_slices(folder, [ds for volume in volumes for ds in volume])
    return read_study(dicom_files(folder))


def _firsts(study: Study) -> dict[str, list[int]]:
    """Return the first voxel of each slice of every part."""
    return {series.part: read_series(series).voxels[:, 0, 0].astype(int).tolist() for series in study.series}


def _stack_of(first: int) -> list[int]:
    return list(range(first, first + SLICES))


def test_a_series_of_one_volume_has_no_parts(tmp_path: Path) -> None:
    study = _read(tmp_path, _slices(100))
    assert _firsts(study) == {"": _stack_of(100)}
    assert study.decisions == ()


@pytest.mark.parametrize(
    ("first", "second", "names"),
    [
        ({"EchoTime": 20.0}, {"EchoTime": 90.0}, ["echo 20 ms", "echo 90 ms"]),
        ({"DiffusionBValue": 0.0}, {"DiffusionBValue": 1000.0}, ["b 0", "b 1000"]),
        (
            {"ImageType": ["ORIGINAL", "PRIMARY", "M", "SE"]},
            {"ImageType": ["ORIGINAL", "PRIMARY", "P", "SE"]},
            ["magnitude", "phase"],
        ),
        (
            {"ImageType": ["ORIGINAL", "PRIMARY", "WATER"]},
            {"ImageType": ["ORIGINAL", "PRIMARY", "FAT"]},
            ["original primary water", "original primary fat"],
        ),
        ({"InversionTime": 150.0}, {"InversionTime": 2500.0}, ["TI 150 ms", "TI 2500 ms"]),
        ({"TemporalPositionIdentifier": 1}, {"TemporalPositionIdentifier": 2}, ["phase 1", "phase 2"]),
        ({"TriggerTime": 10.0}, {"TriggerTime": 60.0}, ["trigger 1", "trigger 2"]),
        ({"AcquisitionNumber": 1}, {"AcquisitionNumber": 2}, ["acquisition 1", "acquisition 2"]),
        ({"AcquisitionTime": "101600"}, {"AcquisitionTime": "101700"}, ["time 1", "time 2"]),
        ({"ContentTime": "101600"}, {"ContentTime": "101700"}, ["content time 1", "content time 2"]),
        ({}, {}, ["repeat 1", "repeat 2"]),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else None,
)
def test_two_volumes_at_one_place_are_told_apart(
    tmp_path: Path, first: dict[str, object], second: dict[str, object], names: list[str]
) -> None:
    study = _read(tmp_path, _slices(100, **first), _slices(200, **second))
    assert _firsts(study) == {names[0]: _stack_of(100), names[1]: _stack_of(200)}
    (decision,) = study.decisions
    assert (decision.code, decision.subject) == ("split_series", "series 1")
    assert all(name in decision.reason for name in names)


def test_echoes_and_phases_together_are_named_by_both(tmp_path: Path) -> None:
    volumes = [
        _slices(100 * (1 + 2 * echo + phase), EchoTime=20.0 + 70.0 * echo, TemporalPositionIdentifier=1 + phase)
        for echo in range(2)
        for phase in range(2)
    ]
    assert _firsts(_read(tmp_path, *volumes)) == {
        "echo 20 ms, phase 1": _stack_of(100),
        "echo 20 ms, phase 2": _stack_of(200),
        "echo 90 ms, phase 1": _stack_of(300),
        "echo 90 ms, phase 2": _stack_of(400),
    }


def test_diffusion_directions_are_volumes_and_the_image_without_weighting_another(tmp_path: Path) -> None:
    directions = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
    weighted = [
        _slices(200 + 100 * k, DiffusionBValue=1000.0, DiffusionGradientOrientation=direction)
        for k, direction in enumerate(directions)
    ]
    assert _firsts(_read(tmp_path, _slices(100, DiffusionBValue=0.0), *weighted)) == {
        "b 0": _stack_of(100),
        "b 1000, direction 1": _stack_of(200),
        "b 1000, direction 2": _stack_of(300),
        "b 1000, direction 3": _stack_of(400),
    }


def test_the_planes_of_a_localizer_are_volumes_of_their_own(tmp_path: Path) -> None:
    study = _read(tmp_path, _slices(100), _slices(200, "sagittal"), _slices(300, "coronal"))
    found = {name: sorted(firsts) for name, firsts in _firsts(study).items()}
    assert found == {"axial": _stack_of(100), "sagittal": _stack_of(200), "coronal": _stack_of(300)}


def test_images_of_another_size_are_a_volume_of_their_own(tmp_path: Path) -> None:
    other = mr_slices(np.full((SLICES, 9, 7), 7, np.uint16), axis_aligned("axial"), "series")
    for k, ds in enumerate(other):
        ds.InstanceNumber = 200 + k
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = uid_of("series", "large", str(k))
    assert _firsts(_read(tmp_path, _slices(100), other)) == {
        "4x5 at 1.25 mm": _stack_of(100),
        "7x9 at 1.25 mm": [7] * SLICES,
    }


def test_images_sent_twice_under_new_uids_count_once(tmp_path: Path) -> None:
    again = _slices(100)
    for k, ds in enumerate(again):
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = uid_of("again", str(k))
    study = _read(tmp_path / "a", _slices(100))
    write_slices(tmp_path / "a" / "b", again[2:4])
    study = read_study(dicom_files(tmp_path / "a"))
    assert _firsts(study) == {"": _stack_of(100)}
    (decision,) = study.decisions
    assert (decision.code, decision.subject) == ("copied_image", "series 1")
    assert "2 image(s)" in decision.reason


def test_equal_slices_of_a_repeated_volume_are_no_copies(tmp_path: Path) -> None:
    first, second = _slices(100), _slices(200)
    for k in (0, SLICES - 1):
        second[k].PixelData = first[k].PixelData
    study = _read(tmp_path, first, second)
    told = _firsts(study)
    assert told["repeat 1"] == _stack_of(100)
    assert told["repeat 2"] == [100, *_stack_of(200)[1:-1], 100 + SLICES - 1]
    assert [decision.code for decision in study.decisions] == ["split_series"]


def test_a_different_image_at_a_taken_place_is_refused(tmp_path: Path) -> None:
    other = _slices(900)[3]
    study = _read(tmp_path, [*_slices(100), other])
    with pytest.raises(BrokenGeometry, match="slice 4 of 7") as caught:
        read_series(study.series[0])
    assert caught.value.reason is ConversionReason.DOUBLED_SLICE


def test_an_echo_with_a_hole_is_refused_and_the_whole_one_read(tmp_path: Path) -> None:
    second = _slices(200, EchoTime=90.0)
    del second[2]
    study = _read(tmp_path, _slices(100, EchoTime=20.0), second)
    whole, holed = study.series
    assert read_series(whole).voxels[:, 0, 0].astype(int).tolist() == _stack_of(100)
    with pytest.raises(BrokenGeometry, match="1 slice"):
        read_series(holed)


def test_an_adapted_echo_time_does_not_split_a_volume(tmp_path: Path) -> None:
    slices = _slices(100)
    for k, ds in enumerate(slices):
        ds.EchoTime = 90.0 + 0.1 * k
    assert _firsts(_read(tmp_path, slices)) == {"": _stack_of(100)}


def test_an_image_of_every_time_is_no_volume_of_its_own(tmp_path: Path) -> None:
    slices = _slices(100)
    for k, ds in enumerate(slices):
        ds.AcquisitionTime = f"1016{k:02d}"
    assert _firsts(_read(tmp_path, slices)) == {"": _stack_of(100)}


def test_a_mosaic_is_left_out_and_named(tmp_path: Path) -> None:
    mosaic = mr_slices(np.full((3, 8, 8), 1, np.uint16), axis_aligned("axial"), "mosaic", SeriesNumber=5)
    for ds in mosaic:
        ds.ImageType = ["ORIGINAL", "PRIMARY", "M", "ND", "MOSAIC"]
    write_slices(tmp_path, mosaic)
    study = _read(tmp_path, _slices(100))
    assert [series.number for series in study.series] == [1]
    assert [(decision.code, decision.subject) for decision in study.decisions] == [("mosaic", "series 5")]


def test_frames_without_functional_groups_are_refused(tmp_path: Path) -> None:
    slices = _slices(100)
    slices[0].NumberOfFrames = 2
    slices[0].PixelData = slices[0].PixelData * 2
    with pytest.raises(BrokenGeometry) as caught:
        read_series(_read(tmp_path, slices).series[0])
    assert caught.value.reason is ConversionReason.MISSING_POSITION
    assert "ImagePositionPatient for one of 2 frames (NumberOfFrames)" in str(caught.value)


@given(st.permutations(range(4 * SLICES)), st.integers(0, 4 * SLICES - 1))
@settings(max_examples=40, deadline=None, derandomize=True)
def test_no_image_is_lost_or_doubled_whatever_the_order(order: list[int], alone: int) -> None:
    headers = [_header(number) for number in range(4 * SLICES)]
    headers[alone] = replace(headers[alone], traits=Traits(component="phase"))
    parts = split_images(tuple(headers[k] for k in order))
    kept = sorted(image.instance_number for part in parts for image in (*part.images, *part.duplicates))
    assert kept == list(range(4 * SLICES))
    assert len({part.name for part in parts}) == len(parts)
    assert {part.name for part in parts} == {part.name for part in split_images(tuple(headers))}


def _header(number: int) -> ImageHeader:
    """Return one of 24 images: two echoes at two phases over six slices."""
    slice_, echo, phase = number % SLICES, (number // SLICES) % 2, number // (2 * SLICES)
    return ImageHeader(
        path=Path("image"),
        sop_instance_uid=str(number),
        instance_number=number,
        rows=4,
        columns=4,
        position_mm=(0.0, 0.0, 3.0 * slice_),
        row_direction=(1.0, 0.0, 0.0),
        column_direction=(0.0, 1.0, 0.0),
        row_spacing_mm=1.0,
        column_spacing_mm=1.0,
        traits=Traits(echo_time_ms=20.0 + 70.0 * echo, temporal_position=1 + phase),
    )


def _stack(
    first: int, start_mm: float, distance_mm: float, without: int | None = None, **traits: object
) -> list[ImageHeader]:
    """Return twelve slices from a place on, one perhaps missing."""
    return [
        replace(
            _header(0),
            sop_instance_uid=str(first + k),
            instance_number=first + k,
            position_mm=(0.0, 0.0, start_mm + k * distance_mm),
            traits=Traits(**traits),  # type: ignore[arg-type]
        )
        for k in range(12)
        if k != without
    ]


def _parts(*stacks: list[ImageHeader]) -> dict[str, int]:
    return {part.name: len(part.images) for part in split_images(tuple(image for stack in stacks for image in stack))}


@pytest.mark.parametrize("off_mm", [0.3, 0.7, 2.2, -1.1])
def test_two_acquisitions_between_each_other_are_two_volumes(off_mm: float) -> None:
    one, two = _stack(1, 0.0, 6.0, acquisition_number=4), _stack(13, off_mm, 6.0, acquisition_number=5)
    assert _parts(one, two) == {"acquisition 1": 12, "acquisition 2": 12}


def test_two_acquisitions_that_no_attribute_tells_apart_are_two_passes() -> None:
    assert _parts(_stack(1, 0.0, 6.0), _stack(13, 0.7, 6.0)) == {"pass 1": 12, "pass 2": 12}


@pytest.mark.parametrize("without", [1, 6, 10])
def test_a_missing_slice_of_two_packages_is_no_volume_of_its_own(without: int) -> None:
    """Odd slices were acquired first, even ones after them: they are one stack, and one of it is missing."""
    odd, even = _stack(1, 0.0, 6.0, acquisition_number=1), _stack(13, 3.0, 6.0, without, acquisition_number=2)
    assert _parts(odd, even) == {"": 23}


def test_a_missing_slice_between_two_blocks_is_no_volume_of_its_own() -> None:
    assert _parts(_stack(1, 0.0, 3.0, acquisition_number=1), _stack(13, 39.0, 3.0, acquisition_number=2)) == {"": 24}


def test_an_acquisition_with_a_missing_slice_is_not_split_off() -> None:
    one, two = _stack(1, 0.0, 6.0, acquisition_number=4), _stack(13, 0.7, 6.0, 5, acquisition_number=5)
    assert _parts(one, two) == {"": 23}


def _at(number: int, place: Vector | None, **changes: object) -> ImageHeader:
    return replace(_header(0), instance_number=number, position_mm=place, **changes)  # type: ignore[arg-type]


def _numbers(places: list[list[ImageHeader]]) -> list[list[int]]:
    return [[image.number for image in place] for place in places]


def test_positions_are_in_the_order_of_the_slices_and_images_in_the_order_of_their_numbers() -> None:
    images = tuple(_at(n, (0.0, 0.0, z)) for n, z in ((4, 6.0), (3, 0.0), (9, 3.0), (1, 6.0), (2, 3.0)))
    assert _numbers(positions_of(images)) == [[3], [2, 9], [1, 4]]


@pytest.mark.parametrize(
    ("row", "column", "normal"),
    [
        ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)),
        ((0.0, 1.0, 0.0), (1.0, 0.0, 0.0), (0.0, 0.0, -1.0)),
        ((0.0, 1.0, 0.0), (0.0, 0.0, -1.0), (-1.0, 0.0, 0.0)),
        ((1.0, 0.0, 0.0), (0.0, 0.0, -1.0), (0.0, 1.0, 0.0)),
        ((0.8, 0.0, 0.6), (0.0, 1.0, 0.0), (-0.6, 0.0, 0.8)),
    ],
)
def test_the_slice_axis_is_the_right_handed_normal_of_rows_and_columns(
    row: Vector, column: Vector, normal: Vector
) -> None:
    """Each corner also moves within its plane, by more than the slices lie apart."""
    corners = 3.0 * np.arange(4)[:, None] * normal - 50.0 * np.arange(4)[:, None] * row
    images = [_at(k + 1, tuple(corners[k]), row_direction=row, column_direction=column) for k in (2, 0, 3, 1)]
    assert _numbers(positions_of(tuple(images))) == [[1], [2], [3], [4]]


@pytest.mark.parametrize(("apart_mm", "count"), [(0.015, 1), (0.025, 2)])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_images_lie_at_one_position_within_a_fiftieth_of_a_millimetre(axis: int, apart_mm: float, count: int) -> None:
    second = tuple(apart_mm * (k == axis) for k in range(3))
    assert len(positions_of((_at(1, (0.0, 0.0, 0.0)), _at(2, (second[0], second[1], second[2]))))) == count


def test_frames_are_ordered_by_instance_and_then_by_frame() -> None:
    images = tuple(_at(instance, (0.0, 0.0, 0.0), frame=frame) for instance, frame in ((2, 1), (1, 7), (1, 3)))
    (place,) = positions_of(images)
    assert [(image.instance_number, image.frame) for image in place] == [(1, 3), (1, 7), (2, 1)]
