"""The viewer's application on a real port of the loopback interface."""

import contextlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from starlette.types import ASGIApp

from dicom_node.audit.trail import AuditTrail
from dicom_node.database.engine import Database
from dicom_node.reception.corrections import Corrections
from dicom_node.reception.inbox import Inbox
from dicom_node.storage.disk_space import Disk
from dicom_node.web.http_server import Deadlines, Front, http_server
from dicom_node.web.viewer import NodeServices
from tests.support.orthanc import free_port

_START_S = 30


def node_services(database: Database, folder: Path, ae_title: str = "GLIONODE") -> NodeServices:
    """Return what the node does behind its viewer's port."""
    return NodeServices(
        corrections=Corrections(database, Inbox(database, folder), Disk(folder, 0.0)),
        trail=AuditTrail(folder, ae_title, database),
    )


@contextlib.contextmanager
def served(
    app: ASGIApp, deadlines: Deadlines | None = None, uploads: str = "", front: Front | None = None, port: int = 0
) -> Iterator[str]:
    """Serve an application with the node's own HTTP server and give its address."""
    port = port or free_port()
    server = http_server(app, "127.0.0.1", port, deadlines, uploads=uploads, front=front or Front())
    thread = threading.Thread(target=server.run, name="viewer")
    thread.start()
    try:
        deadline = time.monotonic() + _START_S
        while not server.started:
            if time.monotonic() > deadline or not thread.is_alive():
                message = "the viewer's server did not start"
                raise TimeoutError(message)
            time.sleep(0.01)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(_START_S)
