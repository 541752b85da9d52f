"""The live queue as an operator uses it, in headless Chromium: it stays fresh, by keyboard, and without JavaScript."""

from datetime import timedelta
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from conversion.study_identity import StudyIdentity
from dicom_node.access.sessions import end_all
from dicom_node.database.engine import Database
from dicom_node.database.history_tables import StepTimeRow
from dicom_node.database.states import Priority, RunState, StudyState
from dicom_node.database.tables import RunRow, StudyRow, utc_now
from dicom_node.database.worker_slots import WorkerBook
from dicom_node.settings import Settings, read_settings
from dicom_node.studies.identities import identity_row
from dicom_node.studies.run_folder import RunFolder
from dicom_node.web.app import panel_app
from dicom_node.web.uploads import UPLOAD_PATH
from tests.support.axe import serious_faults
from tests.support.browser import chromium
from tests.support.panel_client import ADMINISTRATOR, new_login_link
from tests.support.viewer_port import served

pytestmark = pytest.mark.browser

PATIENTS = ("DOE^JOHN", "MUELLER^ANNA", "NOWAK^ZOFIA", "ROSSI^PAULA", "JANSEN^LARS")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return read_settings(environment={"GLIONODE_NODE_FOLDER": str(tmp_path)})


def _hold(database: Database, number: int, state: StudyState, **facts: object) -> None:
    uid, at = f"1.2.{number}", utc_now() - timedelta(minutes=3 * number)
    identity = StudyIdentity(
        patient_name=PATIENTS[number], patient_id=f"PAT-{number}", birth_date="1960-02-03", sex="F",
        accession_number="", study_date="2026-01-05", study_time="", description="MR head", modality="MR",
    )  # fmt: skip
    with database.session() as session:
        run = None if state is StudyState.RECEIVING else f"run{number}"
        fixed = {"first_received_at": at, "last_received_at": at, "current_run": run}
        session.add(StudyRow(study_uid=uid, key=f"key{number}", state=state, **fixed, **facts.pop("study", {})))
        session.flush()
        session.add(identity_row(uid, at, [identity], 1))
        if run:
            fixed = {"run_id": run, "study_uid": uid, "revision": 1, "manifest_sha256": "0", "ready_at": at}
            session.add(RunRow(**fixed, state=RunState(state), **facts))


def _fill(database: Database, settings: Settings) -> None:
    executor = WorkerBook(database).executor
    _hold(database, 0, StudyState.RUNNING, step="align", executor=executor)
    _hold(database, 1, StudyState.QUEUED)
    awaited = {"awaited": ["FLAIR (series 4): 22 of 26 slices", "T2: no series yet"]}
    _hold(database, 2, StudyState.RECEIVING, study=awaited)
    reason = {"code": "out_of_memory", "reason": "the step took more memory than it may", "finished_at": utc_now()}
    _hold(database, 3, StudyState.FAILED, step="segment", **reason)
    folder = RunFolder(settings.node.folder, "run3").folder
    folder.mkdir(parents=True)
    for name in ("selection.json", "volumes.npz", "aligned.npz"):
        (folder / name).touch()
    with database.session() as session:
        session.add(StepTimeRow(run_id="run0", step="align", began_at=utc_now() - timedelta(seconds=40)))


def _open(browser: Browser, database: Database, url: str, *, scripts: bool = True) -> Page:
    context = browser.new_context(viewport={"width": 1280, "height": 900}, java_script_enabled=scripts)
    page = context.new_page()
    page.goto(new_login_link(database, url))
    page.get_by_role("button", name="Open the panel").click()
    page.goto(f"{url}/work")
    return page


def test_an_operator_works_with_the_live_queue(database: Database, settings: Settings, tmp_path: Path) -> None:
    _fill(database, settings)
    with served(panel_app(settings, database), uploads=UPLOAD_PATH) as url, chromium() as browser:
        page = _open(browser, database, url)
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        expect(page.locator("#freshness")).to_contain_text("Live")
        page.screenshot(path=tmp_path / "work.png", full_page=True)
        assert serious_faults(page) == []

        _hold(database, 4, StudyState.QUEUED)
        row = page.get_by_role("row", name="JANSEN, LARS")
        expect(row).to_be_visible()  # nobody loaded the page again
        row.get_by_role("button", name="STAT: JANSEN, LARS").focus()
        page.keyboard.press("Enter")
        expect(page.get_by_role("row", name="JANSEN, LARS").get_by_text("STAT", exact=True)).to_be_visible()
        with database.session() as session:
            assert session.get_one(RunRow, "run4").priority == Priority.STAT

        expect(page.locator("#freshness")).to_contain_text("Live")
        steps = page.get_by_label("Step to begin with: ROSSI, PAULA")
        assert steps.locator("option").all_inner_texts() == [
            "from select",
            "from convert",
            "from align",
            "from segment",
        ]
        steps.focus()
        with database.session() as session:
            session.get_one(RunRow, "run0").step = "segment"
        expect(page.locator("#freshness")).to_contain_text("wait until you have chosen")  # the list may be open
        steps.select_option("align")
        steps.evaluate("list => list.blur()")
        expect(page.get_by_role("row", name="DOE, JOHN")).to_contain_text("segment")
        assert steps.input_value() == "align"
        page.get_by_role("button", name="Replay: ROSSI, PAULA").click()
        expect(page.get_by_role("row", name="ROSSI, PAULA").get_by_text("queued")).to_be_visible()
        with database.session() as session:
            assert session.get_one(RunRow, "run3").step == "align"

        page.set_viewport_size({"width": 390, "height": 844})
        page.screenshot(path=tmp_path / "work-390.png", full_page=True)
        assert serious_faults(page) == []
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        expect(page.locator("#freshness")).to_contain_text("Live")
        with database.session() as session:
            end_all(session, ADMINISTRATOR)
            session.get_one(RunRow, "run0").step = "encode"
        expect(page.locator("#freshness")).to_contain_text("session has ended")
        assert errors == []


def test_the_queue_works_without_scripts(database: Database, settings: Settings) -> None:
    _fill(database, settings)
    with served(panel_app(settings, database), uploads=UPLOAD_PATH) as url, chromium() as browser:
        page = _open(browser, database, url, scripts=False)
        page.get_by_role("button", name="Cancel: DOE, JOHN").click()
        assert page.url == f"{url}/work"
        expect(page.get_by_role("row", name="DOE, JOHN").get_by_text("cancelled", exact=True)).to_be_visible()
        page.get_by_role("link", name="Load again").click()
        expect(page.get_by_role("row", name="NOWAK, ZOFIA")).to_contain_text("22 of 26 slices")
