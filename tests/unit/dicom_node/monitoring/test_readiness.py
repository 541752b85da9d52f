"""Whether the node is ready, with each of its checks failing in turn."""

from pathlib import Path

import httpx
import sqlalchemy as sa

from dicom_node.database.engine import Database
from dicom_node.database.worker_slots import WorkerBook
from dicom_node.monitoring.readiness import Readiness, ReadinessReport
from dicom_node.settings import read_settings
from dicom_node.web.app import panel_app
from tests.support.viewer_port import served
from tests.support.waiting import ANSWER_S

ALL = {"database": True, "migration": True, "folder": True, "disk": True}


def _report(database: Database, folder: Path, **values: str) -> ReadinessReport:
    settings = read_settings(environment={"GLIONODE_NODE_FOLDER": str(folder), **values})
    return Readiness(settings, database).report()


def test_a_node_is_ready_without_a_worker_and_says_so(books: Database, tmp_path: Path) -> None:
    report = _report(books, tmp_path)
    assert (report.ready, report.passed, report.worker) == (True, ALL, False)
    book = WorkerBook(books)
    assert _report(books, tmp_path).worker
    book.end()
    assert not _report(books, tmp_path).worker


def test_without_space_or_folder_the_node_is_not_ready(database: Database, tmp_path: Path) -> None:
    full = _report(database, tmp_path, GLIONODE_LIMITS_FREE_DISK_GIB="1000000000")
    assert (full.ready, full.passed) == (False, ALL | {"disk": False})
    lost = _report(database, tmp_path / "not there")
    assert (lost.ready, lost.passed) == (False, ALL | {"folder": False, "disk": False})


def test_with_tables_of_another_version_the_node_is_not_ready(books: Database, tmp_path: Path) -> None:
    with books.session() as session:
        session.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    assert _report(books, tmp_path).passed == ALL | {"migration": False}


def test_without_a_database_the_node_is_not_ready(tmp_path: Path) -> None:
    gone = Database(sa.create_engine(f"sqlite:///{tmp_path / 'no folder' / 'node.sqlite'}"))
    report = _report(gone, tmp_path)
    assert (report.passed, report.worker) == (ALL | {"database": False, "migration": False}, False)


def test_a_stranger_gets_names_of_checks_and_a_status(database: Database, tmp_path: Path) -> None:
    values = {"GLIONODE_NODE_FOLDER": str(tmp_path)}
    for extra, status in (({}, 200), ({"GLIONODE_LIMITS_FREE_DISK_GIB": "1000000000"}, 503)):
        app = panel_app(read_settings(environment=values | extra), database)
        with served(app) as url:
            answer = httpx.get(f"{url}/readyz", timeout=ANSWER_S)
        ready = status == 200
        assert answer.status_code == status
        assert answer.json() == {"ready": ready, "checks": ALL | {"disk": ready}, "worker": False}
