"""The overlay picture of a result: slices through the tumour with the regions drawn on them."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from conversion.volume import ImageVolume, LabelVolume
from viewer_integration.codes import SEGMENTS
from viewer_integration.provenance import RESEARCH_USE_ONLY

__all__ = ["grey_levels", "write_overlay"]

TILES = 6
TILE_HEIGHT = 256
OPACITY = 0.45


def write_overlay(image: ImageVolume, labels: LabelVolume, path: Path) -> None:
    """Write a PNG of up to six axial slices, each without and with the regions in their recommended colours.

    Parameters
    ----------
    image, labels
        On one grid.
    """
    axes, flips = image.grid.axial_order()
    spacing = image.grid.permuted(axes, flips).spacing_mm
    voxels, regions = _reorder(image.voxels, axes, flips), _reorder(labels.labels, axes, flips)
    grey = grey_levels(voxels)
    tiles = [_tile(grey[k], regions[k], spacing[1] / spacing[2]) for k in _slices(regions)]
    sheet = Image.new("RGB", (sum(tile.width for tile in tiles), tiles[0].height + 24))
    left = 0
    for tile in tiles:
        sheet.paste(tile, (left, 0))
        left += tile.width
    text = ", ".join(concept.name for label, concept in SEGMENTS.items() if (regions == label).any())
    ImageDraw.Draw(sheet).text((6, tiles[0].height + 6), f"{RESEARCH_USE_ONLY} {text}", fill=(255, 255, 255))
    sheet.save(path)


def grey_levels(voxels: NDArray[np.float32]) -> NDArray[np.floating]:
    """Return how bright each voxel is shown, 0 to 1: half a percent of them at either end is black or white."""
    darkest, brightest = np.percentile(voxels, [0.5, 99.5])
    black = min(0.0, float(darkest))
    return np.asarray(np.clip((voxels - black) / (float(brightest) - black or 1.0), 0, 1))


def _reorder(array: NDArray[Any], axes: tuple[int, int, int], flips: tuple[bool, bool, bool]) -> NDArray[Any]:
    steps = tuple(slice(None, None, -1 if flip else 1) for flip in flips)
    return array.transpose(axes)[steps]


def _slices(regions: NDArray[np.generic]) -> list[int]:
    area = np.count_nonzero(regions, axis=(1, 2))
    found = np.flatnonzero(area)
    if found.size == 0:
        return [regions.shape[0] // 2]
    places = np.linspace(0, found.size - 1, TILES + 2)[1:-1] if found.size > TILES else np.arange(found.size)
    return sorted({int(found[int(place)]) for place in places})


def _tile(grey: NDArray[np.floating], regions: NDArray[np.generic], aspect: float) -> Image.Image:
    plain = np.repeat((grey * 255).astype(np.uint8)[..., None], 3, axis=2)
    painted = plain.astype(np.float32)
    for label, concept in SEGMENTS.items():
        mask = regions == label
        painted[mask] = painted[mask] * (1 - OPACITY) + np.array(concept.rgb) * OPACITY
    both = Image.fromarray(np.concatenate([plain, painted.astype(np.uint8)], axis=0))
    height = 2 * TILE_HEIGHT
    width = max(1, round(both.width * height / (both.height * aspect)))
    return both.resize((width, height), Image.Resampling.BILINEAR)
