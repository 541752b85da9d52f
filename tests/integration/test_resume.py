"""A node that is killed in the middle of its work takes it up where it was cut off, and delivers once."""

import contextlib
import hashlib
import json
import os
import signal
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from dicom_node.peers.registry import put_peer
from tests.support.node import SENDER, Node, destination, running_node
from tests.support.pacs import Pacs, instance_of, instance_of_file, running_pacs, store
from tests.support.small_study import make_small_study

STEPS = ("select", "convert", "align", "segment", "encode", "deliver")
ATTEMPTS = 8
STEP_DEADLINE_S = 90.0


def _send(node: Node, name: str) -> str:
    """Send a study and return its UID."""
    datasets = make_small_study(name)
    assert set(store([instance_of(ds) for ds in datasets], node.settings.node.dicom_port)) == {0x0000}
    return str(datasets[0].StudyInstanceUID)


def _steps_done(node: Node) -> set[tuple[str, str]]:
    """Return every (run, step) that the workflow's own books call complete."""
    rows = node.rows("workflow.sqlite", "SELECT workflow_uuid, function_name FROM operation_outputs")
    return {(run, step) for run, step in rows if step in STEPS}


def _run_in_step(node: Node, study_uid: str, step: str) -> str | None:
    """Return the run that works on the study, when it is within the step at this moment."""
    query = "SELECT run_id FROM run WHERE study_uid = ? AND step = ? AND state = 'running'"
    found = node.rows("glionode.sqlite", query, study_uid, step)
    return found[0][0] if found and (found[0][0], step) not in _steps_done(node) else None


def _kill_within(node: Node, study_uid: str, step: str) -> str | None:
    """Kill every process while the run is within the step; return the run, or None when the moment has passed."""
    deadline = time.monotonic() + STEP_DEADLINE_S
    while _run_in_step(node, study_uid, step) is None:
        study = node.rows("glionode.sqlite", "SELECT state FROM study WHERE study_uid = ?", study_uid)
        if study == [("delivered",)]:
            return None
        if time.monotonic() > deadline:
            raise node.failure(f"the study never came to the step {step}")
        time.sleep(0.001)
    node.signal(signal.SIGSTOP)
    run = _run_in_step(node, study_uid, step)
    if run is None:
        node.signal(signal.SIGCONT)
    else:
        node.kill_hard()
    return run


def _kill_at(node: Node, pacs: Pacs, step: str) -> tuple[str, str]:
    """Send studies until one is caught within the step; return its UID and its run."""
    for attempt in range(ATTEMPTS):
        if step == "deliver":
            for study in node.status().studies:
                node.wait_for_state(study.study_uid, {"delivered"})
            pacs.hold()  # the destination has stored the object, and the node dies before it hears so
        study_uid = _send(node, f"{step} {attempt}")
        run = _kill_within(node, study_uid, step)
        pacs.release()
        if run is not None:
            return study_uid, run
    raise node.failure(f"no study was caught within the step {step}")


def _times_done(node: Node, run: str, step: str) -> int:
    return sum(
        event["event"] == "step_done" and (event["run"], event["step"]) == (run, step) for event in node.events()
    )


def _wait_for_empty_queue(node: Node) -> None:
    """Wait until every workflow has ended well; a study is delivered a moment before its workflow ends."""
    deadline = time.monotonic() + STEP_DEADLINE_S
    while (states := set(node.rows("workflow.sqlite", "SELECT status FROM workflow_status"))) != {("SUCCESS",)}:
        if time.monotonic() > deadline:
            raise node.failure(f"workflows are left in the states {states}")
        time.sleep(0.05)


def _assert_delivered_once(node: Node, pacs: Pacs, study_uid: str) -> None:
    """Compare what stands in the books and lies in the results folder with what the destination has."""
    study = node.wait_for_state(study_uid, {"delivered"})
    assert [kind for kind, _, _ in study.results] == ["SEG", "SR"]
    assert {(uid, state) for uid, _, state, _, _ in study.deliveries} == {
        (uid, "accepted") for _, uid, _ in study.results
    }
    files = sorted((node.settings.node.folder / "results" / study_uid).rglob("*.dcm"))
    assert files == sorted(node.settings.node.folder / path for _, _, path in study.results)
    for path in files:
        kept = instance_of_file(path)
        assert {hashlib.sha256(version).hexdigest() for version in pacs.received[kept.sop_instance_uid]} == {
            hashlib.sha256(kept.data_set).hexdigest()
        }


