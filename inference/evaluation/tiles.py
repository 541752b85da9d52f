"""The pictures of a case as SVG: a grey slice with sharp outlines, and a map of the model's confidence."""

import base64
import io

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray
from PIL import Image

from inference.evaluation.palette import WORDS
from inference.evaluation.picture import CasePicture
from inference.regions import Region

__all__ = ["CONFIDENCE_COLOURS", "EXPERTS", "MODEL", "case_tiles", "outline"]

EXPERTS, MODEL = "#3ddbd9", "#ffb000"
"""Colours of the two outlines. They differ in hue and brightness, and neither is grey."""

CONFIDENCE_COLOURS = ((20, 11, 52), (101, 21, 110), (172, 44, 90), (229, 92, 48), (251, 164, 10), (250, 250, 160))
"""From 0 to 1, each brighter than the one before (after matplotlib's "inferno")."""

LEAST_SHOWN = 0.05
"""Voxels below this probability stay grey."""

OPACITY = 0.8

_NAMELESS = Markup("")


def case_tiles(picture: CasePicture, key: str) -> list[tuple[str, Markup]]:
    """Return the case's tiles with their captions.

    Parameters
    ----------
    key
        Prefix for the names of the grey pictures in the page; each picture is embedded once.
    """
    embedded: set[str] = set()

    def grey(sequence: str) -> Markup:
        name = f"{key}-{sequence}"
        if sequence in embedded:
            return Markup('<use href="#{}"/>').format(name)
        embedded.add(sequence)
        return _image(picture.grey[sequence], Markup(' id="{}"').format(name))

    drawn = [(region, on) for region, on in picture.shown_on.items() if region in picture.predicted]
    tiles = [
        (f"{WORDS[region].lower()} on {on}", _tile(picture, [grey(on), *_outlines(picture, region)]))
        for region, on in drawn
    ]
    if picture.confidence is not None:
        heat = _image(_coloured(picture.confidence))
        sequence = next(iter(picture.shown_on.values()))
        tiles.append(("confidence, whole tumour", _tile(picture, [grey(sequence), heat])))
    return tiles


def _image(pixels: NDArray[np.uint8], name: Markup = _NAMELESS) -> Markup:
    rows, columns = pixels.shape[:2]
    return Markup('<image{} href="{}" width="{}" height="{}" preserveAspectRatio="none"/>').format(
        name, _png(pixels), columns, rows
    )


def _tile(picture: CasePicture, parts: list[Markup]) -> Markup:
    rows, columns = next(iter(picture.grey.values())).shape
    return Markup('<svg class="tile" viewBox="0 0 {} {}"><g transform="scale(1 {})">{}</g></svg>').format(
        columns, round(rows * picture.pixel_aspect, 2), round(picture.pixel_aspect, 4), Markup("").join(parts)
    )


def _outlines(picture: CasePicture, region: Region) -> list[Markup]:
    return [
        Markup('<path class="outline" d="{}" stroke="{}"/>').format(outline(masks[region]), colour)
        for masks, colour in ((picture.reference, EXPERTS), (picture.predicted, MODEL))
    ]


def outline(mask: NDArray[np.bool_]) -> str:
    """Return an SVG path along the pixel edges of a mask; one pixel is one user unit."""
    padded = np.pad(mask, 1)
    lines = [f"M{x} {y}h{length}" for y, x, length in _runs(padded[1:, 1:-1] != padded[:-1, 1:-1])]
    lines += [f"M{x} {y}v{length}" for x, y, length in _runs((padded[1:-1, 1:] != padded[1:-1, :-1]).T)]
    return "".join(lines)


def _runs(edges: NDArray[np.bool_]) -> list[tuple[int, int, int]]:
    """Return line, start and length of each run of True along the second axis."""
    change = np.diff(np.pad(edges, ((0, 0), (1, 1))).astype(np.int8), axis=1)
    starts, ends = np.argwhere(change == 1), np.argwhere(change == -1)
    return [(int(line), int(a), int(b - a)) for (line, a), (_, b) in zip(starts, ends, strict=True)]


def _coloured(confidence: NDArray[np.float16]) -> NDArray[np.uint8]:
    values = confidence.astype(np.float64)
    stops = np.linspace(0, 1, len(CONFIDENCE_COLOURS))
    channels = [np.interp(values, stops, [colour[k] for colour in CONFIDENCE_COLOURS]) for k in range(3)]
    alpha = np.where(values >= LEAST_SHOWN, 255 * OPACITY, 0)
    return np.stack([*channels, alpha], axis=-1).astype(np.uint8)


def _png(pixels: NDArray[np.uint8]) -> str:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
