"""A study uploaded to Orthanc is routed to the node by itself, and its results come back into the same study."""

import json
import time
from pathlib import Path

import pytest

from dicom_node.database.states import StudyState
from dicom_node.phantom.phantom import write_study
from tests.support.node import running_node
from tests.support.orthanc import running_orthanc
from tests.support.phantoms import phantom_of, small_plan

RETURN_S = 60.0

pytestmark = [pytest.mark.orthanc, pytest.mark.timeout(400)]


def test_uploaded_study_comes_back_with_its_results(tmp_path: Path) -> None:
    phantom = phantom_of(small_plan())
    files = write_study(phantom, tmp_path / "study")
    options = {"StableAge": 1, "ExecuteLuaEnabled": True}
    with running_orthanc(tmp_path / "orthanc", **options) as orthanc, running_node(tmp_path / "node") as node:
        connected = node.command("doctor", "--orthanc", orthanc.url, "--json")
        assert connected.returncode == 0, connected.stdout + connected.stderr
        assert all(check["ok"] for check in json.loads(connected.stdout)["checks"])
        for path in files:
            orthanc.upload(path)
        study = node.wait_for_state(phantom.study_uid, {StudyState.DELIVERED}, 200)
        assert study.instances == len(files)
        expected = len(files) + len(study.results)
        deadline = time.monotonic() + RETURN_S
        while len(orthanc.instances(phantom.study_uid)) < expected and time.monotonic() < deadline:
            time.sleep(0.1)
        held = {str(tags["SOPInstanceUID"]) for tags in orthanc.instances(phantom.study_uid)}
        assert {uid for _, uid, _ in study.results} <= held
        assert len(held) == expected
        # The results made the study change in Orthanc; nothing of them is routed back.
        assert node.study(phantom.study_uid).instances == len(files)  # type: ignore[union-attr]
