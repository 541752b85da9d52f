"""Find the head and the brain in a volume of any weighting, by voxels alone.

Works on axial slabs of the upper head (above the skull base, below the vertex). There skull and scalp are perpendicular
to the slices, so that the brain can be separated from the skull in the plane.
"""

import enum
from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import NDArray

from conversion.volume import ImageVolume

__all__ = [
    "BrainRegion",
    "HeadSlabs",
    "Surroundings",
    "axial_voxels",
    "brain_region",
    "coarsened",
    "distance_mm",
    "enlarged",
    "head_slabs",
    "largest_part",
    "level_of_air",
    "shrunk",
]

COARSE_MM = (4.0, 2.5)
"""Slice and in-plane spacing at which the head is found."""

FINE_MM = 1.25
"""In-plane spacing at which contrast is measured: a cortex of 3 mm is two voxels wide."""

SLAB_MM = 4.0
"""Thickness up to which thin slices are averaged, so that 3D and 2D acquisitions look alike."""

SLABS = 12
HEAD_BELOW_TOP_MM = (22.0, 95.0)
BRAIN_BELOW_TOP_MM = (10.0, 83.0)
"""The part that is used, in mm below the top of a head or of a skull-stripped brain: 12 mm are scalp and skull."""

MINIMUM_COVER_MM = 30.0
"""A volume with less of that part than this is used from its first to its last slice."""

PARTINGS = ((0.4, np.inf, 4.5), (0.55, np.inf, 5.5), (0.4, 1.9, 5.5), (0.7, np.inf, 6.5))
"""Ways to separate the brain: lowest and highest value of tissue as shares of the middle of the head, and how far below
the skin (mm) the rest must begin to be a brain inside a skull (a brain without skull begins at once). The second and
the last separate a skull that fat has brightened; the third leaves out the fat."""

MASKED_SKULL_MM = 8.0
"""Least depth for all ways but the first where the background is masked: the rim of a bare brain is no skull."""

BRAIN_SHARE = 0.45
"""Least area of a separated brain as a share of the head's."""

SKIN_TO_BRAIN_MM = 14.0
"""Assumed where neither a skull nor a masked background is visible."""

MASKED_SHARE = 0.9
"""Share of equal voxels outside the head from which a background counts as masked."""

OPENINGS_MM = (2.6, 4.0, 5.5, 7.0, 9.0)
"""Radii that are tried, narrowest first, until the brain is no longer connected to the scalp."""

SIGNED_SHARE = 0.2
"""If air is brighter than the darkest tissue by this share of the range, the volume is signed: the real part of an
inversion recovery."""

Mask = NDArray[np.bool_]
Floats = NDArray[np.float32]


class Surroundings(enum.StrEnum):
    """What lies around the brain."""

    SKULL = "skull"  # dark bone separates the brain from the scalp
    MASKED = "masked"  # everything else was set to one value
    SIGNED = "signed"  # air is grey, so that bone cannot be told from brain
    UNCLEAR = "unclear"  # none of these: no scalp, or no visible bone


@dataclass(frozen=True, kw_only=True)
class HeadSlabs:
    """Axial slabs of the upper head.

    Attributes
    ----------
    values
        Shape (slab, row, column), 0 is the air; rows run to the back, columns to the left.
    spacing_mm
        Of rows and columns.
    head, brain
        Same shape.
    surroundings
        What lies around the brain.
    stray_share
        Share of the signal that is not connected to the head: speckles around it.
    """

    values: Floats
    spacing_mm: tuple[float, float]
    head: Mask
    brain: Mask
    surroundings: Surroundings
    stray_share: float


@dataclass(frozen=True, kw_only=True)
class BrainRegion:
    """Head and brain in coarse voxels.

    Attributes
    ----------
    slices
        Numbers of the used slices, through the upper head.
    head, brain
        Shape (used slice, row, column).
    air
        Value of the air.
    zero
        Value that counts as zero intensity: that of the air, or where air is grey that of the darkest tissue.
    """

    slices: NDArray[np.intp]
    head: Mask
    brain: Mask
    air: float
    zero: float
    surroundings: Surroundings


def axial_voxels(volume: ImageVolume) -> tuple[Floats, NDArray[np.float64]]:
    """Return voxels ordered (to the head, to the back, to the left) and their spacing in mm in that order."""
    axes, flips = volume.grid.axial_order()
    axial = volume.voxels.transpose(axes)[tuple(slice(None, None, -1 if flip else 1) for flip in flips)]
    return axial, volume.grid.spacing_mm[list(axes)]


def shrunk(voxels: Floats, factors: tuple[int, int, int]) -> Floats:
    """Average blocks of voxels; an incomplete block at the end is left out."""
    for axis, factor in enumerate(factors):
        if factor > 1:
            end = voxels.shape[axis] // factor * factor
            lead = (slice(None),) * axis
            total = voxels[(*lead, slice(0, end, factor))].astype(np.float32)
            for start in range(1, factor):
                total += voxels[(*lead, slice(start, end, factor))]
            voxels = total / np.float32(factor)
    return np.asarray(voxels, np.float32)


