"""How OHIF opens a study from the panel's link: no tour or dialog, the overlay, the slice, two series in step."""

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page

from dicom_node.database.engine import open_database
from dicom_node.settings import read_settings
from dicom_node.studies.holdings import Holdings
from dicom_node.web.viewer import viewer_app
from dicom_node.web.viewer_assets import ohif_folder
from tests.support.browser import (
    Watched,
    box_of,
    chromium,
    open_study,
    overlay_mask,
    shown_images,
    shown_planes,
    turn_wheel,
)
from tests.support.viewer_pair import ViewerPair, hold_pair, make_crossed_pair, make_pair
from tests.support.viewer_port import served
from tests.support.viewer_study import SEGMENTS, SPACING_MM
from viewer_integration.ohif import open_link

pytestmark = pytest.mark.browser

_EDEMA, _CORE = (colour for _, colour in SEGMENTS)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


def test_a_study_opens_at_its_tumour_with_both_series_in_step(browser: Browser, tmp_path: Path) -> None:
    pair, watched = make_pair(), Watched()
    database = open_database(f"sqlite:///{tmp_path / 'node.sqlite'}")
    key = hold_pair(database, tmp_path, pair)
    with served(viewer_app(Holdings(database, tmp_path), ohif_folder(read_settings()), login=None)) as page_url:
        page = open_study(browser, open_link(page_url, key), segments=len(SEGMENTS), watched=watched)
        k = pair.fullest()
        _assert_shown(page, pair, k, pair.nearest_flair(k))
        _assert_overlay_on_the_left(page, pair)
        _assert_nothing_covers_the_images(page)
        _assert_in_step(page, pair, k)
        assert watched.hosts == {"127.0.0.1"}
        assert watched.errors == []
        page.context.close()


def test_series_that_share_no_coordinates_are_not_moved_together(browser: Browser, tmp_path: Path) -> None:
    pair = make_pair("apart", frame_of_reference="that of another examination")
    database = open_database(f"sqlite:///{tmp_path / 'node.sqlite'}")
    key = hold_pair(database, tmp_path, pair)
    with served(viewer_app(Holdings(database, tmp_path), ohif_folder(read_settings()), login=None)) as page_url:
        page = open_study(browser, open_link(page_url, key), segments=len(SEGMENTS))
        first = len(pair.flair) - 1  # OHIF lists the topmost slice first
        _assert_shown(page, pair, pair.fullest(), first)
        turn_wheel(page, 0, 1)
        _assert_shown(page, pair, pair.fullest() - 1, first)
        page.context.close()


def test_series_of_different_planes_are_shown_in_one(browser: Browser, tmp_path: Path) -> None:
    """The thin axial slices with the overlay are reformatted in the plane of the thick coronal ones."""
    pair, watched = make_crossed_pair(), Watched()
    database = open_database(f"sqlite:///{tmp_path / 'node.sqlite'}")
    key = hold_pair(database, tmp_path, pair)
    with served(viewer_app(Holdings(database, tmp_path), ohif_folder(read_settings()), login=None)) as page_url:
        page = open_study(browser, open_link(page_url, key), segments=len(SEGMENTS), watched=watched)
        at_mm, fronts_mm = pair.centre_mm()[1], [float(ds.ImagePositionPatient[1]) for ds in pair.flair]
        k = int(np.abs(np.array(fronts_mm) - at_mm).argmin())
        _assert_coronal(page, at_mm, fronts_mm[k])
        _assert_masks_in_coronal(page, pair, at_mm)
        turn_wheel(page, 0, 1)  # the volume leads, by its own rows; OHIF lists the foremost one last
        _assert_coronal(page, at_mm - SPACING_MM, fronts_mm[k - 1])
        for step in (2, 3):  # the thick slices lead: the volume is shown in their very plane
            turn_wheel(page, 1, 1)
            _assert_coronal(page, fronts_mm[k - step], fronts_mm[k - step])
        assert watched.errors == []
        page.context.close()


