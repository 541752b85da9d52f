"""A real node: `glionode serve` in a process group of its own, on free ports and with a folder of its own."""

import contextlib
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx

from dicom_node.database.engine import Database, open_database
from dicom_node.peers.peer import Peer
from dicom_node.peers.registry import put_peer
from dicom_node.settings import Settings, read_settings
from dicom_node.studies.status import NodeStatus, StudyStatus, read_status
from tests.support.detector_model import write_detector
from tests.support.orthanc import Orthanc, free_port
from tests.support.pacs import Pacs, echo
from tests.support.waiting import ANSWER_S

SENDER = Peer(name="Sender", ae_title="SENDER")
STOP_S = 30.0
START_S = 120.0
POLL_S = 0.02


class Node:
    """A node that can be started, killed and started again on the same folder and ports."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        names = ("GLIONODE_NODE_DICOM_PORT", "GLIONODE_WEB_PORT", "GLIONODE_VIEWER_PORT")
        ports = dict(zip(names, (str(free_port()) for _ in names), strict=True))
        own = {
            "GLIONODE_NODE_FOLDER": str(folder / "node"),
            "GLIONODE_ASSEMBLY_QUIET_PERIOD_S": "1",
            "GLIONODE_LISTENER_PROCESSES": "1",  # a second one takes three seconds of a core to start
            "GLIONODE_PROCESSING_DEVICE": "cpu",
            "GLIONODE_PROCESSING_MODEL": str(_model(folder / "detector")),  # quick, and its answer is known
            "GLIONODE_PROCESSING_THREADS": "1",  # threads that wait for each other are slow on a busy machine
        }
        inherited = {key: value for key, value in os.environ.items() if not key.startswith("GLIONODE_")}
        self.environment = {**inherited, **ports, **own, **environment}
        self.settings: Settings = read_settings(environment=self.environment)
        self.log_file = folder / "stderr.jsonl"
        self.said_file = folder / "stdout.txt"
        self.database: Database = open_database(self.settings.database_url)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start every role and wait until the listener answers a C-ECHO."""
        listened = self.times("listening")
        with self.log_file.open("ab") as log, self.said_file.open("wb") as said:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "dicom_node.cli", "serve"],
                env=self.environment,
                stdout=said,
                stderr=log,
                start_new_session=True,
            )
        # Connecting to a port before somebody listens can connect to itself (RFC 793, simultaneous open).
        deadline = time.monotonic() + START_S
        while self.times("listening") == listened or not self.answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise self.failure("the node did not start")
            time.sleep(POLL_S)

    def first_link(self) -> str:
        """Return the one-time link that the node printed when it started, by which somebody becomes administrator."""
        (link,) = re.findall(r"^Panel +(http\S+/login\?token=\S+) ", self.said_file.read_text("utf-8"), re.MULTILINE)
        return str(link)

    def wait_for_page(self, url: str, deadline_s: float = 60.0) -> None:
        """Wait until the web role, which starts beside the listener, answers under an address."""
        deadline = time.monotonic() + deadline_s
        while True:
            try:
                httpx.get(url, timeout=ANSWER_S, follow_redirects=True).raise_for_status()
            except httpx.TransportError:
                if time.monotonic() > deadline:
                    raise self.failure("the web role did not answer") from None
                time.sleep(POLL_S)
            else:
                return

    def stop(self) -> None:
        """Ask every role to end, as a service manager does."""
        if self._process is not None:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(STOP_S)
            self.kill_hard()

    def kill_hard(self) -> None:
        """Kill every process of the node at once."""
        if self._process is not None:
            self.signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to every process of the node."""
        assert self._process is not None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)

    def answers(self, calling_ae: str = SENDER.ae_title, called_ae: str = "GLIONODE") -> bool:
        """Tell whether the listener answers a C-ECHO."""
        return echo(self.settings.node.dicom_port, calling_ae, called_ae)

    def status(self) -> NodeStatus:
        """Read the node's books."""
        return read_status(self.database)

    def study(self, study_uid: str) -> StudyStatus | None:
        """Return where one study stands, or None while nothing of it has come."""
        return next((study for study in self.status().studies if study.study_uid == study_uid), None)

    def wait_for_state(self, study_uid: str, states: Collection[str], deadline_s: float = 120.0) -> StudyStatus:
        """Wait until a study has reached one of the states."""
        deadline = time.monotonic() + deadline_s
        while (study := self.study(study_uid)) is None or study.state not in states:
            if time.monotonic() > deadline:
                found = "nothing" if study is None else f"{study.state} at {study.step} ({study.reason})"
                raise self.failure(f"waited for {'/'.join(states)}, found {found}")
            time.sleep(POLL_S)
        return study

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the real command line with this node's settings."""
        return subprocess.run(
            [sys.executable, "-m", "dicom_node.cli", *arguments],
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=START_S,
            check=False,
        )

    def events(self) -> list[dict[str, Any]]:
        """Return every log event of every process, oldest first."""
        if not self.log_file.exists():
            return []
        lines = self.log_file.read_text(encoding="utf-8").splitlines(keepends=True)
        return [
            json.loads(line) for line in lines if line.startswith("{") and line.endswith("\n")
        ]  # one may be under way

    def times(self, event: str) -> int:
        """Tell how often something has been logged."""
        return sum(one["event"] == event for one in self.events())

    def wait_for_event(self, event: str, deadline_s: float = 60.0, **values: str) -> None:
        """Wait until something has been logged: the books may say before the log that it is so."""
        deadline = time.monotonic() + deadline_s
        while not any(one["event"] == event and values.items() <= one.items() for one in self.events()):
            if time.monotonic() > deadline:
                raise self.failure(f"waited for the event {event}")
            time.sleep(POLL_S)

    def rows(self, file: str, query: str, *values: str) -> list[tuple[Any, ...]]:
        """Read a SQLite file of the node without taking any lock, so also while the node is stopped."""
        path = self.settings.node.folder / file
        if not path.exists():
            return []
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=5)) as connection:
            return connection.execute(query, values).fetchall()

    def failure(self, sentence: str) -> AssertionError:
        """Return an error that shows what the node wrote to stderr."""
        log = self.log_file.read_text(encoding="utf-8", errors="replace") if self.log_file.exists() else ""
        return AssertionError(f"{sentence}; the node's stderr ends with:\n{log[-6000:]}")


