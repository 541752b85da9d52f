"""The first day of a node, walked by those who use it: one real node, a real Orthanc and the real OHIF.

An administrator sets the node up from its first link and makes a rule and two users. A study arrives, a radiologist
looks at it and an operator sends it again. The administrator then sees who did what. ``GLIONODE_UPDATE_SCREENSHOT=1``
renews the pictures that the manual shows, with the shipped model and the study of the demonstration.
"""

import json
import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pydicom
import pytest
from playwright.sync_api import Browser, Page, expect
from pydicom.dataset import Dataset

from dicom_node.peers.registry import get_peer, list_peers, remove_peer
from dicom_node.phantom.phantom import DEMO_PLAN, make_phantom, write_study
from dicom_node.routing.versions import routing_rules
from inference.regions import Label
from tests.support.browser import Watched, await_segments, chromium, overlay_pixels
from tests.support.looks import DESK, Looks
from tests.support.node import SENDER, Node, running_node
from tests.support.orthanc import Orthanc, running_orthanc
from tests.support.small_study import make_small_study
from viewer_integration.codes import SEGMENTS

pytestmark = [pytest.mark.browser, pytest.mark.orthanc]

KEPT = Path(__file__).parents[1] / "acceptance" / "walk"
WORDS = "correct horse battery"
PATIENT = "WALKER, PHANTOM"
WORK_MS = 400_000
FOR_THE_MANUAL = bool(os.environ.get("GLIONODE_UPDATE_SCREENSHOT"))


@dataclass(frozen=True, kw_only=True)
class Day:
    """What everybody has to do with."""

    node: Node
    orthanc: Orthanc
    browser: Browser
    looks: Looks
    watched: Watched

    @property
    def url(self) -> str:
        """Address of the panel."""
        return f"http://127.0.0.1:{self.node.settings.web.port}"

    def page(self) -> Page:
        """Return a page in a browser of somebody's own."""
        page = self.browser.new_context(viewport=DESK).new_page()
        page.set_default_timeout(30_000)
        self.watched.watch(page)
        return page


@pytest.fixture
def day(tmp_path: Path) -> Iterator[Day]:
    model = {"GLIONODE_PROCESSING_MODEL": "glioma"} if FOR_THE_MANUAL else {}
    with (
        running_orthanc(tmp_path / "orthanc", ExecuteLuaEnabled=True, StableAge=1) as orthanc,
        running_node(tmp_path, peers=[SENDER], environment=model) as node,
        chromium() as browser,
    ):
        remove_peer(node.database, SENDER.name)  # it was asked under this title whether it is up; now it knows nobody
        looks = Looks(tmp_path, kept=KEPT)
        yield Day(node=node, orthanc=orthanc, browser=browser, looks=looks, watched=Watched())


@pytest.mark.timeout(900)
def test_the_first_day_of_a_node(day: Day, tmp_path: Path) -> None:
    administrator = day.page()
    _become_administrator(day, administrator)
    _name_the_node(day, administrator)
    _connect_the_pacs(day, administrator)
    _make_a_rule(day, administrator)
    radiologist = _new_user(day, administrator, "carla", "viewer")
    operator = _new_user(day, administrator, "omar", "operator")

    study_uid = _watch_a_study_arrive(day, administrator, tmp_path)
    _read_the_study(day, radiologist)
    _open_in_ohif(day, radiologist)
    _send_again(day, operator, study_uid)

    _look_back(day, administrator, study_uid)
    assert day.looks.faults == []
    assert day.watched.hosts == {"127.0.0.1"}
    assert [error for error in day.watched.errors if "Failed to load resource" not in error] == []


def _become_administrator(day: Day, page: Page) -> None:
    day.node.wait_for_page(f"{day.url}/login")
    page.goto(day.node.first_link())
    page.get_by_label("Name", exact=True).fill("anna")
    for label in ("New password", "The same again"):
        page.get_by_label(label).fill(WORDS)
    page.get_by_role("button", name="Become administrator").click()


def _name_the_node(day: Day, page: Page) -> None:
    expect(page.get_by_role("heading", level=1)).to_have_text("What is this node called?")
    page.get_by_label("AE title", exact=True).fill("TUMOUR")
    page.get_by_role("button", name="Show what to write").click()
    expect(page.locator("pre")).to_have_text('[node]\nae_title = "TUMOUR"')
    day.looks.at(page, "name")
    page.get_by_role("link", name="About this page").click()
    expect(page.locator("#page-setup")).to_be_in_viewport()
    page.goto(f"{day.url}/")  # left, and taken up again
    page.get_by_role("button", name="The name is right").click()


