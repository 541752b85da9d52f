"""Mattes mutual information of two volumes at one level of detail, and the descent to the best transform.

The value is computed here, on a fixed set of points, so that hundreds of starts can be compared in a moment. The
descent along its gradient is SimpleITK's.
"""

from threading import Event

import numpy as np
import scipy
import SimpleITK as sitk
from numpy.typing import NDArray

from conversion.registration.pyramid import Level

__all__ = ["Metric", "matrix_of", "rigid_transform"]

VALUE_BINS = 24
DESCENT_BINS = 32
LEAST_POINTS = 100
"""Within both volumes; with fewer points the value is random."""

DESCENT_SEED = 20261121
ITERATIONS = 60
"""Limit; the descent usually ends after 10 to 25 of them, when its step is smallest."""

RELAXATION = 0.6
GRADIENT_TOLERANCE = 1e-8

_GOLDEN = (0.8191725133961645, 0.6710436067037893, 0.5497004779019703)
"""Steps of the evenly spread sequence in three dimensions (Roberts 2018): jitter without a random source."""


class Metric:
    """Mutual information of `moving` and `fixed` at points in the mask of `fixed`; in nats, higher is better."""

    def __init__(self, fixed: Level, moving: Level, points: int) -> None:
        self._fixed, self._moving = fixed.boxed(), moving
        index = np.argwhere(sitk.GetArrayViewFromImage(self._fixed.mask))
        self._share = min(1.0, points / len(index))
        index = index[np.linspace(0, len(index) - 1, min(points, len(index))).astype(int)].astype(np.float64)
        # jitter: points at voxel centres would favour the other volume's centres, where interpolation blurs nothing
        index += np.arange(len(index))[:, None] * np.array(_GOLDEN) % 1.0 - 0.5
        brightness = scipy.ndimage.map_coordinates(_array(self._fixed.image), index.T, order=1, mode="nearest")
        self._rows = VALUE_BINS * _binned(brightness, float(brightness.min()), float(brightness.max()))
        affine = _affine(self._fixed.image)
        self._points = _transformed(affine, np.ascontiguousarray(index.T))
        self._voxels = _array(moving.image)
        self._ends = float(self._voxels.min()), float(self._voxels.max())
        self._last = np.array(self._voxels.shape)[:, None] - 1.0
        self._to_index = np.linalg.inv(_affine(moving.image))

    @property
    def points(self) -> int:
        """Number of points that the metric uses."""
        return len(self._rows)

    def value(self, matrix: NDArray[np.float64], every: int = 1) -> tuple[float, float]:
        """Return the mutual information where both volumes have voxels, and the share of points for which that is so.

        Parameters
        ----------
        matrix
            Shape (4, 4), LPS mm of the fixed volume to LPS mm of the moving volume.
        every
            1 to use every point, n to use every n-th.
        """
        index = _transformed(self._to_index @ matrix, self._points[:, ::every])
        inside = np.all((index >= 0) & (index <= self._last), axis=0)
        share = float(np.mean(inside))
        if np.count_nonzero(inside) < LEAST_POINTS:
            return 0.0, share
        brightness = scipy.ndimage.map_coordinates(self._voxels, index[:, inside], order=1)
        pairs = self._rows[::every][inside] + _binned(brightness, *self._ends)
        joint = np.bincount(pairs, minlength=VALUE_BINS**2).reshape(VALUE_BINS, VALUE_BINS) / len(pairs)
        independent = joint.sum(axis=1, keepdims=True) * joint.sum(axis=0, keepdims=True)
        some = joint > 0
        return float(np.sum(joint[some] * np.log(joint[some] / independent[some]))), share

    def score(self, matrix: NDArray[np.float64], every: int = 1) -> float:
        """Return the mutual information weighted by the share of points, so that a sliver of overlap never wins."""
        value, share = self.value(matrix, every)
        return value * share

    def descend(self, start: sitk.Transform, steps_mm: tuple[float, float], stop: Event) -> sitk.Transform | None:
        """Follow the gradient from a start; None when the volumes do not overlap there.

        Parameters
        ----------
        steps_mm
            First and last length of a step.
        stop
            When set, ends the descent early.
        """
        method = sitk.ImageRegistrationMethod()
        method.SetNumberOfThreads(1)
        method.SetNumberOfWorkUnits(1)  # the gradient of several units is summed in the order in which they finish
        method.SetMetricAsMattesMutualInformation(DESCENT_BINS)
        method.SetMetricFixedMask(self._fixed.mask)
        method.SetInterpolator(sitk.sitkLinear)
        if self._share < 1:
            method.SetMetricSamplingStrategy(method.REGULAR)
            method.SetMetricSamplingPercentage(self._share, DESCENT_SEED)
        method.SetOptimizerAsRegularStepGradientDescent(
            learningRate=steps_mm[0],
            minStep=steps_mm[1],
            numberOfIterations=ITERATIONS,
            relaxationFactor=RELAXATION,
            gradientMagnitudeTolerance=GRADIENT_TOLERANCE,
        )
        method.SetOptimizerScalesFromPhysicalShift()
        found: sitk.Transform = type(start)(start)
        method.SetInitialTransform(found, inPlace=True)
        method.AddCommand(sitk.sitkIterationEvent, lambda: method.StopRegistration() if stop.is_set() else None)
        try:
            method.Execute(self._fixed.image, self._moving.image)
        except RuntimeError:  # hardly any point of one volume lies in the other
            return None
        method.RemoveAllCommands()
        return found


def matrix_of(transform: sitk.Transform) -> NDArray[np.float64]:
    """Return a rigid or affine transform as shape (4, 4), LPS mm to LPS mm."""
    matrix = np.eye(4)
    matrix[:3, 3] = transform.TransformPoint((0.0, 0.0, 0.0))
    for axis in range(3):
        matrix[:3, axis] = transform.TransformPoint(tuple(float(n == axis) for n in range(3)))
    matrix[:3, :3] -= matrix[:3, 3:]
    return matrix


def rigid_transform(matrix: NDArray[np.float64], pivot_mm: NDArray[np.float64]) -> sitk.Euler3DTransform:
    """Return a rigid matrix as rotations about a pivot and a translation."""
    transform = sitk.Euler3DTransform()
    transform.SetCenter([float(value) for value in pivot_mm])
    transform.SetMatrix([float(value) for value in matrix[:3, :3].ravel()], 1e-6)
    translation = matrix[:3, :3] @ pivot_mm + matrix[:3, 3] - pivot_mm
    transform.SetTranslation([float(value) for value in translation])
    return transform


def _transformed(affine: NDArray[np.float64], points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return points, shape (3, n), transformed; not by BLAS, whose last bits may depend on its threads."""
    return np.asarray(np.einsum("ij,jn->in", affine[:3, :3], points) + affine[:3, 3:])


def _array(image: sitk.Image) -> NDArray[np.float32]:
    return np.asarray(sitk.GetArrayFromImage(image), np.float32)


def _binned(brightness: NDArray[np.float32], low: float, high: float) -> NDArray[np.int64]:
    scaled = (brightness - low) * (VALUE_BINS / max(high - low, 1e-9))
    return np.asarray(np.clip(scaled, 0, VALUE_BINS - 1), np.int64)


def _affine(image: sitk.Image) -> NDArray[np.float64]:
    """Return shape (4, 4): index (slice, row, column) to LPS mm."""
    affine = np.eye(4)
    affine[:3, :3] = (np.array(image.GetDirection()).reshape(3, 3) * np.array(image.GetSpacing()))[:, ::-1]
    affine[:3, 3] = image.GetOrigin()
    return affine
