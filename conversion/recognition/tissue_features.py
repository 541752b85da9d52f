"""Measure a brain's contrast independently of gain and offset: where dark, middle and bright tissue lies.

All intensities are relative to the median of the brain, after the slow shading by the coil was removed slice by slice.
"""

import numpy as np
import scipy
from numpy.typing import NDArray

from conversion.recognition.head_region import HeadSlabs, distance_mm
from conversion.recognition.shading import without_shading

__all__ = ["Measurements", "measure_contrast"]

Measurements = dict[str, float]
Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]

SHADING_MM = 28.0
SMOOTHING_MM = 0.8
MINIMUM_BRAIN = 2000
"""With fewer voxels of brain in all slabs, nothing is measured: 31 cm² of one slab."""

MINIMUM_ZONE = 200
TISSUE = (0.7, 1.5)
"""Neither fluid, fat nor enhancing tumour, as shares of the brain's median."""

DARK, BRIGHT = 0.62, 1.5
RIBBONS_MM = ((2.0, 4.0), (4.0, 6.0), (6.0, 9.0), (9.0, 15.0))
"""Shells around fluid: the first two are cortex, the last two white matter."""

DETAIL_MM = {"fine": (0.9, 3.0), "coarse": (1.6, 6.0)}
DEEPEST_MM = 35.0


def measure_contrast(slabs: HeadSlabs) -> Measurements | None:
    """Return named, unitless measurements, or None where too little brain is visible."""
    slabs = _cropped(slabs)
    if slabs.brain.sum() < MINIMUM_BRAIN or not np.median(slabs.values[slabs.brain]) > 0:
        return None
    sigmas = (0.0, SHADING_MM / slabs.spacing_mm[0], SHADING_MM / slabs.spacing_mm[1])
    flat = without_shading(slabs.values, slabs.brain, sigmas)
    smooth = _blurred(flat, SMOOTHING_MM, slabs.spacing_mm)
    depth = distance_mm(slabs.brain, slabs.spacing_mm)
    tissue = slabs.brain & (smooth > TISSUE[0]) & (smooth < TISSUE[1])
    zones = _zones(smooth, slabs.brain, tissue, depth)
    if zones is None:
        return None
    return (
        zones
        | _fluid(smooth, slabs.brain)
        | _ranks(flat, smooth, slabs, tissue, depth)
        | _ribbons(smooth, slabs, tissue)
        | _detail(flat, tissue, slabs.spacing_mm)
    )


