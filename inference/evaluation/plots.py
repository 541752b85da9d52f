"""The report's plots, drawn as SVG: Dice by region, volumes, differences of volumes, reliability."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from inference.evaluation.axes import INK, MINUS, Axes, round_ticks
from inference.evaluation.calibration import BINS
from inference.evaluation.figures import Measure, RegionFigures
from inference.evaluation.result import CaseResult, RegionSummary
from inference.regions import Region

__all__ = ["dice_plot", "difference_plot", "reliability_plot", "volume_plot"]

_DASHED = 'stroke="#9aa5ad" stroke-dasharray="4 3"'
_DARK = "#26323a"
_TENTHS = [(tenth / 10, f"{tenth / 10:g}") for tenth in range(0, 11, 2)]


def dice_plot(cases: Sequence[CaseResult], summaries: Mapping[Region, RegionSummary]) -> Markup:
    """Draw the Dice of every case by region, with the quartiles as a box and the mean with its interval beside it."""
    axes = Axes(
        x_range=(-0.5, len(summaries) - 0.5),
        y_range=(0.0, 1.0),
        x_label="region",
        y_label="Dice of each case",
        width=1000.0,
        height=340.0,
    )
    parts: list[Markup] = []
    for place, (region, summary) in enumerate(summaries.items()):
        told = _told(cases, region)
        dice = np.array([figures.values[Measure.DICE] for _, figures in told], np.float64)
        parts += _box(axes, place, dice, INK[region])
        for (case, _), value, aside in zip(told, dice, _beside(dice), strict=True):
            parts.append(axes.dot(place + aside, value, INK[region], f"{case.case_id}: {value:.3f}"))
        parts += _mean(axes, place + 0.36, summary)
    return axes.picture(parts, [(place, str(region)) for place, region in enumerate(summaries)], _TENTHS)


def _box(axes: Axes, place: int, dice: NDArray[np.float64], colour: str) -> list[Markup]:
    low, middle, high = np.percentile(dice, (25, 50, 75))
    left, right = axes.x(place - 0.28), axes.x(place + 0.28)
    box = Markup('<rect x="{}" y="{}" width="{}" height="{}" fill="{}" fill-opacity="0.12" rx="3"/>').format(
        left, axes.y(high), right - left, max(1.0, axes.y(low) - axes.y(high)), colour
    )
    style = f'stroke="{colour}" stroke-width="2"'
    return [box, axes.line((place - 0.28, middle), (place + 0.28, middle), style)]


def _mean(axes: Axes, place: float, summary: RegionSummary) -> list[Markup]:
    found = summary.mean[Measure.DICE]
    if found is None:
        return []
    parts = []
    if found.low is not None and found.high is not None:
        parts.append(axes.line((place, found.low), (place, found.high), f'stroke="{_DARK}" stroke-width="2"'))
    parts.append(
        Markup('<circle cx="{}" cy="{}" r="5" fill="{}"><title>mean {}</title></circle>').format(
            axes.x(place), axes.y(found.value), _DARK, f"{found.value:.3f}"
        )
    )
    return parts


def _beside(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return how far each point steps aside, so that equal values do not hide each other."""
    aside = np.zeros(len(values))
    for cell in np.unique(np.round(values / 0.02)):
        (members,) = np.nonzero(np.round(values / 0.02) == cell)
        steps = np.arange(len(members)) - (len(members) - 1) / 2
        aside[members] = steps * min(0.045, 0.5 / max(1, len(members)))
    return aside


def volume_plot(cases: Sequence[CaseResult], region: Region) -> Markup:
    """Draw the model's volume over the experts'; in thousands of voxels where a voxel size is unknown."""
    told = _told(cases, region)
    measured, reference, unit = _volumes([figures for _, figures in told])
    top = 1.06 * max(float(measured.max()), float(reference.max()), 1e-6)
    axes = Axes(
        x_range=(0.0, top), y_range=(0.0, top), x_label=f"experts ({unit})", y_label=f"model ({unit})", height=300.0
    )
    ticks = round_ticks(0.0, top, 4)
    parts = [axes.line((0.0, 0.0), (top, top), _DASHED)]
    for (case, _), x, y in zip(told, reference, measured, strict=True):
        parts.append(axes.dot(x, y, INK[region], f"{case.case_id}: experts {x:.4g}, model {y:.4g} {unit}"))
    return axes.picture(parts, ticks, ticks)


