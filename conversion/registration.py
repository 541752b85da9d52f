"""Rigid registration of one volume to another by mutual information (SimpleITK)."""

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from conversion.errors import ConversionReason, RegistrationFailed
from conversion.simpleitk_bridge import to_simpleitk
from conversion.volume import ImageVolume

__all__ = ["Registration", "register"]

WORKING_SPACING_MM = 2.0
"""In-plane spacing at which the metric is evaluated; finer costs time and gains little for a rigid move."""

SHRINK_LEVELS = (2, 1)
SMOOTHING_MM = (2.0, 0.0)
HISTOGRAM_BINS = 48
SAMPLING_SHARE = 0.3
SAMPLING_SEED = 20261121
ITERATIONS = 120
MAXIMUM_MOVE_MM = 60.0
"""A head coil leaves no room for a larger move of the brain's centre; more is a failed registration."""

MINIMUM_GAIN = 1e-4
"""Improvement of the metric under which the scanner's own geometry is kept."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Registration:
    """A rigid move and how well it fits.

    Attributes
    ----------
    matrix
        Shape (4, 4): LPS mm of the fixed volume to LPS mm of the moving volume.
    metric_before, metric_after
        Negative Mattes mutual information; lower is better.
    move_mm
        How far the move carries the centre of the fixed volume.
    rotation_deg
        Angle of its rotation.
    """

    matrix: NDArray[np.float64]
    metric_before: float
    metric_after: float
    move_mm: float
    rotation_deg: float


def register(fixed: ImageVolume, moving: ImageVolume) -> Registration:
    """Find the rigid move that brings `moving` onto `fixed`; seeded and on one thread, so the same every time.

    Starts from the scanner's coordinates when both share a frame of reference, else from the centres of the grids.

    Raises
    ------
    RegistrationFailed
        When the volumes do not overlap or the move is larger than a head can make.
    """
    fixed_image, moving_image = _working_image(fixed), _working_image(moving)
    start = _start(fixed, moving, fixed_image, moving_image)
    method = _method()
    method.SetInitialTransform(sitk.Euler3DTransform(start), inPlace=False)
    try:
        before = float(method.MetricEvaluate(fixed_image, moving_image))
        found = sitk.Euler3DTransform(
            sitk.CompositeTransform(method.Execute(fixed_image, moving_image)).GetBackTransform()
        )
        after = _metric_at(found, fixed_image, moving_image)
    except RuntimeError as error:
        sentence = "two series could not be registered: their volumes hardly overlap"
        raise RegistrationFailed(ConversionReason.REGISTRATION_FAILED, sentence) from error
    kept = found if after < before - MINIMUM_GAIN else start
    registration = _result(kept, fixed, before, min(after, before))
    if (
        registration.move_mm > MAXIMUM_MOVE_MM
        and fixed.grid.frame_of_reference_uid == moving.grid.frame_of_reference_uid
    ):
        sentence = f"registration moved a series by {registration.move_mm:.0f} mm, more than a head can move in a coil"
        raise RegistrationFailed(ConversionReason.REGISTRATION_FAILED, sentence)
    return registration


def _working_image(volume: ImageVolume) -> sitk.Image:
    """Shrink to about 2 mm along every finer axis."""
    image = to_simpleitk(volume)
    factors = [max(1, round(WORKING_SPACING_MM / spacing)) for spacing in image.GetSpacing()]
    shrunk: sitk.Image = sitk.BinShrink(image, factors)
    return shrunk


def _start(
    fixed: ImageVolume, moving: ImageVolume, fixed_image: sitk.Image, moving_image: sitk.Image
) -> sitk.Euler3DTransform:
    centre = fixed.grid.position_mm((np.array(fixed.grid.shape) - 1) / 2)
    if fixed.grid.frame_of_reference_uid == moving.grid.frame_of_reference_uid:
        transform = sitk.Euler3DTransform()
        transform.SetCenter([float(value) for value in centre])
        return transform
    return sitk.Euler3DTransform(
        sitk.CenteredTransformInitializer(
            fixed_image, moving_image, sitk.Euler3DTransform(), sitk.CenteredTransformInitializerFilter.MOMENTS
        )
    )


def _method() -> sitk.ImageRegistrationMethod:
    method = sitk.ImageRegistrationMethod()
    method.SetNumberOfThreads(1)
    method.SetNumberOfWorkUnits(1)  # sums over several threads differ in their last bits from run to run
    method.SetMetricAsMattesMutualInformation(HISTOGRAM_BINS)
    method.SetMetricSamplingStrategy(method.REGULAR)
    method.SetMetricSamplingPercentage(SAMPLING_SHARE, SAMPLING_SEED)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetOptimizerAsRegularStepGradientDescent(
        learningRate=2.0,
        minStep=1e-3,
        numberOfIterations=ITERATIONS,
        relaxationFactor=0.6,
        gradientMagnitudeTolerance=1e-6,
    )
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetShrinkFactorsPerLevel(SHRINK_LEVELS)
    method.SetSmoothingSigmasPerLevel(SMOOTHING_MM)
    method.SmoothingSigmasAreSpecifiedInPhysicalUnitsOn()
    return method


def _metric_at(transform: sitk.Transform, fixed: sitk.Image, moving: sitk.Image) -> float:
    method = _method()
    method.SetInitialTransform(transform)
    return float(method.MetricEvaluate(fixed, moving))


def _result(transform: sitk.Euler3DTransform, fixed: ImageVolume, before: float, after: float) -> Registration:
    rotation = np.array(transform.GetMatrix()).reshape(3, 3)
    pivot = np.array(transform.GetCenter())
    matrix = np.eye(4)
    matrix[:3, :3] = rotation
    matrix[:3, 3] = pivot + np.array(transform.GetTranslation()) - rotation @ pivot
    centre = fixed.grid.position_mm((np.array(fixed.grid.shape) - 1) / 2)
    moved = rotation @ centre + matrix[:3, 3]
    angle = float(np.degrees(np.arccos(np.clip((np.trace(rotation) - 1) / 2, -1, 1))))
    matrix.setflags(write=False)
    return Registration(
        matrix=matrix,
        metric_before=before,
        metric_after=after,
        move_mm=float(np.linalg.norm(moved - centre)),
        rotation_deg=angle,
    )
