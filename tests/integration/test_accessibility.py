"""No page has a serious fault by axe-core, in light on a desk and in dark on a phone, and none asks anybody else."""

from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Page, ViewportSize

from dicom_node.database.engine import Database
from dicom_node.database.history_tables import OpinionRow
from dicom_node.database.notice_tables import ConditionRow, NoticeRow
from dicom_node.database.states import JobState, RunState
from dicom_node.database.tables import DecisionRow, RunRow
from dicom_node.database.upload_tables import WorkbenchRow
from dicom_node.peers.peer import Peer
from dicom_node.peers.registry import put_peer
from dicom_node.routing.rule import Condition, Operator, RoutingRule
from dicom_node.routing.versions import save_rules
from dicom_node.settings import Settings, read_settings
from dicom_node.web.app import panel_app
from dicom_node.workbench.jobs import UploadedFile, new_job_id, submit
from inference.flags import FlagCode
from tests.support.axe import serious_faults
from tests.support.browser import chromium
from tests.support.held_pictures import hold_pictures
from tests.support.held_study import hold_run, hold_small_study
from tests.support.panel_client import ADMINISTRATOR, new_login_link
from tests.support.viewer_port import served

pytestmark = pytest.mark.browser

DESK: ViewportSize = {"width": 1280, "height": 900}
PHONE: ViewportSize = {"width": 390, "height": 844}
SEEN: tuple[tuple[ViewportSize, Literal["light", "dark"]], ...] = ((DESK, "light"), (PHONE, "dark"))


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    told = {
        "GLIONODE_NOTIFICATIONS_EMAIL_TO": "anna@example.org",
        "GLIONODE_NOTIFICATIONS_WEBHOOK": "https://node.test/x",
    }
    return read_settings(environment={"GLIONODE_NODE_FOLDER": str(tmp_path), **told})


def _fill(database: Database, settings: Settings) -> list[str]:
    """Keep something for each page to show; return the addresses of the pages."""
    hold_run(database, RunState.DELIVERED)
    hold_pictures(settings.node.folder, "run")
    hold_small_study(database, settings.node.folder, "waiting", ["T1", "FLAIR"])
    put_peer(database, Peer(name="archive", ae_title="ARCHIVE", host="127.0.0.1", port=104))
    spine = Condition(attribute="StudyDescription", operator=Operator.MATCHES, value="*spine*")
    save_rules(database, [RoutingRule(name="spines", conditions=(spine,), keep_out="not of the head")], "panel")
    save_rules(database, [RoutingRule(name="spines", conditions=(spine,), priority="high")], "panel")
    waiting, failed = new_job_id(), new_job_id()
    for job in (waiting, failed):
        submit(
            database,
            settings.workbench,
            job,
            f"user:{ADMINISTRATOR}",
            [UploadedFile(stored="00000", name="flair.nii.gz")],
        )
    with database.session() as session:
        session.add(ConditionRow(code="destination_silent", subject="archive", detail="1 object", noted=True))
        told = {"sentence": "A study has stopped (defect) and needs a person."}
        session.add(NoticeRow(notice_id="1", channel="mail", code="study_stopped", content=told, state="given_up"))
        session.get_one(RunRow, "run").summary = {"volumes_ml": {"WT": 41.2}, "flags": [FlagCode.LOW_AGREEMENT]}
        reason = "the networks differ"
        session.add(DecisionRow(run_id="run", ordinal=1, code=FlagCode.LOW_AGREEMENT, subject="result", reason=reason))
        session.add(OpinionRow(run_id="run", study_uid="1.2", verdict="agree", comment="as seen", who="panel"))
        job = session.get_one(WorkbenchRow, failed)
        job.state, job.reason = JobState.FAILED, "letter.txt: neither DICOM, NIfTI nor an image."
    uploads = [f"/workbench/{waiting}", f"/workbench/{failed}"]
    return [
        "/studies",
        "/studies/abc",
        "/studies/waiting",
        "/workbench",
        *uploads,
        "/work",
        "/setup/name",
        "/setup/pacs",
        "/setup/orthanc",
        "/setup/there",
        "/setup/end",
        "/fetch",
        "/rules",
        "/routing",
        "/routing/rule?place=1",
        "/peers",
        "/peers/archive",
        "/peers/archive/remove",
        "/peers-import",
        "/users",
        "/tokens",
        "/system/notifications",
        "/account",
        "/system",
        "/system/configuration",
        "/docs",
    ]


def _look(page: Page, address: str) -> list[str]:
    page.goto(address)
    page.wait_for_load_state("load")
    if address.endswith("/docs"):
        page.wait_for_selector(".opblock")  # drawn by Swagger UI
    return [f"{address.rpartition('/')[2]}: {fault}" for fault in serious_faults(page)]


@pytest.mark.parametrize("filled", [True, False], ids=["filled", "empty"])
def test_no_page_has_a_serious_fault(database: Database, settings: Settings, *, filled: bool) -> None:
    empty = [
        "/studies",
        "/workbench",
        "/work",
        "/setup/name",
        "/setup/pacs",
        "/setup/orthanc",
        "/setup/there",
        "/setup/end",
        "/fetch",
        "/rules",
        "/routing",
        "/routing/rule",
        "/peers",
        "/users",
        "/tokens",
        "/system/notifications",
        "/help",
        "/system",
        "/system/conformance",
        "/absent",
    ]
    addresses = _fill(database, settings) if filled else empty
    with served(panel_app(settings, database)) as url, chromium() as browser:
        page = browser.new_page(viewport=DESK)
        elsewhere: list[str] = []
        page.on("request", lambda call: None if call.url.startswith((url, "data:", "blob:")) else elsewhere.append(""))
        faults = _look(page, f"{url}/login")
        page.goto(new_login_link(database, url))
        faults += serious_faults(page)
        page.get_by_role("button", name="Open the panel").click()
        for size, scheme in SEEN:
            page.set_viewport_size(size)
            page.emulate_media(color_scheme=scheme)
            faults += [fault for address in addresses for fault in _look(page, f"{url}{address}")]
        assert not faults, sorted(set(faults))
        assert elsewhere == []
