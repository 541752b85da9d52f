"""Variants of headers through the node: inbox, judging, selection, status and pages; a good study is there too."""

import io
from datetime import timedelta
from pathlib import Path

import httpx
import pydicom.config
import pytest
from pydicom import dcmread

from benchmarks.fuzz_headers import header_fuzz
from conversion.errors import ConversionError
from conversion.values import text
from dicom_node.database.engine import Database
from dicom_node.database.tables import utc_now
from dicom_node.reception.identity import InboxRefusal
from dicom_node.reception.inbox import Inbox
from dicom_node.runs.durable import DurableSteps
from dicom_node.settings import Settings, read_settings
from dicom_node.studies.assembly import Assembly
from dicom_node.studies.status import read_status
from dicom_node.web.app import panel_app
from tests.support.detector_model import write_detector
from tests.support.dicom_series import STUDY, uid_of
from tests.support.panel_client import new_login_link
from tests.support.small_study import make_small_study
from tests.support.viewer_port import served

VARIANTS = 40
PIXELS = bytes(8 * 10 * 2)

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pydicom", "ignore::UserWarning:highdicom")


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setattr(pydicom.config.settings, "reading_validation_mode", pydicom.config.IGNORE)
    model = write_detector(tmp_path / "model", minimum_lesion_ml=0.0)
    variables = {"NODE_FOLDER": str(tmp_path), "PROCESSING_DEVICE": "cpu", "PROCESSING_MODEL": str(model)}
    return read_settings(
        environment={f"GLIONODE_{name}": value for name, value in variables.items()}
        | {"GLIONODE_ASSEMBLY_QUIET_PERIOD_S": "1"}
    )


def _of_study(content: bytes, number: int) -> bytes:
    """Give each variant a study of its own."""
    uid = uid_of(STUDY)
    return content.replace(uid.encode(), f"{uid[:-4]}1{number:03d}".encode())


def _receive(inbox: Inbox, content: bytes) -> bool:
    """Tell whether an instance is taken; the UID of the request is the data set's, as far as one can be read."""
    try:
        uid = text(dcmread(io.BytesIO(content), stop_before_pixels=True), "SOPInstanceUID")
    except Exception:  # noqa: BLE001 - a sender that cannot read its own file names some UID
        uid = "1.2.3"
    try:
        inbox.receive(content, content, "SENDER", uid)
    except InboxRefusal:
        return False
    return True


@pytest.mark.timeout(600)
def test_no_header_stops_the_node(database: Database, settings: Settings) -> None:
    inbox, fuzz = Inbox(database, settings.node.folder), header_fuzz(seed=20)
    contents = (_of_study(content, n) for n in range(VARIANTS) for content in fuzz.variant(n, PIXELS))
    taken = sum(_receive(inbox, content) for content in contents)
    assert taken > VARIANTS
    good = make_small_study("good", roles=["FLAIR"])
    for ds in good:
        buffer = io.BytesIO()
        ds.save_as(buffer, enforce_file_format=True)
        assert _receive(inbox, buffer.getvalue())
    assembly, ready = Assembly(database, settings.node.folder, settings.assembly, "GLIONODE"), []
    for hour in range(1, 6):
        ready += assembly.ready_studies(utc_now() + timedelta(hours=hour))
    assert len(ready) > VARIANTS // 2
    steps, selected = DurableSteps(settings, database), set()
    for each in ready:
        try:
            steps.perform("select", each.run_id)
            selected.add(each.study_key)
        except ConversionError:
            continue
    told = {study.study_uid: study for study in read_status(database, 1000).studies}
    good_one = told[str(good[0].StudyInstanceUID)]
    assert good_one.key in selected
    assert (good_one.instances, set(good_one.summary["sequences"])) == (len(good), {"FLAIR"})
    keys = [study.key for study in told.values()]
    assert {each.study_key for each in ready} <= set(keys)
    with served(panel_app(settings, database)) as url, httpx.Client(base_url=url, timeout=60.0) as client:
        link = new_login_link(database, url)
        assert client.post("/login", data={"token": httpx.URL(link).params["token"]}).status_code == 303
        for address in ("/studies", *(f"/studies/{key}" for key in keys)):
            assert client.get(address).status_code == 200
