"""A node that was killed in the middle of its work, upgraded and started again finishes that work.

The fixtures hold folders of earlier nodes: of workflow version 1 (database revision 0003) one killed within the step
segment; of workflow version 2, at revision 0007 and as the version before `dicom_node` got its rooms wrote them
(revision 0009), one for each step, and one killed when the last image had been received.
"""

import sqlite3
import tarfile
from contextlib import closing
from pathlib import Path

import pytest

from dicom_node.runs.workflow import WORKFLOW_VERSION
from tests.support.node import SENDER, Node, destination, running_node
from tests.support.pacs import running_pacs

FIXTURES = Path(__file__).parents[1] / "fixtures"
STEPS = ("select", "convert", "align", "segment", "encode", "deliver")
OLDER, BEFORE = "workflow_version_2.tar.xz", "workflow_version_2_before_rooms.tar.xz"
REVISIONS = {OLDER: "0007", BEFORE: "0009"}


def _unpack(fixture: str, folder: Path, member: str = "") -> None:
    """Unpack a node's folder, or the one of that name of several."""
    with tarfile.open(FIXTURES / fixture) as archive:
        archive.extractall(folder if not member else folder.with_name("unpacked"), filter="data")
    if member:
        folder.with_name("unpacked").joinpath(member).rename(folder)


def _goes_on_to_delivery(node: Node, study_uid: str, received: dict[str, list[bytes]]) -> list[str]:
    """Wait until the study is delivered; return which steps that took."""
    study = node.wait_for_state(study_uid, {"delivered", "failed", "rejected"})
    assert (study.state, study.reason) == ("delivered", "")
    assert set(received) == {uid for _, uid, _ in study.results}
    node.wait_for_event("step_done", step="deliver")
    return [event["step"] for event in node.events() if event["event"] == "step_done"]


def test_work_of_an_earlier_workflow_version_goes_on_at_its_step(tmp_path: Path) -> None:
    _unpack("workflow_version_1.tar.xz", tmp_path / "node")
    with closing(sqlite3.connect(tmp_path / "node" / "glionode.sqlite")) as database:
        ((run_id, study_uid, step),) = database.execute("SELECT run_id, study_uid, step FROM run").fetchall()
    with closing(sqlite3.connect(tmp_path / "node" / "workflow.sqlite")) as database:
        query = "SELECT workflow_uuid, status, application_version FROM workflow_status"
        assert database.execute(query).fetchall() == [(run_id, "PENDING", "1")]
    assert (step, WORKFLOW_VERSION) == ("segment", "2")
    with running_pacs() as pacs, running_node(tmp_path, [SENDER, destination(pacs)]) as node:
        assert _goes_on_to_delivery(node, study_uid, pacs.received) == ["segment", "encode", "deliver"]
        states = node.rows("workflow.sqlite", "SELECT workflow_uuid, status FROM workflow_status ORDER BY created_at")
        assert [state for uid, state in states if uid == run_id] == ["CANCELLED"]


@pytest.mark.parametrize(
    ("fixture", "step"),
    [*((BEFORE, step) for step in STEPS), (OLDER, "segment")],
)
def test_work_of_an_earlier_node_goes_on_at_its_step(tmp_path: Path, fixture: str, step: str) -> None:
    _unpack(fixture, tmp_path / "node", step)
    with closing(sqlite3.connect(tmp_path / "node" / "glionode.sqlite")) as database:
        ((study_uid, at),) = database.execute("SELECT study_uid, step FROM run").fetchall()
        assert database.execute("SELECT version_num FROM alembic_version").fetchall() == [(REVISIONS[fixture],)]
    assert at == step
    with running_pacs() as pacs, running_node(tmp_path, [SENDER, destination(pacs)]) as node:
        assert _goes_on_to_delivery(node, study_uid, pacs.received) == list(STEPS[STEPS.index(step) :])


@pytest.mark.parametrize("fixture", REVISIONS)
def test_what_an_earlier_node_had_just_received_is_worked_on_once(tmp_path: Path, fixture: str) -> None:
    """Its journal holds what is in the database already."""
    _unpack(fixture, tmp_path / "node", "receive")
    with closing(sqlite3.connect(tmp_path / "node" / "glionode.sqlite")) as database:
        ((study_uid,),) = database.execute("SELECT study_uid FROM study").fetchall()
        held = database.execute("SELECT sop_instance_uid, sha256, current FROM instance ORDER BY id").fetchall()
    with running_pacs() as pacs, running_node(tmp_path, [SENDER, destination(pacs)]) as node:
        assert _goes_on_to_delivery(node, study_uid, pacs.received) == list(STEPS)
        assert (
            node.rows("glionode.sqlite", "SELECT sop_instance_uid, sha256, current FROM instance ORDER BY id") == held
        )
        assert node.times("journal_adopted") == 1