def _connect_the_pacs(day: Day, page: Page) -> None:
    expect(page.get_by_role("heading", level=1)).to_have_text("Which PACS sends studies here?")
    day.looks.at(page, "pacs-empty")
    for label, value in (("Name", "Archive"), ("AE title", day.orthanc.ae_title), ("Host", "127.0.0.1")):
        page.get_by_label(label, exact=True).fill(value)
    page.get_by_label("Port", exact=True).fill(str(day.orthanc.dicom_port))
    page.get_by_role("button", name="Add", exact=True).click()
    page.get_by_role("button", name="C-ECHO to Archive").click()
    expect(page.locator(".answer.bad")).to_be_visible()  # Orthanc does not know the node yet
    day.looks.at(page, "pacs-refuses")
    page.get_by_role("button", name="Next").click()

    page.get_by_label("Address of the REST API").fill(day.orthanc.url)
    page.get_by_role("button", name="Register in Orthanc").click()
    expect(page.get_by_role("heading", name="Done")).to_be_visible()
    expect(page.get_by_text("Orthanc's C-ECHO was answered")).to_be_visible()
    day.looks.at(page, "orthanc")

    page.get_by_role("link", name="2. First PACS").click()
    page.get_by_role("button", name="C-ECHO to Archive").click()
    expect(page.locator(".answer.good")).to_be_visible()
    page.get_by_role("button", name="Send a test study there and back: Archive").click()
    expect(page.get_by_text("Came back unchanged")).to_be_visible(timeout=WORK_MS)
    day.looks.at(page, "pacs")
    day.looks.keep(page, "1_first_pacs")
    page.get_by_role("link", name="4. In the PACS").click()
    expect(page.locator(".copy")).to_contain_text(str(day.node.settings.node.dicom_port))
    day.looks.at(page, "there")
    page.get_by_role("button", name="Next").click()
    expect(page.get_by_text("It came back unchanged from Archive.")).to_be_visible()
    expect(page.locator(".todo")).to_contain_text(["No study has arrived yet"])  # but the test study
    day.looks.at(page, "end")
    page.get_by_role("button", name="Finish").click()
    page.goto(f"{day.url}/")
    assert page.url == f"{day.url}/studies"
    assert [peer.name for peer in list_peers(day.node.database)] == ["Archive"]
    assert get_peer(day.node.database, "Archive").is_destination


def _make_a_rule(day: Day, page: Page) -> None:
    page.get_by_role("link", name="Routing rules").click()
    page.get_by_role("link", name="Add a rule").click()
    page.get_by_label("Name").fill("Heads from the archive")
    page.get_by_label("Priority").select_option("high")
    for label, value in (("Attribute", "BodyPartExamined"), ("Value", "BRAIN, HEAD")):
        page.get_by_label(f"{label} of condition 1").fill(value)
    page.get_by_label("Comparison of condition 1").select_option("one_of")
    page.get_by_role("button", name="Try against stored studies").click()
    expect(page.get_by_text("Nothing is saved yet")).to_be_visible()
    assert routing_rules(day.node.database) == ()
    day.looks.at(page, "rule")
    page.get_by_role("button", name="Save the rule").click()
    expect(page.get_by_role("link", name="Heads from the archive")).to_be_visible()


def _new_user(day: Day, administrator: Page, name: str, role: str) -> Page:
    """Add a user, who sets a password by the link, logs out, and comes back by name and password."""
    administrator.get_by_role("link", name="Users").click()
    administrator.get_by_label("Name", exact=True).fill(name)
    administrator.get_by_label("Role", exact=True).select_option(role)
    administrator.get_by_role("button", name="Add user").click()
    page = day.page()
    page.goto(administrator.locator("code.secret").inner_text())
    for label in ("New password", "The same again"):
        page.get_by_label(label).fill(WORDS)
    page.get_by_role("button", name="Set password").click()
    page.get_by_role("button", name="Log out").click()
    page.get_by_label("Name", exact=True).fill(name)
    page.get_by_label("Password", exact=True).fill(WORDS)
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("heading", name="Studies", exact=True)).to_be_visible()
    return page


