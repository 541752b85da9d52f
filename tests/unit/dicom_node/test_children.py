"""Processes that the node starts run the node's own code, whatever lies in the folder that it was started in."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import dicom_node
from dicom_node.app import _start as start_role
from dicom_node.runs.child_process import StepProcess
from dicom_node.settings import read_settings

ROOMS = Path(dicom_node.__file__).parents[1]
EVIL = "import pathlib\npathlib.Path({mark!r}).touch()\nraise SystemExit(3)\n"


@pytest.fixture
def mark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in a folder in which modules lie that the node imports; the file tells whether one was executed."""
    for name in ("structlog", "json", "torch", "dbos", "uvicorn"):
        (tmp_path / f"{name}.py").write_text(EVIL.format(mark=str(tmp_path / "executed")), "utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GLIONODE_NODE_FOLDER", str(tmp_path / "node"))
    return tmp_path / "executed"


def test_the_folder_does_harm_to_what_is_started_without_care(mark: Path) -> None:
    subprocess.run([sys.executable, "-m", "dicom_node.cli", "--help"], capture_output=True, check=False)
    assert mark.exists()


@pytest.mark.parametrize("role", ["listen --help", "work --help", "web --help"])
def test_a_role_executes_nothing_of_the_folder_it_is_started_in(mark: Path, role: str) -> None:
    with start_role(*role.split()) as process:
        assert process.wait() == 0
    assert not mark.exists()


@pytest.mark.torch
def test_the_child_for_steps_executes_nothing_of_the_folder_it_is_started_in(mark: Path) -> None:
    child = StepProcess(read_settings())
    outcome = child.perform("select", "unknown")
    child.stop()
    assert outcome.code == "defect"  # it has started, and knows no such run
    assert not mark.exists()


def test_every_python_that_is_started_leaves_its_folder_out() -> None:
    sources = [
        path
        for room in ("dicom_node", "conversion", "inference", "viewer_integration")
        for path in (ROOMS / room).rglob("*.py")
    ]
    started = [match for path in sources for match in re.findall(r"sys\.executable(.{7})", path.read_text("utf-8"))]
    assert len(started) >= 4
    assert set(started) == {', "-P",'}
