"""A DICOMweb source on a real port of the loopback interface that answers whatever a test wants, byte by byte."""

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO

from pydicom.dataset import Dataset

__all__ = ["BOUNDARY", "WebSource", "file_of", "multipart", "serving_web"]

BOUNDARY = "a-boundary"

Reply = Callable[[BaseHTTPRequestHandler], None]


def file_of(ds: Dataset) -> bytes:
    """Return a data set as a DICOM file."""
    file = BytesIO()
    ds.save_as(file, enforce_file_format=True)
    return file.getvalue()


def multipart(parts: Iterable[bytes], *, end: bool = True, kind: str = "application/dicom") -> Iterator[bytes]:
    """Yield a multipart message; without an end it is cut short behind its last part's bytes."""
    between = b""
    for part in parts:
        yield between + f"--{BOUNDARY}\r\nContent-Type: {kind}\r\n\r\n".encode()
        yield part
        between = b"\r\n"
    if end:
        yield f"\r\n--{BOUNDARY}--\r\n".encode()


@dataclass(kw_only=True)
class WebSource:
    """A running source.

    Attributes
    ----------
    replies
        What it does for each request whose path ends so.
    asked
        Path and headers of each request.
    """

    root: str = ""
    replies: dict[str, Reply] = field(default_factory=dict)
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)

    def answers(self, path: str, body: Iterable[bytes], kind: str = "", code: int = 200, **headers: str) -> None:
        """Let it answer with a body that ends when the connection does."""
        kind = kind or f'multipart/related; type="application/dicom"; boundary={BOUNDARY}'

        def reply(handler: BaseHTTPRequestHandler) -> None:
            handler.send_response(code)
            handler.send_header("Content-Type", kind)
            for name, value in headers.items():
                handler.send_header(name.replace("_", "-"), value)
            handler.end_headers()
            for piece in body:
                handler.wfile.write(piece)

        self.replies[path] = reply


@contextmanager
def serving_web() -> Iterator[WebSource]:
    """Serve on a free port until the block ends."""
    source = WebSource()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            source.asked.append((self.path, dict(self.headers)))
            path = self.path.partition("?")[0]
            reply = next((reply for end, reply in source.replies.items() if path.endswith(end)), None)
            if reply is None:
                self.send_error(404)
                return
            with suppress(BrokenPipeError, ConnectionResetError):  # the node has had enough
                reply(self)

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.do_GET()

        def log_message(self, *_arguments: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = False
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    source.root = f"http://127.0.0.1:{server.server_address[1]}/dicom-web"
    try:
        yield source
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
