"""The workbench as a person uses it, in headless Chromium: files in, progress, and the tumour over the images."""

import io
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from conversion.nifti import write_nifti
from conversion.volume import Grid, ImageVolume, LabelVolume
from dicom_node.database.engine import Database, open_database
from dicom_node.database.worker_slots import WorkerBook
from dicom_node.settings import Settings, read_settings
from dicom_node.web.app import panel_app
from dicom_node.web.uploads import UPLOAD_PATH
from dicom_node.web.viewer_assets import niivue_folder
from dicom_node.workbench.jobs import files_of, input_folder
from dicom_node.workbench.spare_work import Uploads
from tests.support.browser import chromium
from tests.support.detector_model import write_detector
from tests.support.panel_client import new_login_link
from tests.support.viewer_port import served

pytestmark = [pytest.mark.browser, pytest.mark.torch]

SIZE = 96
COMPUTED_MS = 120_000
AXIAL = np.array([[0, 0, 1.0, 0], [0, 1.0, 0, 0], [4.0, 0, 0, 0], [0, 0, 0, 1]])
RESULT, TRUTH = (255, 150, 40), (60, 200, 255)
"""Colours of the outlines."""


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    for name, value in {
        "NODE_FOLDER": str(tmp_path / "node"),
        "PROCESSING_MODEL": str(write_detector(tmp_path / "detector")),
        "PROCESSING_THREADS": "1",
        "WORKBENCH_NICENESS": "0",  # beside other tests it would wait for ever
        "PROCESSING_ADMIT": "not_a_brain",  # what is drawn here is a disc in a disc
    }.items():
        monkeypatch.setenv(f"GLIONODE_{name}", value)
    return read_settings()


@contextmanager
def _worker(settings: Settings, database: Database) -> Iterator[None]:
    """Compute uploads as a worker does."""
    book, uploads, stop = WorkerBook(database), Uploads(settings, database), threading.Event()

    def work() -> None:
        while not stop.wait(0.1):
            uploads.do_next(book.executor)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        uploads.stop()
        thread.join()


def _head(path: Path, *, bright: bool) -> Path:
    k, row, column = np.indices((24, SIZE, SIZE))
    voxels = np.where(np.hypot(row - SIZE / 2, column - SIZE / 2) < 44, 100.0, 0.0)
    if bright:
        voxels[np.hypot(np.hypot(row - 40, column - 52), 3 * (k - 12)) < 14] = 400.0
    grid = Grid(shape=voxels.shape, affine=AXIAL, frame_of_reference_uid="drawn")
    write_nifti(ImageVolume(grid=grid, voxels=voxels.astype(np.float32)), path)
    return path


def _outlined(path: Path) -> Path:
    """Write what a person might have outlined: the bright disc of `_head`, a little larger."""
    k, row, column = np.indices((24, SIZE, SIZE))
    mask = np.hypot(np.hypot(row - 40, column - 52), 3 * (k - 12)) < 16
    grid = Grid(shape=mask.shape, affine=AXIAL, frame_of_reference_uid="drawn")
    write_nifti(LabelVolume(grid=grid, labels=mask.astype(np.uint8)), path)
    return path


def _near(page: Page, rgb: tuple[int, int, int]) -> int:
    """Count the pixels of the viewer that nearly have a colour."""
    image = np.asarray(Image.open(io.BytesIO(page.locator("#view").screenshot())).convert("RGB")).astype(int)
    return int((np.abs(image - rgb).max(axis=2) < 30).sum())


def _coloured(page: Page) -> int:
    """Count the pixels of the viewer that are not grey."""
    image = np.asarray(Image.open(io.BytesIO(page.locator("#view").screenshot())).convert("RGB")).astype(int)
    return int((np.ptp(image, axis=2) > 60).sum())


