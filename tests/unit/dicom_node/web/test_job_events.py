"""The progress of an upload as server-sent events: over a real port, as the upload goes through its states."""

import json
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from dicom_node.access.tokens import add_token
from dicom_node.database.engine import Database, open_database
from dicom_node.database.states import JobState
from dicom_node.settings import Settings, read_settings
from dicom_node.web.app import panel_app
from dicom_node.web.http_server import Deadlines
from dicom_node.web.job_events import EventStreams
from dicom_node.web.job_model import JobModel, Links
from dicom_node.web.uploads import UPLOAD_PATH
from dicom_node.workbench.jobs import claim_job, end_job, enter_step
from tests.support.viewer_port import served
from tests.support.waiting import ANSWER_S, wait_until

WORKER = "here/0"
_NOW = datetime(2026, 1, 1, tzinfo=UTC)
_LINKS = Links(status="/s", events="/s/events", result="/s/result")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return read_settings(environment={"GLIONODE_NODE_FOLDER": str(tmp_path / "node")})


@pytest.fixture
def database(settings: Settings) -> Iterator[Database]:
    opened = open_database(settings.database_url)
    yield opened
    opened.engine.dispose()


@pytest.fixture
def program(settings: Settings, database: Database) -> Iterator[httpx.Client]:
    """Give a program with a token, at a port whose deadlines are shorter than a stream lasts."""
    headers = {"Authorization": f"Bearer {add_token(database, 'program')}"}
    deadlines = Deadlines(request_s=1.0, write_s=1.0, idle_s=1)
    with (
        served(panel_app(settings, database), deadlines, UPLOAD_PATH) as url,
        httpx.Client(base_url=url, headers=headers, timeout=ANSWER_S) as client,
    ):
        yield client


def _sent(program: httpx.Client) -> Any:  # noqa: ANN401 - JSON
    return program.post(UPLOAD_PATH, files={"files": ("a", b"a")}).json()


def _told(lines: Iterator[str]) -> Any:  # noqa: ANN401 - JSON
    """Return the content of the next event."""
    return json.loads(next(line for line in lines if line.startswith("data: ")).removeprefix("data: "))


def test_each_change_is_told_until_the_end(program: httpx.Client, database: Database) -> None:
    job = _sent(program)
    with program.stream("GET", job["links"]["events"]) as stream:
        lines = stream.iter_lines()
        assert _told(lines) == job
        time.sleep(2.5)  # longer than every deadline of this port
        claim_job(database, WORKER)
        assert (now := _told(lines))["state"] == "running"
        assert now["place"] == 0
        enter_step(database, job["id"], "align")
        assert _told(lines)["step"] == "align"
        end_job(database, job["id"], WORKER, "No MR images.")
        assert _told(lines) == program.get(job["links"]["status"]).json()
        assert [*lines] == [""]
    assert stream.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert stream.headers["cache-control"] == "no-store"
    assert "default-src 'self'" in stream.headers["content-security-policy"]


def test_the_place_in_the_queue_is_told(program: httpx.Client, database: Database) -> None:
    _, second = _sent(program), _sent(program)
    with program.stream("GET", second["links"]["events"]) as stream:
        lines = stream.iter_lines()
        assert _told(lines)["place"] == 2
        claim_job(database, WORKER)
        assert _told(lines)["place"] == 1


def test_what_has_ended_is_told_once(program: httpx.Client, database: Database) -> None:
    job = _sent(program)
    claim_job(database, WORKER)
    end_job(database, job["id"], WORKER)
    assert program.get(job["links"]["events"]).text.count("data: ") == 1


def test_a_removal_ends_the_stream(program: httpx.Client) -> None:
    job = _sent(program)
    with program.stream("GET", job["links"]["events"]) as stream:
        lines = stream.iter_lines()
        _told(lines)
        program.delete(job["links"]["status"])
        assert [*lines] == ["", "event: removed", "data: {}", ""]


