"""Search for a rigid transform: many starts are compared coarsely, the best of them followed to the finest level."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from threading import Event

import numpy as np
import scipy
import SimpleITK as sitk
from numpy.typing import NDArray

from conversion.registration.mutual_information import Metric, matrix_of, rigid_transform
from conversion.registration.pyramid import Pyramid

__all__ = ["FIRST_PLAN", "SECOND_PLAN", "Pair", "SearchPlan", "distances_mm", "polished", "search"]

POINTS = (4_000, 16_000, 50_000)
"""Number of points of the metric, by level; benchmarks/registration.md has the error with fewer and with more."""

STEPS_MM = ((2.0, 0.2), (1.0, 0.05), (0.5, 0.02))
"""First and last step of the descent, by level."""

SAME_PLACE_MM = 3.0
"""Two transforms that differ by no more than this at any tissue are followed as one."""

GEOMETRY_SHARE = 0.97
"""Share of the best score that the scanner's geometry must reach to be followed instead of the best."""

COMPARED_POINTS = 500

POLISH_REACH_MM = 3.0
POLISH_STEP_MM = 0.1
POLISH_GAIN = 1e-3
POLISH_EVALUATIONS = {6: 250, 12: 1500}
"""Largest number of evaluations of the metric, by number of parameters."""

POLISH_POINTS = 12_500
"""Least number of points for polishing, if there are as many: four times as many gain nothing."""

LEVER_MM = 60.0
"""From the middle of a head to its rim: converts a change of rotation into a distance."""


@dataclass(frozen=True, kw_only=True)
class SearchPlan:
    """Where a search starts, and how much of it is followed.

    Attributes
    ----------
    rotations_deg
        Angles about x, y and z, in every combination.
    heights_mm
        Translations along z from aligned centres: one field of view may contain the neck, the other not.
    coarse, middle
        Number of starts that are followed at the coarse level, and number of these at the middle level.
    """

    rotations_deg: tuple[float, ...]
    heights_mm: tuple[float, ...]
    coarse: int
    middle: int


FIRST_PLAN = SearchPlan(rotations_deg=(-16.0, 0.0, 16.0), heights_mm=(-25.0, 0.0, 25.0), coarse=6, middle=2)
"""Of transforms up to 20° about each axis and 25 mm along each, none was missed (benchmarks/registration.md)."""

SECOND_PLAN = SearchPlan(
    rotations_deg=(-40.0, -20.0, 0.0, 20.0, 40.0), heights_mm=(-60.0, -30.0, 0.0, 30.0, 60.0), coarse=10, middle=4
)
"""For pairs that the first plan did not resolve: half a field of view, a head far to one side."""


class Pair:
    """The metric of two volumes at each level.

    Parameters
    ----------
    fixed, moving
        The metric's points are placed in the mask of the fixed volume.
    """

    def __init__(self, fixed: Pyramid, moving: Pyramid) -> None:
        self.fixed, self.moving = fixed, moving
        levels = zip(fixed.levels, moving.levels, POINTS, strict=True)
        self._metrics = tuple(Metric(*level) for level in levels)

    @property
    def finest(self) -> Metric:
        """The metric at the finest level, which decides."""
        return self._metrics[-1]

    def followed(self, starts: Sequence[sitk.Transform], level: int, stop: Event) -> list[sitk.Transform]:
        """Return where descents from the given starts end at one level, best first."""
        metric = self._metrics[level]
        found = [metric.descend(start, STEPS_MM[level], stop) for start in starts if not stop.is_set()]
        return sorted((each for each in found if each is not None), key=lambda each: -metric.score(matrix_of(each)))

    def best_starts(self, plan: SearchPlan) -> list[sitk.Transform]:
        """Return the plan's starts with the best scores at the coarse level, best first."""
        centres = self.moving.centre_mm - self.fixed.centre_mm
        shifts = [self.moving.upper_centre_mm - self.fixed.upper_centre_mm]
        shifts += [centres + np.array([0.0, 0.0, height]) for height in plan.heights_mm]
        rotations = product(plan.rotations_deg, repeat=3)
        starts: list[sitk.Transform] = [
            _start(self.fixed.centre_mm, rotation, shift) for rotation, shift in product(rotations, shifts)
        ]
        return sorted(starts, key=lambda start: -self._metrics[0].score(matrix_of(start)))[: plan.coarse]

    def score(self, transform: sitk.Transform, level: int) -> float:
        """Return the mutual information weighted by overlap at one level."""
        return self._metrics[level].score(matrix_of(transform))


