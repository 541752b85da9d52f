"""What a registration sees: where the head is, what shading was, and how coarse each level is."""

import numpy as np
import pytest
import SimpleITK as sitk
from numpy.typing import NDArray

from conversion.errors import RegistrationFailed
from conversion.registration.pyramid import build_pyramid
from conversion.volume import Grid, ImageVolume
from tests.support.dicom_series import axis_aligned
from tests.support.small_head import points_of

CENTRE_MM = np.array([5.0, -8.0, 12.0])
RADII_MM = np.array([40.0, 55.0, 58.0])


def _head(
    spacing_mm: tuple[float, float, float] = (2.0, 1.5, 1.5), plane: str = "axial", shading: float = 0.0
) -> ImageVolume:
    """Return an ellipsoid of textured tissue around a dark ventricle, in air, and far away a speck of noise."""
    affine = axis_aligned(plane, spacing_mm)
    shape = tuple(int(np.ceil(140.0 / step)) for step in spacing_mm)
    affine[:3, 3] = CENTRE_MM - affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    grid = Grid(shape=(shape[0], shape[1], shape[2]), affine=affine, frame_of_reference_uid="1.2.3")
    away = points_of(grid) - CENTRE_MM
    texture = 100 + 15 * np.sin(away[..., 0] / 3) * np.cos(away[..., 1] / 4)
    voxels = np.where(np.sum((away / RADII_MM) ** 2, axis=-1) < 1, texture, 1.0)
    voxels[np.linalg.norm(away, axis=-1) < 12] = 3.0
    voxels[np.linalg.norm(away - [60, 60, 60], axis=-1) < 4] = 100.0
    return ImageVolume(grid=grid, voxels=(voxels * np.exp(shading * away[..., 0] / 40)).astype(np.float32))


def test_the_tissue_is_the_largest_body_with_its_holes() -> None:
    pyramid = build_pyramid(_head())
    assert np.allclose(pyramid.centre_mm, CENTRE_MM, atol=0.5)
    assert pyramid.tissue_ml == pytest.approx(4 / 3 * np.pi * np.prod(RADII_MM) / 1000, rel=0.08)
    away = pyramid.tissue_mm - CENTRE_MM
    assert np.linalg.norm(away, axis=1).min() < 5  # the ventricle is within
    assert np.sum((away / (RADII_MM + 4)) ** 2, axis=1).max() < 1  # the speck is not


def test_the_mask_reaches_a_margin_beyond_the_tissue() -> None:
    for level in build_pyramid(_head()).levels:
        mask = sitk.GetArrayFromImage(level.mask)
        assert mask.shape == sitk.GetArrayFromImage(level.image).shape
        step = max(level.mask.GetSpacing())
        front = level.mask.TransformPhysicalPointToIndex([5.0 - 40.0 - 3.0, -8.0, 12.0])
        beyond = level.mask.TransformPhysicalPointToIndex([5.0 - 40.0 - 6.0 - 1.2 * step, -8.0, 12.0])
        assert level.mask[front] == 1
        assert level.mask[beyond] == 0
        boxed = level.boxed()
        assert np.count_nonzero(sitk.GetArrayFromImage(boxed.mask)) == np.count_nonzero(mask)
        assert boxed.mask.GetNumberOfPixels() < level.mask.GetNumberOfPixels()
        centre = [float(value) for value in CENTRE_MM]
        assert boxed.image[boxed.image.TransformPhysicalPointToIndex(centre)] == pytest.approx(
            level.image[level.image.TransformPhysicalPointToIndex(centre)]
        )


@pytest.mark.parametrize("plane", ["axial", "coronal"])
def test_levels_grow_finer_and_thick_slices_stay(plane: str) -> None:
    spacings = [level.image.GetSpacing() for level in build_pyramid(_head((5.0, 1.0, 1.0), plane)).levels]
    assert np.allclose(spacings, [(8.0, 8.0, 10.0), (4.0, 4.0, 5.0), (2.0, 2.0, 5.0)])
    assert build_pyramid(_head((5.0, 1.0, 1.0), plane)).coarsest_mm == pytest.approx(5.0)


