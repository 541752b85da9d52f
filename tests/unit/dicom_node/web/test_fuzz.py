"""Whatever is sent to panel and viewer is answered, never with 500: seeded variants over every route, real sockets."""

import contextlib
import random
import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote_from_bytes

import httpx
import pytest
import sqlalchemy as sa
from structlog.testing import capture_logs

from conversion.recognition.site_rules import SiteRule
from dicom_node.database.engine import open_database
from dicom_node.database.tables import StudyRow
from dicom_node.peers.peer import Peer
from dicom_node.peers.registry import put_peer
from dicom_node.rules.site_rules import add_rule
from dicom_node.settings import read_settings
from dicom_node.studies.holdings import Holdings
from dicom_node.web.app import panel_app
from dicom_node.web.viewer import viewer_app
from tests.support.panel_client import new_login_link
from tests.support.viewer_port import served
from tests.support.viewer_study import ViewerStudy, hold, make_study
from tests.support.waiting import ANSWER_S

_VARIANTS = 250

_ODD = (
    b"", b"0", b"-1", b"1e400", b"NaN", b"null", b"\x00", b"\xff\xfe", b"\xed\xa0\x80", b"%", b"%00", b"%ff", b"..",
    b"../..", b"//", b"[", b"]", b"\\", b"'", b'"', b"<script>", b"{{7*7}}", b"a" * 3000, b"9" * 400, b"9" * 5000,
    b"1." * 32,
    "\N{SNOWMAN}".encode(), "\u0661".encode(), b"*" * 200, b"1,1", b"1," * 50, b"all", b"\r", b"\t", b"\x1b[31m", b"=",
    b"&", b";",
)  # fmt: skip


@pytest.fixture(scope="module")
def study() -> ViewerStudy:
    return make_study()


@pytest.fixture(scope="module")
def ports(tmp_path_factory: pytest.TempPathFactory, study: ViewerStudy) -> Iterator[tuple[str, str, str, str]]:
    """Give panel, viewer, a session's cookie and a study's key."""
    folder = tmp_path_factory.mktemp("node")
    settings = read_settings(environment={"GLIONODE_NODE_FOLDER": str(folder)})
    database = open_database(f"sqlite:///{folder / 'node.sqlite'}")
    hold(database, folder, study)
    put_peer(database, Peer(name="P", ae_title="P"))
    add_rule(database, SiteRule(name="A", kind="T1", description="*"))
    with (
        served(panel_app(settings, database)) as panel,
        served(viewer_app(Holdings(database, folder), Path(folder, "ohif"), login=None)) as viewer,
    ):
        token = httpx.URL(new_login_link(database, panel)).params["token"]
        answer = httpx.post(f"{panel}/login", data={"token": token}, timeout=ANSWER_S)
        cookie = answer.headers["set-cookie"].partition(";")[0]
        with database.session() as session:
            key = session.scalar(sa.select(StudyRow.key))
        yield panel, viewer, cookie, str(key)
    database.engine.dispose()


def _status(url: str, request: bytes) -> int:
    """Send bytes and return the status of the answer; 0 when the node closed without one."""
    at = httpx.URL(url)
    with socket.create_connection((at.host, at.port or 0), ANSWER_S) as client, contextlib.suppress(ConnectionError):
        client.sendall(request)
        answer = b""
        while b"\r\n" not in answer and (piece := client.recv(65536)):
            answer += piece
        return int(answer.split(b" ", 2)[1]) if answer else 0
    return 0


