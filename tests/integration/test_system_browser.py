"""The page System in headless Chromium, on a desk and on a phone, with a node that has worked for weeks."""

from datetime import timedelta
from pathlib import Path

import pytest
from playwright.sync_api import expect

from dicom_node.database.engine import Database, open_database
from dicom_node.database.history_tables import OpinionRow, StepTimeRow
from dicom_node.database.states import RunState, StudyState, Verdict
from dicom_node.database.tables import RunRow, StudyRow, utc_now
from dicom_node.database.worker_slots import WorkerBook
from dicom_node.routing.versions import routing_rules
from dicom_node.settings import read_settings
from dicom_node.web.app import panel_app
from tests.support.axe import serious_faults
from tests.support.browser import chromium
from tests.support.panel_client import new_login_link
from tests.support.viewer_port import served

pytestmark = pytest.mark.browser

DOCUMENT = """
[[peer]]
name = "PACS"
ae_title = "PACSAE"

[[route]]
name = "children"
keep_out = "adults alone"
[[route.conditions]]
attribute = "PatientAge"
operator = "at_most"
value = "17"
"""
DESK, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}


def _work(database: Database) -> None:
    """Keep eighty days of studies, the last of them by the hour, with some that failed."""
    now = utc_now()
    with database.session() as session:
        for number in range(200):
            ago = timedelta(minutes=30 * number) if number < 60 else timedelta(hours=14 * (number - 57))
            ended, state = now - ago, RunState.FAILED if number % 17 == 5 else RunState.DELIVERED
            uid, run_id = f"1.{number}", f"run{number}"
            study = StudyRow(study_uid=uid, key=str(number), state=StudyState(state), last_received_at=ended)
            session.add(study)
            session.flush()
            ready = ended - timedelta(seconds=30 + number * 7 % 40)
            summary = {
                "volumes_ml": {"WT": 30 + number * 13 % 35},
                "flags": ["low_agreement"] if number % 5 == 0 else [],
            }
            facts = {"revision": 1, "manifest_sha256": "0", "ready_at": ready, "finished_at": ended}
            session.add(RunRow(run_id=run_id, study_uid=uid, state=state, summary=summary, **facts))
            session.flush()
            session.add(StepTimeRow(run_id=run_id, step="segment", began_at=ready, ended_at=ended))
            verdict = Verdict.DISAGREE if number % 4 == 1 else Verdict.AGREE
            session.add(OpinionRow(study_uid=uid, run_id=run_id, verdict=verdict, who="a", at=ended))


def test_the_node_is_watched_on_its_page(tmp_path: Path) -> None:
    settings = read_settings(environment={"GLIONODE_NODE_FOLDER": str(tmp_path)})
    database = open_database(settings.database_url)
    _work(database)
    WorkerBook(database, gpu="0")
    faults: list[str] = []
    with served(panel_app(settings, database)) as url, chromium() as browser:
        page = browser.new_page(viewport=DESK)
        messages: list[str] = []
        page.on("console", lambda message: messages.append(message.text) if message.type == "error" else None)
        page.goto(new_login_link(database, url))
        page.get_by_role("button", name="Open the panel").click()
        page.get_by_role("link", name="System", exact=True).click()
        expect(page.get_by_role("img", name="Throughput")).to_be_visible()
        page.get_by_role("link", name="Last week").click()
        expect(page.get_by_role("link", name="Last week")).to_have_attribute("aria-current", "true")
        page.locator("#activity summary").first.click()
        expect(page.get_by_role("region", name="Throughput as a table")).to_contain_text("studies received")
        page.locator("#settings summary", has_text="limits").click()
        expect(page.locator("#settings")).to_contain_text("free_disk_gib")
        for size in (PHONE, DESK):
            page.set_viewport_size(size)
            assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]
            faults += serious_faults(page)
            page.screenshot(path=tmp_path / f"system_{size['width']}.png", full_page=True)
        page.get_by_role("link", name="import them").click()
        page.get_by_label("Text").fill(DOCUMENT)
        page.get_by_role("button", name="Preview").click()
        expect(page.get_by_role("row", name="Routing rule children")).to_contain_text("new")
        for size in (PHONE, DESK):
            page.set_viewport_size(size)
            assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]
            faults += serious_faults(page)
            page.screenshot(path=tmp_path / f"configuration_{size['width']}.png", full_page=True)
        page.get_by_role("button", name="Import", exact=True).click()
        expect(page.get_by_role("heading", name="System")).to_be_visible()
        with page.expect_download() as download:
            page.get_by_role("button", name="Make a support bundle").click()
        assert download.value.suggested_filename == "glionode-support.zip"
        assert [rule.name for rule in routing_rules(database)] == ["children"]
    database.engine.dispose()
    assert (faults, messages) == ([], [])
