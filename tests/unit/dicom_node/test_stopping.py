"""A role that is told to stop ends, however often and at whatever moment it is told."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

DEADLINE_S = 60.0
TIMES = 400


@pytest.mark.parametrize("attempt", range(3))
def test_a_role_that_is_told_again_and_again_to_stop_ends(tmp_path: Path, attempt: int) -> None:
    environment = {"GLIONODE_NODE_FOLDER": str(tmp_path / f"node{attempt}"), "GLIONODE_NODE_DICOM_PORT": "0"}
    command = [sys.executable, "-m", "dicom_node.cli", "listen"]
    with subprocess.Popen(command, env={**os.environ, **environment}, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        watchdog = threading.Timer(DEADLINE_S, process.kill)
        watchdog.start()
        assert any('"listening"' in line for line in process.stderr)
        for number in range(TIMES):
            if process.poll() is None:
                process.send_signal((signal.SIGTERM, signal.SIGINT)[number % 2])
        process.communicate()
        watchdog.cancel()
    assert process.returncode != -signal.SIGKILL, "it did not end by itself"