class _Maker:
    """Makes requests from a seed."""

    def __init__(self, seed: int, known: tuple[bytes, ...]) -> None:
        self._draw = random.Random(seed)  # noqa: S311 - a seeded test
        self._known = known

    def value(self) -> bytes:
        return self._draw.choice((*_ODD, *self._known))

    def path(self, template: str) -> bytes:
        parts = [
            quote_from_bytes(self.value(), safe="" if self._draw.random() < 0.8 else "/").encode()
            if part == "?"
            else part.encode()
            for part in template.split("/")
        ]
        names = (
            b"StudyDate",
            b"PatientName",
            b"limit",
            b"offset",
            b"includefield",
            b"00100010",
            b"token",
            b"saved",
            b"x",
        )
        pairs = [
            self._draw.choice(names) + b"=" + quote_from_bytes(self.value()).encode()
            for _ in range(self._draw.randrange(3))
        ]
        return b"/".join(parts) + (b"?" + b"&".join(pairs) if pairs else b"")

    def headers(self, host: bytes, cookie: bytes) -> bytes:
        names = (b"Accept", b"Range", b"If-None-Match", b"If-Modified-Since", b"Cookie", b"Sec-Fetch-Site", b"X-A",
                 b"If-Range", b"Accept-Encoding", b"Referer", b"Authorization", b"Forwarded", b"X-Forwarded-For",
                 b"Content-Encoding", b"Expect", b"Upgrade", b"Origin")  # fmt: skip
        shown = {b"Host": host, b"Cookie": b"a=b; " + cookie, b"Connection": b"close"}
        for _ in range(self._draw.randrange(3)):
            odd = self.value().replace(b"\r", b"").replace(b"\n", b"").replace(b"\0", b"")
            shown[self._draw.choice(names)] = self._draw.choice((odd, b"http://[", b"bytes=" + odd, b"bytes=5-2,0-1"))
        if self._draw.random() < 0.1:
            shown[b"Host"] = self._draw.choice((b"[", b"a b", b"@", b"127.0.0.1:99999", b"[::1", b"x" * 300, b"\xff"))
        return b"".join(name + b": " + value + b"\r\n" for name, value in shown.items())

    def body(self) -> tuple[bytes, bytes]:
        fields = (b"name", b"ae_title", b"host", b"port", b"kind", b"description", b"place", b"study_uid", b"source",
                  b"priors", b"token", b"study", b"seg_series", b"technique", b"enabled", b"objects",
                  b"text", b"first", b"last", b"state", b"order", b"page")  # fmt: skip
        chosen = self._draw.sample(fields, self._draw.randrange(1, len(fields)))
        form = b"&".join(field + b"=" + quote_from_bytes(self.value()).encode() for field in chosen)
        literals = (
            b'"a"',
            b"1",
            b"NaN",
            b"1e999",
            b"null",
            b"[]",
            b"{}",
            b'"\\ud800"',
            b"-1",
            b'"\\u0000"',
            b"true",
            b"9" * 40,
        )
        object_ = b"{" + b",".join(b'"' + f + b'":' + self._draw.choice(literals) for f in chosen) + b"}"
        kinds = (
            (b"application/x-www-form-urlencoded", form),
            (b"application/x-www-form-urlencoded; charset=nonsense", self.value()),
            (b"application/json", object_),
            (b"application/json", self._draw.choice((b"[" * 20_000, b"{", b"\xff", b"9" * 5000, b'"', b"null"))),
            (self._draw.choice((b"multipart/form-data; boundary=", b"/", b";;;", b"a/b; c=\xff")), self.value()),
        )
        return self._draw.choice(kinds)


_PANEL = [
    ("GET", "/login"), ("POST", "/login"), ("GET", "/peers"), ("POST", "/peers"), ("POST", "/peers/?/echo"),
    ("POST", "/peers/?/remove"), ("POST", "/peers/?/?"), ("GET", "/rules"), ("GET", "/rules/export"),
    ("POST", "/rules"), ("POST", "/rules/preview"), ("POST", "/rules/remove"), ("POST", "/rules/move"),
    ("GET", "/studies"), ("POST", "/studies"), ("GET", "/studies/?"), ("POST", "/studies/?/?"),
    ("POST", "/studies/?/stat"),
    ("GET", "/fetch"), ("POST", "/fetch"), ("POST", "/maintenance/?"), ("GET", "/api/peers"), ("POST", "/api/peers"),
    ("PATCH", "/api/peers/?"), ("DELETE", "/api/peers/?"), ("POST", "/api/peers/?/echo"), ("GET", "/api/openapi.json"),
    ("GET", "/static/?"), ("GET", "/static/panel.css"), ("GET", "/healthz"), ("GET", "/?"), ("OPTIONS", "/?"),
    ("GET", "/"),
]  # fmt: skip
_VIEWER = [
    "/dicom-web/studies", "/dicom-web/studies/?", "/dicom-web/studies/?/metadata", "/dicom-web/studies/?/series",
    "/dicom-web/studies/?/instances", "/dicom-web/studies/?/series/?", "/dicom-web/studies/?/series/?/instances",
    "/dicom-web/studies/?/series/?/instances/?", "/dicom-web/studies/?/series/?/instances/?/frames/?",
    "/dicom-web/studies/?/series/?/instances/?/bulkdata/?", "/wado", "/?", "/app-config.js", "/viewer", "/dicom-web/?",
    "/open/?",
]  # fmt: skip


