"""A listener that can write no more, or open no more files: its senders hear it, and it goes on when that is over."""

import json
import os
import resource
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa

from dicom_node.database.engine import Database, open_database
from dicom_node.database.tables import InstanceRow
from dicom_node.peers.registry import put_peer
from dicom_node.settings import read_settings
from tests.support.node import SENDER
from tests.support.pacs import Line, instance_of
from tests.support.small_study import make_small_study

DEADLINE_S = 60.0


@contextmanager
def _listener(folder: Path) -> Iterator[tuple[int, int, Database]]:
    """Run the role; give its process, its port and its books."""
    environment = {"GLIONODE_NODE_FOLDER": str(folder), "GLIONODE_NODE_DICOM_PORT": "0"}
    database = open_database(read_settings(environment=environment).database_url)
    put_peer(database, SENDER)
    command = [sys.executable, "-m", "dicom_node.cli", "listen"]
    with subprocess.Popen(command, env={**os.environ, **environment}, stderr=subprocess.PIPE, text=True) as process:
        watchdog = threading.Timer(DEADLINE_S, process.kill)
        watchdog.start()
        assert process.stderr is not None
        told = next(line for line in process.stderr if '"listening"' in line)
        threading.Thread(target=process.stderr.read, daemon=True).start()  # what it says must not hold it up
        yield process.pid, json.loads(told)["port"], database
        process.terminate()
        process.wait()
        watchdog.cancel()
    database.engine.dispose()


def _held(database: Database) -> set[str]:
    with database.session() as session:
        return set(session.scalars(sa.select(InstanceRow.sop_instance_uid)))


def _wait_for(database: Database, uids: set[str]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not uids <= _held(database):
        assert time.monotonic() < deadline
        time.sleep(0.05)


@contextmanager
def _limited(pid: int, what: int, limit: int) -> Iterator[None]:
    soft, hard = resource.prlimit(pid, what)
    resource.prlimit(pid, what, (limit, hard))
    yield
    resource.prlimit(pid, what, (soft, hard))


@pytest.mark.parametrize("bytes_left", [0, 3000], ids=["nothing", "less than an image"])
def test_what_cannot_be_written_stays_with_its_sender(tmp_path: Path, bytes_left: int) -> None:
    """No file may grow beyond a size (setrlimit(2), RLIMIT_FSIZE): each write behind it fails as on a full disk."""
    images = [instance_of(ds) for ds in make_small_study("limits", roles=["FLAIR"])]
    with _listener(tmp_path / "node") as (pid, port, database):
        line = Line(port, images)
        assert line.send(images[0]) == 0x0000
        with _limited(pid, resource.RLIMIT_FSIZE, bytes_left):
            assert [line.send(one) for one in images[1:4]] == [0xA700] * 3
        assert [line.send(one) for one in images[1:]] == [0x0000] * (len(images) - 1)
        line.close()
        _wait_for(database, {one.sop_instance_uid for one in images})


def test_what_was_taken_while_no_file_could_be_opened_is_filed_later(tmp_path: Path) -> None:
    images = [instance_of(ds) for ds in make_small_study("limits", roles=["FLAIR"])]
    with _listener(tmp_path / "node") as (pid, port, database):
        line = Line(port, images)
        assert line.send(images[0]) == 0x0000
        _wait_for(database, {images[0].sop_instance_uid})
        with _limited(pid, resource.RLIMIT_NOFILE, 4):
            assert {line.send(one) for one in images[1:]} <= {0x0000, 0xA700}
            socket.create_connection(("127.0.0.1", port)).close()  # it cannot even be accepted
        again = Line(port, images)
        assert {again.send(one) for one in images} == {0x0000}
        again.close()
        line.close()
        _wait_for(database, {one.sop_instance_uid for one in images})
