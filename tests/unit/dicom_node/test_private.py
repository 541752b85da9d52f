"""The node's folder is its user's alone: a role that runs, a folder of an earlier version, and what doctor says."""

import json
import os
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.support.orthanc import free_port

DEADLINE_S = 180.0


READY = {"listen": "listening", "work": "working", "web": "serving"}
"""What each role says once it has made everything that it makes at its start."""


def _environment(folder: Path) -> dict[str, str]:
    ports = ("GLIONODE_NODE_DICOM_PORT", "GLIONODE_WEB_PORT", "GLIONODE_VIEWER_PORT")
    return {"GLIONODE_NODE_FOLDER": str(folder), **{name: str(free_port()) for name in ports}}


def _run(role: str, environment: Mapping[str, str]) -> None:
    """Run a role, or `serve`, until all that it runs is ready."""
    command = [sys.executable, "-m", "dicom_node.cli", role]
    awaited = set(READY.values()) if role == "serve" else {READY[role]}
    with subprocess.Popen(
        command, env={**os.environ, **environment}, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        watchdog = threading.Timer(DEADLINE_S, process.kill)
        watchdog.start()
        while awaited:
            line = process.stderr.readline()
            assert line, f"it ended before it was {awaited}"
            awaited -= {event for event in awaited if f'"{event}"' in line}
        process.terminate()
        process.communicate()
        watchdog.cancel()


def _open_below(folder: Path) -> list[str]:
    return [str(one) for one in (folder, *folder.rglob("*")) if stat.S_IMODE(one.stat().st_mode) & 0o077]


def _doctor_on_folder(environment: Mapping[str, str]) -> dict[str, Any]:
    command = [sys.executable, "-m", "dicom_node.cli", "doctor", "--json"]
    done = subprocess.run(command, env={**os.environ, **environment}, check=False, capture_output=True, text=True)
    (check,) = [one for one in json.loads(done.stdout)["checks"] if one["name"] == "folder"]
    return dict(check)


@pytest.fixture
def wide() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.mark.usefixtures("wide")
@pytest.mark.parametrize("role", [*READY, "serve"])
def test_nothing_that_a_role_makes_is_open_to_others(tmp_path: Path, role: str) -> None:
    folder = tmp_path / "node"
    _run(role, _environment(folder))
    assert (folder / "glionode.sqlite").exists()
    assert _open_below(folder) == []


@pytest.mark.usefixtures("wide")
def test_a_folder_of_an_earlier_version_is_closed_at_start_and_named_before(tmp_path: Path) -> None:
    folder = tmp_path / "node"
    folder.mkdir(0o755)
    environment = _environment(folder)
    before = _doctor_on_folder(environment)
    assert not before["ok"]
    assert "0755" in before["detail"]
    _run("listen", environment)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert _doctor_on_folder(environment)["ok"]
