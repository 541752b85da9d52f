"""The page System: what it shows to an administrator, and the buttons of the models."""

import re
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
import sqlalchemy as sa
from lxml import etree

from dicom_node.database.engine import Database
from dicom_node.database.maintenance import set_maintenance
from dicom_node.database.states import RunState
from dicom_node.database.tables import RunRow, WorkerRow, utc_now
from dicom_node.database.worker_slots import WorkerBook
from dicom_node.models.roles import ModelRole, chosen, history
from dicom_node.settings import read_settings
from dicom_node.web.app import panel_app
from dicom_node.web.charts import Chart, Series
from inference.manifest import MODELS_FOLDER
from tests.support.canary import CANARIES, leaks
from tests.support.held_study import hold_run
from tests.support.panel_client import log_in, logged_in
from tests.support.viewer_port import served
from tests.support.waiting import ANSWER_S

SHIPPED = next(MODELS_FOLDER.glob("*/manifest.json")).parent.name


def test_the_page_shows_workers_queue_settings_and_no_secret(database: Database, tmp_path: Path) -> None:
    hold_run(database, RunState.QUEUED)
    WorkerBook(database, gpu="0")
    WorkerBook(database)
    with database.session() as session:
        row = session.scalar(sa.select(WorkerRow).where(WorkerRow.gpu == ""))
        assert row is not None
        row.beat_at = utc_now() - timedelta(hours=3)
    set_maintenance(database, "anna", on=True)
    values = {
        "GLIONODE_NODE_FOLDER": str(tmp_path),
        "GLIONODE_DATABASE_URL": "postgresql+psycopg://node:hunter2@host/node",
        "GLIONODE_LIMITS_FREE_DISK_GIB": "1000000",
    }
    with (
        served(panel_app(read_settings(environment=values), database)) as url,
        httpx.Client(base_url=url, timeout=ANSWER_S) as client,
    ):
        log_in(client, database)
        page = client.get("/system").text
    text = re.sub(r"\s+", " ", re.sub("<[^>]+>", " ", page))
    assert "1 worker alive, 1 silent" in text
    assert "3 h ago" in text
    assert "1 waiting" in text
    assert "images are refused below 1e+06 GiB" in text
    assert "The node is drained" in text
    assert "node:***@host" in text
    assert "hunter2" not in page
    assert f"{SHIPPED} " in text
    assert "/system/conformance" in page


def test_the_page_names_no_patient(database: Database, tmp_path: Path) -> None:
    hold_run(database, RunState.DELIVERED)
    with database.session() as session:
        run = session.get_one(RunRow, "run")
        run.finished_at, run.reason = utc_now(), CANARIES["PatientName"]
        run.summary = {"volumes_ml": {"WT": 41.5}, "sequences": {"T1": CANARIES["SeriesDescription"]}}
    with logged_in(database, tmp_path) as anna:
        pages = [anna.get("/system", params={"span": span}).text for span in ("day", "week")]
        assert anna.get("/system?span=year").status_code == 422
    assert all("41.5 ml" in page for page in pages)
    assert leaks(*pages) == []
    assert not re.search(r"<(?:script(?! src)|style)|\sstyle=|\son\w+=", "".join(pages))


@pytest.mark.torch
def test_a_model_is_promoted_taken_back_and_run_as_shadow_by_buttons(database: Database, tmp_path: Path) -> None:
    with logged_in(database, tmp_path) as anna:
        absent = anna.post("/system/models/promote", data={"name": "nobody", "version": ""})
        assert (absent.status_code, "no model" in absent.text.lower()) == (409, True)
        assert anna.post("/system/models/rollback").status_code == 409
        assert anna.post("/system/models/shadow", data={"name": SHIPPED}).headers["location"] == "/system#models"
        assert chosen(database, ModelRole.SHADOW).name == SHIPPED  # type: ignore[union-attr]
        assert "End shadow" in anna.get("/system").text
        anna.post("/system/models/shadow-off")
        assert chosen(database, ModelRole.SHADOW) is None
        anna.post("/system/models/promote", data={"name": SHIPPED})
        assert [(one.action, one.name, one.who) for one in history(database, ModelRole.PRODUCTION)] == [
            ("promote", SHIPPED, "anna")
        ]
        assert "Roll back the promotion" in anna.get("/system").text
        anna.post("/system/models/rollback")
        assert chosen(database, ModelRole.PRODUCTION) is None


def test_a_model_whose_networks_cannot_be_built_is_refused(database: Database, tmp_path: Path) -> None:
    folder = tmp_path / "models" / "broken" / "1"
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text("{}")
    with logged_in(database, tmp_path) as anna:
        assert anna.post("/system/models/promote", data={"name": "broken"}).status_code == 409
        assert "broken" in anna.get("/system").text
    assert history(database, ModelRole.PRODUCTION) == ()


CHART = Chart(
    title='Volume <of "all">',
    labels=[f"{hour}:00" for hour in range(24)],
    series=[
        Series(name="a", values=[None, 7.0, *[0.0] * 22]),
        Series(name="b&c", values=[3.5, None, *[1.0] * 22]),
    ],
    unit=" ml",
    digits=1,
)


@pytest.mark.parametrize("lines", [True, False])
def test_a_chart_is_well_formed_and_within_its_frame(lines: bool) -> None:  # noqa: FBT001
    chart = Chart(**{**vars(CHART), "lines": lines})
    drawing = etree.fromstring(str(chart.svg))
    assert drawing.get("aria-label") == 'Volume <of "all">: a, b&c'
    _, _, width, height = map(float, (drawing.get("viewBox") or "").split())
    for mark in drawing:
        assert "style" not in mark.attrib
        for key, most in (("x", width), ("x1", width), ("x2", width), ("cx", width), ("y", height), ("cy", height)):
            assert 0 <= float(mark.get(key, "0")) <= most
    assert len([mark for mark in drawing if mark.tag == "text"]) <= 3 + 8
    marks = [mark for mark in drawing if (mark.get("class") or "").startswith("series-0")]
    assert len(marks) == (22 + 23 if lines else 1)
    assert [chart.shown(value) for value in (None, 7.0)] == ["none", "7.0 ml"]


def test_the_axis_ends_at_a_round_number_and_a_chart_of_nothing_is_empty() -> None:
    def top(value: float) -> str:
        chart = Chart(title="t", labels=["a"], series=[Series(name="a", values=[value])])
        texts = [mark.text or "" for mark in etree.fromstring(str(chart.svg)) if mark.tag == "text"]
        return texts[2]

    assert [top(value) for value in (7, 10, 11, 0.3)] == ["10", "10", "20", "0.5"]
    assert Chart(title="t", labels=["a"], series=[Series(name="a", values=[0, None])]).is_empty