def search(pair: Pair, plan: SearchPlan, geometry: NDArray[np.float64] | None, stop: Event) -> sitk.Transform | None:
    """Find the rigid transform from the fixed to the moving volume; None when they overlap from no start.

    Parameters
    ----------
    geometry
        Shape (4, 4): the transform by the scanner's coordinates, when both share a frame of reference. It is one more
        start with a slight advantage: it is given up only for a clearly better transform.
    stop
        When set, ends the search early; the result is then meaningless.
    """
    found = pair.followed(pair.best_starts(plan), 0, stop)
    by_scanner = [] if geometry is None else pair.followed([rigid_transform(geometry, pair.fixed.centre_mm)], 0, stop)
    different = _distinct([*by_scanner, *found], pair.fixed.tissue_mm)[: plan.middle + len(by_scanner)]
    first = pair.followed(different[:1], 1, stop)
    found = [*first, *pair.followed(different[1:], 1, stop)]
    if not found:
        return None
    best = max(found, key=lambda each: pair.score(each, 1))
    if by_scanner and first and pair.score(first[0], 1) >= GEOMETRY_SHARE * pair.score(best, 1):
        best = first[0]
    return next(iter(pair.followed([best], 2, stop)), None)


def polished(
    metric: Metric, matrix: NDArray[np.float64], pivot_mm: NDArray[np.float64], *, affine: bool
) -> NDArray[np.float64]:
    """Return the best transform, shape (4, 4), within 3 mm of one, by the metric's value and without its gradient.

    The gradient is that of a smoothed histogram, and its descent stops some tenths of a millimetre short of the best.
    Powell's search (Powell 1964) halves the error on volumes of one sequence.
    """
    middle = np.eye(4)
    middle[:3, 3] = pivot_mm
    to_middle = np.linalg.inv(middle)

    def stepped(steps_mm: NDArray[np.float64]) -> NDArray[np.float64]:
        step = _affine_step(steps_mm) if affine else _rigid_step(steps_mm)
        return np.asarray(matrix @ middle @ step @ to_middle)

    count, every = 12 if affine else 6, max(1, metric.points // POLISH_POINTS)
    best = scipy.optimize.minimize(
        lambda steps_mm: -metric.score(stepped(steps_mm), every),
        np.zeros(count),
        method="Powell",
        bounds=[(-POLISH_REACH_MM, POLISH_REACH_MM)] * count,
        options={"xtol": POLISH_STEP_MM, "ftol": POLISH_GAIN, "maxfev": POLISH_EVALUATIONS[count]},
    )
    found = stepped(np.asarray(best.x))
    return found if metric.score(found) > metric.score(matrix) else matrix


def _rigid_step(steps_mm: NDArray[np.float64]) -> NDArray[np.float64]:
    step = sitk.Euler3DTransform()
    step.SetRotation(*[float(value) / LEVER_MM for value in steps_mm[:3]])
    step.SetTranslation([float(value) for value in steps_mm[3:]])
    return matrix_of(step)


def _affine_step(steps_mm: NDArray[np.float64]) -> NDArray[np.float64]:
    step = np.eye(4)
    step[:3, 3] = steps_mm[:3]
    step[:3, :3] += steps_mm[3:].reshape(3, 3) / LEVER_MM
    return step


def _start(
    pivot_mm: NDArray[np.float64], rotation_deg: Sequence[float], shift_mm: NDArray[np.float64]
) -> sitk.Euler3DTransform:
    start = sitk.Euler3DTransform()
    start.SetCenter([float(value) for value in pivot_mm])
    start.SetRotation(*[float(value) for value in np.radians(rotation_deg)])
    start.SetTranslation([float(value) for value in shift_mm])
    return start


def _distinct(transforms: Sequence[sitk.Transform], points_mm: NDArray[np.float64]) -> list[sitk.Transform]:
    """Return the transforms without those that are practically the same as an earlier one."""
    kept: list[sitk.Transform] = []
    for transform in transforms:
        matrix = matrix_of(transform)
        if all(distances_mm(matrix, matrix_of(other), points_mm).max() > SAME_PLACE_MM for other in kept):
            kept.append(transform)
    return kept


def distances_mm(
    first: NDArray[np.float64], second: NDArray[np.float64], points_mm: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return how far apart two transforms, shape (4, 4), put the same points, shape (n, 3); uses about 500 of them."""
    difference = first - second
    some = points_mm[:: max(1, len(points_mm) // COMPARED_POINTS)]
    return np.asarray(np.linalg.norm(some @ difference[:3, :3].T + difference[:3, 3], axis=1))
