"""Books for tests of the service, and logs as they were: a command that a test runs in-process sets them up for all."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pydicom.config
import pytest
import structlog

from dicom_node.database import Database, open_database


@pytest.fixture(autouse=True)
def _logs_as_they_were() -> Iterator[None]:
    kept, mode = structlog.get_config(), pydicom.config.settings.reading_validation_mode
    names = ("", "pynetdicom", "dbos", "pydicom", "httpx")
    levels = {name: logging.getLogger(name).level for name in names}
    yield
    structlog.configure(**kept)
    pydicom.config.settings.reading_validation_mode = mode
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = open_database(f"sqlite:///{tmp_path / 'node.sqlite'}")
    yield opened
    opened.engine.dispose()


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def books(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """Give the books on SQLite, and the same on PostgreSQL: what holds for one has to hold for the other."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path / 'node.sqlite'}"
    else:
        url = request.getfixturevalue("postgres").new_database()
    opened = open_database(url)
    yield opened
    opened.engine.dispose()
