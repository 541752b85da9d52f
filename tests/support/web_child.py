"""The web role as a process of its own, as `serve` starts it: its ports, its log and how much memory it took."""

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx

from dicom_node.database.engine import Database, open_database
from dicom_node.settings import Settings, read_settings
from tests.support.orthanc import free_port
from tests.support.panel_client import new_login_link
from tests.support.waiting import ANSWER_S

__all__ = ["WebChild", "web_child"]

_START_S = 60.0


class WebChild:
    """A running `glionode web`."""

    def __init__(self, process: "subprocess.Popen[bytes]", settings: Settings, database: Database, log: Path) -> None:
        self.panel = f"http://127.0.0.1:{settings.web.port}"
        self.viewer = f"http://127.0.0.1:{settings.viewer.port}"
        self.settings = settings
        self.database = database
        self._pid = process.pid
        self._log = log

    def peak_mib(self) -> float:
        """Return the most memory that it has had so far (proc(5), VmHWM)."""
        lines = Path(f"/proc/{self._pid}/status").read_text("ascii").splitlines()
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))

    def cpu_s(self) -> float:
        """Return the time of a core that it has used so far (proc(5), utime and stime)."""
        fields = Path(f"/proc/{self._pid}/stat").read_text("ascii").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    @contextlib.contextmanager
    def logged_in(self) -> Iterator[httpx.Client]:
        """Give a client with a session on the panel."""
        token = httpx.URL(new_login_link(self.database, self.panel)).params["token"]
        with httpx.Client(base_url=self.panel, timeout=60) as client:
            assert client.post("/login", data={"token": token}).status_code == 303
            yield client

    def log_text(self) -> str:
        """Return what it wrote to stderr."""
        return self._log.read_text("utf-8")

    def events(self, name: str) -> list[dict[str, Any]]:
        """Return its log events of a name."""
        lines = [
            line for line in self.log_text().splitlines(keepends=True) if line.endswith("\n")
        ]  # one may be under way
        events = [json.loads(line) for line in lines if line.startswith("{")]
        return [event for event in events if event["event"] == name]


@contextlib.contextmanager
def web_child(folder: Path) -> Iterator[WebChild]:
    """Run the web role over a node's folder until the end."""
    own = {
        "GLIONODE_NODE_FOLDER": str(folder),
        "GLIONODE_WEB_PORT": str(free_port()),
        "GLIONODE_VIEWER_PORT": str(free_port()),
        "GLIONODE_VIEWER_FOLDER": str(folder / "ohif"),
        "GLIONODE_VIEWER_OPEN": "true",
    }
    environment = {key: value for key, value in os.environ.items() if not key.startswith("GLIONODE_")} | own
    settings = read_settings(environment=environment)
    database, log = open_database(settings.database_url), folder / "web.jsonl"
    with log.open("wb") as file:
        command = [sys.executable, "-m", "dicom_node.cli", "web"]
        process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=file)
    try:
        deadline = time.monotonic() + _START_S
        while not _answers(settings):
            assert process.poll() is None, log.read_text("utf-8")
            assert time.monotonic() < deadline, "the web role does not answer"
            time.sleep(0.02)
        yield WebChild(process, settings, database, log)
    finally:
        process.terminate()
        process.wait(30)
        database.engine.dispose()


def _answers(settings: Settings) -> bool:
    try:
        httpx.get(f"http://127.0.0.1:{settings.viewer.port}/app-config.js", timeout=ANSWER_S)  # or where to log in
        return httpx.get(f"http://127.0.0.1:{settings.web.port}/healthz", timeout=ANSWER_S).is_success
    except httpx.TransportError:
        return False
