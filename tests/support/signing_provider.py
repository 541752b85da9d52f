"""A small OpenID provider on a real port that signs what a test wants, right or wrong."""

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

from joserfc.jwk import Key, RSAKey
from joserfc.jwt import encode

__all__ = ["CLIENT_ID", "SigningProvider", "signing_provider"]

CLIENT_ID = "glionode-at-site"
_KEY = RSAKey.generate_key(2048, {"kid": "first", "use": "sig"})


@dataclass
class SigningProvider:
    """What it answers; a test changes it.

    Attributes
    ----------
    claims
        Changes to the claims of the next tokens; None leaves one out.
    metadata
        Changes to what it states about itself.
    asked
        The forms that came to its token endpoint, with the header of the authorisation.
    broken
        Takes the place of the answer at an address: status, headers, content.
    """

    url: str = ""
    nonce: str = ""
    key: Key = field(default_factory=lambda: _KEY)
    algorithm: str = "RS256"
    header: dict[str, Any] = field(default_factory=lambda: {"kid": "first"})
    claims: dict[str, Any] = field(default_factory=dict)
    keys: list[Mapping[str, Any]] = field(default_factory=lambda: [_KEY.as_dict(private=False)])
    metadata: dict[str, Any] = field(default_factory=dict)
    asked: list[dict[str, str]] = field(default_factory=list)
    broken: dict[str, tuple[int, Mapping[str, str], bytes]] = field(default_factory=dict)
    change_token: Callable[[str], str] = str

    def about(self) -> dict[str, Any]:
        """Return what it states about itself."""
        stated = {
            "issuer": self.url,
            "authorization_endpoint": f"{self.url}/authorize",
            "token_endpoint": f"{self.url}/token",
            "jwks_uri": f"{self.url}/keys",
        }
        return _changed(stated, self.metadata)

    def token(self) -> str:
        """Return an ID token, with the nonce that a test has read from the login's address."""
        now = int(time.time())
        stated = {
            "iss": self.url,
            "aud": CLIENT_ID,
            "sub": "subject-1",
            "iat": now,
            "exp": now + 300,
            "nonce": self.nonce,
            "preferred_username": "Bert",
            "groups": ["readers"],
        }
        header = {"alg": self.algorithm} | self.header
        signed = encode(header, _changed(stated, self.claims), self.key, algorithms=[self.algorithm])
        return self.change_token(signed)

    def answer(self, path: str, form: dict[str, str]) -> tuple[int, Mapping[str, str], bytes]:
        """Return status, headers and content."""
        if path in self.broken:
            return self.broken[path]
        if path == "/token":
            self.asked.append(form)
            content: dict[str, Any] = {
                "token_type": "Bearer",
                "access_token": "secret-access",
                "id_token": self.token(),
            }
        else:
            content = {"/keys": {"keys": self.keys}}.get(path) or self.about()
        return 200, {"Content-Type": "application/json"}, json.dumps(content).encode()


def _changed(stated: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in (stated | changes).items() if value is not None}


@contextlib.contextmanager
def signing_provider() -> Iterator[SigningProvider]:
    """Serve one until the end."""
    provider = SigningProvider()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer({})

        def do_POST(self) -> None:
            text = self.rfile.read(int(self.headers["Content-Length"])).decode()
            form = {key: values[0] for key, values in parse_qs(text).items()}
            self._answer(form | {"authorization": self.headers.get("Authorization", "")})

        def _answer(self, form: dict[str, str]) -> None:
            status, headers, content = provider.answer(self.path, form)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            with contextlib.suppress(ConnectionError):  # who has read enough closes
                self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    provider.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, name="provider", kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield provider
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