def test_files_are_dropped_computed_and_looked_at(settings: Settings, tmp_path: Path) -> None:
    assert (niivue_folder(settings) / "index.js").is_file(), "make viewer fetches it"
    files = [_head(tmp_path / "case_flair.nii.gz", bright=True), _head(tmp_path / "case_t2.nii.gz", bright=False)]
    database = open_database(settings.database_url)
    panel = panel_app(settings, database)
    with _worker(settings, database), served(panel, uploads=UPLOAD_PATH) as url, chromium() as browser:
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        elsewhere: list[str] = []
        page.on("request", lambda call: None if call.url.startswith((url, "data:", "blob:")) else elsewhere.append(""))
        page.goto(new_login_link(database, url))
        page.get_by_role("button", name="Open the panel").click()
        page.get_by_role("link", name="Workbench").click()
        expect(page.get_by_text("Nothing here yet")).to_be_visible()

        page.set_input_files("#files", files)
        expect(page.get_by_label("Sequence of case_flair.nii.gz")).to_have_value("FLAIR")
        page.get_by_label("Sequence of case_t2.nii.gz").select_option("FLAIR")
        expect(page.get_by_text("Two files are given as FLAIR")).to_be_visible()
        page.get_by_label("Sequence of case_t2.nii.gz").select_option("T2")
        page.set_input_files("#truth", _outlined(tmp_path / "by_hand.nii.gz"))
        expect(page.get_by_label("Sequence of by_hand.nii.gz")).to_have_value("truth")
        page.get_by_role("button", name="Look for a tumour").click()

        page.wait_for_selector("body[data-shown]", state="attached", timeout=COMPUTED_MS)
        expect(page.get_by_text("ml of tumour, found on T2, FLAIR")).to_be_visible()
        expect(page.locator("#volumes").get_by_role("row", name="Whole tumour")).to_contain_text("ml")
        with_overlay = _coloured(page)
        dice = page.locator("#figures").get_by_role("row", name="Whole tumour").get_by_role("cell").first
        assert 0.5 < float(dice.inner_text()) < 1
        page.get_by_text("Voxel-wise classification report").click()
        expect(page.locator("#report")).to_contain_text("macro avg")
        page.get_by_label("Overlay").select_option(label="Outlines of both")
        page.wait_for_selector("body[data-shown='ground_truth.nii.gz']", state="attached")
        page.get_by_label("Axial").check()
        assert min(_near(page, RESULT), _near(page, TRUTH)) > 50
        page.get_by_label("Overlay").select_option("")
        page.wait_for_selector("body[data-shown=none]", state="attached")
        assert with_overlay > _coloured(page) + 500
        with page.expect_download() as download:
            page.get_by_role("link", name="Download everything (ZIP)").click()
        assert Path(download.value.path()).read_bytes()[:2] == b"PK"
        page.get_by_role("button", name="Remove it now").click()
        expect(page.get_by_text("Nothing here yet")).to_be_visible()
        assert (errors, elsewhere) == ([], [])
    database.engine.dispose()


def test_a_wrong_file_gets_a_sentence_where_no_events_come_too(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("Dear colleague")
    database = open_database(settings.database_url)
    panel = panel_app(settings, database)
    with _worker(settings, database), served(panel, uploads=UPLOAD_PATH) as url, chromium() as browser:
        page = browser.new_page()
        page.route("**/events", lambda route: route.abort())  # as behind a proxy that lets no stream pass
        page.goto(new_login_link(database, url))
        page.get_by_role("button", name="Open the panel").click()
        page.goto(f"{url}/workbench")
        page.set_input_files("#files", tmp_path / "letter.txt")
        page.get_by_role("button", name="Look for a tumour").click()
        sentence = page.get_by_text("No result: letter.txt: neither DICOM, NIfTI nor an image. Send a DICOM study")
        expect(sentence).to_be_visible(timeout=COMPUTED_MS)
    database.engine.dispose()


def test_an_upload_is_cancelled_while_it_is_computed(settings: Settings, tmp_path: Path) -> None:
    database = open_database(settings.database_url)
    panel = panel_app(settings, database)
    with served(panel, uploads=UPLOAD_PATH) as url, chromium() as browser:
        page = browser.new_page()
        asked: list[str] = []
        page.on("request", lambda call: asked.append(f"{call.method} {httpx.URL(call.url).path}"))
        page.goto(new_login_link(database, url))
        page.get_by_role("button", name="Open the panel").click()
        page.goto(f"{url}/workbench")
        page.set_input_files("#files", _head(tmp_path / "flair.nii.gz", bright=True))
        page.get_by_role("button", name="Look for a tumour").click()
        expect(page.get_by_text("Next in the queue")).to_be_visible()
        (folder,) = (settings.node.folder / "workbench").iterdir()
        stored = input_folder(settings.node.folder, folder.name) / "00000"
        stored.unlink()
        os.mkfifo(stored)  # the child that opens it waits for ever
        with _worker(settings, database):
            expect(page.locator("#state")).to_have_text("Reading the files …", timeout=COMPUTED_MS)
            page.get_by_role("button", name="Cancel").click()
            expect(page.get_by_text("Nothing here yet")).to_be_visible()
        assert not folder.exists()
        status = f"{UPLOAD_PATH}/{folder.name}"
        assert [call for call in asked if status in call] == [f"GET {status}/events", f"DELETE {status}"]
    database.engine.dispose()


def test_a_folder_tells_the_sequences_of_its_files(settings: Settings, tmp_path: Path) -> None:
    for name in ("flair", "T1ce"):
        (tmp_path / "case" / name).mkdir(parents=True)
        _head(tmp_path / "case" / name / "img.nii.gz", bright=True)
    database = open_database(settings.database_url)
    with served(panel_app(settings, database), uploads=UPLOAD_PATH) as url, chromium() as browser:
        page = browser.new_page()
        page.goto(new_login_link(database, url))
        page.get_by_role("button", name="Open the panel").click()
        page.goto(f"{url}/workbench")
        page.set_input_files("#folder", tmp_path / "case")
        expect(page.get_by_label("Sequence of case/flair/img.nii.gz")).to_have_value("FLAIR")
        expect(page.get_by_label("Sequence of case/T1ce/img.nii.gz")).to_have_value("T1CE")
        page.get_by_role("button", name="Look for a tumour").click()
        expect(page.get_by_text("Next in the queue")).to_be_visible()
        (folder,) = (settings.node.folder / "workbench").iterdir()
        assert {(file.folder, file.role) for file in files_of(database, folder.name)} == {
            ("case/flair", "FLAIR"), ("case/T1ce", "T1CE"),
        }  # fmt: skip
    database.engine.dispose()