def _cropped(slabs: HeadSlabs) -> HeadSlabs:
    """Leave out rows and columns without head: they cost time and change nothing."""
    rows, columns = (np.flatnonzero(slabs.head.any(axis)) for axis in ((0, 2), (0, 1)))
    box = (slice(None), slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    return HeadSlabs(
        values=slabs.values[box],
        spacing_mm=slabs.spacing_mm,
        head=slabs.head[box],
        brain=slabs.brain[box],
        surroundings=slabs.surroundings,
        stray_share=slabs.stray_share,
    )


def _blurred(values: Floats | Mask, sigma_mm: float, spacing_mm: tuple[float, float]) -> Floats:
    sigmas = (0.0, sigma_mm / spacing_mm[0], sigma_mm / spacing_mm[1])
    return np.asarray(scipy.ndimage.gaussian_filter(np.asarray(values, np.float32), sigmas, truncate=3.0))


def _zones(smooth: Floats, brain: Mask, tissue: Mask, depth: Floats) -> Measurements | None:
    """Return percentiles of tissue in the brain, its rim, its middle and its depth, and of all voxels in the depth."""
    zones = {
        "tissue": (tissue, (5, 25, 75, 90, 95)),
        "rim": (tissue & (depth > 1) & (depth <= 8), (10, 25, 50, 75, 90)),
        "middle": (tissue & (depth > 10) & (depth < 18), (25, 50, 75)),
        "deep": (tissue & (depth > 18), (10, 25, 50, 75, 90)),
        "centre": (brain & (depth > 18), (2, 98)),
    }
    result: Measurements = {}
    for name, (zone, shares) in zones.items():
        if zone.sum() < MINIMUM_ZONE:
            return None
        values = np.percentile(smooth[zone], shares) - 1
        result |= {f"{name}_{share}": float(value) for share, value in zip(shares, values, strict=True)}
    return result


def _fluid(smooth: Floats, brain: Mask) -> Measurements:
    """Return how much dark and bright fluid there is, as logarithms, and how dark and bright it is."""
    values = smooth[brain]
    dark, bright = values[values < DARK], values[values > BRIGHT]
    return {
        "dark_share": float(np.log10(dark.size / values.size + 1e-3)),
        "bright_share": float(np.log10(bright.size / values.size + 1e-3)),
        "dark_level": float(np.percentile(dark, 25)) if dark.size > MINIMUM_ZONE else DARK,
        "bright_level": float(np.percentile(bright, 75)) if bright.size > MINIMUM_ZONE else BRIGHT,
    }


def _ranks(flat: Floats, smooth: Floats, slabs: HeadSlabs, tissue: Mask, depth: Floats) -> Measurements:
    """Return the mean depth and the mean gradient of each tenth of the tissue's voxels, darkest first."""
    values = smooth[tissue]
    tenth = np.searchsorted(np.percentile(values, range(10, 100, 10)), values)
    count = np.maximum(np.bincount(tenth, minlength=10), 1)
    below = np.minimum(depth[tissue], DEEPEST_MM)
    edges = [np.gradient(_blurred(flat, 1.0, slabs.spacing_mm), axis=axis) for axis in (1, 2)]
    slope = np.hypot(edges[0] / slabs.spacing_mm[0], edges[1] / slabs.spacing_mm[1])[tissue]
    depths = np.bincount(tenth, below, 10) / count / below.mean() - 1
    slopes = np.bincount(tenth, slope, 10) / count
    slopes = np.log(np.maximum(slopes, 1e-6) / max(float(np.median(slopes)), 1e-6))
    return {f"depth_{k}": float(depths[k]) for k in range(10)} | {f"slope_{k}": float(slopes[k]) for k in range(10)}


def _ribbons(smooth: Floats, slabs: HeadSlabs, tissue: Mask) -> Measurements:
    """Return how bright tissue is beside dark and beside bright fluid, shell by shell, relative to all tissue."""
    base = float(np.median(smooth[tissue]))
    result: Measurements = {}
    for name, fluid in (("dark", smooth < DARK), ("bright", smooth > BRIGHT)):
        fluid = fluid & slabs.brain  # noqa: PLW2901 - inside the brain only
        fluid = scipy.ndimage.binary_opening(fluid, np.ones((1, 2, 2)))  # noqa: PLW2901 - remove noise
        away = distance_mm(~fluid, slabs.spacing_mm) if fluid.any() else np.zeros_like(smooth)
        for low, high in RIBBONS_MM:
            shell = tissue & (away >= low) & (away < high)
            value = float(np.median(smooth[shell])) - base if shell.sum() > 50 else 0.0
            result[f"beside_{name}_{low:.0f}_mm"] = value
    return result


def _detail(flat: Floats, tissue: Mask, spacing_mm: tuple[float, float]) -> Measurements:
    """Return whether small structures of the tissue are brighter or darker than their surroundings, and how much."""
    inside = np.where(tissue, flat, 0)
    result: Measurements = {}
    for name, (small, large) in DETAIL_MM.items():
        means = [
            _blurred(inside, sigma, spacing_mm)[tissue] / np.maximum(_blurred(tissue, sigma, spacing_mm)[tissue], 0.05)
            for sigma in (small, large)
        ]
        p2, p10, p25, p50, p75, p90, p98 = np.percentile(means[0] - means[1], (2, 10, 25, 50, 75, 90, 98))
        width = float(p75 - p25) + 1e-6
        result[f"{name}_tails"] = float(p98 + p2 - 2 * p50) / width
        result[f"{name}_lean"] = float(p90 + p10 - 2 * p50) / width
        result[f"{name}_width"] = float(np.log(width))
    return result
