"""The pictures of a case: the grey slice as it is, outlines on the pixels' edges, and confidence that can be read."""

import base64
import io
import re
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from inference.evaluation.picture import CasePicture
from inference.evaluation.tiles import CONFIDENCE_COLOURS, EXPERTS, MODEL, case_tiles, outline
from inference.regions import Region

FLAIR = np.arange(12, dtype=np.uint8).reshape(3, 4) * 20
T1CE = 255 - FLAIR
ONE, OTHER = np.zeros((3, 4), bool), np.zeros((3, 4), bool)
ONE[1, 2], OTHER[0:2, 0] = True, True
BOTH = {Region.WT: ONE, Region.TC: OTHER}

PICTURE = CasePicture(
    slice_number=7,
    grey={"FLAIR": FLAIR, "T1CE": T1CE},
    shown_on={Region.WT: "FLAIR", Region.TC: "T1CE"},
    pixel_aspect=1.5,
    reference=BOTH,
    predicted={Region.WT: OTHER, Region.TC: ONE},
    confidence=None,
)


def _pixels(tile: str) -> list[NDArray[np.uint8]]:
    found = re.findall(r'href="data:image/png;base64,([^"]+)"', tile)
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(text)))) for text in found]


def test_each_region_has_a_tile_on_its_sequence() -> None:
    tiles = case_tiles(PICTURE, "case1")
    assert [caption for caption, _ in tiles] == ["whole tumour on FLAIR", "tumour core on T1CE"]
    for (_, tile), grey in zip(tiles, (FLAIR, T1CE), strict=True):
        (pixels,) = _pixels(tile)
        assert np.array_equal(pixels, grey)
        assert 'width="4" height="3" preserveAspectRatio="none"' in tile
    assert 'id="case1-FLAIR"' in tiles[0][1]
    assert 'id="case1-T1CE"' in tiles[1][1]


def test_the_experts_outline_and_the_models_differ_in_colour() -> None:
    (_, tile), _ = case_tiles(PICTURE, "a")
    drawn = re.findall(r'<path class="outline" d="([^"]*)" stroke="([^"]*)"/>', tile)
    assert drawn == [(outline(ONE), EXPERTS), (outline(OTHER), MODEL)]
    assert EXPERTS != MODEL


@pytest.mark.parametrize(
    ("mask", "path"),
    [
        (ONE, "M2 1h1M2 2h1M2 1v1M3 1v1"),
        (OTHER, "M0 0h1M0 2h1M0 0v2M1 0v2"),
        (np.eye(2, dtype=bool), "M0 0h1M0 1h2M1 2h1M0 0v1M1 0v2M2 1v1"),
    ],
)
def test_an_outline_counts_columns_first_and_joins_its_edges(mask: NDArray[np.bool_], path: str) -> None:
    assert outline(mask) == path


def test_a_hole_has_an_outline_of_its_own() -> None:
    ring = np.ones((3, 3), bool)
    ring[1, 1] = False
    assert outline(ring) == "M0 0h3M1 1h1M1 2h1M0 3h3M0 0v3M1 1v1M2 1v1M3 0v3"


def test_a_region_without_a_prediction_has_no_tile() -> None:
    ((caption, _),) = case_tiles(replace(PICTURE, predicted={Region.WT: ONE}), "a")
    assert caption == "whole tumour on FLAIR"


def test_a_slice_is_embedded_once_and_used_again() -> None:
    on_one = replace(PICTURE, shown_on={Region.WT: "FLAIR", Region.TC: "FLAIR"})
    first, second = (tile for _, tile in case_tiles(on_one, "k"))
    assert len(_pixels(first)) == 1
    assert _pixels(second) == []
    assert '<use href="#k-FLAIR"/>' in second


@pytest.mark.parametrize(("aspect", "height", "scale"), [(1.5, "4.5", "1.5"), (1.0, "3.0", "1.0"), (0.5, "1.5", "0.5")])
def test_a_pixel_is_as_high_as_it_is_in_the_patient(aspect: float, height: str, scale: str) -> None:
    (_, tile), _ = case_tiles(replace(PICTURE, pixel_aspect=aspect), "a")
    assert tile.startswith(f'<svg class="tile" viewBox="0 0 4 {height}"><g transform="scale(1 {scale})">')


def test_a_strange_name_stays_inside_its_attribute() -> None:
    (_, tile), _ = case_tiles(PICTURE, 'a"><script>')
    assert "<script>" not in tile
    assert 'id="a&#34;&gt;&lt;script&gt;-FLAIR"' in tile


def test_confidence_has_the_colours_of_its_scale_and_shows_no_traces() -> None:
    confidence = np.zeros((3, 4), np.float16)
    confidence[0] = (0.0, 0.04, 0.06, 1.0)
    confidence[1] = (0.2, 0.4, 0.6, 0.8)
    confidence[2] = 0.5
    tiles = case_tiles(replace(PICTURE, confidence=confidence), "a")
    caption, tile = tiles[-1]
    assert (len(tiles), caption) == (3, "confidence, whole tumour")
    assert '<use href="#a-FLAIR"/>' in tile
    (heat,) = _pixels(tile)
    assert heat[..., 3].tolist() == [[0, 0, 204, 204], [204] * 4, [204] * 4]
    found = [heat[0, 0], *heat[1], heat[0, 3]]
    for colour, expected in zip(found, CONFIDENCE_COLOURS, strict=True):
        assert np.abs(colour[:3].astype(int) - expected).max() <= 1
    assert np.abs(heat[2, 0, :3].astype(float) - np.mean(CONFIDENCE_COLOURS[2:4], axis=0)).max() <= 1


def test_each_colour_of_the_confidence_is_brighter_than_the_one_before() -> None:
    """By the relative luminance of sRGB (IEC 61966-2-1)."""
    levels = np.array(CONFIDENCE_COLOURS) / 255
    linear = np.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4)
    assert np.all(np.diff(linear @ [0.2126, 0.7152, 0.0722]) > 0)
