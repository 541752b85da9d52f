"""The search for a rigid move: many starts are seen coarsely, the best of them followed to the finest level."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from threading import Event

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy import optimize

from conversion.registration.mutual_information import Metric, matrix_of, rigid_transform
from conversion.registration.pyramid import Pyramid

__all__ = ["FIRST_PLAN", "SECOND_PLAN", "Pair", "SearchPlan", "distances_mm", "polished", "search"]

POINTS = (4_000, 16_000, 50_000)
"""At which the metric looks, by level; benchmarks/registration.md has the error with fewer and with more."""

STEPS_MM = ((2.0, 0.2), (1.0, 0.05), (0.5, 0.02))
"""First and last step of the descent, by level."""

SAME_PLACE_MM = 3.0
"""Two moves that carry no tissue further apart are followed as one."""

GEOMETRY_SHARE = 0.97
"""Of the best score: what the scanner's own geometry must reach to be followed instead of the best."""

COMPARED_POINTS = 500

POLISH_REACH_MM = 3.0
POLISH_STEP_MM = 0.1
POLISH_GAIN = 1e-3
POLISH_LOOKS = {6: 250, 12: 1500}
"""Most looks at the metric, by number of parameters."""

POLISH_POINTS = 12_500
"""At which the polish looks at least, when there are as many: four times as many gain nothing."""

LEVER_MM = 60.0
"""From the middle of a head to its rim: what turns a change of the rotation into one of place."""


@dataclass(frozen=True, kw_only=True)
class SearchPlan:
    """Where a search starts, and how much of it is followed.

    Attributes
    ----------
    turns_deg
        Angles about x, y and z, in every combination.
    heights_mm
        Shifts along z from centre on centre: one field of view may hold the neck, the other not.
    coarse, middle
        How many starts are followed at the coarse, and how many of these at the middle level.
    """

    turns_deg: tuple[float, ...]
    heights_mm: tuple[float, ...]
    coarse: int
    middle: int


FIRST_PLAN = SearchPlan(turns_deg=(-16.0, 0.0, 16.0), heights_mm=(-25.0, 0.0, 25.0), coarse=6, middle=2)
"""Of moves up to 20° about each axis and 25 mm along each, none was missed (benchmarks/registration.md)."""

SECOND_PLAN = SearchPlan(
    turns_deg=(-40.0, -20.0, 0.0, 20.0, 40.0), heights_mm=(-60.0, -30.0, 0.0, 30.0, 60.0), coarse=10, middle=4
)
"""For what the first did not settle: half a field of view, a head far on one side."""


class Pair:
    """The metric of two volumes at each level.

    Parameters
    ----------
    fixed, moving
        The points of the metric lie in the fixed volume's mask.
    """

    def __init__(self, fixed: Pyramid, moving: Pyramid) -> None:
        self.fixed, self.moving = fixed, moving
        levels = zip(fixed.levels, moving.levels, POINTS, strict=True)
        self._metrics = tuple(Metric(*level) for level in levels)

    @property
    def finest(self) -> Metric:
        """The metric that decides."""
        return self._metrics[-1]

    def followed(self, starts: Sequence[sitk.Transform], level: int, stop: Event) -> list[sitk.Transform]:
        """Return where descents from some starts end at one level, best first."""
        metric = self._metrics[level]
        found = [metric.descend(start, STEPS_MM[level], stop) for start in starts if not stop.is_set()]
        return sorted((move for move in found if move is not None), key=lambda move: -metric.score(matrix_of(move)))

    def best_starts(self, plan: SearchPlan) -> list[sitk.Transform]:
        """Return the plan's most promising starts as the coarse level sees them, best first."""
        centres = self.moving.centre_mm - self.fixed.centre_mm
        shifts = [self.moving.upper_centre_mm - self.fixed.upper_centre_mm]
        shifts += [centres + np.array([0.0, 0.0, height]) for height in plan.heights_mm]
        turns = product(plan.turns_deg, repeat=3)
        starts: list[sitk.Transform] = [
            _start(self.fixed.centre_mm, turn, shift) for turn, shift in product(turns, shifts)
        ]
        return sorted(starts, key=lambda start: -self._metrics[0].score(matrix_of(start)))[: plan.coarse]

    def score(self, move: sitk.Transform, level: int) -> float:
        """Return the mutual information weighed by overlap at one level."""
        return self._metrics[level].score(matrix_of(move))


