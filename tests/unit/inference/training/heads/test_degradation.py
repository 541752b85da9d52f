"""What a scanner does to an image: each part as often and as strongly as said, and the rest left alone."""

from dataclasses import replace

import numpy as np
import pytest

from inference.training.heads.degradation import (
    DegradationLimits,
    degraded,
    ghosted,
    noisy,
    shaded,
    thick_slices,
)

PERFECT = DegradationLimits(curved=0, shaded=0, blur_mm=0, thick=0, ghosted=0, noisy=0)
MM = 2.0


def _image() -> np.ndarray:
    rng = np.random.default_rng(8)
    image = np.zeros((30, 32, 28), np.float32)
    image[5:25, 6:26, 5:23] = rng.uniform(0.2, 1.0, (20, 20, 18))
    return image


def _degraded(seed: int = 1, **changes: object) -> np.ndarray:
    return degraded(np.random.default_rng(seed), _image(), 0, MM, replace(PERFECT, **changes))


def test_a_perfect_scanner_changes_nothing() -> None:
    assert np.array_equal(_degraded(), _image())


@pytest.mark.parametrize(
    "changes",
    [
        {"curved": 1.0},
        {"shaded": 1.0},
        {"blur_mm": 2.0},
        {"thick": 1.0, "thickness_mm": (6.0, 6.0)},
        {"ghosted": 1.0},
        {"noisy": 1.0},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_each_part_changes_the_image_and_keeps_it_finite_and_not_negative(changes: dict[str, float]) -> None:
    for seed in range(5):
        image = _degraded(seed, **changes)
        assert not np.allclose(image, _image(), atol=1e-3)
        assert image.dtype == np.float32
        assert np.isfinite(image).all()
        assert image.min() >= 0


def test_greys_are_bent_by_the_exponent() -> None:
    assert np.allclose(_degraded(curved=1.0, gamma=(2.0, 2.0)), _image() ** 2)


def test_blur_is_in_millimetres() -> None:
    point = np.zeros((41, 41, 41), np.float32)
    point[20, 20, 20] = 1

    def width_mm(spacing_mm: float) -> float:
        image = degraded(np.random.default_rng(2), point, 0, spacing_mm, replace(PERFECT, blur_mm=6.0))
        along = (np.arange(41) - 20) * spacing_mm
        return float(np.sqrt((image.sum(axis=(1, 2)) * along**2).sum() / image.sum()))

    assert width_mm(1.0) == pytest.approx(width_mm(2.0), rel=0.15)
    assert width_mm(1.0) < 6.5


def test_shading_is_slow_and_as_deep_as_said() -> None:
    flat = np.ones((30, 30, 30), np.float32)
    strong, weak = (np.log(shaded(np.random.default_rng(4), flat, deviation)) for deviation in (0.6, 0.2))
    assert np.allclose(strong, 3 * weak, atol=1e-4)
    assert np.abs(np.diff(strong, axis=0)).max() < 0.4
    assert np.array_equal(shaded(np.random.default_rng(4), flat, 0.0), flat)
    assert np.ptp(_degraded(shaded=1.0, shading=0.0) - _image()) == 0


@pytest.mark.parametrize("axis", range(3))
def test_thick_slices_blur_their_own_axis_alone(axis: int) -> None:
    image = _image()
    thick = thick_slices(np.random.default_rng(3), image, axis, 5.0)
    bent = np.abs(np.diff(thick, n=2, axis=axis)) > 1e-4
    assert bent.any(axis=tuple(k for k in range(3) if k != axis)).mean() < 0.5, "straight between middles of slices"
    assert np.abs(np.diff(thick, axis=axis)).mean() < 0.4 * np.abs(np.diff(image, axis=axis)).mean()
    lone = np.repeat(np.take(image, [15], axis), image.shape[axis], axis)
    assert np.allclose(thick_slices(np.random.default_rng(3), lone, axis, 5.0), lone, atol=1e-5)


@pytest.mark.parametrize("thickness", [0.5, 1.0, 2.2, 3.75, 40.0])
def test_thick_slices_keep_their_place_and_a_flat_image(thickness: float) -> None:
    ramp = np.broadcast_to(np.arange(60, dtype=np.float32)[:, None, None], (60, 3, 3)).copy()
    thick = thick_slices(np.random.default_rng(5), ramp, 0, thickness)
    assert thick.shape == ramp.shape
    assert np.isfinite(thick).all()
    if thickness < 10:
        assert np.abs(thick - ramp)[10:50].max() < 1.1, "within half a voxel, and what rounding adds"
    flat = np.full((20, 4, 4), 0.7, np.float32)
    assert np.allclose(thick_slices(np.random.default_rng(5), flat, 0, thickness), 0.7)


def test_thickness_follows_its_limits() -> None:
    def rough(thickness_mm: float) -> float:
        image = _degraded(thick=1.0, thickness_mm=(thickness_mm, thickness_mm))
        return float(np.abs(np.diff(image, axis=0)).mean())

    assert rough(8.0) < 0.8 * rough(4.0)
    four, eight = (replace(PERFECT, thick=1.0, thickness_mm=(size, size)) for size in (4.0, 8.0))
    same = [degraded(np.random.default_rng(1), _image(), 0, mm, limits) for mm, limits in ((2.0, four), (4.0, eight))]
    assert np.array_equal(*same), "so many voxels, whatever their size"


def test_a_ghost_is_a_faint_copy_elsewhere_along_rows_or_columns() -> None:
    image = _image()
    for seed in range(30):
        ghost = ghosted(np.random.default_rng(seed), image, 0.1) - image
        assert ghost.sum() == pytest.approx(0.1 * image.sum(), rel=1e-4)
        assert np.allclose(ghost.sum(axis=(1, 2)), 0.1 * image.sum(axis=(1, 2)), rtol=1e-3), "the same slices"
        assert not np.allclose(ghost, 0.1 * image, atol=1e-3)
    extra = _degraded(ghosted=1.0, ghost=(0.3, 0.3)) - _image()
    assert extra.sum() == pytest.approx(0.3 * image.sum(), rel=1e-4)


def test_noise_has_its_deviation_and_rician_noise_lifts_the_air() -> None:
    bright, dark = np.full((40, 40, 40), 2.0, np.float32), np.zeros((40, 40, 40), np.float32)
    for rician in (False, True):
        assert noisy(np.random.default_rng(1), bright, 0.1, rician=rician).std() == pytest.approx(0.1, rel=0.05)
    assert noisy(np.random.default_rng(1), dark, 0.1, rician=True).mean() == pytest.approx(0.125, rel=0.05)
    assert abs(noisy(np.random.default_rng(1), dark, 0.1, rician=False).mean()) < 0.01


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_noise_is_rician_as_often_as_said(share: float) -> None:
    """Normal noise leaves half of the air dark, once what is negative is cut; Rician noise leaves none."""
    air = _degraded(noisy=1.0, rician=share)[:4]
    assert np.mean(air == 0) == pytest.approx((1 - share) / 2, abs=0.05)


def test_noise_is_at_most_as_strong_as_said() -> None:
    deviations = [
        (_degraded(seed, noisy=1.0, noise=0.04, rician=0.0) - _image())[10:20, 10:20, 8:18].std() for seed in range(30)
    ]
    assert 0.03 < max(deviations) < 0.045