@pytest.mark.timeout(900)
def test_a_node_killed_at_any_step_delivers_every_study_once(tmp_path: Path) -> None:
    killed: dict[str, str] = {}
    done_before: set[tuple[str, str]] = set()
    with running_pacs() as pacs, running_node(tmp_path, [SENDER, destination(pacs)]) as node:
        for step in STEPS:
            study_uid, run = _kill_at(node, pacs, step)
            killed[study_uid] = run
            done = _steps_done(node)
            assert {name for found, name in done if found == run} == set(STEPS[: STEPS.index(step)])
            done_before |= done
            node.start()
        study_uids = [study.study_uid for study in node.status().studies]
        assert set(killed) <= set(study_uids)
        for study_uid in study_uids:
            _assert_delivered_once(node, pacs, study_uid)
        expected = {uid for study in node.status().studies for _, uid, _ in study.results}
        assert set(pacs.received) == expected
        assert len(expected) == 2 * len(study_uids)
        assert {(run, step): _times_done(node, run, step) for run, step in done_before} == dict.fromkeys(done_before, 1)
        _wait_for_empty_queue(node)
        assert [study.revision for study in node.status().studies] == [1] * len(study_uids)


def test_results_are_kept_without_a_destination_and_one_that_refuses_is_tried_again(tmp_path: Path) -> None:
    with running_pacs() as pacs, running_node(tmp_path) as node:
        kept = node.wait_for_state(_send(node, "kept"), {"stored"})
        assert kept.reason == "no destination is configured: the results are kept on the node"
        assert all((node.settings.node.folder / path).is_file() for _, _, path in kept.results)
        put_peer(node.database, destination(pacs))
        pacs.answer = 0xA700
        study_uid = _send(node, "refused")
        waiting = node.wait_for_state(study_uid, {"undelivered"})
        assert waiting.reason == "PACS: PACS answered 0xA700"
        assert {(state, status) for _, _, state, status, _ in waiting.deliveries} == {("refused", 0xA700)}
        pacs.answer = 0x0000
        _assert_delivered_once(node, pacs, study_uid)
        assert pacs.refused == len(waiting.results)
        assert set(pacs.received) == {uid for _, uid, _ in waiting.results}
        states = [found["state"] for found in json.loads(node.command("status", "--json").stdout)["studies"]]
        assert states == ["delivered", "stored"]


def test_a_study_that_kills_its_worker_for_ever_is_closed_with_a_reason(tmp_path: Path) -> None:
    with running_node(tmp_path) as node:
        study_uid = _send(node, "poison")
        assert _kill_within(node, study_uid, "segment") is not None
        # What DBOS writes itself once the attempts are used up, each of which would take a start of the node.
        with contextlib.closing(sqlite3.connect(node.settings.node.folder / "workflow.sqlite")) as books, books:
            books.execute("UPDATE workflow_status SET status = 'PENDING', recovery_attempts = 99")
        node.start()
        study = node.wait_for_state(study_uid, {"failed"})
        assert "killed" in study.reason
        assert study.step == "segment"
        assert node.answers()


def _listeners(node: Node) -> list[int]:
    """Return the process ids of the node's listeners."""
    found = []
    for status in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            command = status.read_bytes().split(b"\0")
            environment = status.with_name("environ").read_bytes()
            if b"listen" in command and str(node.settings.node.folder).encode() in environment:
                found.append(int(status.parent.name))
    return found


def test_while_one_listener_starts_again_another_takes_calls(tmp_path: Path) -> None:
    with running_node(tmp_path, [SENDER], {"GLIONODE_LISTENER_PROCESSES": "2"}) as node:
        _wait_for(lambda: node.times("listening") == 2)
        first, second = _listeners(node)
        os.kill(first, signal.SIGKILL)
        _wait_for(lambda: _has_ended(first))
        assert second in _listeners(node)
        assert (
            sum(node.answers() for _ in range(20)) >= 19
        )  # what was on its way to the dead one, its sender tries again
        _wait_for(lambda: node.times("listening") == 3)
        assert [event["ended"] for event in node.events() if event["event"] == "role_ended"] == ["listen"]
        assert len(_listeners(node)) == 2


def _has_ended(pid: int) -> bool:
    """Tell whether a process has let go of everything, its sockets too: it is a zombie, or gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def _wait_for(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + STEP_DEADLINE_S
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)