@contextlib.contextmanager
def running_node(
    folder: Path, peers: Sequence[Peer] = (SENDER,), environment: Mapping[str, str] | None = None
) -> Iterator[Node]:
    """Start a node that knows the peers, and stop it at the end.

    Parameters
    ----------
    folder
        Empty; the node's folder and its stderr go there.
    environment
        Settings beside ports and folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    node = Node(folder, environment or {})
    for peer in peers:
        put_peer(node.database, peer)
    try:
        node.start()
        yield node
    finally:
        node.stop()
        node.database.engine.dispose()


def _model(folder: Path) -> Path:
    """Return a model that finds the small study's lesion by FLAIR or by T1 after contrast, whichever was recognised."""
    return write_detector(folder, seen=("FLAIR+T1CE", "T1CE", "T1CE"))


def destination(pacs: Pacs, name: str = "PACS") -> Peer:
    """Return the peer that a test PACS is to the node."""
    return Peer(name=name, ae_title=pacs.ae_title, host="127.0.0.1", port=pacs.port, is_destination=True)


def orthanc_destination(orthanc: Orthanc) -> Peer:
    """Return the peer that an Orthanc is to a node which delivers to it and takes nothing from it."""
    return Peer(
        name="PACS",
        ae_title=orthanc.ae_title,
        host="127.0.0.1",
        port=orthanc.dicom_port,
        may_send=False,
        is_destination=True,
    )
