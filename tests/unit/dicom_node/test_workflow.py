"""What DBOS keeps of durable work, with a real DBOS on SQLite."""

import sqlite3
import time
from contextlib import closing
from datetime import timedelta
from pathlib import Path

from dicom_node.database.engine import open_database
from dicom_node.database.tables import utc_now
from dicom_node.runs.child_process import StepOutcome
from dicom_node.runs.lifecycle import Lifecycle
from dicom_node.runs.workflow import ENDED_KEPT, Workflow
from dicom_node.settings import read_settings
from dicom_node.studies.run_queue import Start

DEADLINE_S = 30.0


def _kept(folder: Path) -> dict[str, int]:
    """Return how many rows of each of DBOS's tables there are."""
    tables = ("workflow_status", "operation_outputs")
    with closing(sqlite3.connect(folder / "workflow.sqlite")) as books:
        return {table: books.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in tables}  # noqa: S608


def test_what_ended_long_ago_is_forgotten_and_nothing_else(tmp_path: Path) -> None:
    settings = read_settings(environment={"GLIONODE_NODE_FOLDER": str(tmp_path)})
    database = open_database(settings.database_url)
    workflow = Workflow(settings, Lifecycle(settings, database), "executor", lambda _step, _run: StepOutcome())
    workflow.launch()
    try:
        for run in ("one", "two"):
            workflow.start(
                Start(run_id=run, attempt=0)
            )  # no such run is open in the books, so it ends at its first step
        deadline = time.monotonic() + DEADLINE_S
        while not workflow.is_idle():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert _kept(tmp_path) == {"workflow_status": 2, "operation_outputs": 2}
        soon = utc_now() + timedelta(minutes=1)
        assert workflow.forget_ended(soon) == 0
        assert _kept(tmp_path) == {"workflow_status": 2, "operation_outputs": 2}
        assert workflow.forget_ended(soon + ENDED_KEPT) == 2
        assert _kept(tmp_path) == {"workflow_status": 0, "operation_outputs": 0}
    finally:
        workflow.stop()
        database.engine.dispose()
