"""The page of the work: what it shows to whom, what its buttons do, and how its stream keeps it fresh."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from conversion.study_identity import StudyIdentity
from dicom_node.access.sessions import end_all
from dicom_node.database.engine import Database
from dicom_node.database.states import Priority, RunState, StudyState, UserRole
from dicom_node.database.tables import DeliveryRow, ResultRow, RunRow
from dicom_node.peers.peer import Peer
from dicom_node.peers.registry import put_peer
from dicom_node.runs.operations import prioritise
from dicom_node.settings import Settings, read_settings
from dicom_node.studies.run_folder import RunFolder
from dicom_node.web.app import panel_app
from dicom_node.web.queue_feed import QueueFeed
from dicom_node.web.routes_work import age
from dicom_node.web.uploads import UPLOAD_PATH
from dicom_node.workbench.jobs import EXAMPLE, claim_job, new_job_id, submit
from tests.support.held_study import hold_run
from tests.support.named_study import name_study
from tests.support.panel_client import ADMINISTRATOR, log_in
from tests.support.viewer_port import served
from tests.support.waiting import ANSWER_S

NOW = datetime(2026, 1, 5, 8, tzinfo=UTC)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return read_settings(environment={"GLIONODE_NODE_FOLDER": str(tmp_path)})


@pytest.fixture
def panel(settings: Settings, database: Database) -> Iterator[httpx.Client]:
    with (
        served(panel_app(settings, database), uploads=UPLOAD_PATH) as url,
        httpx.Client(base_url=url, timeout=ANSWER_S) as client,
    ):
        log_in(client, database)
        yield client


def _run(database: Database) -> RunRow:
    with database.session() as session:
        return session.get_one(RunRow, "run")


def _told(lines: Iterator[str]) -> str:
    """Return the part of the page that the next event carries."""
    while next(lines) != "event: queue":
        pass
    parts = []
    while line := next(lines):
        parts.append(line.removeprefix("data: "))
    return "\n".join(parts)


def test_the_queue_is_found_by_patient_and_says_what_is_awaited(panel: httpx.Client, database: Database) -> None:
    hold_run(database, RunState.QUEUED)
    identity = StudyIdentity(
        patient_name="DOE^JOHN", patient_id="P1", birth_date="", sex="", accession_number="", study_date="2026-01-02",
        study_time="", description="MR head", modality="MR",
    )  # fmt: skip
    name_study(database, 7, identity, state=StudyState.RECEIVING)
    page = panel.get("/work").text
    assert "DOE, JOHN" in page
    assert "a worker: none is running" in page
    assert "more images, or the end of the association" in page


def test_uploads_are_counted_and_not_named(panel: httpx.Client, settings: Settings, database: Database) -> None:
    for _ in range(3):
        submit(database, settings.workbench, new_job_id(), "user:somebody", (EXAMPLE,))
    claim_job(database, "host/0")
    page = panel.get("/work").text
    assert '1 <span class="hint">running,</span> 2 <span class="hint">waiting</span>' in page
    assert EXAMPLE.name not in page


def test_its_buttons_lead_back_to_it(panel: httpx.Client, database: Database) -> None:
    hold_run(database, RunState.QUEUED)
    for action, priority in (("stat", Priority.STAT), ("routine", Priority.ROUTINE)):
        assert f'action="/studies/abc/{action}"' in panel.get("/work").text
        answer = panel.post(f"/studies/abc/{action}", data={"on": "work"})
        assert (answer.status_code, answer.headers["location"]) == (303, "/work")
        assert _run(database).priority == priority
    panel.post("/studies/abc/cancel", data={"on": "work"})
    assert _run(database).state == RunState.CANCELLED


def test_a_run_begins_again_with_the_step_that_is_chosen(
    panel: httpx.Client, settings: Settings, database: Database
) -> None:
    hold_run(database, RunState.FAILED, step="encode")
    folder = RunFolder(settings.node.folder, "run").folder
    folder.mkdir(parents=True)
    (folder / "aligned.npz").touch()
    for address in ("/work", "/studies/abc"):
        page = panel.get(address).text
        assert '<option value="segment"' in page
        assert '<option value="align"' not in page
    refused = panel.post("/studies/abc/replay", data={"step": "align"})
    assert refused.status_code == 409
    assert "It can begin again with select, segment alone." in refused.text
    panel.post("/studies/abc/replay", data={"step": "segment", "on": "work"})
    assert (_run(database).state, _run(database).step) == (RunState.QUEUED, "segment")


def test_results_are_sent_again(panel: httpx.Client, database: Database) -> None:
    hold_run(database, RunState.DELIVERED, step="deliver")
    peer = Peer(name="PACS", ae_title="PACS", host="127.0.0.1", port=104, is_destination=True)
    put_peer(database, peer)
    with database.session() as session:
        facts = {"run_id": "run", "study_uid": "1.2", "series_uid": "1.3", "sop_class_uid": "1.4", "kind": "SEG"}
        kept = {"profile": peer.profile.key, "path": "results/1", "sha256": "0"}
        session.add(ResultRow(sop_instance_uid="1.5", **facts, **kept))
        session.flush()
        session.add(DeliveryRow(run_id="run", sop_instance_uid="1.5", destination="PACS", state="accepted"))
    assert 'action="/studies/abc/resend"' in panel.get("/work").text
    assert panel.post("/studies/abc/resend", data={"on": "work"}).status_code == 303
    assert _run(database).state == RunState.UNDELIVERED


def test_a_viewer_sees_the_queue_and_no_buttons(settings: Settings, database: Database) -> None:
    hold_run(database, RunState.QUEUED)
    with (
        served(panel_app(settings, database), uploads=UPLOAD_PATH) as url,
        httpx.Client(base_url=url, timeout=ANSWER_S) as client,
    ):
        log_in(client, database, UserRole.VIEWER, "vera")
        page = client.get("/work").text
        assert "/studies/abc" in page
        assert "/studies/abc/stat" not in page
        with client.stream("GET", "/work/events") as stream:
            told = _told(stream.iter_lines())
        assert "/studies/abc" in told
        assert "/studies/abc/stat" not in told
        assert client.post("/studies/abc/stat").status_code == 403


def test_the_stream_tells_each_change(panel: httpx.Client, database: Database) -> None:
    with panel.stream("GET", "/work/events") as stream:
        lines = stream.iter_lines()
        assert "Nothing to do" in _told(lines)
        hold_run(database, RunState.QUEUED)
        assert "/studies/abc/stat" in _told(lines)
        prioritise(database, "abc", Priority.STAT)
        assert "/studies/abc/routine" in _told(lines)
    assert stream.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert stream.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("seconds", "text"), [(-5, "0 s"), (59, "59 s"), (60, "1 min"), (7200, "2 h"), (90_000, "1 d")]
)
def test_an_age_is_told_in_its_largest_unit(seconds: int, text: str) -> None:
    assert age(NOW, NOW + timedelta(seconds=seconds)) == text


class _Counted:
    """A queue that counts how often it is read and drawn."""

    def __init__(self) -> None:
        self.state = "first"
        self.read_times = self.drawn = 0

    def read(self) -> str:
        self.read_times += 1
        return self.state

    def draw(self, state: str, with_buttons: bool) -> str:  # noqa: FBT001 - as the feed calls it
        self.drawn += 1
        return f"<p>{state}</p>\n\n<p>{with_buttons}</p>"

    def feed(self) -> QueueFeed:
        return QueueFeed(read=self.read, draw=self.draw, look_s=0.02, heartbeat_s=0.2)


async def _next(events: AsyncIterator[str]) -> str:
    async for event in events:
        if not event.startswith(":"):
            return event
    raise AssertionError("the stream ended without an event")


def test_many_pages_are_served_by_one_reading_and_one_drawing() -> None:
    queue = _Counted()

    async def follow() -> None:
        feed = queue.feed()
        pages = [feed.events(with_buttons=True, goes_on=lambda: True) for _ in range(20)]
        told = await asyncio.gather(*(_next(page) for page in pages))
        assert set(told) == {"event: queue\ndata: <p>first</p>\ndata: <p>True</p>\n\n"}
        queue.state = "second"
        told = await asyncio.gather(*(_next(page) for page in pages))
        assert set(told) == {"event: queue\ndata: <p>second</p>\ndata: <p>True</p>\n\n"}
        assert queue.drawn == 2
        for page in pages:
            await page.aclose()  # type: ignore[attr-defined]
        await asyncio.sleep(0.1)
        read = queue.read_times
        await asyncio.sleep(0.2)
        assert queue.read_times == read  # nobody looks on

    asyncio.run(follow())


def test_a_quiet_queue_has_a_heartbeat_and_ends_with_the_session() -> None:
    queue, open_for = _Counted(), iter([True, True, False])

    async def follow() -> list[str]:
        return [event async for event in queue.feed().events(with_buttons=False, goes_on=lambda: next(open_for))]

    told = asyncio.run(follow())
    assert told[1:] == [": no change\n\n", "event: ended\ndata: {}\n\n"]
    assert queue.drawn == 1


def test_a_database_that_does_not_answer_ends_no_stream() -> None:
    queue = _Counted()
    answers = iter([OSError(), "later"])

    def read() -> str:
        answer = next(answers, "later")
        if isinstance(answer, OSError):
            raise answer
        return answer

    async def follow() -> str:
        feed = QueueFeed(read=read, draw=queue.draw, look_s=0.02)
        return await _next(feed.events(with_buttons=False, goes_on=lambda: True))

    assert "later" in asyncio.run(follow())


def test_the_end_of_the_session_ends_the_stream_before_anything_more_is_shown(
    panel: httpx.Client, database: Database
) -> None:
    with panel.stream("GET", "/work/events") as stream:
        lines = stream.iter_lines()
        _told(lines)
        with database.session() as session:
            end_all(session, ADMINISTRATOR)
        hold_run(database, RunState.QUEUED)
        assert [*lines] == ["event: ended", "data: {}", ""]
