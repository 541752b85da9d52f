"""A real worker among peers that fail with a patient in every answer: nothing of that is logged."""

import hashlib
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler

import pytest
import sqlalchemy as sa

from dicom_node.database.states import FetchState, RunState
from dicom_node.database.tables import DeliveryRow, FetchRow, ResultRow, RunRow, StudyRow, utc_now
from dicom_node.peers.peer import Peer
from dicom_node.peers.registry import put_peer
from dicom_node.retrieval.fetch_requests import ask_for
from tests.support.canary import CANARIES, TEXT, leaks, mark
from tests.support.held_study import hold_small_study
from tests.support.odd_scp import OddScp, odd_scp
from tests.support.role_process import RoleProcess, role_process
from tests.support.small_study import make_small_study, uid_of
from tests.support.spiteful_scp import SpitefulScp, running_spiteful_scp
from tests.support.web_source import BOUNDARY, WebSource, file_of, multipart, serving_web

LATIN = TEXT.encode("latin-1")
COMMENT = f"{CANARIES['PatientName']} {CANARIES['PatientID']}"
WANTED = uid_of("held")
"""The study that is asked for is here already, so that nobody waits for what a C-MOVE may still bring."""

DEADLINE_S = 60.0
NOT_YET_S = "3600"  # the held study is not processed


def _another() -> bytes:
    """Return an image of another study than the one that is asked for."""
    return file_of(mark(make_small_study("another", ["FLAIR"])[0], series=True))


def _reply(code: int, body: bytes, **headers: str) -> Callable[[BaseHTTPRequestHandler], None]:
    """Return an answer whose status line holds a patient, too."""

    def reply(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(code, COMMENT)
        for name, value in {"X-Patient": COMMENT, **headers}.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(body)

    return reply


_RELATED = f'multipart/related; type="application/dicom"; boundary={BOUNDARY}'
_JSON = f'{{"00081199": {{"Value": ["{TEXT}", {{"00081155": {{"Value": ["{TEXT}"]}}}}]}}}}'.encode()

ANSWERS: dict[str, Callable[[BaseHTTPRequestHandler], None]] = {
    "refuses": _reply(500, LATIN),
    "redirects": _reply(302, LATIN, Location=f"http://127.0.0.1/{COMMENT}"),
    "is another thing": _reply(200, LATIN, Content_Type=f"text/{COMMENT}"),
    "has an odd boundary": _reply(200, LATIN, Content_Type=f"multipart/related; boundary={COMMENT}"),
    "is cut short": _reply(200, b"".join(multipart([LATIN], end=False)), Content_Type=_RELATED),
    "is of another study": _reply(200, b"".join(multipart([_another(), LATIN])), Content_Type=_RELATED),
    "is of another type": _reply(200, b"".join(multipart([LATIN], kind=COMMENT)), Content_Type=_RELATED),
    "is JSON": _reply(200, _JSON, Content_Type="application/dicom+json"),
    "is a list of JSON": _reply(200, b"[" + _JSON + b"]", Content_Type="application/dicom+json"),
    "is packed": _reply(200, LATIN, Content_Encoding=COMMENT),
    "is no HTTP": lambda handler: handler.wfile.write(LATIN) and None,
}


def _web_peers(source: WebSource) -> list[Peer]:
    """Return a peer for each kind of answer, which it gives to whatever it is asked."""
    replies = list(ANSWERS.values())
    source.replies[""] = lambda handler: replies[int(handler.path.split("/")[2])](handler)
    options = {"may_send": False, "is_source": True, "is_destination": True, "send_by": "stow-rs"}
    return [
        Peer(name=f"Web {name}", ae_title=f"WEB{number}", dicomweb_url=f"{source.root}/{number}", **options)
        for number, name in enumerate(ANSWERS)
    ]


def _dicom_peer(name: str, port: int, *, proof: str = "auto", takes: bool = False) -> Peer:
    return Peer(
        name=name,
        ae_title=name.upper(),
        host="127.0.0.1",
        port=port,
        may_send=False,
        is_source=not takes,
        is_destination=True,
        proof=proof,
    )


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RoleProcess]:
    environment = {"GLIONODE_ASSEMBLY_QUIET_PERIOD_S": NOT_YET_S}
    with ExitStack() as stack:
        images = tuple(mark(ds, series=True) for ds in make_small_study("another", ["FLAIR"])[:2])
        gets = stack.enter_context(running_spiteful_scp(SpitefulScp(comment=COMMENT, sends=images)))
        moves = stack.enter_context(running_spiteful_scp(SpitefulScp(comment=COMMENT), gets=False))
        takes = stack.enter_context(running_spiteful_scp(SpitefulScp(comment=COMMENT, stores=True)))
        odd = stack.enter_context(
            odd_scp(OddScp(acceptance=lambda _pdu: b"\x02\0\0\0\0\x50" + LATIN[:80], hangs_up=True))
        )
        peers = [
            _dicom_peer("Gets", gets.port),
            _dicom_peer("Moves", moves.port),
            _dicom_peer("Odd", odd.port),
            _dicom_peer("Commits", takes.port, proof="commitment", takes=True),
            _dicom_peer("Shows", takes.port, proof="query", takes=True),
            *_web_peers(stack.enter_context(serving_web())),
        ]
        worker = stack.enter_context(role_process("work", tmp_path_factory.mktemp("peers"), environment))
        _fill(worker, peers)
        yield worker
        assert "C-MOVE" in moves.asked
    assert leaks(worker.written()) == []


