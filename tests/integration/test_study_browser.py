"""The page of a study as a radiologist uses it, in headless Chromium: warnings, images with the result, volumes."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from dicom_node.database.engine import open_database
from dicom_node.database.states import RunState
from dicom_node.database.tables import DecisionRow, RunRow
from dicom_node.settings import read_settings
from dicom_node.web.app import panel_app
from dicom_node.web.viewer_assets import niivue_folder
from inference.flags import FlagCode
from tests.support.browser import chromium
from tests.support.held_pictures import hold_pictures
from tests.support.held_study import hold_run
from tests.support.panel_client import new_login_link
from tests.support.viewer_port import served

pytestmark = pytest.mark.browser

ENHANCING = 3


def _coloured(page: Page) -> int:
    """Count the pixels of the viewer that are not grey."""
    image = np.asarray(Image.open(io.BytesIO(page.locator("#view").screenshot())).convert("RGB")).astype(int)
    return int((np.ptp(image, axis=2) > 60).sum())


def test_a_study_is_looked_at_on_its_page(tmp_path: Path) -> None:
    settings = read_settings(environment={"GLIONODE_NODE_FOLDER": str(tmp_path)})
    assert (niivue_folder(settings) / "index.js").is_file(), "make viewer fetches it"
    database = open_database(settings.database_url)
    hold_run(database, RunState.DELIVERED)
    hold_pictures(tmp_path, "run")
    with database.session() as session:
        session.get_one(RunRow, "run").summary = {
            "volumes_ml": {"WT": 41.26, "ET": 3.4},
            "intervals_ml": {"WT": [30.0, 55.5]},
        }
        reason = "the predictions of the model's networks differ"
        session.add(DecisionRow(run_id="run", ordinal=1, code=FlagCode.LOW_AGREEMENT, subject="result", reason=reason))
    with served(panel_app(settings, database)) as url, chromium() as browser:
        page = browser.new_page(viewport={"width": 1280, "height": 1000})
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        elsewhere: list[str] = []
        page.on("request", lambda call: None if call.url.startswith((url, "data:", "blob:")) else elsewhere.append(""))
        page.goto(new_login_link(database, url))
        page.get_by_role("button", name="Open the panel").click()
        page.goto(f"{url}/studies/abc")
        page.wait_for_selector("body[data-shown='segmentation.nii.gz']", state="attached")
        expect(page.get_by_role("list", name="Warnings")).to_contain_text("differ")
        expect(page.get_by_role("row", name="Whole tumour")).to_contain_text("41.3 ml")
        both = _coloured(page)
        page.locator("#region").select_option(str(ENHANCING))
        core = _coloured(page)
        page.locator("#overlay").select_option("")
        page.wait_for_selector("body[data-shown=none]", state="attached")
        assert both > core + 300 > _coloured(page) + 300
        page.locator("#overlay").select_option("probability_wt.nii.gz")
        page.wait_for_selector("body[data-shown='probability_wt.nii.gz']", state="attached")
        assert _coloured(page) > core
        page.locator("#sequence").select_option(label="FLAIR")
        page.get_by_label("Axial").check()
        slider = page.locator("#slice")
        first = slider.input_value()
        slider.fill("2")
        assert first == "7"  # the middle of the tumour
        assert _coloured(page) < core
        expect(page.locator(".key-images img")).to_have_js_property("complete", value=True)
        assert (errors, elsewhere) == ([], [])
    database.engine.dispose()
