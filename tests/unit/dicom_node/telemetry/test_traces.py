"""Traces as a collector receives them over HTTP: what is in them, what never is, and that nobody waits for them."""

import contextlib
import hashlib
import io
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from opentelemetry import trace
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span as Sent
from opentelemetry.proto.trace.v1.trace_pb2 import Status
from structlog.testing import capture_logs

from dicom_node.database.engine import Database, open_database
from dicom_node.database.states import RunState, StudyState
from dicom_node.database.tables import ResultRow, RunRow, StudyRow, utc_now
from dicom_node.delivery.outbox import Outbox
from dicom_node.peers.peer import Peer
from dicom_node.peers.registry import put_peer
from dicom_node.runs.child_process import StepOutcome
from dicom_node.runs.consequences import Consequence
from dicom_node.runs.lifecycle import Lifecycle
from dicom_node.runs.step import Step
from dicom_node.runs.workflow import Workflow
from dicom_node.settings import Settings, read_settings
from dicom_node.studies.run_queue import Start
from dicom_node.telemetry import collector as collector_module
from dicom_node.telemetry import spans
from dicom_node.telemetry.spans import Span, is_on, record, timed, tracing
from dicom_node.web.app import panel_app
from tests.support.archive import running_archive
from tests.support.canary import CANARIES, TEXT, UID, leaks, mark
from tests.support.orthanc import free_port
from tests.support.panel_client import log_in
from tests.support.receivers import WebBox, web_server
from tests.support.small_study import make_small_study
from tests.support.viewer_port import served
from tests.support.waiting import ANSWER_S, wait_until

AT = datetime(2026, 1, 5, 8, tzinfo=UTC)
RUN = f"{UID}.1"


def _settings(folder: Path, endpoint: str) -> Settings:
    values = {"GLIONODE_NODE_FOLDER": str(folder), "GLIONODE_TELEMETRY_ENDPOINT": endpoint}
    return read_settings(environment=values)


@pytest.fixture
def collector() -> Iterator[WebBox]:
    with web_server() as box:
        box.status = 200
        yield box


def _sent(box: WebBox) -> list[Sent]:
    requests = [ExportTraceServiceRequest.FromString(posted.body) for posted in box.posted]
    return [
        span
        for request in requests
        for resource in request.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]


def _about(span: Sent) -> dict[str, object]:
    values = {one.key: one.value for one in span.attributes}
    return {key: getattr(value, str(value.WhichOneof("value"))) for key, value in values.items()}


def _span(name: str, seconds: float, **more: object) -> Span:
    return Span(name=name, began_at=AT, ended_at=AT + timedelta(seconds=seconds), **more)  # type: ignore[arg-type]


def test_parts_of_one_trace_meet_from_whichever_process_they_come(collector: WebBox, tmp_path: Path) -> None:
    with tracing(_settings(tmp_path, collector.url), "work"):
        record(lambda: [_span("run", 3, trace="one", is_root=True, ok=False), _span("step a", 1, trace="one")])
        record(lambda: [_span("request", 1)])
    with tracing(_settings(tmp_path, collector.url), "web"):
        record(lambda: [_span("delivery", 0.5, trace="one"), _span("delivery", 0.5, trace="two")])
    run, step, request, delivery, other = _sent(collector)
    assert run.trace_id == step.trace_id == delivery.trace_id
    assert step.parent_span_id == delivery.parent_span_id == run.span_id
    assert (run.parent_span_id, request.parent_span_id) == (b"", b"")
    assert len({run.trace_id, request.trace_id, other.trace_id}) == 3
    assert run.end_time_unix_nano - run.start_time_unix_nano == 3 * 10**9
    assert run.start_time_unix_nano == AT.timestamp() * 10**9
    assert [one.status.code for one in (run, step)] == [Status.STATUS_CODE_ERROR, Status.STATUS_CODE_OK]
    resource = ExportTraceServiceRequest.FromString(collector.posted[0].body).resource_spans[0].resource
    assert {one.key: one.value.string_value for one in resource.attributes}["service.instance.id"] == "GLIONODE/work"


