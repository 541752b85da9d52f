"""The viewer's application on a real port of the loopback interface."""

import contextlib
import threading
import time
from collections.abc import Iterator

from starlette.types import ASGIApp

from dicom_node.web.http_server import Deadlines, Front, http_server
from tests.support.orthanc import free_port

_START_S = 30


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