def distance_mm(mask: Mask, spacing_mm: tuple[float, float]) -> Floats:
    """Return for each slice how far a voxel of the mask lies from its outside; the edge of the image does not count."""
    result = np.zeros(mask.shape, np.float32)
    far = float(np.hypot(mask.shape[1] * spacing_mm[0], mask.shape[2] * spacing_mm[1]))
    for k, flat in enumerate(mask):
        result[k] = far if flat.all() else scipy.ndimage.distance_transform_edt(flat, sampling=spacing_mm)
    return result


def head_slabs(volume: ImageVolume) -> HeadSlabs | None:
    """Find head and brain and return slabs through them, or None where there is nothing like a head."""
    voxels, spacing = axial_voxels(volume)
    if min(voxels.shape) < 1 or not np.all(np.isfinite(voxels)):
        return None
    coarse, size = coarsened(voxels, spacing)
    region = brain_region(coarse, (float(size[0]), float(size[1]), float(size[2])))
    if region is None:
        return None
    plane = (float(size[1]), float(size[2]))
    values, chosen, fine = _fine(voxels, spacing, region.slices, float(size[0]))
    return HeadSlabs(
        values=values - np.float32(region.zero),
        spacing_mm=fine,
        head=enlarged(region.head[chosen], values.shape, plane, fine),
        brain=enlarged(region.brain[chosen], values.shape, plane, fine),
        surroundings=region.surroundings,
        stray_share=_stray_share(coarse != np.float32(region.air)),
    )


def brain_region(coarse: Floats, spacing_mm: tuple[float, float, float]) -> BrainRegion | None:
    """Find head and brain in voxels of about `COARSE_MM`, or None where there is nothing like a head."""
    plane = spacing_mm[1:]
    air = level_of_air(coarse)
    head = _head(coarse, air, plane)
    if head is None:
        return None
    outside = coarse[~head]
    masked = outside.size > 0 and float(np.mean(outside == np.median(outside))) >= MASKED_SHARE
    darkest, brightest = np.percentile(coarse[head], (1, 99))
    signed = bool(air - darkest > SIGNED_SHARE * (brightest - darkest))
    slices = _used(head, spacing_mm[0], HEAD_BELOW_TOP_MM)
    brain = None if signed else _brain(coarse[slices] - air, head[slices], plane, masked=masked)
    if brain is not None:
        surroundings = Surroundings.SKULL
    elif masked and not signed:
        surroundings = Surroundings.MASKED
        slices = _used(head, spacing_mm[0], BRAIN_BELOW_TOP_MM)
        brain = head[slices]
    else:
        surroundings = Surroundings.SIGNED if signed else Surroundings.UNCLEAR
        brain = distance_mm(head[slices], plane) > SKIN_TO_BRAIN_MM
    return BrainRegion(
        slices=slices,
        head=head[slices],
        brain=brain,
        air=air,
        zero=float(darkest) if signed else air,
        surroundings=surroundings,
    )


def _stray_share(signal: Mask) -> float:
    labels, _ = scipy.ndimage.label(signal)
    sizes = np.bincount(labels.ravel())[1:]
    return float(1 - sizes.max() / sizes.sum()) if sizes.size else 0.0