def test_the_owner_alone_follows_an_upload(program: httpx.Client, database: Database) -> None:
    events = _sent(program)["links"]["events"]
    other = {"Authorization": f"Bearer {add_token(database, 'other')}"}
    assert program.get(events, headers=other).status_code == 404
    assert program.get(events, headers={"Authorization": "Bearer none"}).status_code == 401
    assert program.get(f"{UPLOAD_PATH}/{'0' * 32}/events").status_code == 404


def test_streams_hold_no_thread_and_the_panel_answers_beside_them(program: httpx.Client) -> None:
    """The port has forty threads; as many streams as may be open leave it usable, and one more is told to ask."""
    events = _sent(program)["links"]["events"]
    with httpx.Client(
        base_url=program.base_url,
        headers=program.headers,
        timeout=ANSWER_S,
        limits=httpx.Limits(max_connections=None),
    ) as many:
        opened = [many.send(many.build_request("GET", events), stream=True) for _ in range(51)]
        assert [answer.status_code for answer in opened] == [200] * 50 + [503]
        assert opened[-1].headers["retry-after"] == "60"
        began = time.monotonic()
        assert program.get("/healthz").status_code == 200
        assert time.monotonic() - began < 10.0
        for answer in opened[:2]:
            answer.close()
        opened[-1].close()
        again = []

        def opens() -> bool:
            again.append(many.send(many.build_request("GET", events), stream=True))
            return again[-1].status_code == 200

        wait_until(opens)
        for answer in (*opened, *again):
            answer.close()


def test_a_server_that_stops_waits_for_no_stream(settings: Settings, database: Database) -> None:
    headers = {"Authorization": f"Bearer {add_token(database, 'program')}"}
    with httpx.Client(headers=headers, timeout=ANSWER_S) as program:
        with served(panel_app(settings, database), uploads=UPLOAD_PATH) as url:
            events = program.post(url + UPLOAD_PATH, files={"files": ("a", b"a")}).json()["links"]["events"]
            answer = program.send(program.build_request("GET", url + events), stream=True)
            lines = answer.iter_lines()  # kept, since httpx closes what nobody reads
            _told(lines)
            began = time.monotonic()
        assert time.monotonic() - began < 10.0
        answer.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "viewer"]


class _Upload:
    """An upload that waits, and counts how often it was asked for."""

    def __init__(self) -> None:
        self.asked = 0
        self.threads: set[str] = set()

    def ask(self) -> JobModel:
        self.asked += 1
        self.threads.add(threading.current_thread().name)
        return JobModel(
            id="0", state=JobState.WAITING, step="", place=1, reason="", created_at=_NOW, expires_at=_NOW, sent=[],
            files=[], links=_LINKS,
        )  # fmt: skip


def _quick(upload: _Upload) -> Starlette:
    streams = EventStreams(most=1, look_s=0.05, heartbeat_s=0.3)

    async def events(_request: Request) -> Response:
        return streams.answer(upload.ask)

    return Starlette(routes=[Route("/s/events", events)])


def test_a_quiet_stream_has_a_heartbeat_and_asks_in_a_thread() -> None:
    upload = _Upload()
    with served(_quick(upload)) as url, httpx.stream("GET", f"{url}/s/events", timeout=ANSWER_S) as stream:
        lines = stream.iter_lines()
        _told(lines)
        assert [next(lines) for _ in range(5)] == ["", ": no change", "", ": no change", ""]
        assert upload.asked >= 10
        assert all(name.startswith("AnyIO worker thread") for name in upload.threads)
        stream.close()  # or the server here, which knows no uploads, would wait for it


def test_a_client_that_goes_away_ends_its_stream() -> None:
    upload = _Upload()
    with served(_quick(upload)) as url:
        with httpx.stream("GET", f"{url}/s/events", timeout=ANSWER_S) as stream:
            lines = stream.iter_lines()
            _told(lines)
            assert httpx.get(f"{url}/s/events", timeout=ANSWER_S).status_code == 503

        def is_quiet() -> bool:
            before = upload.asked
            time.sleep(0.3)
            return upload.asked == before

        wait_until(is_quiet)
        with httpx.stream("GET", f"{url}/s/events", timeout=ANSWER_S) as again:
            assert again.status_code == 200
