"""Runs `glionode demo`: a node and a sender in separate processes, real network connections, and the result."""

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from dicom_node.access.links import new_link
from dicom_node.access.users import put_demo_user
from dicom_node.database.engine import Database, open_database
from dicom_node.database.states import LinkKind, StudyState
from dicom_node.peers.peer import Peer
from dicom_node.peers.registry import put_peer, remove_peer
from dicom_node.phantom.phantom import DEMO_PLAN, make_phantom, write_study
from dicom_node.runs.step import Step
from dicom_node.settings import Settings
from dicom_node.studies.status import StudyStatus, read_status
from dicom_node.web.addresses import panel_address, viewer_address
from viewer_integration.ohif import open_link
from viewer_integration.transport.association import RemoteEntity

__all__ = ["DemoError", "DemoResult", "run_demo"]

SENDER = Peer(name="demo sender", ae_title="GLIONODE_DEMO", host="", port=0, may_send=True, is_destination=False)
TIMEOUT_S = 600.0
START_TIMEOUT_S = 60.0
POLL_S = 0.2
_OPEN_STATES = (StudyState.RECEIVING, StudyState.QUEUED, StudyState.RUNNING)


class DemoError(Exception):
    """The demonstration did not finish; the message states where it stopped."""


@dataclass(frozen=True, kw_only=True)
class DemoResult:
    """The node's result for the demo study.

    Attributes
    ----------
    true_volumes_ml
        Implanted volumes, for comparison.
    link
        One-time link that logs in as the demonstration's administrator and opens the study with its overlay, while
        ``glionode serve`` runs.
    """

    study: StudyStatus
    true_volumes_ml: dict[str, float]
    link: str


def run_demo(settings: Settings, progress: Callable[[str, float], None]) -> DemoResult:
    """Start a node, send it the phantom study, wait for the result, and stop the node.

    Parameters
    ----------
    progress
        Called with the current phase and the completed share, 0 to 1.

    Raises
    ------
    DemoError
        When the node does not start, the study is not accepted, or there is no result.
    """
    database = open_database(settings.database_url)
    with tempfile.TemporaryDirectory(prefix="glionode-demo-") as scratch, _node(settings):
        progress("making the demo study", 0.02)
        phantom = make_phantom(DEMO_PLAN)
        write_study(phantom, Path(scratch))
        put_peer(database, SENDER)
        try:
            progress("waiting for the node", 0.2)
            node = _wait_for_node(settings)
            progress("sending by C-STORE", 0.25)
            _send(Path(scratch), node)
            study = _wait_for_result(database, phantom.study_uid, progress)
        finally:
            remove_peer(database, SENDER.name)
    progress("done", 1.0)
    way_back = open_link(viewer_address(settings), study.key)
    return DemoResult(
        study=study,
        true_volumes_ml=dict(phantom.true_volume_ml),
        link=new_link(database, panel_address(settings), LinkKind.OPEN, put_demo_user(database), way_back),
    )


@contextmanager
def _node(settings: Settings) -> Iterator[None]:
    """Run ``glionode serve`` as a child process, with settings from the same file and environment."""
    node = subprocess.Popen(
        [sys.executable, "-P", "-m", "dicom_node.cli", "serve"], stdout=subprocess.DEVNULL, stderr=_log_file(settings)
    )
    try:
        yield
    finally:
        node.terminate()
        node.wait()


def _log_file(settings: Settings) -> int:
    settings.node.folder.mkdir(parents=True, exist_ok=True)
    return (settings.node.folder / "demo.log").open("ab").fileno()


def _wait_for_node(settings: Settings) -> RemoteEntity:
    from dicom_node.peers.echo import EchoOutcome, echo  # noqa: PLC0415 - only needed here

    node = Peer(
        name="node",
        ae_title=settings.node.ae_title,
        host=_reachable(settings.node.bind),
        port=settings.node.dicom_port,
        may_send=False,
        is_destination=False,
    )
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        if echo(node, SENDER.ae_title).outcome is EchoOutcome.OK:
            return RemoteEntity(name="node", ae_title=node.ae_title, host=node.host, port=node.port)
        time.sleep(POLL_S)
    log = settings.node.folder / "demo.log"
    message = f"the node did not answer C-ECHO on port {node.port} within {START_TIMEOUT_S:.0f} s; see {log}"
    raise DemoError(message)


def _send(folder: Path, node: RemoteEntity) -> None:
    address = f"{node.ae_title}@{node.host}:{node.port}"
    command = [sys.executable, "-P", "-m", "dicom_node.cli", "send", str(folder), "--to", address]
    sender = subprocess.run(  # noqa: S603 - our own module
        [*command, "--from", SENDER.ae_title], capture_output=True, text=True, check=False
    )
    if sender.returncode:
        message = f"the demo study was not accepted: {sender.stderr.strip()}"
        raise DemoError(message)


def _wait_for_result(database: Database, study_uid: str, progress: Callable[[str, float], None]) -> StudyStatus:
    deadline = time.monotonic() + TIMEOUT_S
    while time.monotonic() < deadline:
        study = next((study for study in read_status(database).studies if study.study_uid == study_uid), None)
        if study is not None and study.state not in _OPEN_STATES:
            if study.state in (StudyState.REJECTED, StudyState.FAILED):
                message = f"the node made no result: {study.reason}"
                raise DemoError(message)
            return study
        if study is not None:
            done = Step(study.step).place if study.step else 0
            progress(study.step or study.state, 0.4 + 0.6 * done / len(Step))
        time.sleep(POLL_S)
    message = f"no result within {TIMEOUT_S:.0f} s"
    raise DemoError(message)


def _reachable(bind: str) -> str:
    return "127.0.0.1" if bind in ("", "0.0.0.0", "::") else bind  # noqa: S104 - compared, not bound