def test_a_collector_that_is_away_or_answers_nothing_holds_nobody_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spans, "STOP_S", 0.2)
    monkeypatch.setattr(collector_module, "TIMEOUT_S", 0.5)
    monkeypatch.setattr(collector_module, "MOST_WAITING", 1024)
    with web_server() as silent:
        heard = threading.Event()
        silent.before = heard.wait
        for endpoint in (f"http://127.0.0.1:{free_port()}", silent.url):
            with tracing(_settings(tmp_path, endpoint), "work"):
                before = time.monotonic()
                for _ in range(2000):
                    record(lambda: [_span("step", 1)])
                assert time.monotonic() - before < ANSWER_S
        heard.set()
        wait_until(lambda: not [one for one in threading.enumerate() if one.name.startswith("Otel")])


def test_it_is_logged_when_the_collector_goes_and_comes_back(collector: WebBox, tmp_path: Path) -> None:
    collector.status = 400
    with capture_logs() as logs, tracing(_settings(tmp_path, collector.url), "work"):
        for status, wanted in ((400, "traces_lost"), (200, "traces_sent")):
            collector.status = status
            record(lambda: [_span("step", 1)])
            wait_until(lambda wanted=wanted: wanted in [one["event"] for one in logs])
    assert [one["event"] for one in logs] == ["traces_lost", "traces_sent"]


def test_what_cannot_be_traced_is_logged_and_the_work_goes_on(collector: WebBox, tmp_path: Path) -> None:
    def broken() -> Iterable[Span]:
        raise ZeroDivisionError

    def fails() -> None:
        with timed(lambda _began, _ended, _ok: broken()):  # type: ignore[arg-type,return-value]
            raise KeyError

    with capture_logs() as logs, tracing(_settings(tmp_path, collector.url), "work"):
        record(broken)
        with contextlib.suppress(KeyError):
            fails()
    assert [one["event"] for one in logs] == ["not_traced", "not_traced"]


def _keep_run(database: Database, settings: Settings, state: RunState) -> None:
    """Keep a run with an object, and this patient wherever the database has a place for a text."""
    image = mark(make_small_study("traced", roles=["FLAIR"])[0], series=True)
    image.StudyInstanceUID = UID
    path = settings.node.folder / "results" / "SEG.dcm"
    path.parent.mkdir(parents=True, exist_ok=True)
    written = io.BytesIO()
    image.save_as(written, enforce_file_format=True)
    path.write_bytes(written.getvalue())
    with database.session() as session:
        study = StudyRow(study_uid=UID, key="abc", state=StudyState(state), reason=TEXT, current_run=RUN)
        session.add(study)
        session.flush()
        facts = {"revision": 3, "manifest_sha256": "0", "ready_at": utc_now(), "reason": TEXT, "summary": CANARIES}
        session.add(RunRow(run_id=RUN, study_uid=UID, state=state, **facts))
        session.flush()
        uids = {"sop_instance_uid": image.SOPInstanceUID, "series_uid": image.SeriesInstanceUID}
        sha256 = hashlib.sha256(written.getvalue()).hexdigest()
        rest = {"sop_class_uid": image.SOPClassUID, "kind": "SEG", "path": "results/SEG.dcm", "sha256": sha256}
        session.add(ResultRow(run_id=RUN, study_uid=UID, **uids, **rest))


def _run(database: Database, settings: Settings, failing: str = "") -> None:
    """Let a real DBOS perform the run; what its steps do is of no concern here, but for the delivery."""
    lifecycle, outbox = Lifecycle(settings, database), Outbox(settings, database, "executor")

    def perform(step: str, run_id: str) -> StepOutcome:
        if step == failing:
            return StepOutcome(consequence=Consequence.FAIL, code="registration_failed", reason=TEXT)
        if step == Step.DELIVER:
            outbox.deliver(run_id)
        return StepOutcome()

    workflow = Workflow(settings, lifecycle, "executor", perform)
    workflow.launch()
    try:
        workflow.start(Start(run_id=RUN, attempt=0))
        wait_until(workflow.is_idle)
    finally:
        workflow.stop()


@pytest.fixture
def books(tmp_path: Path) -> Iterator[Database]:
    """Give the books at the place where the settings have them."""
    database = open_database(f"sqlite:///{tmp_path / 'glionode.sqlite'}")
    yield database
    database.engine.dispose()


