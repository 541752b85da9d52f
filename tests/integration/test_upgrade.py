"""A node that was killed in the middle of its work, upgraded and started again finishes that work.

The fixture holds the folder of a node of workflow version 1 (books at revision 0003), killed within the step segment.
"""

import sqlite3
import tarfile
from pathlib import Path

from dicom_node.workflow import WORKFLOW_VERSION
from tests.support.node import SENDER, destination, running_node
from tests.support.pacs import running_pacs

FIXTURE = Path(__file__).parents[1] / "fixtures" / "workflow_version_1.tar.xz"


def test_work_of_an_earlier_workflow_version_goes_on_at_its_step(tmp_path: Path) -> None:
    with tarfile.open(FIXTURE) as archive:
        archive.extractall(tmp_path / "node", filter="data")
    with sqlite3.connect(tmp_path / "node" / "glionode.sqlite") as books:
        ((run_id, study_uid, step),) = books.execute("SELECT run_id, study_uid, step FROM run").fetchall()
    with sqlite3.connect(tmp_path / "node" / "workflow.sqlite") as books:
        query = "SELECT workflow_uuid, status, application_version FROM workflow_status"
        assert books.execute(query).fetchall() == [(run_id, "PENDING", "1")]
    assert (step, WORKFLOW_VERSION) == ("segment", "2")
    with running_pacs() as pacs, running_node(tmp_path, [SENDER, destination(pacs)]) as node:
        study = node.wait_for_state(study_uid, {"delivered", "failed", "rejected"})
        assert (study.state, study.reason) == ("delivered", "")
        assert set(pacs.received) == {uid for _, uid, _ in study.results}
        done = [event["step"] for event in node.events() if event["event"] == "step_done"]
        assert done == ["segment", "encode", "deliver"]
        states = node.rows("workflow.sqlite", "SELECT workflow_uuid, status FROM workflow_status ORDER BY created_at")
        assert [state for uid, state in states if uid == run_id] == ["CANCELLED"]
