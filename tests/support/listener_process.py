"""A listener in a process of its own, that can be killed, and that another one follows on the same folder."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

__all__ = ["listening"]

POLL_S = 0.05
DEADLINE_S = 60.0
LISTENING = re.compile(r'"port": (\d+), "event": "listening"')


@contextmanager
def listening(folder: Path, environment: Mapping[str, str]) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Run `glionode listen` until the end of the block; give the process and its port, its log in ``stderr.jsonl``."""
    log = folder / "stderr.jsonl"
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("GLIONODE_")}
    command = [sys.executable, "-m", "dicom_node.cli", "listen"]
    with log.open("wb") as stderr:
        process = subprocess.Popen(command, env=inherited | environment, stdout=subprocess.DEVNULL, stderr=stderr)
    try:
        deadline = time.monotonic() + DEADLINE_S
        while not (found := LISTENING.search(log.read_text("utf-8"))):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(POLL_S)
        yield process, int(found[1])
    finally:
        process.terminate()
        process.wait(DEADLINE_S)