def _assert_coronal(page: Page, reformatted_mm: float, flair_mm: float) -> None:
    """From the front: the patient's right is on the left, and the head is up."""
    planes = shown_planes(page, [-reformatted_mm, -flair_mm])
    assert planes[:, 0, 1] == pytest.approx([reformatted_mm, flair_mm], abs=0.01)
    np.testing.assert_allclose(planes[:, 1:], [[[0, -1, 0], [0, 0, 1]]] * 2, atol=1e-6)


def _assert_masks_in_coronal(page: Page, pair: ViewerPair, at_mm: float) -> None:
    edema, core = overlay_mask(page, _EDEMA), overlay_mask(page, _CORE)
    row = round((at_mm - float(pair.study.mr[0].ImagePositionPatient[1])) / SPACING_MM)
    areas = pair.study.masks[:, row].sum(axis=(0, 1))
    assert core.sum() / edema.sum() == pytest.approx(areas[1] / areas[0], rel=0.2)
    head = np.asarray(Image.open(io.BytesIO(page.locator("canvas").first.screenshot())).convert("L")) > 20
    assert (head & (edema | core)).sum() > 0.95 * (edema | core).sum()
    inside = np.argwhere(edema | core)[:, 1].mean() - np.argwhere(head)[:, 1].mean()
    assert inside > 0, "the tumour is on the patient's left, the picture's right"


def _assert_shown(page: Page, pair: ViewerPair, t1ce: int, flair: int) -> None:
    expected = [str(pair.study.mr[t1ce].SOPInstanceUID), str(pair.flair[flair].SOPInstanceUID)]
    assert shown_images(page, expected) == expected


def _assert_overlay_on_the_left(page: Page, pair: ViewerPair) -> None:
    edema, core = overlay_mask(page, _EDEMA), overlay_mask(page, _CORE)
    areas = pair.study.masks[pair.fullest()].sum(axis=(0, 1))
    assert core.sum() / edema.sum() == pytest.approx(areas[1] / areas[0], rel=0.15)
    head = np.asarray(Image.open(io.BytesIO(page.locator("canvas").first.screenshot())).convert("L")) > 20
    assert head[edema | core].all()
    assert not overlay_mask(page, _EDEMA, expected=False, viewport=1).any()


def _assert_nothing_covers_the_images(page: Page) -> None:
    assert page.locator(".shepherd-element, [role=dialog], [role=alertdialog]").count() == 0
    assert "investigational" not in page.inner_text("body").lower()
    assert page.inner_text("#research-use") == "Research use only. Not a medical device."
    notice = box_of(page, "#research-use")
    assert (notice["x"], notice["width"], notice["y"] + notice["height"]) == (0, 1280, 900)
    panes = page.locator("[data-cy=viewport-pane]")
    assert panes.count() == 2
    for pane in (panes.nth(number).bounding_box() for number in range(2)):
        assert pane is not None
        assert pane["width"] > 400
        assert pane["y"] + pane["height"] <= notice["y"]
    assert page.evaluate("document.documentElement.scrollHeight") == 900  # no tool is hidden by scrolling
    assert page.evaluate("document.elementFromPoint(640, 20).closest('#root') !== null")


def _assert_in_step(page: Page, pair: ViewerPair, begin: int) -> None:
    """Scroll each series by its own slices, in both directions: OHIF lists the topmost slice first."""
    for k in (begin - 1, begin - 2):
        turn_wheel(page, 0, 1)
        _assert_shown(page, pair, k, pair.nearest_flair(k))
    for k in range(begin - 1, begin + 3):
        turn_wheel(page, 0, -1)
        _assert_shown(page, pair, k, pair.nearest_flair(k))
    flair = pair.nearest_flair(begin + 2)
    for k in (flair - 1, flair - 2):
        turn_wheel(page, 1, 1)
        _assert_shown(page, pair, pair.nearest_t1ce(k), k)
