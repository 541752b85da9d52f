"""The report's plots: Dice by region, volumes, differences of volumes, reliability."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
from markupsafe import Markup
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from inference.evaluation.calibration import BINS
from inference.evaluation.drawing import Drawing
from inference.evaluation.figures import Measure, RegionFigures
from inference.evaluation.palette import INK, MINUS
from inference.evaluation.result import CaseResult, RegionSummary
from inference.regions import Region

__all__ = ["dice_plot", "difference_plot", "reliability_plot", "volume_plot"]

_DARK = "#26323a"


def dice_plot(cases: Sequence[CaseResult], summaries: Mapping[Region, RegionSummary]) -> Markup:
    """Draw the Dice of every case by region, with a box for the quartiles and the mean with its interval beside it."""
    plot = Drawing("region", "Dice of each case", (1000.0, 340.0))
    plot.axes.set(xlim=(-0.5, len(summaries) - 0.5), ylim=(0.0, 1.0))
    plot.axes.set_xticks(range(len(summaries)), [str(region) for region in summaries])
    for place, (region, summary) in enumerate(summaries.items()):
        drawn = _with_figures(cases, region)
        dice = np.array([figures.values[Measure.DICE] for _, figures in drawn], np.float64)
        low, middle, high = np.percentile(dice, (25, 50, 75))
        box = Rectangle((place - 0.28, low), 0.56, max(high - low, 0.004), color=INK[region], alpha=0.12, linewidth=0)
        plot.axes.add_patch(box)
        plot.line((place - 0.28, middle), (place + 0.28, middle), INK[region])
        for (case, _), value, offset in zip(drawn, dice, _offsets(dice), strict=True):
            plot.dot(place + offset, value, INK[region], f"{case.case_id}: {value:.3f}")
        if (mean := summary.mean[Measure.DICE]) is not None:
            if mean.low is not None and mean.high is not None:
                plot.line((place + 0.36, mean.low), (place + 0.36, mean.high), _DARK)
            plot.dot(place + 0.36, mean.value, _DARK, f"mean {mean.value:.3f}", 5.0)
    return plot.svg()


def _offsets(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return a sideways offset for each point, so that equal values do not hide each other."""
    offsets = np.zeros(len(values))
    for cell in np.unique(np.round(values / 0.02)):
        (members,) = np.nonzero(np.round(values / 0.02) == cell)
        steps = np.arange(len(members)) - (len(members) - 1) / 2
        offsets[members] = steps * min(0.045, 0.5 / max(1, len(members)))
    return offsets


def volume_plot(cases: Sequence[CaseResult], region: Region) -> Markup:
    """Draw the model's volume against the experts'; in thousands of voxels where a voxel size is unknown."""
    drawn = _with_figures(cases, region)
    measured, reference, unit = _volumes([figures for _, figures in drawn])
    top = 1.06 * max(float(measured.max()), float(reference.max()), 1e-6)
    plot = Drawing(f"experts ({unit})", f"model ({unit})", (340.0, 300.0))
    plot.axes.set(xlim=(0.0, top), ylim=(0.0, top))
    plot.line((0.0, 0.0), (top, top), style="--")
    for (case, _), x, y in zip(drawn, reference, measured, strict=True):
        plot.dot(x, y, INK[region], f"{case.case_id}: experts {x:.4g}, model {y:.4g} {unit}")
    return plot.svg()


def difference_plot(cases: Sequence[CaseResult], region: Region, summary: RegionSummary) -> Markup | None:
    """Draw the Bland-Altman plot; return None where a voxel size is unknown."""
    limits = summary.volume.differences
    if limits is None:
        return None
    drawn = _with_figures(cases, region)
    measured, reference, _ = _volumes([figures for _, figures in drawn])
    middle, difference = (measured + reference) / 2, measured - reference
    reach = 1.12 * max(
        float(np.abs(difference).max()), abs(limits.lower or 0.0), abs(limits.upper or 0.0), abs(limits.bias), 1e-3
    )
    right = 1.06 * max(float(middle.max()), 1e-6)
    plot = Drawing("mean of both (ml)", "model minus experts (ml)")
    plot.axes.set(xlim=(0.0, right), ylim=(-reach, reach))
    plot.line((0.0, 0.0), (right, 0.0), style="--")
    plot.line((0.0, limits.bias), (right, limits.bias), INK[region])
    for limit in (limits.lower, limits.upper):
        if limit is not None:
            plot.line((0.0, limit), (right, limit), INK[region], "--")
            words = f"{limit:+.1f}".replace("-", MINUS)
            plot.axes.annotate(words, (right, limit), (0, 4), textcoords="offset points", ha="right")
    for (case, _), x, y in zip(drawn, middle, difference, strict=True):
        plot.dot(x, y, INK[region], f"{case.case_id}: {y:+.2f} ml")
    return plot.svg()


def reliability_plot(region: Region, summary: RegionSummary) -> Markup | None:
    """Draw the share of tumour among the voxels of each probability bin; a larger point stands for more voxels."""
    sums = summary.calibration
    if sums is None:
        return None
    plot = Drawing("predicted probability", "observed share of tumour")
    plot.axes.set(xlim=(0.0, 1.0), ylim=(0.0, 1.0))
    plot.line((0.0, 0.0), (1.0, 1.0), style="--")
    filled = np.flatnonzero(sums.voxels)
    points = [
        (float(sums.probability[k] / sums.voxels[k]), float(sums.tumour[k] / sums.voxels[k]), float(sums.voxels[k]))
        for k in filled
    ]
    for one, other in pairwise(points):
        plot.line(one, other, INK[region])
    for place, (x, y, voxels) in zip(filled, points, strict=True):
        tip = f"{place / BINS:.2f} to {(place + 1) / BINS:.2f}: {voxels:.0f} voxels, {y:.1%} tumour"
        plot.dot(x, y, INK[region], tip, 1.5 + 0.8 * float(np.log10(voxels)))
    return plot.svg()


def _with_figures(cases: Sequence[CaseResult], region: Region) -> list[tuple[CaseResult, RegionFigures]]:
    return [(case, figures) for case in cases if (figures := case.regions.get(region)) is not None]


def _volumes(figures: Sequence[RegionFigures]) -> tuple[NDArray[np.float64], NDArray[np.float64], str]:
    measured = [found.values[Measure.VOLUME] for found in figures]
    reference = [found.values[Measure.REFERENCE] for found in figures]
    if None in measured:
        counts = np.array([[found.counts.predicted, found.counts.reference] for found in figures], np.float64)
        return counts[:, 0] / 1000, counts[:, 1] / 1000, "thousand voxels"
    return np.array(measured, np.float64), np.array(reference, np.float64), "ml"
