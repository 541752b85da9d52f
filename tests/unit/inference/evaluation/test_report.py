"""The page is whole, says what happened, and needs nothing from anywhere."""

import base64
import io
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from conversion.sequences import Role
from inference.cases.case import SkippedCase
from inference.evaluation.evaluation import evaluate
from inference.evaluation.report import report_html
from inference.evaluation.tiles import outline
from inference.regions import Region
from tests.unit.inference.evaluation.scene import BrightSegmenter, annotated, case_set, damaged

_VOID = {"meta", "br", "img", "link", "input", "hr"}


class _Page(HTMLParser):
    """Checks that elements close in order, and collects what a browser would ask for."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.asked: list[str] = []
        self.ids: list[str] = []
        self.seen: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        self.asked += [value or "" for name, value in attrs if name in {"src", "href", "xlink:href"}]
        self.ids += [value or "" for name, value in attrs if name == "id"]
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in _VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def html() -> str:
    cases = case_set(
        annotated("a", site="X"),
        annotated("b<i>", moved=3, site="Y"),
        damaged("c"),
        annotated("d", roles=(Role.FLAIR,), moved=1),
        skipped=[SkippedCase(name="notes.txt", reason="holds no slices")],
    )
    found = evaluate(BrightSegmenter(), cases, (Role.FLAIR, Role.T1CE, Role.T1))
    return report_html(found, data="small & synthetic", made_by="GlioNode 9.9")


def test_the_page_is_whole_and_asks_for_nothing(html: str) -> None:
    page = _Page(html)
    assert page.open == []
    assert len(page.ids) == len(set(page.ids))
    for wanted in page.asked:
        assert wanted.startswith("data:image/png;base64,") or wanted[1:] in page.ids
    assert "script" not in page.seen
    assert "url(" not in html
    assert "http" not in html


def test_it_says_what_and_by_whom(html: str) -> None:
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", "", html))
    assert "Research use only. Not a medical device." in text
    assert "bright 1.0, manifest SHA-256 " + "ab" * 32 in text
    assert "on 3 of 4 cases of 4 patients in small &amp; synthetic (layout brats). The model was given " in text
    assert "was given FLAIR, T1CE, T1 only." in text
    assert "c: the file is cut short" in text
    assert "without T1CE, T1" in text
    assert "skipped: holds no slices" in text
    assert "weighted avg" in text
    assert "b&lt;i&gt;" in html
    assert "<i>b" not in html


def test_figures_stand_with_their_intervals(html: str) -> None:
    assert re.search(r"<td>Dice \(F1\)</td><td>0\.\d{3} \(0\.\d{3} to 1\.000\)</td>", html)
    assert "By site" in html
    assert "in 1 of them not delineated by the model" in html


def test_pictures_are_of_the_worst_and_best_and_show_the_confidence(html: str) -> None:
    assert html.index("<b>b&lt;i&gt;</b>") < html.index("Best cases") < html.index("<b>a</b>")
    pictures = [
        Image.open(io.BytesIO(base64.b64decode(found)))
        for found in re.findall(r'href="data:image/png;base64,([^"]+)"', html)
    ]
    assert [picture.mode for picture in pictures] == ["L", "L", "RGBA", "L", "RGBA", "L", "L", "RGBA"]
    sure = np.asarray(pictures[2])[..., 3] > 0
    assert sure.any()


def test_without_spacing_it_says_so_and_draws_no_differences() -> None:
    found = evaluate(BrightSegmenter(), case_set(annotated("a", spacing_known=False, regions=(Region.WT,))))
    html = report_html(found, data="x", made_by="y")
    assert "The set records no voxel size" in html
    assert "Volume differences (Bland-Altman)" not in html
    assert "experts (thousand voxels)" in html
    assert "HD95, mm</td>" not in html


def _filled(path: str, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Fill an outline again: a pixel is inside when an odd number of edges lies to the left of it."""
    edges = np.zeros(shape, int)
    for x, y, length in re.findall(r"M(\d+) (\d+)v(\d+)", path):
        edges[int(y) : int(y) + int(length), int(x) :] += 1
    return np.asarray(edges % 2 == 1)


def test_an_outline_runs_along_the_pixels() -> None:
    mask = np.random.default_rng(0).random((9, 11)) > 0.5
    assert np.array_equal(_filled(outline(mask), mask.shape), mask)
    assert outline(np.ones((1, 2), bool)) == "M0 0h2M0 1h2M0 0v1M2 0v1"
    assert outline(np.zeros((2, 2), bool)) == ""


def test_points_say_which_case_they_are(html: str) -> None:
    tips = re.findall(r"<title>([^<]+)</title>", html)
    assert sum(tip.startswith("a: 1.000") for tip in tips) == 3
    assert any(tip.startswith("b&lt;i&gt;: experts ") and tip.endswith(" ml") for tip in tips)
    assert any(re.fullmatch(r"mean 0\.\d{3}", tip) for tip in tips)
    assert all(label in html for label in ("Dice of each case by region", "model minus experts (ml) by mean of both"))


def test_the_same_evaluation_gives_the_same_page() -> None:
    found = evaluate(BrightSegmenter(), case_set(annotated("a"), annotated("b", moved=2)))
    assert report_html(found, data="x", made_by="y") == report_html(found, data="x", made_by="y")
