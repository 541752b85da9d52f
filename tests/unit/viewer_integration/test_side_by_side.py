"""Which of two series of different planes is shown in the plane of the other one."""

from pathlib import Path

import numpy as np
import pytest

from tests.support.dicom_series import axis_aligned, mr_slices
from tests.support.enhanced_series import enhanced_instance
from viewer_integration.side_by_side import FINE_MM, PARALLEL, Place, Reformat, SeriesPlane, reformat, series_plane

SAGITTAL = SeriesPlane(row=(0.0, 1.0, 0.0), column=(0.0, 0.0, -1.0), distance_mm=1.0)
AXIAL = SeriesPlane(row=(1.0, 0.0, 0.0), column=(0.0, 1.0, 0.0), distance_mm=5.0)
TILTED = SeriesPlane(row=(1.0, 0.0, 0.0), column=(0.0, 0.95, 0.31), distance_mm=5.0)


def _with(plane: SeriesPlane, distance_mm: float) -> SeriesPlane:
    return SeriesPlane(row=plane.row, column=plane.column, distance_mm=distance_mm)


def test_the_finer_series_is_shown_in_the_plane_of_the_other_one() -> None:
    assert reformat(SAGITTAL, AXIAL) == Reformat(place=Place.REFERENCE, row=AXIAL.row, column=AXIAL.column)
    assert reformat(AXIAL, SAGITTAL) == Reformat(place=Place.BESIDE, row=AXIAL.row, column=AXIAL.column)
    assert reformat(SAGITTAL, TILTED) == Reformat(place=Place.REFERENCE, row=TILTED.row, column=TILTED.column)


def test_series_that_lie_alike_stay_as_they_are() -> None:
    assert reformat(AXIAL, TILTED) is None
    turned_over = SeriesPlane(row=AXIAL.column, column=AXIAL.row, distance_mm=1.0)
    assert reformat(turned_over, AXIAL) is None


def test_thick_slices_are_not_shown_in_another_plane() -> None:
    assert reformat(_with(SAGITTAL, FINE_MM), AXIAL) is not None
    assert reformat(_with(SAGITTAL, FINE_MM + 0.1), AXIAL) is None


def test_nothing_is_decided_without_both_planes() -> None:
    assert reformat(None, AXIAL) is None
    assert reformat(SAGITTAL, None) is None


@pytest.mark.parametrize("kind", ["classic", "enhanced"])
def test_the_plane_is_read_from_one_image(kind: str) -> None:
    voxels = np.zeros((3, 8, 10), np.uint16)
    geometry = axis_aligned("sagittal")
    ds = mr_slices(voxels, geometry)[1] if kind == "classic" else enhanced_instance(voxels, geometry)
    found = series_plane(ds)
    assert found is not None
    assert (found.row, found.column) == ((0.0, 1.0, 0.0), (0.0, 0.0, -1.0))
    assert found.distance_mm == pytest.approx(3.0)


def test_a_header_without_plane_or_distance_gives_none() -> None:
    whole = mr_slices(np.zeros((3, 8, 10), np.uint16), axis_aligned("axial"))[0]
    assert series_plane(whole) is not None
    del whole.ImageOrientationPatient
    assert series_plane(whole) is None
    thin = mr_slices(np.zeros((3, 8, 10), np.uint16), axis_aligned("axial"))[0]
    for name in ("SliceThickness", "SpacingBetweenSlices"):
        if name in thin:
            delattr(thin, name)
    assert series_plane(thin) is None


def test_the_viewer_moves_together_what_is_not_reformatted() -> None:
    script = Path(__file__).parents[3] / "dicom_node" / "web" / "static" / "ohif_first_view.js"
    assert f"const PARALLEL = {PARALLEL};" in script.read_text("utf-8")
