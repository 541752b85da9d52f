"""A correction as a person makes it: from the page of a study to a saved rule, in headless Chromium."""

from pathlib import Path

import pytest
from playwright.sync_api import expect

from conversion.recognition.site_rules import SiteRule
from dicom_node.database.engine import open_database
from dicom_node.rules.site_rules import site_rules
from dicom_node.settings import read_settings
from dicom_node.web.app import panel_app
from tests.support.browser import chromium
from tests.support.held_study import hold_small_study
from tests.support.panel_client import new_login_link
from tests.support.viewer_port import served

pytestmark = pytest.mark.browser


def test_a_series_is_corrected_without_javascript(tmp_path: Path) -> None:
    database = open_database(f"sqlite:///{tmp_path / 'node.sqlite'}")
    hold_small_study(database, tmp_path, "a1b2c3", ["T1", "FLAIR"])
    settings = read_settings(environment={"GLIONODE_NODE_FOLDER": str(tmp_path)})
    with served(panel_app(settings, database)) as url, chromium() as browser:
        page = browser.new_context(viewport={"width": 1280, "height": 900}, java_script_enabled=False).new_page()
        messages: list[str] = []
        page.on("console", lambda message: messages.append(message.text))
        page.goto(new_login_link(database, url))
        page.get_by_role("button", name="Open the panel").click()
        page.goto(f"{url}/studies")
        page.get_by_role("link", name="Not read yet", exact=True).click()  # no worker runs
        series = page.locator("#series-2")
        series.get_by_text("Evidence by headers").click()
        expect(series.get_by_role("cell", name="for FLAIR").first).to_be_visible()
        series.get_by_text("This is something else").click()
        series.get_by_label("These series are").select_option("T2")
        page.screenshot(path=tmp_path / "study.png", full_page=True)
        series.get_by_role("button", name="Preview what this changes").click()
        expect(page.get_by_role("row", name="a1b2c3 series 2 FLAIR FLAIR T2")).to_be_visible()
        assert site_rules(database) == ()
        page.get_by_role("button", name="Save the rule").click()
        expect(page.get_by_role("status")).to_contain_text("The rule is saved.")
        assert messages == []
    expected = SiteRule(name="Rule 1", kind="T2", manufacturer="GlioNode tests", description="FLAIR")
    assert site_rules(database) == (expected,)
    database.engine.dispose()
