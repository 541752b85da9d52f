"""Prepare a volume for registration: three levels of detail, corrected for shading, and where the head is."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import scipy
import SimpleITK as sitk
from numpy.typing import NDArray

from conversion.errors import ConversionReason, RegistrationFailed
from conversion.simpleitk_bridge import to_simpleitk
from conversion.volume import ImageVolume

__all__ = ["Level", "Pyramid", "build_pyramid"]

LEVELS_MM = (8.0, 4.0, 2.0)
"""Voxel size of each level, coarse to fine. Along axes where voxels are further apart than that, they are kept.

A finest level of 1 mm takes four times as long and gains 0.1 mm (benchmarks/registration.md).
"""

BLUR_MM = (6.0, 3.0, 0.0)
"""Standard deviation of the Gaussian at each level."""

FLATTENING_MM = 15.0
"""Standard deviation of the Gaussian that separates shading by the coil from anatomy.

When a head moves within the coil, its shading changes, which pulls the optimum away from the anatomy. Median error with
different shading of about 30 % in both volumes: 0.8 mm without flattening, 0.5 at 30 mm, 0.4 at 20 mm, 0.3 at 15 mm.
"""

BRIGHTEST_PERCENTILE = 99.5
DARKEST_SHARE = 0.05
"""When the shading is estimated, darker voxels count as this share of the brightest."""

TISSUE_SHARE = 0.6
"""As a share of Otsu's threshold: fluid in a T1 and bone marrow are dark, and a generous outline does no harm."""

MARGIN_MM = 6.0
"""How far the mask extends beyond the tissue: the outline is part of what is matched."""

LEAST_TISSUE_ML = 1.0
"""With less tissue than this, there is nothing to match."""

LEAST_VOXELS = 4
"""Along each axis at every level; SimpleITK computes no gradient over fewer."""

HISTOGRAM_CELLS = 128
HEAD_HEIGHT_MM = 120.0
"""From the crown to the skull base; how much is shown below it depends on the field of view."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Level:
    """One level of detail.

    Attributes
    ----------
    image
        float32, corrected for shading.
    mask
        uint8 on the same grid: 1 in the tissue and `MARGIN_MM` around it.
    """

    image: sitk.Image
    mask: sitk.Image

    def boxed(self) -> Self:
        """Crop to the box around the mask: SimpleITK's sampling visits every voxel of an image."""
        box = scipy.ndimage.find_objects(sitk.GetArrayViewFromImage(self.mask))[0]
        start = [axis.start for axis in reversed(box)]
        size = [axis.stop - axis.start for axis in reversed(box)]
        image, mask = (sitk.RegionOfInterest(each, size, start) for each in (self.image, self.mask))
        return type(self)(image=image, mask=mask)


@dataclass(frozen=True, kw_only=True, eq=False)
class Pyramid:
    """The levels of a volume, and where its tissue is.

    Attributes
    ----------
    levels
        As in `LEVELS_MM`, coarse to fine.
    tissue_mm
        Shape (n, 3): LPS position of every voxel of tissue at the middle level.
    tissue_ml
        Volume of the tissue.
    coarsest_mm
        Largest distance between neighbouring voxels in the original volume.
    """

    levels: tuple[Level, ...]
    tissue_mm: NDArray[np.float64]
    tissue_ml: float
    coarsest_mm: float

    @property
    def centre_mm(self) -> NDArray[np.float64]:
        """Centre of the tissue."""
        return np.asarray(self.tissue_mm.mean(axis=0))

    @property
    def upper_centre_mm(self) -> NDArray[np.float64]:
        """Centre of the tissue without face and neck."""
        height = self.tissue_mm[:, 2]
        crown = np.percentile(height, BRIGHTEST_PERCENTILE)
        return np.asarray(self.tissue_mm[height >= crown - HEAD_HEIGHT_MM].mean(axis=0))


def build_pyramid(volume: ImageVolume) -> Pyramid:
    """Return the levels of a volume.

    Raises
    ------
    RegistrationFailed
        When it contains hardly any tissue, or too few slices.
    """
    if min(volume.grid.shape) < LEAST_VOXELS:
        sentence = f"a series of {min(volume.grid.shape)} slices is too thin to be registered"
        raise RegistrationFailed(ConversionReason.REGISTRATION_FAILED, sentence)
    fine = _shrunk(_finite(volume), LEVELS_MM[-1])
    middle = _shrunk(fine, LEVELS_MM[1])
    tissue = _tissue(sitk.GetArrayFromImage(middle))
    tissue_ml = float(np.count_nonzero(tissue) * np.prod(middle.GetSpacing()) / 1000.0)
    if tissue_ml < LEAST_TISSUE_ML:
        sentence = f"a series contains less than {LEAST_TISSUE_ML:.0f} ml of tissue"
        raise RegistrationFailed(ConversionReason.REGISTRATION_FAILED, sentence)
    flat = _flattened(fine, middle, tissue)
    away_mm = scipy.ndimage.distance_transform_edt(~tissue, middle.GetSpacing()[::-1])
    near = _like((away_mm <= MARGIN_MM).astype(np.uint8), middle)
    levels = tuple(_level(flat, near, mm, blur_mm) for mm, blur_mm in zip(LEVELS_MM, BLUR_MM, strict=True))
    return Pyramid(
        levels=levels,
        tissue_mm=_positions(tissue, middle),
        tissue_ml=tissue_ml,
        coarsest_mm=float(volume.grid.spacing_mm.max()),
    )


