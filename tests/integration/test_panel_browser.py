"""The panel as a person uses it, in headless Chromium against a real peer."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect
from pynetdicom import AE
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from dicom_node.database.engine import Database, open_database
from dicom_node.database.states import ProbeState
from dicom_node.peers.peer import Peer
from dicom_node.peers.registry import add_peer, list_peers
from dicom_node.retrieval.connection_tests import newest_tests
from dicom_node.settings import read_settings
from dicom_node.web.app import panel_app
from tests.support.archive import running_archive
from tests.support.browser import chromium
from tests.support.panel_client import new_login_link
from tests.support.viewer_port import served
from tests.support.waiting import wait_until

pytestmark = pytest.mark.browser


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return open_database(f"sqlite:///{tmp_path / 'node.sqlite'}")


@pytest.fixture
def pacs_port() -> Iterator[int]:
    ae = AE(ae_title="PACS")
    ae.require_calling_aet = ["GLIONODE"]
    ae.add_supported_context(Verification)
    server: Any = ae.start_server(("127.0.0.1", 0), block=False)
    yield server.socket.getsockname()[1]
    server.shutdown()


@pytest.mark.parametrize("javascript", [True, False])
def test_a_peer_is_added_and_called(database: Database, pacs_port: int, tmp_path: Path, *, javascript: bool) -> None:
    with served(panel_app(read_settings(environment={}), database)) as url, chromium() as browser:
        context = browser.new_context(viewport={"width": 1280, "height": 900}, java_script_enabled=javascript)
        page = context.new_page()
        messages: list[str] = []
        page.on("console", lambda message: messages.append(message.text))
        page.goto(new_login_link(database, url))
        page.get_by_role("button", name="Open the panel").click()
        page.get_by_role("link", name="AE titles").click()
        expect(page.get_by_role("heading", name="No peers yet: add your PACS")).to_be_visible()

        _add(page, name="My PACS", ae_title="PACS", host="127.0.0.1", port="")
        expect(page.get_by_label("Port", exact=True)).to_have_attribute("aria-invalid", "true")
        page.get_by_label("Port", exact=True).fill(str(pacs_port))
        page.get_by_role("button", name="Add peer").click()
        _add(page, name="Scanner", ae_title="MR1", host="", port="")

        page.get_by_role("button", name="C-ECHO My PACS").click()
        result = page.get_by_role("status").filter(has_text="C-ECHO")
        expect(result).to_contain_text(f"PACS at 127.0.0.1:{pacs_port} answered the C-ECHO. status 0x0000, connection")
        page.get_by_role("button", name="Disable Scanner").click()
        expect(page.get_by_role("button", name="Enable Scanner")).to_be_visible()
        page.screenshot(path=tmp_path / "peers.png", full_page=True)
        assert [text for text in messages if "Content Security Policy" in text] == []
    assert list_peers(database) == [
        Peer(name="My PACS", ae_title="PACS", host="127.0.0.1", port=pacs_port),
        Peer(name="Scanner", ae_title="MR1", enabled=False),
    ]


@pytest.mark.parametrize(("width", "javascript"), [(1280, True), (390, True), (1280, False)])
def test_a_peer_is_tested_there_and_back_changed_imported_and_removed(
    database: Database, tmp_path: Path, width: int, *, javascript: bool
) -> None:
    settings = read_settings(environment={"GLIONODE_NODE_FOLDER": str(tmp_path / "node")})
    with running_archive() as archive, served(panel_app(settings, database)) as url, chromium() as browser:
        peer = Peer(name="Main PACS", ae_title="ARCHIVE", host="127.0.0.1", port=archive.port, is_source=True)
        add_peer(database, peer)
        context = browser.new_context(viewport={"width": width, "height": 900}, java_script_enabled=javascript)
        page = context.new_page()
        messages: list[str] = []
        page.on("console", lambda message: messages.append(message.text))
        page.goto(new_login_link(database, url))
        page.get_by_role("button", name="Open the panel").click()
        page.goto(f"{url}/peers")
        page.get_by_role("link", name="Main PACS", exact=True).click()

        page.get_by_role("button", name="C-ECHO").click()
        expect(page.get_by_role("status")).to_contain_text(
            "Check that this port is its DICOM port"
        )  # it offers no C-ECHO
        page.get_by_role("button", name="Send a test study there and back").click()
        if not javascript:
            wait_until(lambda: newest_tests(database, "Main PACS")[0].state is not ProbeState.RUNNING)
            page.reload()
        expect(page.get_by_text("Came back unchanged (pixels and identifiers): 6 of 6 images.")).to_be_visible(
            timeout=60_000
        )
        page.get_by_label("AE title").fill("ARCHIVE2")
        page.get_by_role("button", name="Save").click()
        expect(page.get_by_text("Saved. It applies from the next association.")).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") == width
        page.screenshot(path=tmp_path / "peer.png", full_page=True)

        page.get_by_role("link", name="AE titles").first.click()
        page.get_by_role("link", name="Import peers").click()
        page.get_by_label("Text").fill(
            '[[peer]]\nname = "Main PACS"\nae_title = "ARCHIVE"\n\n[[peer]]\nname = "MR"\nae_title = "MR1"\n'
        )
        page.get_by_role("button", name="Preview").click()
        expect(page.get_by_role("button", name="Import")).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") == width
        page.screenshot(path=tmp_path / "import.png", full_page=True)
        page.get_by_role("button", name="Import").click()
        page.get_by_role("link", name="MR", exact=True).click()
        page.get_by_role("link", name="Remove this peer").click()
        page.screenshot(path=tmp_path / "remove.png", full_page=True)
        page.get_by_role("button", name="Remove").click()
        page.screenshot(path=tmp_path / "list.png", full_page=True)
        assert [text for text in messages if "Content Security Policy" in text] == []
    assert list_peers(database) == [Peer(name="Main PACS", ae_title="ARCHIVE")]


def _add(page: Page, *, name: str, ae_title: str, host: str, port: str) -> None:
    for label, value in (("Name", name), ("AE title", ae_title), ("Host", host), ("Port", port)):
        page.get_by_label(label, exact=True).fill(value)
    page.get_by_role("button", name="Add peer").click()


@pytest.mark.parametrize("width", [1280, 390])
def test_help_is_read_on_any_screen_and_by_keyboard(database: Database, width: int) -> None:
    with served(panel_app(read_settings(environment={}), database)) as url, chromium() as browser:
        page = browser.new_context(viewport={"width": width, "height": 800}).new_page()
        messages: list[str] = []
        page.on("console", lambda message: messages.append(message.text))
        page.goto(new_login_link(database, url))
        page.get_by_role("button", name="Open the panel").click()
        page.get_by_role("link", name="Help", exact=True).click()
        page.wait_for_load_state("networkidle")
        assert page.evaluate("document.documentElement.scrollWidth") == width
        assert page.evaluate("[...document.images].filter(one => !one.naturalWidth).map(one => one.src)") == []
        for _ in range(30):
            page.keyboard.press("Tab")
            if page.evaluate("document.activeElement.getAttribute('href')") == "#flag":
                break
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", name="Flags: reasons to doubt a result")).to_be_in_viewport()
        assert messages == []
