"""Steps in a child: what hangs, takes too much memory or crashes ends the child alone, with a reason."""

import os
import signal
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from dicom_node.database.engine import open_database
from dicom_node.database.tables import RunRow, StudyRow, utc_now
from dicom_node.runs.child_process import StepProcess
from dicom_node.runs.consequences import Consequence
from dicom_node.settings import Settings, read_settings

pytestmark = pytest.mark.torch

RUN = "0123-abcd"


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("GLIONODE_NODE_FOLDER", str(tmp_path / "node"))
    settings = read_settings()
    database = open_database(settings.database_url)
    with database.session() as session:
        session.add(StudyRow(study_uid="1.2", key="k"))
        session.flush()
        session.add(RunRow(run_id=RUN, study_uid="1.2", revision=1, manifest_sha256="0", ready_at=utc_now()))
    database.engine.dispose()
    return settings


@pytest.fixture
def child(settings: Settings) -> Iterator[StepProcess]:
    process = StepProcess(settings)
    yield process
    process.stop()


def _limited(settings: Settings, **limits: float) -> StepProcess:
    return StepProcess(replace(settings, limits=replace(settings.limits, **limits)))


def test_an_error_comes_back_with_what_follows_from_it(child: StepProcess) -> None:
    outcome = child.perform("convert", RUN)  # no step before it has left anything
    assert (outcome.consequence, outcome.code) == (Consequence.RETRY, "input_output")
    assert outcome.reason == "FileNotFoundError: see the node's log for the details"


def test_the_child_is_kept_for_the_next_step(child: StepProcess) -> None:
    child.perform("convert", RUN)
    first = child._child
    child.perform("align", RUN)
    assert first is not None
    assert child._child is first


def test_a_step_that_takes_too_long_is_ended(settings: Settings) -> None:
    process = _limited(settings, step_time_s=0.0)
    os.mkfifo(_manifest(settings))  # reading it waits for a writer that never comes
    outcome = process.perform("convert", RUN)
    assert (outcome.consequence, outcome.code) == (Consequence.FAIL, "time_limit")
    assert outcome.reason == "the step convert took longer than 0 s (limits.step_time_s) and was ended"
    assert process._child is None


def test_a_step_that_takes_too_much_memory_is_ended(settings: Settings) -> None:
    process = _limited(settings, step_memory_gib=0.01)
    outcome = process.perform("convert", RUN)
    assert outcome.consequence in (Consequence.FAIL, Consequence.RETRY)  # torch alone takes more, at the start
    assert "memory" in outcome.reason
    process.stop()


def test_a_child_that_was_killed_is_followed_by_a_new_one(child: StepProcess) -> None:
    child.perform("align", RUN)
    first = child._child
    assert first is not None
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    assert child.perform("align", RUN).code == "input_output"
    assert child._child is not first


def test_a_crash_within_a_step_is_tried_again(child: StepProcess, settings: Settings) -> None:
    child.perform("align", RUN)
    os.mkfifo(_manifest(settings))
    victim = child._child
    assert victim is not None
    os.kill(victim.pid, signal.SIGSTOP)
    threading.Timer(1.0, os.kill, (victim.pid, signal.SIGKILL)).start()
    outcome = child.perform("convert", RUN)
    assert (outcome.consequence, outcome.code) == (Consequence.RETRY, "step_crashed")
    assert outcome.reason == "the process for the step convert ended unexpectedly (status -9)"


def _manifest(settings: Settings) -> Path:
    folder = settings.node.folder / "work" / RUN
    folder.mkdir(parents=True)
    return folder / "manifest.json"
