"""A worker begins uploads only while no study of the clinic waits for it, and none in maintenance."""

from collections.abc import Collection, Iterator
from datetime import datetime
from pathlib import Path

import pytest

from dicom_node.database.engine import Database, open_database
from dicom_node.database.maintenance import set_maintenance
from dicom_node.database.states import RunState
from dicom_node.database.tables import RunRow, StudyRow, utc_now
from dicom_node.runs.worker import Worker
from dicom_node.settings import Settings, read_settings


class _Spare:
    """Spare work that counts how often it was begun; implements `SpareWork`."""

    def __init__(self) -> None:
        self.begun: list[str] = []

    def do_next(self, executor: str) -> bool:
        self.begun.append(executor)
        return True

    def give_back(self, executors: Collection[str]) -> None:
        """Have nothing to give back."""

    def clean_when_due(self, now: datetime) -> None:
        """Have nothing to remove."""

    def stop(self) -> None:
        """Have nothing to break off."""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return read_settings(environment={"GLIONODE_NODE_FOLDER": str(tmp_path / "node")})


@pytest.fixture
def database(settings: Settings) -> Iterator[Database]:
    opened = open_database(settings.database_url)
    yield opened
    opened.engine.dispose()


def test_uploads_begin_only_while_no_study_waits(
    settings: Settings, database: Database, request: pytest.FixtureRequest
) -> None:
    spare = _Spare()
    worker = Worker(settings, database, spare=spare)
    worker._workflow.launch()
    request.addfinalizer(worker._workflow.stop)
    executor = worker._book.executor
    with database.session() as session:
        session.add(StudyRow(study_uid="1.2", key="k"))
        session.flush()
        run = RunRow(run_id="r", study_uid="1.2", revision=1, manifest_sha256="0", ready_at=utc_now())
        run.state, run.executor = RunState.RUNNING, executor
        session.add(run)
    worker._do_next_spare()
    assert spare.begun == []
    with database.session() as session:
        session.get_one(RunRow, "r").state = RunState.DELIVERED
    set_maintenance(database, "panel", on=True)
    worker._do_next_spare()
    assert spare.begun == []
    set_maintenance(database, "panel", on=False)
    worker._do_next_spare()
    assert spare.begun == [executor]
