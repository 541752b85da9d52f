"""A node as several processes on one database and one folder, each of which can be killed and started again."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from dicom_node.database.engine import Database, open_database
from dicom_node.peers.peer import Peer
from dicom_node.peers.registry import put_peer
from dicom_node.settings import Settings, read_settings
from dicom_node.studies.status import StudyStatus, read_status
from tests.support.detector_model import write_detector
from tests.support.node import SENDER
from tests.support.orthanc import free_port
from tests.support.pacs import echo

__all__ = ["Cluster", "running_cluster"]

START_S = 120.0
POLL_S = 0.05


class Cluster:
    """Processes by name, such as ``listen-0`` or ``work-2``."""

    def __init__(self, folder: Path, database_url: str, environment: Mapping[str, str]) -> None:
        detector = write_detector(folder / "detector", seen=("FLAIR+T1CE", "T1CE", "T1CE"))
        own = {
            "GLIONODE_NODE_FOLDER": str(folder / "node"),
            "GLIONODE_NODE_DICOM_PORT": str(free_port()),
            "GLIONODE_DATABASE_URL": database_url,
            "GLIONODE_ASSEMBLY_QUIET_PERIOD_S": "2",
            "GLIONODE_PROCESSING_DEVICE": "cpu",
            "GLIONODE_PROCESSING_MODEL": str(detector),
            "GLIONODE_PROCESSING_THREADS": "1",
        }
        inherited = {key: value for key, value in os.environ.items() if not key.startswith("GLIONODE_")}
        self.environment = {**inherited, **own, **environment}
        self.settings: Settings = read_settings(environment=self.environment)
        self.database: Database = open_database(self.settings.database_url)
        self._log = folder / "log.jsonl"
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str) -> None:
        """Start a process, such as ``work-1`` (the role, a hyphen, anything)."""
        role = name.partition("-")[0]
        running = self.processes.get(name)
        assert running is None or running.poll() is not None, f"{name} runs already"
        with self._log.open("ab") as log:
            command = [sys.executable, "-m", "dicom_node.cli", role]
            self.processes[name] = subprocess.Popen(
                command, env=self.environment, stdout=subprocess.DEVNULL, stderr=log, start_new_session=True
            )

    def signal(self, name: str, number: signal.Signals) -> None:
        """Send a signal to a process and to its children."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.processes[name].pid, number)

    def kill_hard(self, name: str) -> None:
        """Kill a process as a power cut would; a child of it ends by itself."""
        process = self.processes.pop(name)
        process.kill()
        process.wait()

    def stop(self) -> None:
        """End every process."""
        for process in self.processes.values():
            process.terminate()
        for name, process in self.processes.items():
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                self.signal(name, signal.SIGKILL)
                process.wait()

    def wait_until_listening(self) -> None:
        """Wait until some listener answers a C-ECHO."""
        self.wait_for_event("listening")  # a connection that is refused leaves its socket to the collector
        deadline = time.monotonic() + START_S
        while not echo(self.settings.node.dicom_port):
            if time.monotonic() > deadline:
                raise self.failure("no listener answers")
            time.sleep(POLL_S)

    def wait_for_event(self, event: str, times: int = 1) -> None:
        """Wait until the processes together have logged an event so often."""
        deadline = time.monotonic() + START_S
        while self._log.read_text(encoding="utf-8", errors="replace").count(f'"event": "{event}"') < times:
            if time.monotonic() > deadline:
                raise self.failure(f"the event {event} did not come {times} times")
            time.sleep(POLL_S)

    def studies(self) -> dict[str, StudyStatus]:
        """Return every study in the books by its UID."""
        return {study.study_uid: study for study in read_status(self.database, limit=100_000).studies}

    def wait_for(self, states: Sequence[str], study_uids: Sequence[str], deadline_s: float = 180.0) -> None:
        """Wait until every study is in one of the states."""
        deadline = time.monotonic() + deadline_s
        while True:
            found = self.studies()
            if all(uid in found and found[uid].state in states for uid in study_uids):
                return
            if time.monotonic() > deadline:
                left = {
                    uid: (found[uid].state, found[uid].step, found[uid].reason) if uid in found else "unknown"
                    for uid in study_uids
                }
                raise self.failure(f"waited for {'/'.join(states)}, found {left}")
            time.sleep(POLL_S)

    def log_of(self, keys: Sequence[str]) -> str:
        """Return what was logged about studies or their runs."""
        lines = self._log.read_text(encoding="utf-8", errors="replace").splitlines()
        return "\n".join(line for line in lines if any(key in line for key in keys))

    def failure(self, sentence: str) -> AssertionError:
        """Return an error that shows what the processes logged last."""
        return AssertionError(f"{sentence}; the log ends with:\n{self._log.read_text(errors='replace')[-6000:]}")


@contextlib.contextmanager
def running_cluster(
    folder: Path,
    database_url: str,
    names: Sequence[str],
    peers: Sequence[Peer] = (SENDER,),
    environment: Mapping[str, str] | None = None,
) -> Iterator[Cluster]:
    """Start processes by name and stop them at the end."""
    folder.mkdir(parents=True, exist_ok=True)
    cluster = Cluster(folder, database_url, environment or {})
    for peer in peers:
        put_peer(cluster.database, peer)
    try:
        for name in names:
            cluster.start(name)
        cluster.wait_until_listening()
        yield cluster
    finally:
        cluster.stop()
        cluster.database.engine.dispose()
