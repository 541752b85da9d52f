"""Compares alternative registration settings from the same start on the same volumes, to measure each choice."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from benchmarks.recognition_data import Case
from benchmarks.registration_cases import FINE_MM, THICK_MM, patients
from conversion.registration import mutual_information, pyramid, search
from conversion.registration.mutual_information import Metric, matrix_of, rigid_transform
from conversion.registration.pyramid import Level, Pyramid, build_pyramid
from conversion.volume import ImageVolume
from tests.support.moved_volumes import degraded, errors_mm, move, random_move, scanned, tissue_mm

__all__ = ["Alternative", "alternatives", "compare"]

Optimiser = Callable[[sitk.ImageRegistrationMethod, float], None]
POINTS = (16_000, 50_000)


@dataclass(frozen=True, kw_only=True)
class Alternative:
    """One set of choices. The defaults are those of the product."""

    name: str
    metric: str = "mutual information"
    optimiser: str = "gradient descent"
    points: tuple[int, int] = POINTS
    flattening_mm: float = pyramid.FLATTENING_MM
    finest_mm: float = 2.0
    thicker_fixed: bool = True
    masked: bool = True
    polish: bool = True


def alternatives() -> list[Alternative]:
    """Return the settings of the product first, then one change at a time."""
    return [
        Alternative(name="as shipped: gradient descent, then Powell's search"),
        Alternative(name="no flattening", flattening_mm=100.0),
        Alternative(name="flattening over 30 mm", flattening_mm=30.0),
        Alternative(name="10,000 points", points=(4_000, 10_000)),
        Alternative(name="200,000 points", points=(16_000, 200_000)),
        Alternative(name="finest level 1 mm", finest_mm=1.0),
        Alternative(name="points always in the fixed volume", thicker_fixed=False),
        Alternative(name="no mask in the descent", masked=False),
        Alternative(name="gradient descent alone", polish=False),
        Alternative(name="conjugate gradient alone", optimiser="conjugate gradient", polish=False),
        Alternative(name="LBFGS alone", optimiser="LBFGS", polish=False),
        Alternative(name="Powell on SimpleITK's metric alone", optimiser="Powell", polish=False),
        Alternative(name="gradient descent alone, correlation", metric="correlation", polish=False),
        Alternative(name="gradient descent alone, joint histogram", metric="joint histogram", polish=False),
    ]


def compare(
    folder: Path, every: int, seed: int, outcome: Callable[[str, Callable[[], Any]], Any]
) -> list[tuple[str, ...]]:
    """Return rows: name, median error in mm of one and two sequences at 1 mm and 5 mm slices, worst, seconds per pair.

    Every run starts 4 mm and 4° away from the truth, so this compares the last steps and not the search.
    """
    cases = list(patients(folder, every))
    rows = []
    for choice in alternatives():
        row = outcome(f"alternative {choice.name}", lambda choice=choice: _row(choice, cases, seed))
        rows.append(tuple(row))
        print(" | ".join(row), flush=True)
    return rows


def _row(choice: Alternative, cases: list[Case], seed: int) -> tuple[str, ...]:
    errors: dict[str, list[float]] = {}
    seconds = []
    with (
        patch.object(pyramid, "FLATTENING_MM", choice.flattening_mm),
        patch.object(pyramid, "LEVELS_MM", (8.0, 4.0, choice.finest_mm)),
    ):
        for number, case in enumerate(cases):
            rng = np.random.default_rng((seed, number, 2))
            for group, error, took in _one_case(choice, case.volumes, rng):
                errors.setdefault(group, []).append(error)
                seconds.append(took)
    worst = max(max(values) for values in errors.values())
    medians = [f"{np.median(errors[g]):.2f}" if g in errors else "-" for g in ("1 1", "1 5", "2 1", "2 5")]
    return (choice.name, *medians, f"{worst:.2f}", f"{np.mean(seconds):.1f}")


def _one_case(
    choice: Alternative, volumes: dict[str, ImageVolume], rng: np.random.Generator
) -> list[tuple[str, float, float]]:
    fixed, points = degraded(volumes["T1CE"], rng), tissue_mm(volumes["T1CE"])
    truth, aside = random_move(rng, points.mean(axis=0)), move((4, -4, 4), (4, 4, -4), points.mean(axis=0))
    results = []
    for spacing, thick in ((FINE_MM, "1"), (THICK_MM, "5")):
        for count, sequence in (("1", "T1CE"), ("2", "FLAIR")):
            if count == "2" and choice.metric == "correlation":
                continue
            moving = degraded(scanned(volumes[sequence], truth, rng, spacing), rng)
            began = time.perf_counter()
            try:
                found = _registered(choice, fixed, moving, truth @ aside)
                error = float(np.median(errors_mm(found, truth, points)))
            except RuntimeError:  # the optimiser left the volume
                error = np.inf
            results.append((f"{count} {thick}", error, time.perf_counter() - began))
    return results


def _registered(
    choice: Alternative, fixed: ImageVolume, moving: ImageVolume, start: NDArray[np.float64]
) -> NDArray[np.float64]:
    ends = build_pyramid(fixed), build_pyramid(moving)
    swapped = choice.thicker_fixed and ends[1].coarsest_mm > 1.2 * ends[0].coarsest_mm
    first, second = reversed(ends) if swapped else ends
    matrix = np.linalg.inv(start) if swapped else start
    transform = rigid_transform(matrix, first.centre_mm)
    for level in (1, 2):
        steps = search.STEPS_MM[level]
        _descend(choice, first, second, transform, level, steps)
    found = matrix_of(transform)
    if choice.polish:
        metric = Metric(first.levels[2], second.levels[2], choice.points[1])
        found = search.polished(metric, found, first.centre_mm, affine=False)
    return np.asarray(np.linalg.inv(found)) if swapped else found


def _descend(
    choice: Alternative,
    fixed: Pyramid,
    moving: Pyramid,
    transform: sitk.Transform,
    level: int,
    steps: tuple[float, float],
) -> None:
    fixed_level: Level = fixed.levels[level].boxed() if choice.masked else fixed.levels[level]
    method = sitk.ImageRegistrationMethod()
    method.SetNumberOfThreads(1)
    method.SetNumberOfWorkUnits(1)
    _metric(method, choice.metric)
    mask = fixed_level.mask
    inside = np.count_nonzero(sitk.GetArrayViewFromImage(mask)) if choice.masked else mask.GetNumberOfPixels()
    share = min(1.0, choice.points[level - 1] / inside)
    if choice.masked:
        method.SetMetricFixedMask(mask)
    if share < 1:
        method.SetMetricSamplingStrategy(method.REGULAR)
        method.SetMetricSamplingPercentage(share, mutual_information.DESCENT_SEED)
    method.SetInterpolator(sitk.sitkLinear)
    _optimiser(method, choice.optimiser, steps)
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetInitialTransform(transform, inPlace=True)
    method.Execute(fixed_level.image, moving.levels[level].image)


def _metric(method: sitk.ImageRegistrationMethod, name: str) -> None:
    if name == "correlation":
        method.SetMetricAsCorrelation()
    elif name == "joint histogram":
        method.SetMetricAsJointHistogramMutualInformation(mutual_information.DESCENT_BINS)
    else:
        method.SetMetricAsMattesMutualInformation(mutual_information.DESCENT_BINS)


def _optimiser(method: sitk.ImageRegistrationMethod, name: str, steps: tuple[float, float]) -> None:
    if name == "conjugate gradient":
        method.SetOptimizerAsConjugateGradientLineSearch(
            learningRate=steps[0], numberOfIterations=30, convergenceMinimumValue=1e-7, convergenceWindowSize=6
        )
    elif name == "LBFGS":
        method.SetOptimizerAsLBFGS2(solutionAccuracy=1e-5, numberOfIterations=30)
    elif name == "Powell":
        method.SetOptimizerAsPowell(
            numberOfIterations=8, maximumLineIterations=20, stepLength=steps[0], stepTolerance=1e-3
        )
    else:
        method.SetOptimizerAsRegularStepGradientDescent(
            learningRate=steps[0],
            minStep=steps[1],
            numberOfIterations=mutual_information.ITERATIONS,
            relaxationFactor=mutual_information.RELAXATION,
            gradientMagnitudeTolerance=mutual_information.GRADIENT_TOLERANCE,
        )