def test_shading_is_taken_out_and_texture_is_not() -> None:
    plain, shaded = (build_pyramid(_head(shading=amount)).levels[-1] for amount in (0.0, 0.6))
    inside = np.sum(((_level_points(plain.image) - CENTRE_MM) / (RADII_MM - 8)) ** 2, axis=-1) < 1
    first, second = (sitk.GetArrayFromImage(level.image)[inside] for level in (plain, shaded))
    assert np.corrcoef(first, second)[0, 1] > 0.9
    ratio = (second / np.maximum(first, 1))[first > 50]
    assert np.percentile(ratio, 95) / np.percentile(ratio, 5) < 1.4  # it was 2.5 before


def _level_points(image: sitk.Image) -> NDArray[np.float64]:
    index = np.stack(np.meshgrid(*(np.arange(float(n)) for n in image.GetSize()[::-1]), indexing="ij"), axis=-1)
    linear = np.array(image.GetDirection()).reshape(3, 3) * np.array(image.GetSpacing())
    return np.asarray(index[..., ::-1] @ linear.T + np.array(image.GetOrigin()))


def test_the_neck_does_not_move_the_upper_centre() -> None:
    whole = _head((3.0, 3.0, 3.0))
    tall = Grid(
        shape=(whole.grid.shape[0] + 40, *whole.grid.shape[1:]),
        affine=whole.grid.affine @ np.array([[1, 0, 0, -40], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]),
        frame_of_reference_uid="1.2.3",
    )
    away = points_of(tall) - CENTRE_MM
    neck = (np.hypot(away[..., 0], away[..., 1]) < 30) & (away[..., 2] < 0)
    voxels = np.concatenate([np.ones((40, *whole.grid.shape[1:]), np.float32), whole.voxels])
    long = build_pyramid(ImageVolume(grid=tall, voxels=np.where(neck & (voxels < 50), 90.0, voxels).astype(np.float32)))
    plain = build_pyramid(whole)
    assert plain.centre_mm[2] - long.centre_mm[2] > 10
    assert abs(plain.upper_centre_mm[2] - long.upper_centre_mm[2]) < 7


@pytest.mark.parametrize("broken", [np.nan, np.inf, -np.inf])
def test_voxels_that_are_no_numbers_count_as_air(broken: float) -> None:
    head = _head((4.0, 4.0, 4.0))
    voxels = head.voxels.copy()
    voxels[0, 0, :5] = broken
    mended = build_pyramid(ImageVolume(grid=head.grid, voxels=voxels))
    assert all(np.all(np.isfinite(sitk.GetArrayFromImage(level.image))) for level in mended.levels)
    assert np.allclose(mended.centre_mm, build_pyramid(head).centre_mm, atol=0.2)


def test_negative_brightness_is_lifted() -> None:
    head = _head((4.0, 4.0, 4.0))
    lowered = build_pyramid(ImageVolume(grid=head.grid, voxels=head.voxels - 500))
    assert np.allclose(lowered.tissue_mm, build_pyramid(head).tissue_mm)


@pytest.mark.parametrize(
    ("shape", "value", "sentence"),
    [((3, 40, 40), 50.0, "3 slices is too thin"), ((20, 20, 20), 0.0, "less than 1 ml of tissue")],
)
def test_what_holds_no_head_is_refused(shape: tuple[int, int, int], value: float, sentence: str) -> None:
    grid = Grid(shape=shape, affine=axis_aligned("axial"), frame_of_reference_uid="1.2.3")
    with pytest.raises(RegistrationFailed, match=sentence):
        build_pyramid(ImageVolume(grid=grid, voxels=np.full(shape, value, np.float32)))