@pytest.mark.parametrize(
    ("path", "form", "status"),
    [
        ("/rules/move", {"name": "A", "place": "9" * 400}, 303),
        ("/fetch", {"study_uid": "1.2", "source": "P", "priors": "9" * 5000}, 422),
        ("/rules/remove", {"name": "A\0"}, 400),
        ("/studies/%00/stat", {}, 400),
        ("/peers/P%00/echo", {}, 400),
        ("/studies/a/explode", {}, 422),
    ],
)
def test_what_was_found_is_answered(
    ports: tuple[str, str, str, str], path: str, form: dict[str, str], status: int
) -> None:
    answer = httpx.post(ports[0] + path, data=form, headers={"Cookie": ports[2]}, timeout=ANSWER_S)
    assert answer.status_code == status
    assert "{" not in answer.text


@pytest.mark.parametrize("origin", ["http://[", "null", "http://", "", "http://attacker.example", "[", "//["])
@pytest.mark.parametrize("path", ["/login", "/logout", "/peers", "/api/peers", "/rules", "/maintenance/on", "/fetch"])
def test_nothing_is_changed_from_another_page(ports: tuple[str, str, str, str], path: str, origin: str) -> None:
    answer = httpx.post(ports[0] + path, headers={"Cookie": ports[2], "Origin": origin}, timeout=ANSWER_S)
    assert answer.status_code == 403


@pytest.mark.parametrize("seed", range(4))
def test_the_panel_answers_whatever_comes(ports: tuple[str, str, str, str], seed: int) -> None:
    panel, _, cookie, key = ports
    make = _Maker(seed, (key.encode(), b"P", b"T1", b"A", b"1"))
    draw = random.Random(seed)  # noqa: S311 - a seeded test
    with capture_logs() as events:
        for _ in range(_VARIANTS):
            method, template = draw.choice(_PANEL)
            body = make.body() if method in ("POST", "PATCH", "DELETE") else (b"text/plain", b"")
            head = make.headers(panel.partition("//")[2].encode(), cookie.encode())
            length = f"Content-Length: {len(body[1])}\r\n".encode()
            line = method.encode() + b" " + make.path(template) + b" HTTP/1.1\r\n"
            request = line + head + b"Content-Type: " + body[0] + b"\r\n" + length + b"\r\n" + body[1]
            assert _status(panel, request) < 500, request
    assert [event for event in events if event["event"] == "web_defect"] == []


@pytest.mark.parametrize("seed", range(4))
def test_the_viewer_answers_whatever_comes(ports: tuple[str, str, str, str], study: ViewerStudy, seed: int) -> None:
    viewer = ports[1]
    uids = [str(getattr(study.mr[0], name)) for name in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")]
    make = _Maker(seed, (*(uid.encode() for uid in uids * 4), b"1", b"7FE00010", b"MR"))
    draw = random.Random(seed)  # noqa: S311 - a seeded test
    with capture_logs() as events:
        for _ in range(_VARIANTS):
            template = draw.choice(_VIEWER)
            if draw.random() < 0.5:  # far enough inside to be more than a wrong address
                for uid in uids:
                    template = template.replace("/?", f"/{uid}", 1)
            head = make.headers(viewer.partition("//")[2].encode(), b"")
            request = b"GET " + make.path(template) + b" HTTP/1.1\r\n" + head + b"\r\n"
            status = _status(viewer, request)
            assert status < 500 or status == 503, request  # 503: OHIF is not installed in this test
    assert [event for event in events if event["event"] == "web_defect"] == []