def coarsened(voxels: Floats, spacing: NDArray[np.float64]) -> tuple[Floats, NDArray[np.float64]]:
    """Skip slices and average in the plane; return the remaining voxels and their spacing."""
    step = max(1, round(COARSE_MM[0] / spacing[0] - 0.2))
    rows, columns = (max(1, int(COARSE_MM[1] / value + 0.35)) for value in spacing[1:])
    coarse = shrunk(voxels[step // 2 :: step], (1, rows, columns))
    return coarse, spacing * (step, rows, columns)


def level_of_air(axial: Floats) -> float:
    """Return the value of the air, measured in the corners of axial slices."""
    rows, columns = (max(1, n // 16) for n in axial.shape[1:])
    corners = (
        axial[:, a, b] for a in (slice(rows), slice(-rows, None)) for b in (slice(columns), slice(-columns, None))
    )
    return float(np.median([np.median(corner) for corner in corners]))


def _head(coarse: Floats, air: float, plane: tuple[float, float]) -> Mask | None:
    contrast = np.abs(coarse - np.float32(air))
    contrast = np.minimum(contrast, np.percentile(contrast, 98))
    if not contrast.max() > 0:
        return None
    mask = contrast > 0.4 * _otsu(contrast)
    mask = scipy.ndimage.binary_opening(mask, np.ones((1, 3, 3)))
    mask = largest_part(mask)
    if not mask.any():
        return None
    margin = [(0, 0), *((int(15 / value) + 1,) * 2 for value in plane)]
    wide = distance_mm(~np.pad(mask, margin), plane) <= 12
    closed = distance_mm(wide, plane) > 12
    closed = closed[:, margin[1][0] : -margin[1][0], margin[2][0] : -margin[2][0]] | mask
    return np.stack([scipy.ndimage.binary_fill_holes(flat) for flat in closed])


def _otsu(values: Floats) -> float:
    """Return the threshold that separates a histogram best (Otsu 1979)."""
    counts, edges = np.histogram(values, 128)
    centres = (edges[1:] + edges[:-1]) / 2
    below, total = np.cumsum(counts).astype(float), np.cumsum(counts * centres)
    between = (total[-1] * below / below[-1] - total) ** 2 / np.maximum(below * (below[-1] - below), 1)
    return float(centres[int(np.argmax(between))])


def largest_part(mask: Mask) -> Mask:
    """Return the largest connected part of a mask."""
    labels, count = scipy.ndimage.label(mask)
    if count == 0:
        return mask
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    return np.asarray(labels == sizes.argmax())


def _used(head: Mask, spacing_mm: float, below_top_mm: tuple[float, float]) -> NDArray[np.intp]:
    """Return the slices of the upper head."""
    area = head.sum((1, 2))
    slices = np.flatnonzero(area > 0.15 * area.max())
    below = (slices[-1] - slices) * spacing_mm
    inside = slices[(below >= below_top_mm[0]) & (below <= below_top_mm[1])]
    return inside if len(inside) * spacing_mm >= MINIMUM_COVER_MM else slices


def _brain(values: Floats, head: Mask, plane: tuple[float, float], *, masked: bool) -> Mask | None:
    """Separate the brain from the scalp by thresholds and openings; None where there is no skull between them."""
    depth = distance_mm(head, plane)
    middle = float(np.median(values[head & (depth > 0.55 * depth.max())]))
    for k, (lowest, highest, skull_mm) in enumerate(PARTINGS):
        tissue = head & (values > lowest * middle) & (values < highest * abs(middle))
        seed = _separated(tissue, depth, plane, max(skull_mm, MASKED_SKULL_MM) if masked and k else skull_mm)
        if seed is not None and (brain := seed & head).sum() > BRAIN_SHARE * head.sum():
            return brain
    return None


def _separated(tissue: Mask, depth: Floats, plane: tuple[float, float], skull_mm: float) -> Mask | None:
    inside = distance_mm(tissue, plane)
    for radius in OPENINGS_MM:
        seed = np.stack([largest_part(flat) for flat in inside > radius])
        if not seed.any():
            return None
        if np.percentile(depth[seed], 5) - radius > skull_mm:
            return _regrown(seed, radius + 2.0, plane)
    return None


def _regrown(seed: Mask, radius_mm: float, plane: tuple[float, float]) -> Mask:
    """Restore the rim of an opened mask, and close its sulci and ventricles."""
    margin = [(0, 0), *((int(20 / value) + 1,) * 2 for value in plane)]
    near = distance_mm(~np.pad(seed, margin), plane)
    closed = distance_mm(near <= radius_mm + 14, plane) > 14
    closed = closed[:, margin[1][0] : -margin[1][0], margin[2][0] : -margin[2][0]]
    return np.stack([scipy.ndimage.binary_fill_holes(flat) for flat in closed])


def _fine(
    voxels: Floats, spacing: NDArray[np.float64], used: NDArray[np.intp], step_mm: float
) -> tuple[Floats, NDArray[np.intp], tuple[float, float]]:
    """Return slabs at the finer spacing, the coarse slice (index into `used`) of each, and the in-plane spacing."""
    count = int(np.clip(round(len(used) * step_mm / SLAB_MM), 1, min(SLABS, len(used))))
    chosen = np.linspace(0, len(used) - 1, count).round().astype(np.intp)
    step = round(step_mm / spacing[0])
    thick = max(1, round(SLAB_MM / spacing[0]))
    rows, columns = (max(1, int(FINE_MM / value + 0.35)) for value in spacing[1:])
    slabs = []
    for k in used[chosen]:
        start = int(np.clip(k * step + step // 2 - thick // 2, 0, max(0, len(voxels) - thick)))
        slabs.append(shrunk(voxels[start : start + thick].mean(0, keepdims=True), (1, rows, columns))[0])
    return np.stack(slabs), chosen, (float(spacing[1] * rows), float(spacing[2] * columns))


def enlarged(mask: Mask, shape: tuple[int, ...], coarse: tuple[float, float], fine: tuple[float, float]) -> Mask:
    """Sample a coarse mask at the centres of finer voxels."""
    rows, columns = (
        np.minimum(((np.arange(n) + 0.5) * f / c).astype(int), m - 1)
        for n, f, c, m in zip(shape[1:], fine, coarse, mask.shape[1:], strict=True)
    )
    return mask[:, rows][:, :, columns]
