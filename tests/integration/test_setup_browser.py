"""The first steps of a new administrator, in headless Chromium, with a real Orthanc: from the first link on."""

from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from dicom_node.access.links import new_link
from dicom_node.database.engine import Database
from dicom_node.database.states import LinkKind
from dicom_node.peers.registry import list_peers
from dicom_node.settings import Settings
from dicom_node.web.app import panel_app
from tests.support.axe import serious_faults
from tests.support.browser import chromium
from tests.support.orthanc import Orthanc, running_orthanc
from tests.support.viewer_port import served

pytestmark = [pytest.mark.browser, pytest.mark.orthanc]

WORDS = "correct horse battery"
DESK, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
TEST_MS = 60_000


class _Looks:
    """Takes a picture of each page on a desk and on a phone, and collects what axe finds."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.faults: list[str] = []

    def at(self, page: Page, name: str) -> None:
        for size in (PHONE, DESK):
            page.set_viewport_size(size)
            assert page.evaluate("document.documentElement.scrollWidth") <= size["width"], name
            self.faults += [f"{name}: {fault}" for fault in serious_faults(page)]
            page.screenshot(path=self._folder / f"{name}_{size['width']}.png", full_page=True)


def _become_administrator(page: Page, link: str) -> None:
    page.goto(link)
    page.get_by_label("Name", exact=True).fill("anna")
    for label in ("New password", "The same again"):
        page.get_by_label(label).fill(WORDS)
    page.get_by_role("button", name="Become administrator").click()


def _name(page: Page, looks: _Looks) -> None:
    expect(page.get_by_role("heading", level=1)).to_have_text("What is this node called?")
    page.get_by_label("AE title", exact=True).fill("TUMOUR")
    page.get_by_role("button", name="Show what to write").click()
    expect(page.locator("pre")).to_have_text('[node]\nae_title = "TUMOUR"')
    looks.at(page, "name")
    page.get_by_role("button", name="The name is right").click()


def _pacs(page: Page, looks: _Looks, orthanc: Orthanc) -> None:
    looks.at(page, "pacs-empty")
    page.get_by_label("Name", exact=True).fill("Archive")
    page.get_by_label("AE title", exact=True).fill(orthanc.ae_title)
    page.get_by_label("Host", exact=True).fill("127.0.0.1")
    page.get_by_label("Port", exact=True).fill(str(orthanc.dicom_port))
    page.get_by_role("button", name="Add", exact=True).click()
    page.get_by_role("button", name="C-ECHO to Archive").click()
    expect(page.locator(".answer.good")).to_be_visible()
    page.get_by_role("button", name="Send a test study there and back: Archive").click()
    expect(page.get_by_text("Came back unchanged")).to_be_visible(timeout=TEST_MS)
    looks.at(page, "pacs")
    page.get_by_role("button", name="Next").click()


def _orthanc(page: Page, looks: _Looks, orthanc: Orthanc) -> None:
    page.get_by_label("Address of the REST API").fill(orthanc.url)
    page.get_by_role("button", name="Register in Orthanc").click()
    expect(page.get_by_role("heading", name="Done")).to_be_visible()
    expect(page.get_by_text("Orthanc's C-ECHO was answered")).to_be_visible()
    looks.at(page, "orthanc")
    page.get_by_role("button", name="Next").click()


@pytest.mark.usefixtures("listener")
def test_a_new_administrator_is_led_to_a_pacs_that_answers(
    settings: Settings, database: Database, tmp_path: Path
) -> None:
    looks = _Looks(tmp_path)
    known = {"GLIONODE": ("127.0.0.1", settings.node.dicom_port)}
    with (
        running_orthanc(tmp_path / "orthanc", known, ExecuteLuaEnabled=True, AuthenticationEnabled=False) as orthanc,
        served(panel_app(settings, database)) as url,
        chromium() as browser,
    ):
        page = browser.new_context(viewport=DESK).new_page()
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        _become_administrator(page, new_link(database, url, LinkKind.FIRST))
        _name(page, looks)
        _pacs(page, looks, orthanc)
        page.goto(f"{url}/")  # left, and taken up again
        expect(page.get_by_role("heading", level=1)).to_have_text("Register in an Orthanc?")
        _orthanc(page, looks, orthanc)
        expect(page.locator(".copy")).to_contain_text(str(settings.node.dicom_port))
        looks.at(page, "there")
        page.get_by_role("button", name="Next").click()
        expect(page.get_by_text("It came back unchanged from Archive.")).to_be_visible()
        expect(page.locator(".todo")).to_have_count(1)
        expect(page.locator(".todo")).to_contain_text("No study has arrived yet")  # but the test study
        looks.at(page, "end")
        page.get_by_role("button", name="Finish").click()
        assert page.url == f"{url}/studies"
        page.goto(f"{url}/")
        assert page.url == f"{url}/studies"
        assert (errors, looks.faults) == ([], [])
    assert [peer.name for peer in list_peers(database)] == ["Archive"]
