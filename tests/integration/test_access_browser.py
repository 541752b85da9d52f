"""Users, logins and tokens as people meet them, in headless Chromium: from the first link to the viewer and back."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from dicom_node.access.links import new_link
from dicom_node.database.engine import Database, open_database
from dicom_node.database.states import LinkKind
from dicom_node.settings import read_settings
from dicom_node.studies.holdings import Holdings
from dicom_node.web.app import panel_app
from dicom_node.web.viewer import viewer_app
from dicom_node.web.viewer_door import ViewerLogin
from tests.support.browser import chromium
from tests.support.looks import DESK, Looks
from tests.support.orthanc import free_port
from tests.support.viewer_port import served

pytestmark = pytest.mark.browser

WORDS = "correct horse battery"
OTHERS = "another long sentence"
SHORT = "short"


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = open_database(f"sqlite:///{tmp_path / 'node.sqlite'}")
    yield opened
    opened.engine.dispose()


def _fill(page: Page, **fields: str) -> None:
    for label, value in fields.items():
        page.get_by_label(label.replace("_", " "), exact=True).fill(value)


def _first_administrator(page: Page, looks: Looks, link: str) -> None:
    page.goto(link)
    looks.at(page, "first")
    _fill(page, Name="Anna", New_password=SHORT, The_same_again=SHORT)
    page.get_by_role("button", name="Become administrator").click()
    expect(page.get_by_label("New password")).to_have_attribute("aria-invalid", "true")
    looks.at(page, "first_wrong")
    _fill(page, New_password=WORDS, The_same_again=WORDS)
    page.get_by_role("button", name="Become administrator").click()
    expect(page.get_by_role("navigation", name="First steps")).to_be_visible()


def _added_user(page: Page, looks: Looks) -> str:
    page.get_by_role("link", name="Users").click()
    _fill(page, Name="bert")
    page.get_by_label("Role", exact=True).select_option("operator")
    page.get_by_role("button", name="Add user").click()
    looks.at(page, "users")
    return page.locator("code.secret").inner_text()


def _made_token(page: Page, looks: Looks) -> None:
    page.get_by_role("link", name="Tokens").click()
    _fill(page, Name="export of 2026")
    page.get_by_label("dicomweb:read").check()
    page.get_by_role("button", name="Make token").click()
    looks.at(page, "tokens")
    expect(page.get_by_role("cell", name="anna")).to_be_visible()


def test_from_the_first_link_to_users_tokens_and_the_viewer(database: Database, tmp_path: Path) -> None:
    (tmp_path / "ohif").mkdir()
    (tmp_path / "ohif" / "index.html").write_text("<html><head></head><body>OHIF itself</body></html>")
    ports = {"GLIONODE_WEB_PORT": str(free_port()), "GLIONODE_VIEWER_PORT": str(free_port())}
    settings = read_settings(environment={"GLIONODE_NODE_FOLDER": str(tmp_path), **ports})
    login = ViewerLogin(settings=settings, database=database)
    viewer = viewer_app(Holdings(database, tmp_path), tmp_path / "ohif", login=login)
    looks = Looks(tmp_path)
    with (
        served(panel_app(settings, database), port=settings.web.port) as url,
        served(viewer, port=settings.viewer.port) as viewer_url,
        chromium() as browser,
    ):
        page = browser.new_context(viewport=DESK).new_page()
        messages: list[str] = []
        page.on("console", lambda message: messages.append(message.text))
        _first_administrator(page, looks, new_link(database, url, LinkKind.FIRST))
        link = _added_user(page, looks)
        _made_token(page, looks)

        other = browser.new_context(viewport=DESK).new_page()
        other.goto(link)
        looks.at(other, "password")
        _fill(other, New_password=OTHERS, The_same_again=OTHERS)
        other.get_by_role("button", name="Set password").click()
        expect(other.get_by_role("heading", name="Studies", exact=True)).to_be_visible()
        other.goto(f"{url}/users")
        expect(other.get_by_text("This needs the role administrator; you have the role operator.")).to_be_visible()
        looks.at(other, "refused")
        other.get_by_role("link", name="bert").click()
        looks.at(other, "account")
        other.get_by_role("button", name="Log out everywhere").click()

        other.goto(f"{viewer_url}/viewer?StudyInstanceUIDs=1.2")
        other.wait_for_url(f"{url}/login?next=*")
        _fill(other, Name="bert", Password=SHORT)
        other.get_by_role("button", name="Log in").click()
        expect(other.get_by_role("alert")).to_contain_text("do not belong together")
        looks.at(other, "login")
        _fill(other, Password=OTHERS)
        other.get_by_role("button", name="Log in").click()
        other.wait_for_url(f"{viewer_url}/viewer?StudyInstanceUIDs=1.2")
        expect(other.get_by_text("OHIF itself")).to_be_visible()
        assert [text for text in messages if "Content Security Policy" in text] == []
        assert looks.faults == []
