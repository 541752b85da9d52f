"""The phantom's scanner by itself: where each voxel lies, how thick a slice is, and what its noise looks like."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from numpy.typing import NDArray

from dicom_node.phantom.contrast import SEQUENCES
from dicom_node.phantom.head_grid import rigid_affine
from dicom_node.phantom.plan import PhantomPlan, SeriesPlan
from dicom_node.phantom.scanner import head_to_patient, scan, series_affine

CENTRE_MM = np.array([0.0, 8.0, 3.0])
SIZE = 31
"""A probe is a cube of as many voxels of 1 mm at the corner of the head's grid."""

TO_THE_CENTRE_MM = (92.0 - SIZE // 2, 120.0 - SIZE // 2, 118.0 - SIZE // 2)
"""Moves the middle of a probe to where every stack has its own."""

T1 = SEQUENCES["T1"]


def _series(plane: str = "axial", **changes: object) -> SeriesPlan:
    plain = SeriesPlan(
        role="T1",
        number=1,
        description="probe",
        plane=plane,
        in_plane_mm=1.0,
        slice_mm=1.0,
        rows=16,
        columns=18,
        slices=14,
        patient_shift_mm=TO_THE_CENTRE_MM,
    )
    return replace(plain, **changes)  # type: ignore[arg-type]


def _plan(**changes: object) -> PhantomPlan:
    plain = PhantomPlan(seed=3, tumour_centre_mm=(0.0, 0.0, 0.0), size_ml=0.0, series=())
    return replace(plain, **changes)  # type: ignore[arg-type]


def _ramp(base: float, along_mm: tuple[float, float, float]) -> NDArray[np.float32]:
    """Return a probe whose signal grows along LPS x, y and z from `base` in its middle."""
    z, y, x = np.indices((SIZE, SIZE, SIZE)) - SIZE // 2
    return np.asarray(base + along_mm[0] * x + along_mm[1] * y + along_mm[2] * z, np.float32)


def test_the_head_lies_where_the_plan_puts_it() -> None:
    plan = _plan(patient_shift_mm=(5.0, -6.0, 7.0), patient_rotation_deg=(0.0, 0.0, 90.0))
    assert_allclose(head_to_patient(_plan()), np.eye(4))
    # A quarter turn about z takes the left (x) to the back (y), and the back to the right.
    assert_allclose(head_to_patient(plan) @ [10.0, 0.0, 3.0, 1.0], [5.0, 4.0, 10.0, 1.0], atol=1e-12)
    assert_allclose(head_to_patient(plan) @ [0.0, 10.0, 3.0, 1.0], [-5.0, -6.0, 10.0, 1.0], atol=1e-12)


def test_motion_within_a_series_comes_after_the_position_in_the_scanner() -> None:
    plan = _plan(patient_shift_mm=(5.0, 0.0, 0.0))
    moved = _series(patient_rotation_deg=(0.0, 0.0, 90.0), patient_shift_mm=(0.0, 0.0, 1.0))
    assert_allclose(head_to_patient(plan, moved) @ [0.0, 0.0, 0.0, 1.0], [0.0, 5.0, 1.0, 1.0], atol=1e-12)


@pytest.mark.parametrize(
    ("plane", "normal", "down", "across"),
    [
        ("axial", (0, 0, 1), (0, 1, 0), (1, 0, 0)),
        ("sagittal", (-1, 0, 0), (0, 0, -1), (0, 1, 0)),
        ("coronal", (0, 1, 0), (0, 0, -1), (1, 0, 0)),
    ],
)
def test_planes_lie_as_radiologists_hang_them(
    plane: str, normal: tuple[float, ...], down: tuple[float, ...], across: tuple[float, ...]
) -> None:
    """In LPS: the patient's left on the right of the picture, or the nose on its left, and the head above."""
    affine = series_affine(_plan(), _series(plane, in_plane_mm=0.7, slice_mm=3.0, gap_mm=0.5))
    assert_allclose(affine[:3, 0], np.array(normal) * 3.5)
    assert_allclose(affine[:3, 1], np.array(down) * 0.7)
    assert_allclose(affine[:3, 2], np.array(across) * 0.7)
    assert_array_equal(affine[3], [0, 0, 0, 1])


@pytest.mark.parametrize("oblique_deg", [(0.0, 0.0, 0.0), (20.0, 0.0, 0.0), (-12.0, 30.0, 7.0)])
@pytest.mark.parametrize("plane", ["axial", "sagittal", "coronal"])
def test_every_stack_has_its_middle_in_the_middle_of_the_brain(
    plane: str, oblique_deg: tuple[float, float, float]
) -> None:
    plan = _plan(patient_shift_mm=(5.0, -6.0, 7.0), patient_rotation_deg=(0.0, 0.0, 90.0))
    series = _series(plane, oblique_deg=oblique_deg, slices=7, rows=10, columns=13, gap_mm=0.4)
    affine = series_affine(plan, series)
    assert_allclose(affine @ [3.0, 4.5, 6.0, 1.0], [5.0 - 8.0, -6.0 + 0.0, 7.0 + 3.0, 1.0], atol=1e-9)
    assert_allclose(np.linalg.norm(affine[:3, :3], axis=0), [1.4, 1.0, 1.0])
    assert np.linalg.det(affine[:3, :3]) == pytest.approx(-1.4), "rows, columns and slices as PS3.3 C.7.6.2.1.1"


def test_an_oblique_stack_is_turned_about_the_patients_axes() -> None:
    affine = series_affine(_plan(), _series("axial", oblique_deg=(90.0, 0.0, 0.0)))
    # A quarter turn about x takes the back (y) to the head (z), and the head to the front.
    assert_allclose(affine[:3, :3], np.array([[0, -1, 0], [0, 0, 1], [1, 0, 0]], float).T, atol=1e-12)


@pytest.mark.parametrize("oblique_deg", [(0.0, 0.0, 0.0), (25.0, -10.0, 5.0)])
@pytest.mark.parametrize("plane", ["axial", "sagittal", "coronal"])
def test_a_voxel_shows_what_lies_in_its_place(plane: str, oblique_deg: tuple[float, float, float]) -> None:
    """A signal that grows evenly is the same at every resolution, so its gradient is that of the head."""
    along_mm = np.array([0.10, -0.07, 0.05])
    series = _series(plane, oblique_deg=oblique_deg, slice_mm=2.0, gap_mm=0.5, slices=5, rows=12, columns=12)
    stored = scan(_plan(), series, _ramp(4.0, (0.10, -0.07, 0.05)))
    index = np.stack([axis.ravel() for axis in np.indices(stored.shape)] + [np.ones(stored.size)])
    place = (series_affine(_plan(), series) @ index)[:3].T - CENTRE_MM
    wanted = np.column_stack([place, np.ones(stored.size)])
    found, *_ = np.linalg.lstsq(wanted, stored.ravel() / T1.scale, rcond=None)
    assert_allclose(found[:3], along_mm, atol=0.004)
    assert found[3] == pytest.approx(4.0, abs=0.01)


@pytest.mark.parametrize(
    ("slice_mm", "gap_mm", "shares"),
    [(4.0, 0.0, (0, 1 / 4, 0)), (2.0, 0.0, (0, 1 / 2, 0)), (4.0, 2.0, (0, 1 / 4, 0)), (1.0, 5.0, (0, 1, 0))],
)
def test_a_thin_sheet_fills_its_share_of_a_slice(
    slice_mm: float, gap_mm: float, shares: tuple[float, float, float]
) -> None:
    """Half a millimetre off the middle where the layers of a slice lie on both sides of it."""
    probe = np.zeros((SIZE, SIZE, SIZE), np.float32)
    probe[SIZE // 2] = 8.0
    between = 0.0 if slice_mm == 1.0 else 0.5
    shift = (TO_THE_CENTRE_MM[0], TO_THE_CENTRE_MM[1], TO_THE_CENTRE_MM[2] + between)
    series = _series(slices=3, slice_mm=slice_mm, gap_mm=gap_mm, patient_shift_mm=shift)
    means = scan(_plan(), series, probe).mean(axis=(1, 2)) / T1.scale
    assert_allclose(means, np.array(shares) * 8.0, atol=0.05)


def test_what_lies_in_a_gap_is_not_seen() -> None:
    probe = np.zeros((SIZE, SIZE, SIZE), np.float32)
    probe[SIZE // 2] = 8.0
    for gap_mm, seen in ((0.0, True), (4.0, False)):
        series = _series(slices=2, slice_mm=4.0, gap_mm=gap_mm)
        assert bool(scan(_plan(), series, probe).mean() > 0.5 * T1.scale) is seen


@pytest.mark.parametrize("role", ["T1", "T1CE", "T2", "FLAIR"])
def test_noise_is_that_of_magnitudes(role: str) -> None:
    """Rayleigh where there is no signal: mean sqrt(pi/2) sigma, variance (2 - pi/2) sigma²; Gauss where there is."""
    sigma = SEQUENCES[role].noise * SEQUENCES[role].scale
    series = _series(role=role, slices=10, rows=40, columns=40)
    air = scan(_plan(), series, np.zeros((4, 4, 4), np.float32)).astype(float)
    assert air.mean() == pytest.approx(np.sqrt(np.pi / 2) * sigma, rel=0.02)
    assert air.var() == pytest.approx((2 - np.pi / 2) * sigma**2 + 1 / 12, rel=0.04)
    inside = _series(role=role, slices=8, rows=20, columns=20)
    flat = scan(_plan(), inside, _ramp(5.0, (0.0, 0.0, 0.0))).astype(float)
    assert flat.mean() == pytest.approx(5.0 * SEQUENCES[role].scale, rel=0.005)
    assert flat.std() == pytest.approx(sigma, rel=0.06)


def test_a_scan_is_repeatable_and_each_series_has_its_own_noise() -> None:
    probe = _ramp(4.0, (0.0, 0.0, 0.0))
    first = scan(_plan(), _series(), probe)
    assert first.dtype == np.uint16
    assert first.shape == (14, 16, 18)
    assert_array_equal(scan(_plan(), _series(), probe), first)
    for plan, series in ((_plan(), _series(number=2)), (_plan(seed=4), _series())):
        assert np.mean(scan(plan, series, probe) == first) < 0.2


def test_values_end_where_twelve_bits_do() -> None:
    assert_array_equal(np.unique(scan(_plan(), _series(), _ramp(20.0, (0.0, 0.0, 0.0)))), [4095])


def test_coarse_pixels_take_the_signal_around_them() -> None:
    probe = np.zeros((SIZE, SIZE, SIZE), np.float32)
    middle = SIZE // 2
    probe[middle, middle, middle] = 9.0
    sharp = scan(_plan(), _series(slices=1, rows=3, columns=3), probe)
    coarse = scan(_plan(), _series(slices=1, rows=3, columns=3, in_plane_mm=3.0), probe)
    assert sharp[0, 1, 1] / T1.scale == pytest.approx(9.0, abs=0.2)
    # A Gaussian of 0.9 mm keeps 1 / (0.9 sqrt(2 pi))**3 of a single voxel in its middle.
    assert coarse[0, 1, 1] / T1.scale == pytest.approx(9.0 / (0.9 * np.sqrt(2 * np.pi)) ** 3, abs=0.15)


def test_the_probe_moves_with_the_head() -> None:
    """Motion between series moves what is seen, and not where the stack says that it lies."""
    probe = np.zeros((SIZE, SIZE, SIZE), np.float32)
    probe[SIZE // 2, SIZE // 2, SIZE // 2] = 9.0
    still = _series(slices=15, rows=15, columns=15)
    shift = rigid_affine((0.0, 0.0, 0.0), TO_THE_CENTRE_MM)[:3, 3] + (4.0, -3.0, 2.0)
    moved = replace(still, patient_shift_mm=(float(shift[0]), float(shift[1]), float(shift[2])))
    peaks = [np.unravel_index(scan(_plan(), series, probe).argmax(), (15, 15, 15)) for series in (still, moved)]
    assert_array_equal(np.subtract(peaks[1], peaks[0]), [2, -3, 4])
    assert_allclose(series_affine(_plan(), moved), series_affine(_plan(), still))
