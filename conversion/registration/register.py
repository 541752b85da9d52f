"""Rigid registration of one volume to another, verified or refused."""

from threading import Event, Timer

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from conversion.errors import ConversionReason, RegistrationFailed
from conversion.registration.mutual_information import matrix_of, rigid_transform
from conversion.registration.pyramid import Pyramid, build_pyramid
from conversion.registration.quality import Registration, blurred, faults, misfits, sharpness
from conversion.registration.search import FIRST_PLAN, SECOND_PLAN, Pair, SearchPlan, distances_mm, polished, search
from conversion.volume import ImageVolume

__all__ = ["TIME_LIMIT_S", "Registration", "confirm", "register"]

TIME_LIMIT_S = 120.0
"""Two attempts take 5 s on one core of 2024; a host that needs more than this has a problem."""

COARSER = 1.2
"""Ratio of slice distances from which the metric's points are placed in the volume with thicker slices.

Its voxels are then compared where they were measured. Median error, 5 mm against 1 mm slices: 0.3 instead of 0.6 mm.
"""

SMALLER = 0.8
"""For similar slices: ratio of tissue below which the points are placed in the volume with less tissue. The other
volume then contains all of them."""

MINIMUM_GAIN = 1e-3
"""If the mutual information gains less than this, the scanner's geometry is kept unchanged; correcting 0.1 mm gains
more."""

WORTH_POLISHING = 0.2
"""Below this sharpness, a result is far too poor for polishing, which changes tenths of a millimetre."""

ELSEWHERE_DEG = (5.0, -5.0, 5.0)
ELSEWHERE_MM = (5.0, 5.0, -5.0)
"""Start of the reverse registration, relative to where it should end."""


def register(
    fixed: ImageVolume, moving: ImageVolume, *, affine: bool = False, time_limit_s: float = TIME_LIMIT_S
) -> Registration:
    """Find the transform that aligns `moving` with `fixed`, and verify it.

    If both volumes share a frame of reference, the scanner's coordinates are one of many starts that are compared, so
    they are used only where the anatomy confirms them. A result with doubts is tried again with other settings. Every
    sum is computed on one thread and every point is chosen by a fixed rule, so the same volumes give the same bits.

    Parameters
    ----------
    affine
        Whether the transform may also scale and shear.
    time_limit_s
        Time after which the registration is refused; it never changes a result.

    Raises
    ------
    RegistrationFailed
        When a volume contains no head, the volumes overlap from no start, the result fails the gate, or the time is up.
    """
    stop = Event()
    timer = Timer(time_limit_s, stop.set)
    timer.daemon = True
    timer.start()
    try:
        task = _Task(fixed, moving, affine=affine, stop=stop)
        return _best(task, time_limit_s)
    finally:
        timer.cancel()


def confirm(fixed: ImageVolume, moving: ImageVolume) -> str:
    """Return why two volumes seem not to be aligned as they are; empty when their anatomy agrees."""
    try:
        metric = Pair(build_pyramid(fixed), build_pyramid(moving)).finest
    except RegistrationFailed as failure:
        return f"this could not be checked ({failure})"
    return blurred(sharpness(metric, np.eye(4)))


def _best(task: "_Task", time_limit_s: float) -> Registration:
    """Return the first attempt without doubts about its fit, otherwise the sharper one if it passes the gate."""
    attempts: list[Registration] = []
    for number, plan in enumerate((FIRST_PLAN, SECOND_PLAN), start=1):
        found = task.attempt(plan, number)
        if task.stop.is_set():
            sentence = f"registering two series took longer than {time_limit_s:g} s"
            raise RegistrationFailed(ConversionReason.REGISTRATION_FAILED, sentence)
        attempts += [found] if found else []
        if found and not misfits(found):
            break
    if not attempts:
        sentence = "two series could not be registered: their volumes hardly overlap"
        raise RegistrationFailed(ConversionReason.REGISTRATION_FAILED, sentence)
    best = max(attempts, key=lambda found: found.sharpness)
    if reasons := faults(best):
        sentence = f"two series could not be registered: {'; '.join(reasons)}"
        raise RegistrationFailed(ConversionReason.REGISTRATION_FAILED, sentence)
    return best


