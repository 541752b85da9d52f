"""The axes of the MNI152 atlas in a head, for models that need them, from a rigid registration of its brain.

The registration serves the axes only. An atlas under a rigid transform and a single scale does not fit an individual
well enough to find the brain itself; `inference.brain_region` does that.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from conversion.simpleitk_bridge import to_simpleitk
from conversion.volume import Grid, ImageVolume, LabelVolume

__all__ = ["BrainAtlas", "atlas_axes", "load_atlas"]

WORKING_MM = 4.0
"""Voxel size of the registration: the shape of the head matters, its detail does not."""

SCALP_MM = (8.0, 15.0)
"""Start and end of the synthetic scalp, in mm from the brain's surface."""

SCALP_BRIGHTNESS = 1.3
ROOM_VOXELS = 12
"""Padding of the atlas for skull and scalp, in its voxels of 2 mm."""

START_OFFSETS_MM = (-20.0, 0.0, 20.0)
SCALES = (0.8, 1.25)
"""Smallest and largest plausible size of an adult's brain relative to the atlas."""


@dataclass(frozen=True, kw_only=True)
class BrainAtlas:
    """A T1-weighted brain without skull, and its mask, on one grid."""

    image: ImageVolume
    mask: LabelVolume


@cache
def load_atlas() -> BrainAtlas:
    """Return the MNI152 T1 template and brain mask of nilearn, at 2 mm."""
    # Few models need it, and nilearn imports scikit-learn and pandas, which take as long to load as torch.
    from nilearn.datasets import load_mni152_brain_mask, load_mni152_template  # noqa: PLC0415

    image, mask = load_mni152_template(resolution=2), load_mni152_brain_mask(resolution=2)
    voxels: NDArray[np.float32] = np.asarray(image.get_fdata(), np.float32).transpose(2, 1, 0)
    affine = image.affine[:, [2, 1, 0, 3]].copy()  # (column, row, slice) to (slice, row, column)
    affine[:2] *= -1  # NIfTI's RAS to LPS
    grid = Grid(shape=voxels.shape, affine=affine, frame_of_reference_uid="MNI152")
    labels = np.asarray(mask.get_fdata() > 0, np.uint8).transpose(2, 1, 0)
    return BrainAtlas(image=ImageVolume(grid=grid, voxels=voxels), mask=LabelVolume(grid=grid, labels=labels))


def atlas_axes(atlas: BrainAtlas, head: ImageVolume) -> NDArray[np.float64] | None:
    """Return the axes of the atlas in a head, or None where the registration fails.

    Parameters
    ----------
    head
        Any structural sequence of the patient, with skull and scalp.

    Returns
    -------
    numpy.ndarray
        Shape (3, 3): the columns are the LPS directions of the atlas' left, back and top in this head.
    """
    distance = _distance(atlas)
    fixed, moving = _shrunk(_with_head(atlas, distance)), _shrunk(to_simpleitk(head))
    scale = _width(moving) / _width(fixed)
    if not SCALES[0] <= scale <= SCALES[1]:
        return None
    for image in (distance, fixed):
        image.SetSpacing([scale * value for value in image.GetSpacing()])
        image.SetOrigin([scale * value for value in image.GetOrigin()])
    fixed_mask = sitk.Cast(_shrunk(distance) < SCALP_MM[1] + WORKING_MM, sitk.sitkUInt8)
    method = _method(fixed_mask)
    start = min(_starts(fixed, moving), key=lambda transform: _metric(method, transform, fixed, moving))
    method.SetInitialTransform(start, inPlace=True)
    try:
        method.Execute(fixed, moving)
    except RuntimeError:
        return None
    return np.array(start.GetMatrix()).reshape(3, 3)


def _distance(atlas: BrainAtlas) -> sitk.Image:
    """Return the distance to the brain's surface in mm, negative inside, on a grid with room for a head."""
    mask = sitk.ConstantPad(to_simpleitk(atlas.mask), [ROOM_VOXELS] * 3, [ROOM_VOXELS] * 3, 0)
    distance: sitk.Image = sitk.SignedMaurerDistanceMap(
        mask > 0, insideIsPositive=False, squaredDistance=False, useImageSpacing=True
    )
    return distance