def test_a_run_is_one_trace_with_its_steps_and_deliveries_and_without_its_patient(
    books: Database, collector: WebBox, tmp_path: Path
) -> None:
    settings = _settings(tmp_path, collector.url)
    _keep_run(books, settings, RunState.QUEUED)
    with running_archive() as archive, tracing(settings, "work"):
        put_peer(books, Peer(name="PACS", ae_title="ARCHIVE", host="127.0.0.1", port=archive.port, is_destination=True))
        nobody = f"http://127.0.0.1:{free_port()}/dicom-web"
        put_peer(books, Peer(name="Away", ae_title="AWAY", is_destination=True, send_by="stow-rs", dicomweb_url=nobody))
        _run(books, settings)
    found = {span.name: span for span in _sent(collector)}
    assert set(found) == {"run", "delivery", *(f"step {step}" for step in Step)}
    assert {span.trace_id for span in _sent(collector)} == {found["run"].trace_id}
    parts = [span for span in _sent(collector) if span.name != "run"]
    assert {span.parent_span_id for span in parts} == {found["run"].span_id}
    about = _about(found["run"])
    expected = {"study": "abc", "revision": 3, "attempt": 0, "state": "undelivered", "code": "undelivered"}
    assert about == {f"glionode.{key}": value for key, value in {**expected, "results": 1, "decisions": 0}.items()}
    deliveries = {_about(span)["glionode.peer"]: span for span in parts if span.name == "delivery"}
    assert {name: _about(span)["glionode.accepted"] for name, span in deliveries.items()} == {"PACS": 1, "Away": 0}
    assert deliveries["Away"].status.code == Status.STATUS_CODE_ERROR
    assert all(span.start_time_unix_nano <= span.end_time_unix_nano for span in parts)
    assert leaks(*(posted.body for posted in collector.posted), str(_sent(collector))) == []
    assert type(trace.get_tracer_provider()).__name__ == "ProxyTracerProvider", "no library sends spans of its own"


def test_a_run_that_fails_says_at_which_step_and_by_which_code_alone(
    books: Database, collector: WebBox, tmp_path: Path
) -> None:
    settings = _settings(tmp_path, collector.url)
    _keep_run(books, settings, RunState.QUEUED)
    with tracing(settings, "work"):
        _run(books, settings, failing="align")
    found = {span.name: span for span in _sent(collector)}
    assert set(found) == {"run", "step select", "step convert", "step align"}
    bad = {name for name, span in found.items() if span.status.code == Status.STATUS_CODE_ERROR}
    assert bad == {"run", "step align"}
    assert _about(found["step align"])["glionode.code"] == "registration_failed"
    assert leaks(*(posted.body for posted in collector.posted)) == []


def test_requests_are_named_by_their_route_and_nothing_that_was_asked_for(
    database: Database, collector: WebBox, tmp_path: Path
) -> None:
    settings = _settings(tmp_path, collector.url)
    name = CANARIES["PatientID"]
    with (
        tracing(settings, "web"),
        served(panel_app(settings, database)) as url,
        httpx.Client(base_url=url, timeout=ANSWER_S) as client,
    ):
        log_in(client, database)
        client.post("/studies", data={"words": name})
        client.get(f"/studies/{name}")
        client.get(f"/{name}")
        client.request(name, "/studies")
        client.get("/healthz")
        client.get("/static/panel.css")
    found = [(span.name, _about(span)) for span in _sent(collector)]
    assert [one[0] for one in found] == ["POST /login", "POST /studies", "GET /studies/{key}", *2 * ["other address"]]
    assert [one[1]["http.response.status_code"] for one in found[:3]] == [303, 200, 404]
    assert found[2][1]["http.route"] == "/studies/{key}"
    assert leaks(*(posted.body for posted in collector.posted)) == []


OFF = """
import sys
import dicom_node.runs.worker, dicom_node.web.app, dicom_node.app
from pathlib import Path
from dicom_node.settings import read_settings
from dicom_node.telemetry.spans import is_on, tracing
with tracing(read_settings(environment={"GLIONODE_NODE_FOLDER": "."}), "web"):
    assert not is_on()
print([name for name in sys.modules if name.startswith(("opentelemetry.sdk", "opentelemetry.exporter"))])
sys.modules["opentelemetry.sdk"] = None
settings = read_settings(environment={"GLIONODE_TELEMETRY_ENDPOINT": "http://127.0.0.1:9"})
with tracing(settings, "web"):
    print(is_on())
"""


def test_nothing_is_loaded_while_it_is_off_and_without_the_extra_the_node_runs_on() -> None:
    done = subprocess.run([sys.executable, "-c", OFF], check=True, capture_output=True, text=True)
    first, *log, last = done.stdout.splitlines()
    assert (json.loads(first), last) == ([], "False")
    assert "telemetry_not_installed" in "".join(log)
    assert not is_on()