class _Task:
    """Two volumes to register, in the order in which the metric uses them."""

    def __init__(self, fixed: ImageVolume, moving: ImageVolume, *, affine: bool, stop: Event) -> None:
        self.affine, self.stop = affine, stop
        self._fixed, self._moving = build_pyramid(fixed), build_pyramid(moving)
        self._moving_grid = moving.grid
        self._swapped = _carries_points(self._moving, self._fixed)
        ends = (self._moving, self._fixed) if self._swapped else (self._fixed, self._moving)
        self._pair, self._reverse = Pair(*ends), Pair(*reversed(ends))
        self._centre_mm = fixed.grid.position_mm((np.array(fixed.grid.shape) - 1) / 2)
        self._shared_frame = fixed.grid.frame_of_reference_uid == moving.grid.frame_of_reference_uid

    def attempt(self, plan: SearchPlan, number: int) -> Registration | None:
        """Search by a plan; None when the volumes overlap from no start."""
        found = search(self._pair, plan, np.eye(4) if self._shared_frame else None, self.stop)
        if found is not None and self.affine:
            start = _as_affine(matrix_of(found), self._pair.fixed.centre_mm)
            found = next(iter(self._pair.followed([start], 2, self.stop)), None)
        if found is None or self.stop.is_set():
            return None
        before = self._before()
        matrix = self._polished(self._pair, matrix_of(found), affine=self.affine)
        if self._shared_frame and self._pair.finest.value(matrix)[0] < before + MINIMUM_GAIN:
            matrix = np.eye(4)
        return self._measured(matrix, before, number)

    def _polished(self, pair: Pair, matrix: NDArray[np.float64], *, affine: bool) -> NDArray[np.float64]:
        if sharpness(pair.finest, matrix) < WORTH_POLISHING:
            return matrix
        return polished(pair.finest, matrix, pair.fixed.centre_mm, affine=affine)

    def _before(self) -> float:
        start = np.eye(4)
        if not self._shared_frame:
            start[:3, 3] = self._pair.moving.centre_mm - self._pair.fixed.centre_mm
        return self._pair.finest.value(start)[0]

    def _measured(self, matrix: NDArray[np.float64], before: float, number: int) -> Registration:
        """Return a transform between the metric's volumes as one between the caller's, with its quality."""
        result = np.asarray(np.linalg.inv(matrix)) if self._swapped else matrix
        result.setflags(write=False)
        translation_mm = result[:3, :3] @ self._centre_mm + result[:3, 3] - self._centre_mm
        return Registration(
            matrix=result,
            metric_before=-before,
            metric_after=-self._pair.finest.value(matrix)[0],
            move_mm=float(np.linalg.norm(translation_mm)),
            rotation_deg=_angle_deg(result[:3, :3]),
            overlap=self._overlap(result),
            sharpness=sharpness(self._pair.finest, matrix),
            inverse_consistency_mm=self._inconsistency_mm(matrix),
            shared_frame=self._shared_frame,
            attempts=number,
        )

    def _overlap(self, matrix: NDArray[np.float64]) -> float:
        to_index = np.linalg.inv(self._moving_grid.affine) @ matrix
        index = self._fixed.tissue_mm @ to_index[:3, :3].T + to_index[:3, 3]
        return float(np.mean(np.all((index > -0.5) & (index < np.array(self._moving_grid.shape) - 0.5), axis=1)))

    def _inconsistency_mm(self, matrix: NDArray[np.float64]) -> float:
        """Return how far the reverse registration, from another start, is off at most; huge when it finds nothing."""
        pivot = self._pair.fixed.centre_mm
        aside = sitk.Euler3DTransform()
        aside.SetCenter([float(value) for value in pivot])
        aside.SetRotation(*[float(value) for value in np.radians(ELSEWHERE_DEG)])
        aside.SetTranslation(list(ELSEWHERE_MM))
        rigid = matrix.copy()
        rigid[:3, :3] = _nearest_rotation(matrix[:3, :3])
        rigid[:3, 3] = matrix[:3, :3] @ pivot + matrix[:3, 3] - rigid[:3, :3] @ pivot
        back: list[sitk.Transform] = [
            rigid_transform(matrix_of(aside) @ np.linalg.inv(rigid), self._pair.moving.centre_mm)
        ]
        for level in (1, 2):
            back = self._reverse.followed(back, level, self.stop)
        if not back:
            return float(np.finfo(np.float32).max)
        reverse = self._polished(self._reverse, matrix_of(back[0]), affine=False)
        return float(distances_mm(reverse @ rigid, np.eye(4), self._pair.fixed.tissue_mm).max())


def _carries_points(one: Pyramid, other: Pyramid) -> bool:
    """Return whether the metric's points are placed in the first of two volumes rather than in the second."""
    if max(one.coarsest_mm, other.coarsest_mm) > COARSER * min(one.coarsest_mm, other.coarsest_mm):
        return one.coarsest_mm > other.coarsest_mm
    return one.tissue_ml < SMALLER * other.tissue_ml


def _as_affine(matrix: NDArray[np.float64], pivot_mm: NDArray[np.float64]) -> sitk.AffineTransform:
    affine = sitk.AffineTransform(3)
    affine.SetCenter([float(value) for value in pivot_mm])
    affine.SetMatrix([float(value) for value in matrix[:3, :3].ravel()])
    affine.SetTranslation([float(value) for value in matrix[:3, :3] @ pivot_mm + matrix[:3, 3] - pivot_mm])
    return affine


def _nearest_rotation(linear: NDArray[np.float64]) -> NDArray[np.float64]:
    left, _, right = np.linalg.svd(linear)
    return np.asarray(left @ right)


def _angle_deg(linear: NDArray[np.float64]) -> float:
    cosine = (np.trace(_nearest_rotation(linear)) - 1) / 2
    return float(np.degrees(np.arccos(np.clip(cosine, -1, 1))))
