"""When each step of a run began and ended is in the database, and on the page of its study."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import sqlalchemy as sa

from dicom_node.database.engine import Database
from dicom_node.database.history_tables import StepTimeRow
from dicom_node.database.states import RunState
from dicom_node.runs.lifecycle import Lifecycle
from dicom_node.settings import read_settings
from tests.support.held_study import hold_run
from tests.support.panel_client import logged_in


@pytest.fixture
def lifecycle(database: Database, tmp_path: Path) -> Lifecycle:
    hold_run(database, RunState.QUEUED)
    return Lifecycle(read_settings(environment={"GLIONODE_NODE_FOLDER": str(tmp_path)}), database)


@pytest.fixture
def client(database: Database, tmp_path: Path) -> Iterator[httpx.Client]:
    with logged_in(database, tmp_path) as opened:
        yield opened


def _rows(database: Database) -> list[tuple[str, bool]]:
    with database.session() as session:
        rows = session.scalars(sa.select(StepTimeRow).order_by(StepTimeRow.id)).all()
        assert all(row.ended_at is None or row.ended_at >= row.began_at for row in rows)
        return [(row.step, row.ended_at is not None) for row in rows]


def test_a_step_ends_when_the_next_begins_and_the_last_with_its_run(database: Database, lifecycle: Lifecycle) -> None:
    lifecycle.begin("run", "select")
    lifecycle.begin("run", "convert")
    assert _rows(database) == [("select", True), ("convert", False)]
    lifecycle.finish("run", RunState.DELIVERED)
    assert _rows(database) == [("select", True), ("convert", True)]


def test_a_step_that_another_worker_takes_over_began_once(database: Database, lifecycle: Lifecycle) -> None:
    lifecycle.begin("run", "segment")
    lifecycle.begin("run", "segment")
    assert _rows(database) == [("segment", False)]


def test_a_replayed_step_has_an_entry_of_its_own(database: Database, lifecycle: Lifecycle) -> None:
    lifecycle.begin("run", "segment")
    lifecycle.finish("run", RunState.FAILED, "step_failed", "it failed")
    lifecycle.begin("run", "segment")
    assert _rows(database) == [("segment", True), ("segment", False)]


def test_the_page_shows_the_steps_in_order(client: httpx.Client, lifecycle: Lifecycle) -> None:
    for step in ("select", "convert", "align"):
        lifecycle.begin("run", step)
    lifecycle.finish("run", RunState.DELIVERED)
    page = client.get("/studies/abc").text
    timeline = page[page.index("<h2>Timeline</h2>") :]
    places = [
        timeline.index(f'<th scope="row">{name}</th>') for name in ("receive", "ready", "select", "convert", "align")
    ]
    assert places == sorted(places)
    assert timeline.index('<th scope="row">delivered</th>') > places[-1]
    assert timeline.count(" s</td>") == 4
