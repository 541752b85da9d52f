"""OHIF in a real browser: the overlay's pixels and the report's text, from the node and from Orthanc."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from playwright.sync_api import Browser

from dicom_node.database.engine import open_database
from dicom_node.settings import read_settings
from dicom_node.studies.holdings import Holdings
from dicom_node.web.viewer import viewer_app
from dicom_node.web.viewer_assets import ohif_folder
from tests.support.browser import (
    chromium,
    open_study,
    overlay_mask,
    overlay_pixels,
    report_text,
    segment_labels,
    show_slice,
)
from tests.support.orthanc import running_orthanc
from tests.support.viewer_port import served
from tests.support.viewer_study import COLUMNS, SEGMENTS, UNALIGNED_COLUMNS, ViewerStudy, hold, make_study
from viewer_integration.ohif import study_link

pytestmark = pytest.mark.browser

_EDEMA, _CORE = (colour for _, colour in SEGMENTS)
_MIDDLE_SLICES = (5 / 11, 6 / 11)  # of twelve


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


def _held(folder: Path, study: ViewerStudy) -> Holdings:
    database = open_database(f"sqlite:///{folder / 'node.sqlite'}")
    hold(database, folder, study)
    return Holdings(database, folder)


def _assert_overlay(browser: Browser, page_url: str, study: ViewerStudy) -> None:
    link = study_link(page_url, study.study_uid, study.seg.SeriesInstanceUID)
    page = open_study(browser, link, segments=len(SEGMENTS))
    assert segment_labels(page) == [label for label, _ in SEGMENTS]
    for fraction in _MIDDLE_SLICES:
        show_slice(page, fraction)
        edema, core = overlay_mask(page, _EDEMA), overlay_mask(page, _CORE)
        assert edema.sum() > 1000
        assert core.sum() / edema.sum() == pytest.approx(_ratio_in_the_middle(study), rel=0.15)
        assert _filled(core) == pytest.approx(np.pi / 4, abs=0.08)  # an ellipse, and not its bits in another order
    page.context.close()


def _filled(mask: npt.NDArray[np.bool_]) -> float:
    """Share of its bounding box that an overlay fills."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return float(mask.sum() / (np.ptp(rows) + 1) / (np.ptp(columns) + 1))


def _ratio_in_the_middle(study: ViewerStudy) -> float:
    """Enhancing voxels for each edema voxel; the two slices in the middle are alike."""
    edema, core = (study.masks[len(study.mr) // 2 - 1, :, :, index].sum() for index in range(2))
    return float(core / edema)


def test_the_node_shows_nothing_coloured_without_its_segmentation(browser: Browser, tmp_path: Path) -> None:
    study = make_study()
    app = viewer_app(_held(tmp_path, study), ohif_folder(read_settings()), login=None)
    with served(app) as page_url:
        page = open_study(browser, study_link(page_url, study.study_uid))
        show_slice(page, _MIDDLE_SLICES[0])
        assert overlay_pixels(page, _EDEMA, expected=False) == 0
        assert overlay_pixels(page, _CORE, expected=False) == 0
        page.context.close()


@pytest.mark.parametrize("columns", [COLUMNS, UNALIGNED_COLUMNS])
def test_the_node_shows_the_overlay(browser: Browser, tmp_path: Path, columns: int) -> None:
    study = make_study(columns=columns)
    app = viewer_app(_held(tmp_path, study), ohif_folder(read_settings()), login=None)
    with served(app) as page_url:
        _assert_overlay(browser, page_url, study)


def test_the_node_shows_the_report(browser: Browser, tmp_path: Path) -> None:
    study = make_study()
    app = viewer_app(_held(tmp_path, study), ohif_folder(read_settings()), login=None)
    with served(app) as page_url:
        page = open_study(browser, study_link(page_url, study.study_uid, study.sr.SeriesInstanceUID))
        text = report_text(page, f"{study.volumes_ml[0]:g} ml")
        assert "Oncology Measurement Report" in text
        assert [f"{volume:g} ml" in text for volume in study.volumes_ml] == [True, True]
        assert "Research use only" in text
        page.context.close()


@pytest.mark.orthanc
def test_the_same_page_shows_overlay_and_report_from_orthanc(browser: Browser, tmp_path: Path) -> None:
    study = make_study()
    hold(open_database(f"sqlite:///{tmp_path / 'node.sqlite'}"), tmp_path, study)
    with running_orthanc(tmp_path / "orthanc") as orthanc:
        for path in tmp_path.glob("*/*.dcm"):
            orthanc.upload(path)
        assert len(orthanc.instances(study.study_uid)) == len(study.mr) + 2
        with served(
            viewer_app(orthanc.dicomweb_root, ohif_folder(read_settings()), title="Orthanc", login=None)
        ) as page_url:
            _assert_overlay(browser, page_url, study)
            page = open_study(browser, study_link(page_url, study.study_uid, study.sr.SeriesInstanceUID))
            assert f"{study.volumes_ml[0]:g} ml" in report_text(page, f"{study.volumes_ml[0]:g} ml")
            page.context.close()
