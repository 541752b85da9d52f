"""From slice positions to a stack: any order gives the same grid, and what is no regular stack is refused."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from conversion.errors import BrokenGeometry, ConversionReason
from conversion.stack import SliceStack, stack_slices
from conversion.study import Acquisition, ImageHeader, Series, SeriesUID
from tests.support.dicom_series import axis_aligned
from tests.support.strategies import affines, slice_orders

FEW = settings(max_examples=25, deadline=None, derandomize=True)
Vector = tuple[float, float, float]


def _vector(values: NDArray[np.float64]) -> Vector:
    return (float(values[0]), float(values[1]), float(values[2]))


def _header(affine: NDArray[np.float64], k: float, name: str = "") -> ImageHeader:
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    return ImageHeader(
        path=Path(f"{k}.dcm"),
        sop_instance_uid=name or f"1.{k}",
        instance_number=1,
        rows=6,
        columns=5,
        position_mm=_vector(affine[:3, 3] + k * affine[:3, 0]),
        row_direction=_vector(affine[:3, 2] / spacing[2]),
        column_direction=_vector(affine[:3, 1] / spacing[1]),
        row_spacing_mm=float(spacing[1]),
        column_spacing_mm=float(spacing[2]),
    )


def _headers(slices: int = 10, affine: NDArray[np.float64] | None = None) -> list[ImageHeader]:
    return [_header(axis_aligned("axial") if affine is None else affine, k) for k in range(slices)]


def _stack(headers: list[ImageHeader]) -> SliceStack:
    return stack_slices(
        Series(
            series_uid=SeriesUID("1.2"),
            number=7,
            sop_class_uid="1",
            frame_of_reference_uid="1.2.3",
            acquisition=Acquisition(),
            images=tuple(headers),
        )
    )


def _refusal(headers: list[ImageHeader]) -> BrokenGeometry:
    with pytest.raises(BrokenGeometry) as caught:
        _stack(headers)
    assert "series 7" in str(caught.value)
    return caught.value


@st.composite
def _shuffled(draw: st.DrawFn) -> tuple[NDArray[np.float64], list[int]]:
    return draw(affines()), draw(slice_orders(draw(st.integers(2, 9))))


@given(_shuffled())
@FEW
def test_any_slice_order_of_any_orientation_gives_the_grid_of_the_patient(
    case: tuple[NDArray[np.float64], list[int]],
) -> None:
    affine, order = case
    stack = _stack([_header(affine, k) for k in order])
    assert stack.grid.shape == (len(order), 6, 5)
    assert stack.grid.frame_of_reference_uid == "1.2.3"
    normal = np.cross(affine[:3, 2], affine[:3, 1])
    assert stack.grid.affine[:3, 0] @ normal > 0, "slices run along row x column direction"
    for k, instance in enumerate(stack.images):
        written = float(instance.path.stem)
        for row, column in ((0, 0), (5, 0), (0, 4)):
            point = affine @ [written, row, column, 1]
            assert np.allclose(stack.grid.position_mm(np.array([k, row, column], float)), point[:3], atol=1e-6)


def test_spacing_comes_from_positions_row_and_column_spacing_from_the_right_places() -> None:
    stack = _stack(_headers(affine=axis_aligned("coronal", (4.5, 0.75, 1.25))))
    assert np.allclose(stack.grid.spacing_mm, [4.5, 0.75, 1.25])


def test_rounded_positions_are_a_regular_stack_as_long_as_the_true_one() -> None:
    affine = axis_aligned("axial", (6.23, 1.0, 1.0))
    headers = [
        replace(header, position_mm=_vector(np.round(np.array(header.position_mm), 1)))
        for header in _headers(21, affine)
    ]
    assert _stack(headers).grid.spacing_mm[0] == pytest.approx(6.23, abs=0.005)


@pytest.mark.parametrize(("absent", "sentence"), [({4}, "1 slice(s) missing after slice 4"), ({4, 5}, "2 slice(s)")])
def test_a_missing_slice_is_named(absent: set[int], sentence: str) -> None:
    error = _refusal([header for k, header in enumerate(_headers()) if k not in absent])
    assert error.reason is ConversionReason.MISSING_SLICE
    assert sentence in str(error)
    assert "3.00 mm apart" in str(error)


def test_the_place_of_a_missing_slice_counts_from_the_start_of_the_stack_in_any_order() -> None:
    headers = [header for k, header in enumerate(_headers()) if k != 7]
    assert "after slice 7" in str(_refusal(headers[::-1]))


def test_two_images_at_one_position_are_refused() -> None:
    again = replace(_headers()[3], sop_instance_uid="1.99", instance_number=99)
    error = _refusal([*_headers(), again])
    assert error.reason is ConversionReason.DOUBLED_SLICE
    assert "slice 4 of 11" in str(error)


def test_a_series_of_two_time_points_is_refused_as_doubled() -> None:
    assert _refusal(_headers() + _headers()).reason is ConversionReason.DOUBLED_SLICE


def test_uneven_slices_are_refused() -> None:
    headers = _headers()
    headers[5] = _header(axis_aligned("axial"), 5.2)
    error = _refusal(headers)
    assert error.reason is ConversionReason.UNEVEN_SPACING
    assert "unevenly" in str(error)


@pytest.mark.parametrize(
    "change",
    [
        {"rows": 7},
        {"columns": 7},
        {"row_spacing_mm": 1.52},
        {"column_spacing_mm": 1.27},
        {"row_direction": (0.9998, 0.02, 0.0)},
        {"column_direction": (0.0, 0.9998, 0.02)},
    ],
    ids=lambda change: next(iter(change)),
)
def test_an_image_of_other_size_spacing_or_orientation_is_refused(change: dict[str, object]) -> None:
    headers = _headers()
    headers[6] = replace(headers[6], **change)  # type: ignore[arg-type]
    assert _refusal(headers).reason is ConversionReason.MIXED_GEOMETRY


@pytest.mark.parametrize("field", ["position_mm", "row_direction", "column_direction"])
def test_an_image_without_position_or_orientation_is_refused(field: str) -> None:
    headers = _headers()
    headers[9] = replace(headers[9], **{field: None})  # type: ignore[arg-type]
    assert _refusal(headers).reason is ConversionReason.MISSING_POSITION


@pytest.mark.parametrize(("thickness_mm", "extent_mm"), [(4.5, 4.5), (None, 1.0), (0.0, 1.0)])
def test_one_image_has_its_thickness_as_extent_and_says_so(thickness_mm: float | None, extent_mm: float) -> None:
    (header,) = _headers(1)
    stack = _stack([replace(header, slice_thickness_mm=thickness_mm)])
    assert stack.grid.spacing_mm[0] == extent_mm
    assert np.array_equal(stack.grid.affine[:3, 3], header.position_mm or ())
    (decision,) = stack.decisions
    assert decision.code == "single_slice"
    assert f"{extent_mm:g} mm" in decision.reason


@pytest.mark.parametrize("off_mm", [0.02, 0.09])
def test_slices_a_little_off_an_even_stack_are_taken_and_named(off_mm: float) -> None:
    headers = _headers()
    headers[5] = _header(axis_aligned("axial"), 5 + off_mm / 3)
    (decision,) = _stack(headers).decisions
    assert decision.code == "uneven_positions"
    assert f"{off_mm:.3f} mm" in decision.reason


def test_an_even_stack_needs_no_decision() -> None:
    assert _stack(_headers()).decisions == ()


@pytest.mark.parametrize(("tilt_deg", "refused"), [(0.1, False), (0.5, True), (3.0, True), (-15.0, True)])
def test_a_gantry_tilt_is_refused(tilt_deg: float, refused: bool) -> None:  # noqa: FBT001
    affine = axis_aligned("axial")
    affine[1, 0] = 3.0 * np.tan(np.radians(tilt_deg))
    headers = _headers(affine=affine)
    if refused:
        assert _refusal(headers).reason is ConversionReason.SHEARED_STACK
    else:
        assert _stack(headers).grid.shape[0] == 10


@pytest.mark.parametrize("decimals", [3, 4, 6])
def test_rounded_directions_make_a_grid_at_right_angles_near_the_true_one(decimals: int) -> None:
    tilt = Rotation.from_euler("xyz", [21, -13, 8], degrees=True).as_matrix()
    row, column = (_vector(np.round(tilt[:, k], decimals)) for k in (0, 1))
    headers = [
        replace(header, row_direction=row, column_direction=column, position_mm=_vector(tilt[:, 2] * 3.0 * k))
        for k, header in enumerate(_headers())
    ]
    grid = _stack(headers).grid
    assert np.allclose(grid.directions.T @ grid.directions, np.eye(3), atol=1e-12)
    assert np.abs(grid.directions[:, [2, 1]] - tilt[:, :2]).max() < 10.0**-decimals


@pytest.mark.parametrize(
    ("row", "column", "written"),
    [
        ((0.0, 0.0, 0.0), (0.0, 0.0, 0.0), "0\\0\\0\\0\\0\\0"),
        ((1.0, 0.0, 0.0), (1.0, 0.0, 0.0), "1\\0\\0\\1\\0\\0"),
        ((1.0, 0.0, 0.0), (0.1, 0.995, 0.0), "1\\0\\0\\0.1\\0.995\\0"),
    ],
)
def test_directions_that_are_none_are_called_that(row: Vector, column: Vector, written: str) -> None:
    error = _refusal([replace(header, row_direction=row, column_direction=column) for header in _headers()])
    assert error.reason is ConversionReason.MISSING_POSITION
    assert f"ImageOrientationPatient {written} does not contain two directions at right angles" in str(error)