def _finite(volume: ImageVolume) -> sitk.Image:
    """Return the volume with finite voxels only, none of them below zero."""
    lowest = float(volume.voxels.min())
    if lowest >= 0 and np.isfinite(volume.voxels.max()):
        return to_simpleitk(volume)
    finite = np.nan_to_num(volume.voxels, nan=0.0, posinf=0.0, neginf=0.0)
    return to_simpleitk(ImageVolume(grid=volume.grid, voxels=finite - finite.min()))


def _shrunk(image: sitk.Image, spacing_mm: float) -> sitk.Image:
    """Average neighbouring voxels along every axis that is finer than a spacing."""
    axes = zip(image.GetSpacing(), image.GetSize(), strict=True)
    factors = [max(1, min(size // LEAST_VOXELS, round(spacing_mm / spacing))) for spacing, size in axes]
    shrunk: sitk.Image = sitk.BinShrink(image, factors)
    return shrunk


def _like(array: NDArray[np.generic], image: sitk.Image) -> sitk.Image:
    made = sitk.GetImageFromArray(array)
    made.CopyInformation(image)
    return made


def _tissue(brightness: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Return the largest body above Otsu's threshold, its holes filled."""
    top = float(np.percentile(brightness, BRIGHTEST_PERCENTILE))
    if top <= 0:
        return np.zeros(brightness.shape, np.bool_)
    bodies, count = scipy.ndimage.label(brightness > TISSUE_SHARE * _otsu(np.minimum(brightness, top)))
    largest = 1 + int(np.argmax(np.bincount(bodies.ravel())[1:])) if count else 1
    return np.asarray(scipy.ndimage.binary_fill_holes(bodies == largest))


def _otsu(brightness: NDArray[np.float32]) -> float:
    """Return the threshold that divides the brightness into two classes (Otsu 1979)."""
    counts, edges = np.histogram(brightness, HISTOGRAM_CELLS)
    middles = (edges[:-1] + edges[1:]) / 2
    below, total = np.cumsum(counts)[:-1], np.cumsum(counts * middles)
    above = counts.sum() - below
    between = below * above * (total[:-1] / np.maximum(below, 1) - (total[-1] - total[:-1]) / np.maximum(above, 1)) ** 2
    return float(edges[1 + int(np.argmax(between))])


def _flattened(fine: sitk.Image, middle: sitk.Image, tissue: NDArray[np.bool_]) -> sitk.Image:
    """Divide by the slow part of the brightness in the tissue, and clip the brightest voxels."""
    shading = sitk.Resample(_like(_shading(middle, tissue), middle), fine, sitk.Transform(), sitk.sitkLinear, 1.0)
    flat = sitk.GetArrayFromImage(fine) / sitk.GetArrayFromImage(shading)
    body = sitk.Resample(_like(tissue.astype(np.uint8), middle), fine, sitk.Transform(), sitk.sitkNearestNeighbor)
    inside = sitk.GetArrayFromImage(body) > 0
    ceiling = float(np.percentile(flat[inside], BRIGHTEST_PERCENTILE))
    return _like(np.minimum(flat, ceiling).astype(np.float32), fine)


def _shading(image: sitk.Image, tissue: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return the Gaussian mean of the logarithm of the brightness over tissue alone, as a factor around 1."""
    brightness = sitk.GetArrayFromImage(image)
    top = float(np.percentile(brightness[tissue], BRIGHTEST_PERCENTILE))
    logarithm = np.log(np.clip(brightness, DARKEST_SHARE * top, top))
    sigma = FLATTENING_MM / np.array(image.GetSpacing()[::-1])
    deviation = np.where(tissue, logarithm - logarithm[tissue].mean(), 0.0)
    weight = scipy.ndimage.gaussian_filter(tissue.astype(np.float32), sigma, mode="constant")
    slow = scipy.ndimage.gaussian_filter(deviation, sigma, mode="constant")
    known = weight > DARKEST_SHARE**2
    return np.asarray(np.exp(np.where(known, slow / np.where(known, weight, 1.0), 0.0)), np.float32)


def _level(flat: sitk.Image, near: sitk.Image, spacing_mm: float, blur_mm: float) -> Level:
    image = _shrunk(flat, spacing_mm)
    if blur_mm:
        sigma = blur_mm / np.array(image.GetSpacing()[::-1])
        image = _like(scipy.ndimage.gaussian_filter(sitk.GetArrayFromImage(image), sigma), image)
    mask = sitk.Resample(near, image, sitk.Transform(), sitk.sitkNearestNeighbor)
    return Level(image=image, mask=mask)


def _positions(tissue: NDArray[np.bool_], image: sitk.Image) -> NDArray[np.float64]:
    linear = np.array(image.GetDirection()).reshape(3, 3) * np.array(image.GetSpacing())
    return np.asarray(np.argwhere(tissue)[:, ::-1] @ linear.T + np.array(image.GetOrigin()))