def _fill(worker: RoleProcess, peers: list[Peer]) -> None:
    for peer in peers:
        put_peer(worker.database, peer)
    folder = worker.settings.node.folder
    hold_small_study(worker.database, folder, "held", ["FLAIR"], attributes=CANARIES)
    _hold_result(worker, peers[0].profile.key)
    for peer in peers:
        if peer.is_source:
            ask_for(worker.database, WANTED, peer.name, 0)


def _hold_result(worker: RoleProcess, profile: str) -> None:
    """Keep a run whose one object waits to be delivered."""
    ds = mark(make_small_study("made", ["FLAIR"])[0], series=True)
    path = worker.settings.node.folder / "results" / "SEG.dcm"
    path.parent.mkdir(parents=True)
    ds.save_as(path, enforce_file_format=True)
    study = StudyRow(study_uid=str(ds.StudyInstanceUID), key="made", state=RunState.UNDELIVERED, current_run="run")
    facts = {"revision": 1, "manifest_sha256": "0", "ready_at": utc_now(), "state": RunState.UNDELIVERED}
    result = ResultRow(
        sop_instance_uid=str(ds.SOPInstanceUID),
        run_id="run",
        study_uid=study.study_uid,
        series_uid=str(ds.SeriesInstanceUID),
        sop_class_uid=str(ds.SOPClassUID),
        kind="SEG",
        profile=profile,
        path="results/SEG.dcm",
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
    )
    with worker.database.session() as session:
        session.add(study)
        session.flush()
        session.add(RunRow(run_id="run", study_uid=study.study_uid, deliver_at=utc_now(), **facts))
        session.flush()
        session.add(result)


def _wait_for(done: Callable[[], bool], worker: RoleProcess) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not done():
        assert time.monotonic() < deadline, worker.written()
        time.sleep(0.05)


def test_what_destinations_answer_is_not_logged(worker: RoleProcess) -> None:
    rounds = sa.select(RunRow.rounds).where(RunRow.run_id == "run", RunRow.executor == "")  # of every destination

    def is_through() -> bool:
        with worker.database.session() as session:
            return bool(session.scalar(rounds))

    _wait_for(is_through, worker)
    with worker.database.session() as session:
        told = {row.destination: row.reason for row in session.scalars(sa.select(DeliveryRow))}
    assert set(told) == {"Gets", "Moves", "Odd", "Commits", "Shows", *(f"Web {name}" for name in ANSWERS)}
    assert leaks(told["Gets"])  # for people on the panel; it shows that a patient was in the answer
    assert [event["peer"] for event in worker.events("no_commitment")] == ["Commits"]
    assert "Shows" in [event["peer"] for event in worker.events("destination_not_asked")]
    assert leaks(worker.written()) == []


def test_what_sources_answer_is_not_logged(worker: RoleProcess) -> None:
    ended = sa.select(FetchRow).where(FetchRow.state.in_([FetchState.DONE, FetchState.FAILED]))

    def is_through() -> bool:
        with worker.database.session() as session:
            return len(session.scalars(ended).all()) == len(ANSWERS) + 3  # Gets, Moves and Odd, too

    _wait_for(is_through, worker)
    with worker.database.session() as session:
        states = {row.source: (row.state, row.reason) for row in session.scalars(ended)}
    assert {state for state, _ in states.values()} == {FetchState.FAILED}
    assert leaks(*(reason for _, reason in states.values())) == []
    refused = [event["reason"] for event in worker.events("fetched_refused")]
    assert {"other_study", "InvalidDicomError", "content_type"} <= set(refused)
    assert leaks(worker.written()) == []


def test_what_is_answered_to_questions_is_not_logged(worker: RoleProcess) -> None:
    """Of the study that waits; a peer that has failed once is left alone for a while."""
    told = worker.wait_for("source_not_asked", len(ANSWERS))
    assert {event["peer"] for event in told} >= {"Gets", "Moves", "Web is no HTTP", "Web is JSON"}
    assert leaks(worker.written()) == []
