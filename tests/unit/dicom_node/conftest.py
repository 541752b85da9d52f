"""Books for tests of the service, and a listener at its door."""

import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dicom_node.database.engine import Database, open_database
from dicom_node.peers.peer import Peer
from dicom_node.peers.registry import put_peer
from dicom_node.reception.listener import Listener
from dicom_node.settings import read_settings
from tests.support.postgres import Postgres
from tests.support.waiting import wait_until


@pytest.fixture(scope="session")
def empty_books(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Migrate books once; to copy them takes a quarter of the time that the migrations take."""
    path = tmp_path_factory.mktemp("empty books") / "node.sqlite"
    open_database(f"sqlite:///{path}").engine.dispose()
    return path


@pytest.fixture(scope="session")
def empty_books_on_postgres(postgres: Postgres) -> str:
    """Migrate books on PostgreSQL once and return the database's name."""
    url = postgres.new_database()
    open_database(url).engine.dispose()
    return url.rpartition("/")[2]


@pytest.fixture
def database(empty_books: Path, tmp_path: Path) -> Iterator[Database]:
    """Give empty books on SQLite."""
    opened = open_database(f"sqlite:///{shutil.copy(empty_books, tmp_path / 'node.sqlite')}")
    yield opened
    opened.engine.dispose()


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def books(request: pytest.FixtureRequest, empty_books: Path, tmp_path: Path) -> Iterator[Database]:
    """Give the books on SQLite, and the same on PostgreSQL: what holds for one has to hold for the other."""
    if request.param == "sqlite":
        url = f"sqlite:///{shutil.copy(empty_books, tmp_path / 'node.sqlite')}"
    else:
        template = request.getfixturevalue("empty_books_on_postgres")
        url = request.getfixturevalue("postgres").new_database(template)
    opened = open_database(url)
    yield opened
    opened.engine.dispose()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return the node's folder; its books lie beside it."""
    return tmp_path / "node"


@pytest.fixture
def start(folder: Path, database: Database, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., int]]:
    """Return a function that serves with settings and returns the port; the peer SENDER is let in.

    Afterwards no thread of a connection, and then none of the listener is left, and none ended with a traceback.
    """
    put_peer(database, Peer(name="Sender", ae_title="SENDER"))
    fell: list[threading.ExceptHookArgs] = []
    monkeypatch.setattr(threading, "excepthook", fell.append)
    listeners, before = [], set(threading.enumerate())
    own = set(before)

    def run(**values: str) -> int:
        fixed = {"GLIONODE_NODE_FOLDER": str(folder), "GLIONODE_NODE_DICOM_PORT": "0"}
        listeners.append(Listener(read_settings(environment=fixed | values), database))
        listeners[-1].start()
        own.update(threading.enumerate())
        return listeners[-1].port

    yield run
    wait_until(lambda: not set(threading.enumerate()) - own)
    for listener in listeners:
        listener.stop()
    wait_until(lambda: not set(threading.enumerate()) - before)
    assert fell == []


@pytest.fixture
def port(start: Callable[..., int]) -> int:
    """Return the port of a listener with the settings as they are shipped."""
    return start()
