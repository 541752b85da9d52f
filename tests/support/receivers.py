"""Receivers of what the node tells, on real ports of this machine: a mail server and a web server, with TLS."""

import contextlib
import ssl
import subprocess
import threading
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import SMTP as POLICY
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from tests.support.orthanc import free_port

__all__ = ["Certificate", "MailBox", "Posted", "WebBox", "mail_server", "make_certificate", "web_server"]


@dataclass(frozen=True, kw_only=True)
class Certificate:
    """Files of a certificate for this machine and of its key."""

    pem: str
    key: str

    def server_side(self) -> ssl.SSLContext:
        """Return what a server presents it with."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.pem, self.key)
        return context


def make_certificate(folder: Path, days: int = 2) -> Certificate:
    """Make a certificate for this machine that nobody else knows."""
    made = Certificate(pem=str(folder / f"node{days}.pem"), key=str(folder / f"node{days}.key"))
    kind = ["-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", str(days)]
    names = ["-subj", "/CN=node", "-addext", "subjectAltName=IP:127.0.0.1"]
    command = ["openssl", "req", *kind, *names, "-out", made.pem, "-keyout", made.key]
    subprocess.run(command, check=True, capture_output=True)
    return made


@dataclass
class MailBox:
    """What a mail server has taken; `refusal` is what it answers instead, if anything."""

    port: int
    refusal: str = ""
    raw: list[bytes] = field(default_factory=list)
    users: list[str] = field(default_factory=list)

    @property
    def mails(self) -> list[EmailMessage]:
        """The mails."""
        return [message_from_bytes(one, policy=POLICY) for one in self.raw]

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802
        """Take a mail."""
        if self.refusal:
            return self.refusal
        assert isinstance(envelope.content, bytes)
        self.raw.append(envelope.content)
        return "250 taken"


@contextlib.contextmanager
def mail_server(
    certificate: Certificate | None = None,
    *,
    implicit: bool = False,
    login: tuple[str, str] | None = None,
    port: int = 0,
) -> Iterator[MailBox]:
    """Run a mail server; with a certificate it takes mail over TLS alone, by STARTTLS or from the first byte."""
    box = MailBox(port=port or free_port())

    def authenticate(_server: SMTP, _session: Session, _envelope: Envelope, _how: str, given: object) -> AuthResult:
        assert isinstance(given, LoginPassword)
        box.users.append(given.login.decode())
        return AuthResult(success=(given.login.decode(), given.password.decode()) == login)

    options: dict[str, Any] = {}
    if login is not None:
        options |= {"authenticator": authenticate, "auth_required": True, "auth_require_tls": False}
    if certificate and implicit:
        options |= {"ssl_context": certificate.server_side()}
    elif certificate:
        options |= {"tls_context": certificate.server_side(), "require_starttls": True}
    controller = Controller(box, hostname="127.0.0.1", port=box.port, **options)
    with warnings.catch_warnings(action="ignore", category=UserWarning):  # it warns of passwords without TLS
        controller.start()
        try:
            yield box
        finally:
            controller.stop()


@dataclass(frozen=True, kw_only=True)
class Posted:
    """One request."""

    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class WebBox:
    """What a web server was sent; `status` is what it answers, and `before` is called before it does."""

    url: str = ""
    status: int = 204
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    posted: list[Posted] = field(default_factory=list)
    before: Callable[[], object] = lambda: None


@contextlib.contextmanager
def web_server(certificate: Certificate | None = None, port: int = 0) -> Iterator[WebBox]:
    """Run a web server that keeps what it is sent."""
    box = WebBox()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            box.posted.append(Posted(path=self.path, headers=dict(self.headers), body=body))
            box.before()
            with contextlib.suppress(OSError):
                self.send_response(box.status)
                for name, value in {"Content-Length": str(len(box.body)), **box.headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(box.body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            """Say nothing of those who hang up."""

    server = Server(("127.0.0.1", port), Handler)
    if certificate:
        server.socket = certificate.server_side().wrap_socket(server.socket, server_side=True)
    box.url = f"{'https' if certificate else 'http'}://127.0.0.1:{server.server_port}/hook"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield box
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
