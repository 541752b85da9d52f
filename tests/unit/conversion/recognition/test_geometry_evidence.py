"""What the number and the planes of images tell: localizers, courses in time, and gradient echoes."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from conversion.decision import Evidence
from conversion.recognition.geometry_evidence import (
    FEW_SLICES,
    LOCALIZER_IMAGES,
    REPEATS,
    geometry_evidence,
    plane_of,
)
from conversion.study import Series, Vector
from tests.support.series_headers import series_of


def _found(series: Series, *siblings: Series) -> list[tuple[str, float, str]]:
    return [(e.kind, e.weight, e.says) for e in geometry_evidence(series, siblings)]


def _course(count: int, **header: Any) -> list[tuple[str, float, str]]:  # noqa: ANN401
    return _found(*(series_of(part=f"phase {k}", **header) for k in range(count)))


def _turned(row: Vector | None, column: Vector | None) -> Series:
    series = series_of(slices=1)
    return replace(series, images=(replace(series.images[0], row_direction=row, column_direction=column),))


@pytest.mark.parametrize("plane", ["axial", "coronal", "sagittal"])
def test_the_plane_of_a_series_is_the_one_it_was_made_in(plane: str) -> None:
    assert plane_of(series_of(plane=plane)) == plane


@pytest.mark.parametrize(
    ("row", "column", "plane"),
    [
        ((-1.0, 0.0, 0.0), (0.0, -1.0, 0.0), "axial"),
        ((0.0, 1.0, 0.0), (1.0, 0.0, 0.0), "axial"),
        ((1.0, 0.0, 0.0), (0.0, 0.8, -0.6), "axial"),
        ((1.0, 0.0, 0.0), (0.0, 0.6, -0.8), "coronal"),
        ((0.6, 0.8, 0.0), (0.0, 0.0, -1.0), "sagittal"),
        ((0.8, 0.6, 0.0), (0.0, 0.0, -1.0), "coronal"),
        (None, (0.0, 1.0, 0.0), ""),
        ((1.0, 0.0, 0.0), None, ""),
    ],
)
def test_an_oblique_series_is_of_the_nearest_plane(row: Vector | None, column: Vector | None, plane: str) -> None:
    assert plane_of(_turned(row, column)) == plane


def test_the_nearest_plane_of_any_orientation_is_that_of_the_largest_part_of_its_normal() -> None:
    for rotation in Rotation.random(60, rng=np.random.default_rng(6)).as_matrix():
        (a, b, c), (d, e, f), normal = rotation.T.tolist()
        nearest = ("sagittal", "coronal", "axial")[int(np.argmax(np.abs(normal)))]
        assert plane_of(_turned((a, b, c), (d, e, f))) == nearest


def test_a_series_without_images_has_no_plane() -> None:
    assert plane_of(series_of(slices=0)) == ""


def test_an_ordinary_series_is_not_evident_by_its_geometry() -> None:
    assert _found(series_of()) == []
    assert _found(series_of(slices=FEW_SLICES + 1)) == []


@pytest.mark.parametrize("slices", [1, 3])
def test_few_images_are_weak_evidence_of_a_localizer(slices: int) -> None:
    assert _found(series_of(slices=slices)) == [("localizer", 1.0, f"only {slices} image(s)")]


@pytest.mark.parametrize(("slices", "localizer"), [(LOCALIZER_IMAGES, True), (LOCALIZER_IMAGES + 1, False)])
def test_several_planes_of_few_images_are_a_localizer(slices: int, *, localizer: bool) -> None:
    found = _found(series_of(slices=slices), series_of(slices=slices, plane="sagittal"))
    says = "one DICOM series in several planes (axial, sagittal)"
    assert found == ([("localizer", 4.0, says)] if localizer else [])


def test_a_volume_that_is_repeated_in_its_plane_is_no_localizer() -> None:
    assert _found(series_of(slices=20), series_of(slices=20), series_of(slices=20, plane="sagittal")) == []


def test_a_sibling_without_orientation_is_of_no_other_plane() -> None:
    assert _found(series_of(slices=5), _turned(None, None)) == []


@pytest.mark.parametrize(("count", "told"), [(REPEATS - 1, False), (REPEATS, True)])
@pytest.mark.parametrize(("family", "weights"), [("EP", (4.0, 4.0)), ("GR", (10.0, 6.0)), ("", (10.0, 6.0))])
def test_many_volumes_at_one_place_are_a_course_in_time(
    count: int, family: str, weights: tuple[float, float], *, told: bool
) -> None:
    says = f"one of {count} volumes at one place in its DICOM series"
    kinds = zip(("perfusion", "functional"), weights, strict=True)
    assert _course(count, seq=family) == ([(kind, weight, says) for kind, weight in kinds] if told else [])


def test_volumes_of_other_echoes_sizes_and_planes_do_not_make_a_course() -> None:
    others = [series_of(te=80.0), series_of(slices=23), series_of(plane="coronal", slices=24)]
    first, *alike = [series_of(te=20.0) for _ in range(REPEATS - 1)]
    assert _found(first, *alike, *others) == []
    assert len(_found(first, *alike, *others, series_of(te=20.5))) == 2


@pytest.mark.parametrize(
    ("family", "times_ms", "says"),
    [
        ("GR", (5.0, 10.0, 15.0), "one of 3 gradient echoes"),
        ("GR", (4.9, 7.4), "one of 2 gradient echoes"),
        ("GR", (5.0, 5.1), ""),
        ("GR", (5.0, None), ""),
        ("SE", (20.0, 90.0), ""),
        ("EP", (20.0, 90.0), ""),
    ],
)
def test_several_gradient_echoes_are_told(family: str, times_ms: tuple[float | None, ...], says: str) -> None:
    first, *others = (series_of(te=te, seq=family, part=f"echo {te}") for te in times_ms)
    expected = [Evidence(source="geometry", kind=kind, weight=4.5, says=says) for kind in ("T2*", "field map")]
    assert list(geometry_evidence(first, others)) == (expected if says else [])


def test_echoes_of_another_size_are_not_those_of_this_volume() -> None:
    assert _found(series_of(te=5.0, seq="GR"), series_of(te=10.0, seq="GR", slices=12)) == []
