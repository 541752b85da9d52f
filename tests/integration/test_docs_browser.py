"""The page of the API in headless Chromium: all of it comes from the node, and nothing breaks its content rules."""

from pathlib import Path

import pytest
from playwright.sync_api import expect

from dicom_node.database.engine import open_database
from dicom_node.settings import read_settings
from dicom_node.web.app import panel_app
from dicom_node.web.viewer_assets import swagger_folder
from tests.support.browser import chromium
from tests.support.panel_client import new_login_link
from tests.support.viewer_port import served

pytestmark = pytest.mark.browser

DRAWN_MS = 60_000


def test_the_api_is_listed_and_can_be_tried_without_anything_from_elsewhere(tmp_path: Path) -> None:
    settings = read_settings(environment={"GLIONODE_NODE_FOLDER": str(tmp_path / "node")})
    assert (swagger_folder(settings) / "swagger-ui-bundle.js").is_file(), "make viewer fetches it"
    database = open_database(settings.database_url)
    with served(panel_app(settings, database)) as url, chromium() as browser:
        page = browser.new_page(viewport={"width": 1280, "height": 1400})
        page.set_default_timeout(DRAWN_MS)
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda line: errors.append(line.text) if line.type in ("error", "warning") else None)
        elsewhere: list[str] = []
        page.on("request", lambda call: None if call.url.startswith((url, "data:")) else elsewhere.append(call.url))
        page.goto(new_login_link(database, url))
        page.get_by_role("button", name="Open the panel").click()
        page.goto(f"{url}/workbench")
        page.get_by_text("For programs: API").get_by_role("link").click()
        send = page.locator("#operations-workbench-workbench_send")
        expect(send).to_contain_text("/api/v1/segment", timeout=DRAWN_MS)
        described = page.request.get(f"{url}/api/openapi.json").json()["paths"].values()
        expect(page.locator(".opblock")).to_have_count(sum(len(ways) for ways in described))
        own = page.locator("#operations-workbench-workbench_list_own")
        own.get_by_role("button").first.click()
        own.get_by_role("button", name="Try it out").click()
        own.get_by_role("button", name="Execute").click()
        expect(own.locator(".live-responses-table .response-col_status").last).to_contain_text("200", timeout=DRAWN_MS)
        page.screenshot(path=tmp_path / "docs.png", full_page=True)
        assert (errors, elsewhere) == ([], [])
    database.engine.dispose()