def _with_head(atlas: BrainAtlas, distance: sitk.Image) -> sitk.Image:
    """Add a dark skull and a bright scalp to the atlas' brain, so that it is not fitted to the patient's scalp."""
    brain = sitk.ConstantPad(to_simpleitk(atlas.image), [ROOM_VOXELS] * 3, [ROOM_VOXELS] * 3, 0.0)
    values = sitk.GetArrayFromImage(brain)
    away = sitk.GetArrayViewFromImage(distance)
    bright = float(np.percentile(values[away < 0], 95))
    values[away > 0] = np.where((away > SCALP_MM[0]) & (away < SCALP_MM[1]), SCALP_BRIGHTNESS * bright, 0.0)[away > 0]
    head = sitk.GetImageFromArray(values)
    head.CopyInformation(brain)
    return head


def _method(fixed_mask: sitk.Image) -> sitk.ImageRegistrationMethod:
    method = sitk.ImageRegistrationMethod()
    method.SetNumberOfThreads(1)
    method.SetNumberOfWorkUnits(1)  # same order of summation in every run
    method.SetMetricAsMattesMutualInformation(32)
    method.SetMetricFixedMask(fixed_mask)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetOptimizerAsRegularStepGradientDescent(
        learningRate=2.0, minStep=1e-2, numberOfIterations=80, relaxationFactor=0.7, gradientMagnitudeTolerance=1e-6
    )
    method.SetOptimizerScalesFromPhysicalShift()
    return method


def _metric(
    method: sitk.ImageRegistrationMethod, transform: sitk.Euler3DTransform, fixed: sitk.Image, moving: sitk.Image
) -> float:
    method.SetInitialTransform(sitk.Euler3DTransform(transform))
    try:
        return float(method.MetricEvaluate(fixed, moving))
    except RuntimeError:  # no overlap from there
        return float("inf")


def _starts(fixed: sitk.Image, moving: sitk.Image) -> list[sitk.Euler3DTransform]:
    """Return starting shifts: the atlas below the top of the head, each higher, lower, further forward and back."""
    atlas_top, atlas_middle = _top_and_middle(fixed)
    head_top, head_middle = _top_and_middle(moving)
    down = head_top - atlas_top
    starts = []
    for forward in START_OFFSETS_MM:
        for up in START_OFFSETS_MM:
            transform = sitk.Euler3DTransform()
            transform.SetCenter([float(atlas_middle[0]), float(atlas_middle[1]), float(atlas_top - 80)])
            shift = [head_middle[0] - atlas_middle[0], head_middle[1] - atlas_middle[1] + forward, down + up]
            transform.SetTranslation([float(value) for value in shift])
            starts.append(transform)
    return starts


def _width(image: sitk.Image) -> float:
    """Return the width of the head from side to side in mm, between the 2nd and 98th percentile of its tissue."""
    points = _tissue(image)
    upper = points[points[:, 2] > np.percentile(points[:, 2], 99.5) - 100]
    low, high = np.percentile(upper[:, 0], (2, 98))
    return float(high - low)


def _tissue(image: sitk.Image) -> NDArray[np.float64]:
    array = sitk.GetArrayViewFromImage(image)
    indices = np.argwhere(array > 0.15 * np.percentile(array, 99))[:, ::-1]
    direction = np.array(image.GetDirection()).reshape(3, 3) * np.array(image.GetSpacing())
    return np.asarray(indices @ direction.T + np.array(image.GetOrigin()))


def _top_and_middle(image: sitk.Image) -> tuple[float, NDArray[np.float64]]:
    """Return the highest tissue (LPS z) and the middle (x, y) of the tissue within 120 mm below it."""
    points = _tissue(image)
    top = float(np.percentile(points[:, 2], 99.5))
    upper = points[points[:, 2] > top - 120]
    return top, np.asarray((np.percentile(upper, 2, axis=0) + np.percentile(upper, 98, axis=0)) / 2)


def _shrunk(image: sitk.Image) -> sitk.Image:
    factors = [max(1, round(WORKING_MM / spacing)) for spacing in image.GetSpacing()]
    shrunk: sitk.Image = sitk.BinShrink(sitk.Cast(image, sitk.sitkFloat32), factors)
    return shrunk
