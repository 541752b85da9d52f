"""A node's books and its listener, for tests that need no more of it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from dicom_node.database.engine import Database, open_database
from dicom_node.reception.listener import Listener
from dicom_node.settings import Settings, read_settings
from tests.support.orthanc import free_port


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Return settings of a node with a listener of its own."""
    port = str(free_port())
    return read_settings(environment={"GLIONODE_NODE_FOLDER": str(tmp_path / "node"), "GLIONODE_NODE_DICOM_PORT": port})


@pytest.fixture
def database(settings: Settings) -> Iterator[Database]:
    """Give the books of that node."""
    opened = open_database(settings.database_url)
    yield opened
    opened.engine.dispose()


@pytest.fixture
def listener(settings: Settings, database: Database) -> Iterator[Listener]:
    """Run its listener."""
    running = Listener(settings, database)
    running.start()
    yield running
    running.stop()