def difference_plot(cases: Sequence[CaseResult], region: Region, summary: RegionSummary) -> Markup | None:
    """Draw Bland and Altman's plot; None where a voxel size is unknown."""
    limits = summary.volume.differences
    if limits is None:
        return None
    told = _told(cases, region)
    measured, reference, _ = _volumes([figures for _, figures in told])
    middle, difference = (measured + reference) / 2, measured - reference
    reach = 1.12 * max(
        float(np.abs(difference).max()), abs(limits.lower or 0.0), abs(limits.upper or 0.0), abs(limits.bias), 1e-3
    )
    right = 1.06 * max(float(middle.max()), 1e-6)
    axes = Axes(
        x_range=(0.0, right), y_range=(-reach, reach), x_label="mean of both (ml)", y_label="model minus experts (ml)"
    )
    parts = [axes.line((0.0, 0.0), (right, 0.0), 'stroke="#9aa5ad"')]
    parts.append(axes.line((0.0, limits.bias), (right, limits.bias), f'stroke="{INK[region]}" stroke-width="2"'))
    for limit in (limits.lower, limits.upper):
        if limit is not None:
            style = f'stroke="{INK[region]}" stroke-dasharray="5 4"'
            parts.append(axes.line((0.0, limit), (right, limit), style))
            parts.append(axes.text(axes.x(right), axes.y(limit) - 4, f"{limit:+.1f}".replace("-", MINUS), anchor="end"))
    for (case, _), x, y in zip(told, middle, difference, strict=True):
        parts.append(axes.dot(x, y, INK[region], f"{case.case_id}: {y:+.2f} ml"))
    return axes.picture(parts, round_ticks(0.0, right, 4), round_ticks(-reach, reach, 5))


def reliability_plot(region: Region, summary: RegionSummary) -> Markup | None:
    """Draw how often voxels of each probability are tumour; a larger point stands for more voxels."""
    sums = summary.calibration
    if sums is None:
        return None
    axes = Axes(x_range=(0.0, 1.0), y_range=(0.0, 1.0), x_label="probability said", y_label="share that is tumour")
    parts = [axes.line((0.0, 0.0), (1.0, 1.0), _DASHED)]
    filled = np.flatnonzero(sums.voxels)
    points = [
        (float(sums.probability[k] / sums.voxels[k]), float(sums.tumour[k] / sums.voxels[k]), float(sums.voxels[k]))
        for k in filled
    ]
    style = f'stroke="{INK[region]}" stroke-width="1.5" stroke-opacity="0.6"'
    parts += [axes.line(a[:2], b[:2], style) for a, b in pairwise(points)]
    for place, (x, y, voxels) in zip(filled, points, strict=True):
        tip = f"{place / BINS:.2f} to {(place + 1) / BINS:.2f}: {voxels:.0f} voxels, {y:.1%} tumour"
        parts.append(axes.dot(x, y, INK[region], tip, radius=1.5 + 0.8 * float(np.log10(voxels))))
    return axes.picture(parts, _TENTHS, _TENTHS)


def _told(cases: Sequence[CaseResult], region: Region) -> list[tuple[CaseResult, RegionFigures]]:
    return [(case, figures) for case in cases if (figures := case.regions.get(region)) is not None]


def _volumes(figures: Sequence[RegionFigures]) -> tuple[NDArray[np.float64], NDArray[np.float64], str]:
    measured = [found.values[Measure.VOLUME] for found in figures]
    reference = [found.values[Measure.REFERENCE] for found in figures]
    if None in measured:
        counts = np.array([[found.counts.predicted, found.counts.reference] for found in figures], np.float64)
        return counts[:, 0] / 1000, counts[:, 1] / 1000, "thousand voxels"
    return np.array(measured, np.float64), np.array(reference, np.float64), "ml"