def search(pair: Pair, plan: SearchPlan, geometry: NDArray[np.float64] | None, stop: Event) -> sitk.Transform | None:
    """Find the rigid move from the fixed to the moving volume; None when they overlap from nowhere.

    Parameters
    ----------
    geometry
        Shape (4, 4): where the scanner says that the volumes lie, when both share a frame of reference. It is one
        more start, and keeps a slight advantage: it is given up only for a clearly better place.
    stop
        Ends the search early; what it returns then means nothing.
    """
    found = pair.followed(pair.best_starts(plan), 0, stop)
    by_scanner = [] if geometry is None else pair.followed([rigid_transform(geometry, pair.fixed.centre_mm)], 0, stop)
    places = _apart([*by_scanner, *found], pair.fixed.tissue_mm)[: plan.middle + len(by_scanner)]
    first = pair.followed(places[:1], 1, stop)
    found = [*first, *pair.followed(places[1:], 1, stop)]
    if not found:
        return None
    best = max(found, key=lambda move: pair.score(move, 1))
    if by_scanner and first and pair.score(first[0], 1) >= GEOMETRY_SHARE * pair.score(best, 1):
        best = first[0]
    return next(iter(pair.followed([best], 2, stop)), None)


def polished(
    metric: Metric, matrix: NDArray[np.float64], pivot_mm: NDArray[np.float64], *, affine: bool
) -> NDArray[np.float64]:
    """Return the best move, shape (4, 4), within 3 mm of one, by the metric's own value and without its gradient.

    The gradient is that of a smoothed histogram, and its descent stops some tenths of a millimetre short of the best:
    Powell's search (Powell 1964) halves the error on volumes of one sequence.
    """
    middle = np.eye(4)
    middle[:3, 3] = pivot_mm
    around = np.linalg.inv(middle)

    def moved(steps_mm: NDArray[np.float64]) -> NDArray[np.float64]:
        aside = _affine_step(steps_mm) if affine else _rigid_step(steps_mm)
        return np.asarray(matrix @ middle @ aside @ around)

    count, every = 12 if affine else 6, max(1, metric.points // POLISH_POINTS)
    best = optimize.minimize(
        lambda steps_mm: -metric.score(moved(steps_mm), every),
        np.zeros(count),
        method="Powell",
        bounds=[(-POLISH_REACH_MM, POLISH_REACH_MM)] * count,
        options={"xtol": POLISH_STEP_MM, "ftol": POLISH_GAIN, "maxfev": POLISH_LOOKS[count]},
    )
    found = moved(np.asarray(best.x))
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
    pivot_mm: NDArray[np.float64], turn_deg: Sequence[float], shift_mm: NDArray[np.float64]
) -> sitk.Euler3DTransform:
    start = sitk.Euler3DTransform()
    start.SetCenter([float(value) for value in pivot_mm])
    start.SetRotation(*[float(value) for value in np.radians(turn_deg)])
    start.SetTranslation([float(value) for value in shift_mm])
    return start


def _apart(moves: Sequence[sitk.Transform], points_mm: NDArray[np.float64]) -> list[sitk.Transform]:
    """Return the moves without those that end where an earlier one does."""
    kept: list[sitk.Transform] = []
    for move in moves:
        matrix = matrix_of(move)
        if all(distances_mm(matrix, matrix_of(other), points_mm).max() > SAME_PLACE_MM for other in kept):
            kept.append(move)
    return kept


def distances_mm(
    first: NDArray[np.float64], second: NDArray[np.float64], points_mm: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return how far apart two moves, shape (4, 4), carry the same points, shape (n, 3); at most 500 of them."""
    difference = first - second
    some = points_mm[:: max(1, len(points_mm) // COMPARED_POINTS)]
    return np.asarray(np.linalg.norm(some @ difference[:3, :3].T + difference[:3, 3], axis=1))