def _watch_a_study_arrive(day: Day, page: Page, folder: Path) -> str:
    """Store a study in Orthanc, which routes it to the node by C-STORE, and watch the live queue."""
    images = _study(folder)
    study_uid = str(images[0].StudyInstanceUID)
    page.get_by_role("link", name="Work", exact=True).click()
    expect(page.locator("#freshness")).to_contain_text("Live")
    for number, ds in enumerate(images):
        ds.PatientName = "WALKER^PHANTOM"  # another than that of the test study
        ds.BodyPartExamined = "BRAIN"
        ds.StudyDescription = "Synthetic brain, postoperative"  # which is a warning
        ds.save_as(folder / f"{number}.dcm", enforce_file_format=True)
        day.orthanc.upload(folder / f"{number}.dcm")
    row = page.get_by_role("row", name=PATIENT)
    expect(row).to_be_visible(timeout=WORK_MS)
    running = page.get_by_role("table", name="Running")
    expect(running.get_by_role("row", name=PATIENT)).to_be_visible(timeout=WORK_MS)
    expect(row.get_by_text("high", exact=True)).to_be_visible()  # by the rule
    day.looks.keep(page, "2_work")
    finished = page.get_by_role("table", name="Finished last").get_by_role("row", name=PATIENT)
    expect(finished).to_contain_text("delivered", timeout=WORK_MS)
    day.looks.at(page, "work")
    kinds = [instance.get("SOPInstanceUID") for instance in day.orthanc.instances(study_uid)]
    results = day.node.study(study_uid)
    assert results is not None
    assert {uid for _, uid, _ in results.results} < set(kinds)
    return study_uid


def _study(folder: Path) -> list[Dataset]:
    if not FOR_THE_MANUAL:
        return make_small_study("first day")
    return [pydicom.dcmread(path) for path in write_study(make_phantom(DEMO_PLAN), folder / "phantom")]


def _read_the_study(day: Day, page: Page) -> None:
    page.get_by_label("Name, patient ID, accession number or description").fill("phan walk")
    page.get_by_role("button", name="Search").click()
    expect(page.get_by_role("link", name="Show all studies")).to_be_visible()
    expect(page.get_by_role("link", name=PATIENT)).to_be_visible()
    day.looks.at(page, "found")
    page.get_by_role("link", name=PATIENT).click()
    page.wait_for_selector("body[data-shown='segmentation.nii.gz']", state="attached")
    expect(page.get_by_role("row", name="Whole tumour")).to_contain_text("ml")
    expect(page.locator(".key-images img")).to_have_js_property("complete", value=True)
    order = [page.locator(what).first.bounding_box() for what in ("ul.warn", "main table", ".key-images img", "#view")]
    tops = [box["y"] for box in order if box]
    assert len(tops) == len(order)
    assert tops == sorted(tops)
    day.looks.keep(page, "3_study")
    page.get_by_label("agree", exact=True).check()
    page.get_by_label("Comment").fill("the rim is outlined well")
    page.get_by_role("button", name="Keep").click()
    expect(page.get_by_role("list", name="Opinions")).to_contain_text("agree: the rim is outlined well")
    day.looks.at(page, "study")


def _open_in_ohif(day: Day, page: Page) -> None:
    page.get_by_role("link", name="Open in OHIF").click()
    await_segments(page, 1)
    assert page.locator("[data-cy=viewport-pane]").count() == 2
    assert overlay_pixels(page, SEGMENTS[Label.ET].rgb) > 20
    assert page.locator(".shepherd-element, [role=dialog]").count() == 0
    expect(page.locator("#research-use")).to_have_text("Research use only. Not a medical device.")
    day.looks.keep(page, "4_ohif")


def _send_again(day: Day, page: Page, study_uid: str) -> None:
    page.get_by_role("link", name="Work", exact=True).click()
    page.get_by_role("button", name=f"Send again: {PATIENT}").click()
    expect(page.get_by_role("row", name=PATIENT)).to_be_visible()
    day.node.wait_for_state(study_uid, {"delivered"})
    assert page.get_by_role("link", name="Users").count() == 0


def _look_back(day: Day, page: Page, study_uid: str) -> None:
    page.get_by_role("link", name="System", exact=True).click()
    expect(page.locator("#workers").get_by_text("alive")).to_be_visible()
    expect(page.get_by_role("img", name="Throughput")).to_be_visible()
    day.looks.at(page, "system")
    day.looks.keep(page, "5_system")
    page.get_by_role("link", name="DICOM Conformance Statement").click()
    expect(page.locator(".statement")).to_contain_text("ORTHANC")
    day.looks.at(page, "conformance")
    assert len(_messages(day, "carla", study_uid)) >= 2  # panel and viewer
    assert any("logi" in json.dumps(one).lower() for one in _messages(day, "omar"))
    everything = _shown(day.node.command("audit", "show", "--json"))
    assert "WALKER" not in everything
    assert re.search(r"whole|unchanged|records", _shown(day.node.command("audit", "verify")))


def _messages(day: Day, user: str, study_uid: str = "") -> list[object]:
    wanted = ["--study", study_uid] if study_uid else []
    found: list[object] = json.loads(_shown(day.node.command("audit", "show", "--json", "--user", user, *wanted)))[
        "messages"
    ]
    return found


def _shown(done: "subprocess.CompletedProcess[str]") -> str:
    assert done.returncode == 0, done.stderr
    return done.stdout
