"""One role of the node in a process of its own, with everything that it writes kept."""

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from dicom_node.database.engine import Database, open_database
from dicom_node.settings import Settings, read_settings

__all__ = ["RoleProcess", "role_process"]

START_S = 60.0
POLL_S = 0.02


class RoleProcess:
    """A running `glionode ROLE`."""

    def __init__(self, process: "subprocess.Popen[bytes]", settings: Settings, database: Database, log: Path) -> None:
        self.pid, self._process, self._log = process.pid, process, log
        self.settings, self.database = settings, database

    def written(self) -> str:
        """Return what it has written to stdout and stderr so far."""
        return self._log.read_text("utf-8")

    def events(self, name: str = "") -> list[dict[str, Any]]:
        """Return its log events, those of a name if one is given; every line is one."""
        events = [json.loads(line) for line in self.written().splitlines(keepends=True) if line.endswith("\n")]
        return [event for event in events if name in ("", event["event"])]

    def wait_for(self, name: str, count: int = 1) -> list[dict[str, Any]]:
        """Wait until something was logged so often."""
        deadline = time.monotonic() + START_S
        while len(found := self.events(name)) < count:
            assert self._process.poll() is None, self.written()
            assert time.monotonic() < deadline, self.written()
            time.sleep(POLL_S)
        return found


@contextlib.contextmanager
def role_process(role: str, folder: Path, environment: Mapping[str, str]) -> Iterator[RoleProcess]:
    """Run a role on a folder until the end.

    Parameters
    ----------
    environment
        Settings beside the node's folder; a PYTHONPATH, if the process needs one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("GLIONODE_")}
    complete = {**inherited, "GLIONODE_NODE_FOLDER": str(folder / "node"), **environment}
    settings = read_settings(environment=complete)
    database, log = open_database(settings.database_url), folder / f"{role}.jsonl"
    with log.open("wb") as file:
        command = [sys.executable, "-m", "dicom_node.cli", role]
        process = subprocess.Popen(command, env=complete, stdout=file, stderr=file)
    try:
        yield RoleProcess(process, settings, database, log)
        assert process.poll() is None, log.read_text("utf-8")
    finally:
        process.terminate()
        process.wait(START_S)
        database.engine.dispose()
