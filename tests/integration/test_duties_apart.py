"""What a worker does all the time is done apart: what lasts or breaks in one duty holds up none of the others."""

import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler

import pytest
import sqlalchemy as sa

from dicom_node.database.states import FetchState
from dicom_node.peers.peer import Peer
from dicom_node.peers.registry import put_peer, remove_peer
from dicom_node.retrieval.fetch_requests import ask_for, newest_requests
from dicom_node.runs.operations import replay, resend
from tests.support.node import Node, destination, running_node
from tests.support.pacs import instance_of, running_pacs, store
from tests.support.small_study import make_small_study
from tests.support.web_source import WebSource, serving_web

DEADLINE_S = 60.0
ENDED = {"delivered", "undelivered", "stored", "rejected", "failed"}
DRIP = b" " * 8192
"""JSON may begin with blanks; a source that sends this four times a second is not too slow to be waited for."""


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    with running_node(tmp_path_factory.mktemp("duties apart")) as started:
        yield started


def _send(node: Node, name: str) -> str:
    study = make_small_study(name, ["FLAIR"])
    assert set(store([instance_of(ds) for ds in study], node.settings.node.dicom_port)) == {0x0000}
    return str(study[0].StudyInstanceUID)


def _wait_until(node: Node, what: str, done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not done():
        if time.monotonic() > deadline:
            raise node.failure(f"waited for {what}")
        time.sleep(0.05)


@contextmanager
def _peer(node: Node, peer: Peer) -> Iterator[None]:
    put_peer(node.database, peer)
    try:
        yield
    finally:
        remove_peer(node.database, peer.name)


@contextmanager
def _slow_source(path: str, first: bytes = b"") -> Iterator[tuple[WebSource, threading.Event, threading.Event]]:
    """Serve a source whose answer goes on until the block ends; the events are set when it is asked, and at the end."""
    asked, over = threading.Event(), threading.Event()

    def reply(handler: BaseHTTPRequestHandler) -> None:
        asked.set()
        handler.send_response(200)
        handler.send_header("Content-Type", "application/dicom+json")
        handler.end_headers()
        while not over.wait(0.25):
            handler.wfile.write(first)
        handler.wfile.write(b"[]")

    with serving_web() as source:
        source.replies[path] = reply
        try:
            yield source, asked, over
        finally:
            over.set()


def _newest_request(node: Node) -> FetchState:
    return FetchState(newest_requests(node.database)[0].state)


def _is_sent_again(node: Node, study_uid: str) -> None:
    """Have the results of a study sent by the thread that sends: its run ended before."""
    with running_pacs() as pacs, _peer(node, destination(pacs)):
        assert resend(node.database, study_uid) > 0
        assert node.wait_for_state(study_uid, {"delivered"}, DEADLINE_S).state == "delivered"
        assert pacs.received


def test_a_fetch_that_lasts_holds_up_neither_judging_nor_sending(node: Node) -> None:
    earlier = _send(node, "before the fetch")
    assert node.wait_for_state(earlier, ENDED).state == "stored"
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections, and says nothing
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/dicom-web"
        with _peer(node, Peer(name="Slow", ae_title="SLOW", dicomweb_url=url, may_send=False)):
            ask_for(node.database, "1.2.3", "Slow", 0)
            _wait_until(node, "the fetch", lambda: _newest_request(node) == FetchState.RUNNING)
            assert node.wait_for_state(_send(node, "during the fetch"), ENDED).state == "stored"
            _is_sent_again(node, earlier)
            assert _newest_request(node) == FetchState.RUNNING
    _wait_until(node, "the fetch to end", lambda: _newest_request(node) == FetchState.FAILED)


def test_judging_that_lasts_holds_up_neither_runs_nor_sending_nor_fetching(node: Node) -> None:
    earlier = _send(node, "before judging")
    assert node.wait_for_state(earlier, ENDED).state == "stored"
    with _slow_source("/series", DRIP) as (source, asked, over):
        asked_of = Peer(name="Source", ae_title="SOURCE", dicomweb_url=source.root, is_source=True, may_send=False)
        with _peer(node, asked_of):
            held_up = _send(node, "during judging")
            assert asked.wait(DEADLINE_S)
            replay(node.database, node.settings, earlier, from_start=True)
            assert node.wait_for_state(earlier, ENDED, DEADLINE_S).state == "stored"
            _is_sent_again(node, earlier)
            ask_for(node.database, "1.2.3", "Source", 0)  # which answers a request for the study with 404 at once
            _wait_until(node, "the fetch", lambda: _newest_request(node) == FetchState.FAILED)
            found = node.study(held_up)
            assert found is not None
            assert found.state == "receiving"
            over.set()
            assert node.wait_for_state(held_up, ENDED).state == "stored"


def test_sending_that_lasts_holds_up_neither_judging_nor_fetching(node: Node) -> None:
    earlier = _send(node, "before sending")
    assert node.wait_for_state(earlier, ENDED).state == "stored"
    with socket.create_server(("127.0.0.1", 0)) as silent, serving_web() as source:
        silent.settimeout(DEADLINE_S)
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/dicom-web"
        with (
            _peer(
                node, Peer(name="Silent", ae_title="SILENT", dicomweb_url=url, send_by="stow-rs", is_destination=True)
            ),
            _peer(node, Peer(name="Source", ae_title="SOURCE", dicomweb_url=source.root, may_send=False)),
        ):
            assert resend(node.database, earlier) > 0
            connection, _ = silent.accept()
            with connection:
                ask_for(node.database, "1.2.3", "Source", 0)
                _wait_until(node, "the fetch", lambda: _newest_request(node) == FetchState.FAILED)
                judged = node.wait_for_state(_send(node, "during sending"), {"queued", "running", *ENDED}, DEADLINE_S)
                assert judged.step in ("", "select", "convert", "align", "segment", "encode", "deliver")
                found = node.study(earlier)
                assert found is not None
                assert found.state == "undelivered"


LONG_AGO = "2000-01-01 00:00:00.000000"

DAMAGE = {  # where a time belongs stands none: whoever reads it there raises a ValueError
    "begin": "UPDATE run SET state = 'running', executor = :here, ready_at = 'never' WHERE study_uid = :begun",
    "judge": "UPDATE study SET state = 'receiving', first_received_at = 'never', look_at = :long_ago"
    " WHERE study_uid = :judged",
    "deliver": "UPDATE run SET state = 'undelivered', deliver_at = '0' WHERE study_uid = :sent",
    "fetch": "INSERT INTO fetch_request (study_uid, source, priors, state, executor, attempt, reason, asked_at)"
    " VALUES ('1.2.3', 'Nobody', 0, 'waiting', '', 0, '', 'never')",
    "its worker": "INSERT INTO worker (executor, host, pid, token, gpu, started_at, beat_at, ended)"
    " VALUES ('elsewhere/0', 'elsewhere', 1, '', '', :long_ago, :long_ago, 1)",
    "is dead": "UPDATE run SET state = 'running', executor = 'elsewhere/0' WHERE study_uid = :taken",
}
CURE = {
    "begin": "UPDATE run SET state = 'stored', ready_at = :long_ago WHERE study_uid = :begun",
    "judge": "UPDATE study SET first_received_at = :long_ago, look_at = :long_ago WHERE study_uid = :judged",
    "deliver": "UPDATE run SET deliver_at = :long_ago WHERE study_uid = :sent",
    "fetch": "UPDATE fetch_request SET asked_at = :long_ago WHERE source = 'Nobody'",
}


def test_a_duty_that_raises_ends_no_other_and_is_done_again_once_it_can_be(node: Node) -> None:
    """Every duty meets a damaged row at once, but for taking over from the dead, which comes behind two that raise."""
    studies = {name: _send(node, name) for name in ("begun", "judged", "sent", "taken")}
    for study_uid in studies.values():
        assert node.wait_for_state(study_uid, ENDED).state == "stored"
    seen = len(node.events())
    ((here,),) = node.rows("glionode.sqlite", "SELECT executor FROM worker WHERE NOT ended")
    put_peer(node.database, Peer(name="Nobody", ae_title="NOBODY", may_send=False))
    values = {**studies, "here": here, "long_ago": LONG_AGO}
    _write(node, DAMAGE, values)
    wanted = {("round_defect", duty) for duty in ("begin", "put_back", "judge", "deliver", "fetch")}
    wanted.add(("taken_over", None))
    _wait_until(node, "defects", lambda: wanted <= {(e["event"], e.get("duty")) for e in node.events()[seen:]})
    _write(node, CURE, values)
    replay(node.database, node.settings, studies["begun"])
    for study_uid in studies.values():
        assert node.wait_for_state(study_uid, ENDED).state == "stored"
    sent = ("SELECT state FROM run WHERE study_uid = ?", studies["sent"])
    _wait_until(node, "a round of delivery", lambda: node.rows("glionode.sqlite", *sent) == [("stored",)])
    _wait_until(node, "the fetch", lambda: _newest_request(node) == FetchState.FAILED)
    assert [event for event in node.events() if event["event"] == "role_ended"] == []


def _write(node: Node, statements: Mapping[str, str], values: Mapping[str, str]) -> None:
    """Change the books in one transaction; each statement takes the values that it names."""
    with node.database.session() as session:
        for statement in map(sa.text, statements.values()):
            named = statement.compile().params
            session.execute(statement, {name: values[name] for name in named})
