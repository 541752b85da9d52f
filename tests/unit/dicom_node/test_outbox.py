"""Delivery from the books: asked before anything is sent again, proven after, tried again with growing pauses."""

import hashlib
import io
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from dicom_node.database.engine import Database
from dicom_node.database.states import DeliveryState, RunState, StudyState
from dicom_node.database.tables import DeliveryRow, ResultRow, RunRow, StudyRow, utc_now
from dicom_node.delivery.outbox import FIRST_PAUSE_S, LONGEST_PAUSE_S, Outbox, pause_after
from dicom_node.peers.peer import Peer
from dicom_node.peers.registry import put_peer, remove_peer, set_enabled
from dicom_node.runs.operations import Impossible, resend
from dicom_node.settings import Settings, read_settings
from dicom_node.studies.run_queue import give_back_rounds
from dicom_node.studies.status import read_status, status_lines
from tests.support.archive import Archive, running_archive
from tests.support.orthanc import free_port
from tests.support.small_study import make_small_study

KINDS = ("SEG", "SR")

DEADLINE_S = 30.0


@pytest.fixture
def database(books: Database) -> Database:
    """Hold each on SQLite and on PostgreSQL, which knows types that the other does not care for."""
    return books


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return read_settings(environment={"GLIONODE_NODE_FOLDER": str(tmp_path / "node")})


@pytest.fixture
def archive() -> Iterator[Archive]:
    with running_archive() as running:
        yield running


@pytest.fixture
def run_id(database: Database, settings: Settings) -> str:
    """Keep a run with two objects; what is in them is of no concern here."""
    _keep_run(database, settings, "run", "outbox")
    return "run"


def _keep_run(database: Database, settings: Settings, run_id: str, seed: str, **changed: object) -> list[str]:
    """Keep a run of a study of its own; return the UIDs of its objects."""
    images = make_small_study(seed, roles=["FLAIR"])[: len(KINDS)]
    study_uid = str(images[0].StudyInstanceUID)
    key = "k" if run_id == "run" else run_id
    with database.session() as session:
        session.add(StudyRow(study_uid=study_uid, key=key, state=StudyState.RUNNING, current_run=run_id))
        session.flush()
        facts = {"revision": 1, "manifest_sha256": "0", "ready_at": utc_now(), "state": RunState.RUNNING, **changed}
        session.add(RunRow(run_id=run_id, study_uid=study_uid, step="deliver", **facts))
        session.flush()
        for kind, ds in zip(KINDS, images, strict=True):
            path = Path("results", *(() if run_id == "run" else (run_id,)), f"{kind}.dcm")
            (settings.node.folder / path).parent.mkdir(parents=True, exist_ok=True)
            buffer = io.BytesIO()
            ds.save_as(buffer, enforce_file_format=True)
            (settings.node.folder / path).write_bytes(buffer.getvalue())
            uids = {"sop_instance_uid": ds.SOPInstanceUID, "series_uid": ds.SeriesInstanceUID}
            rest = {
                "sop_class_uid": ds.SOPClassUID,
                "kind": kind,
                "path": str(path),
                "sha256": _sha256(buffer.getvalue()),
            }
            session.add(ResultRow(run_id=run_id, study_uid=study_uid, **uids, **rest))
    return [str(ds.SOPInstanceUID) for ds in images]


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _peer(archive: Archive, **changed: Any) -> Peer:  # noqa: ANN401 - any field of a peer
    peer = Peer(name="PACS", ae_title="ARCHIVE", host="127.0.0.1", port=archive.port, is_destination=True)
    return replace(peer, **changed)


def _deliver(database: Database, settings: Settings, run_id: str) -> RunRow:
    Outbox(settings, database).deliver(run_id)
    with database.session() as session:
        return session.get_one(RunRow, run_id)


def _send_due(outbox: Outbox, now: datetime) -> None:
    """Do a round, to its end."""
    outbox.send_due(now)
    outbox.join(DEADLINE_S)


def _rows(database: Database) -> list[DeliveryRow]:
    with database.session() as session:
        return list(session.query(DeliveryRow).order_by(DeliveryRow.id))


def test_what_is_accepted_is_proven_by_a_query(
    database: Database, settings: Settings, run_id: str, archive: Archive
) -> None:
    put_peer(database, _peer(archive))
    assert _deliver(database, settings, run_id).state == RunState.DELIVERED
    assert [(row.state, row.status, row.proof, row.attempts) for row in _rows(database)] == [
        (DeliveryState.ACCEPTED, 0, "query", 1)
    ] * 2
    assert len(archive.stored) == len(set(archive.stored)) == 2


def test_what_was_begun_and_not_answered_is_asked_for_before_it_is_sent_again(
    database: Database, settings: Settings, run_id: str, archive: Archive
) -> None:
    put_peer(database, _peer(archive))
    _deliver(database, settings, run_id)
    _forget(database, DeliveryState.SENDING)  # killed after the PACS stored it and before that was noted
    first = next(iter(archive.holds))
    del archive.holds[first]
    archive.stored.clear()
    assert _deliver(database, settings, run_id).state == RunState.DELIVERED
    assert archive.stored == [first]
    assert [row.attempts for row in _rows(database)] == [2, 1]


def test_what_a_query_shows_is_not_proven_where_a_commitment_is_wanted(
    database: Database, settings: Settings, run_id: str, archive: Archive
) -> None:
    put_peer(database, _peer(archive))
    _deliver(database, settings, run_id)
    put_peer(database, _peer(archive, proof="commitment"))  # which the archive does not offer
    _forget(database, DeliveryState.SENDING)
    assert _deliver(database, settings, run_id).state == RunState.UNDELIVERED
    assert [(row.state, row.proof) for row in _rows(database)] == [(DeliveryState.REFUSED, "")] * 2


def _forget(database: Database, state: DeliveryState) -> None:
    with database.session() as session:
        session.get_one(RunRow, "run").state = RunState.RUNNING
        for row in session.query(DeliveryRow):
            row.state, row.status, row.proof = state, None, ""


def test_a_destination_that_says_yes_and_keeps_nothing_is_noticed(
    database: Database, settings: Settings, run_id: str, archive: Archive
) -> None:
    put_peer(database, _peer(archive))
    archive.loses = True
    run = _deliver(database, settings, run_id)
    reason = "PACS accepted it, but has not confirmed that it stored it: a query does not find it yet"
    assert (run.state, run.reason) == (RunState.UNDELIVERED, f"PACS: {reason}")
    archive.loses = False
    assert _deliver(database, settings, run_id).state == RunState.DELIVERED
    assert len(archive.stored) == 4


def test_a_destination_that_is_slow_to_show_what_it_holds_is_not_sent_it_twice(
    database: Database, settings: Settings, run_id: str, archive: Archive
) -> None:
    put_peer(database, _peer(archive))
    archive.loses = True
    _deliver(database, settings, run_id)
    for ds in make_small_study("outbox", roles=["FLAIR"])[:2]:
        archive.put(ds)
    assert _deliver(database, settings, run_id).state == RunState.DELIVERED
    assert len(archive.stored) == 2


def test_a_refusal_is_kept_and_tried_again_with_growing_pauses(
    database: Database, settings: Settings, run_id: str, archive: Archive
) -> None:
    put_peer(database, _peer(archive))
    archive.store_answer = 0xA700
    outbox, now = Outbox(settings, database), utc_now()
    outbox.deliver(run_id)
    _send_due(outbox, now)  # too early
    assert [row.attempts for row in _rows(database)] == [1, 1]
    assert {(row.state, row.status, row.reason) for row in _rows(database)} == {
        (DeliveryState.REFUSED, 0xA700, "ARCHIVE answered 0xA700")
    }
    archive.store_answer = 0x0000
    _send_due(outbox, now + timedelta(seconds=FIRST_PAUSE_S + 60))
    assert {(row.state, row.attempts) for row in _rows(database)} == {(DeliveryState.ACCEPTED, 2)}


def test_a_round_counts_once_however_many_destinations_refuse(
    database: Database, settings: Settings, archive: Archive, quick: Archive
) -> None:
    _keep_run(database, settings, "first", "one", **_due(1))
    _put_both(database, archive, quick)
    archive.store_answer = quick.store_answer = 0xA700
    _send_due(Outbox(settings, database, "host/0"), utc_now())
    with database.session() as session:
        run = session.get_one(RunRow, "first")
        assert (run.state, run.executor, run.rounds) == (RunState.UNDELIVERED, "", 1)
        assert run.deliver_at is not None
        assert run.deliver_at < utc_now() + timedelta(seconds=FIRST_PAUSE_S)
    assert [row.attempts for row in _rows(database)] == [1] * 4


def test_pauses_grow_to_a_quarter_of_an_hour_and_never_end() -> None:
    pauses = [pause_after(rounds).total_seconds() for rounds in range(1, 2000)]
    assert pauses[:4] == [FIRST_PAUSE_S, 10.0, 20.0, 40.0]
    assert pauses == sorted(pauses)
    assert pauses[-1] == LONGEST_PAUSE_S


def test_a_destination_gets_the_kinds_it_wants(
    database: Database, settings: Settings, run_id: str, archive: Archive
) -> None:
    put_peer(database, _peer(archive, objects="SR"))
    assert _deliver(database, settings, run_id).state == RunState.DELIVERED
    assert len(archive.stored) == 1


def test_another_form_than_was_made_is_told(
    database: Database, settings: Settings, run_id: str, archive: Archive
) -> None:
    put_peer(database, _peer(archive, seg_form="labelmap"))
    run = _deliver(database, settings, run_id)
    assert run.state == RunState.UNDELIVERED
    assert run.reason == "PACS: needs another form of objects than was made; process the study again"
    with pytest.raises(Impossible, match="were not made in the form for PACS"):
        resend(database, "k")


def test_resending_brings_only_what_is_missing(
    database: Database, settings: Settings, run_id: str, archive: Archive
) -> None:
    put_peer(database, _peer(archive))
    _deliver(database, settings, run_id)
    lost = next(iter(archive.holds))
    del archive.holds[lost]
    archive.stored.clear()
    assert resend(database, "k", "PACS") == 2
    _send_due(Outbox(settings, database), utc_now() + timedelta(seconds=1))
    assert archive.stored == [lost]
    with database.session() as session:
        assert session.get_one(RunRow, run_id).state == RunState.DELIVERED


def test_a_destination_that_was_added_later_gets_everything_by_resending(
    database: Database, settings: Settings, run_id: str, archive: Archive
) -> None:
    assert _deliver(database, settings, run_id).state == RunState.STORED
    put_peer(database, _peer(archive))
    resend(database, "k")
    _send_due(Outbox(settings, database), utc_now() + timedelta(seconds=1))
    assert len(archive.stored) == 2


@pytest.mark.usefixtures("run_id")
def test_resending_to_nobody_is_told(database: Database) -> None:
    with pytest.raises(Impossible, match="no enabled destination is called 'PACS'"):
        resend(database, "k", "PACS")


def test_what_a_person_has_closed_is_not_opened_by_a_late_answer(
    database: Database, settings: Settings, run_id: str, archive: Archive
) -> None:
    put_peer(database, _peer(archive))
    with database.session() as session:
        session.get_one(RunRow, run_id).state = RunState.CANCELLED
    assert _deliver(database, settings, run_id).state == RunState.CANCELLED


def test_a_destination_that_takes_something_again_gets_everything_that_waits_for_it(
    database: Database, settings: Settings, run_id: str, archive: Archive
) -> None:
    put_peer(database, _peer(archive))
    with database.session() as session:
        facts = {"revision": 1, "manifest_sha256": "0", "ready_at": utc_now(), "state": RunState.UNDELIVERED}
        pausing = utc_now() + timedelta(seconds=600)
        study_uid = session.get_one(RunRow, run_id).study_uid
        session.add(RunRow(run_id="pausing", study_uid=study_uid, deliver_at=pausing, **facts))
        session.flush()
        path, uids = "results/SR.dcm", {"sop_instance_uid": "1.2.3", "series_uid": "1", "sop_class_uid": "1"}
        session.add(ResultRow(run_id="pausing", study_uid=study_uid, kind="SR", path=path, sha256="0", **uids))
        session.flush()
        session.add(DeliveryRow(run_id="pausing", sop_instance_uid="1.2.3", destination="PACS", state="refused"))
    _deliver(database, settings, run_id)
    with database.session() as session:
        due = session.get_one(RunRow, "pausing").deliver_at
    assert due is not None
    assert due <= utc_now()


def test_a_run_whose_round_breaks_off_does_not_keep_back_those_behind_it(
    database: Database, settings: Settings, run_id: str, archive: Archive
) -> None:
    if database.engine.dialect.name != "sqlite":
        pytest.skip("PostgreSQL takes no row that breaks off a round like this one")
    put_peer(database, _peer(archive))
    with database.session() as session:
        good = session.get_one(RunRow, run_id)
        good.state, good.deliver_at = RunState.UNDELIVERED, utc_now()
        facts = {"revision": 1, "manifest_sha256": "0", "ready_at": utc_now(), "state": RunState.UNDELIVERED}
        earlier = utc_now() - timedelta(hours=1)
        session.add(RunRow(run_id="bad", study_uid=good.study_uid, step="deliver", deliver_at=earlier, **facts))
        session.flush()
        uids = {"sop_instance_uid": "1.2.3", "series_uid": "1.2", "sop_class_uid": "1.2"}
        rest = {"kind": "SEG", "path": "results/no\0file.dcm", "sha256": "0"}
        session.add(ResultRow(run_id="bad", study_uid=good.study_uid, **uids, **rest))
    _send_due(Outbox(settings, database), utc_now())
    with database.session() as session:
        assert session.get_one(RunRow, run_id).state == RunState.DELIVERED
        bad = session.get_one(RunRow, "bad")
        assert (bad.state, bad.rounds) == (RunState.UNDELIVERED, 1)
        assert bad.reason.startswith("PACS: not sent yet; PACS: delivery broke off (ValueError)")
        assert bad.deliver_at <= utc_now() + timedelta(seconds=LONGEST_PAUSE_S)  # not only when its claim runs out


def _spoil(path: Path, how: str) -> None:
    if how in ("gone", "folder"):
        path.unlink()
    if how == "folder":
        path.mkdir()
    elif how == "cut":
        path.write_bytes(path.read_bytes()[:200])
    elif how == "flipped":
        content = bytearray(path.read_bytes())
        content[-9] ^= 1
        path.write_bytes(content)


ANEW = "; not sent: `glionode replay --from-start` creates it again"


SPOILT = {
    "gone": "the file cannot be read (FileNotFoundError)",
    "folder": "the file cannot be read (IsADirectoryError)",
    "cut": "the file has changed since it was written",
    "flipped": "the file has changed since it was written",
}


@pytest.mark.parametrize("by", ["c-store", "stow-rs"])
@pytest.mark.parametrize("how", SPOILT)
def test_an_object_whose_file_is_spoilt_is_said_and_the_others_are_sent(
    database: Database, settings: Settings, run_id: str, archive: Archive, how: str, by: str
) -> None:
    nobody, reason = f"http://127.0.0.1:{free_port()}/dicom-web", SPOILT[how]
    changed = {"send_by": "stow-rs", "dicomweb_url": nobody} if by == "stow-rs" else {}
    put_peer(database, _peer(archive, **changed))
    _spoil(settings.node.folder / "results" / "SEG.dcm", how)
    run = _deliver(database, settings, run_id)
    assert run.state == RunState.UNDELIVERED
    assert f"PACS: {reason}{ANEW}" in run.reason
    seg, sr = _rows(database)
    assert (seg.state, seg.reason, seg.attempts) == (DeliveryState.REFUSED, reason + ANEW, 0)
    said = "PACS could not be reached by STOW-RS (ConnectError)"
    assert (sr.state, sr.reason) == ((DeliveryState.REFUSED, said) if by == "stow-rs" else (DeliveryState.ACCEPTED, ""))
    assert f"    PACS: refused {reason}{ANEW}" in status_lines(read_status(database))


def _unanswered(database: Database, settings: Settings, run_id: str, archive: Archive, **changed: Any) -> Outbox:  # noqa: ANN401 - as above
    """Deliver to a destination that refuses everything."""
    put_peer(database, _peer(archive, **changed))
    archive.store_answer = 0xA700
    outbox = Outbox(settings, database)
    outbox.deliver(run_id)
    return outbox


def _run(database: Database, run_id: str) -> tuple[str, str]:
    with database.session() as session:
        run = session.get_one(RunRow, run_id)
        assert session.get_one(StudyRow, run.study_uid).state == run.state, "the study follows"
        return run.state, run.reason


LATER = timedelta(hours=1)
SOON = timedelta(seconds=60)
"""A round that sends nothing ends at once; its pauses soon exceed this, but never an hour."""


@pytest.mark.parametrize("how", ["removed", "no destination"])
def test_a_destination_that_is_gone_is_not_waited_for(
    database: Database, settings: Settings, run_id: str, archive: Archive, how: str
) -> None:
    outbox = _unanswered(database, settings, run_id, archive)
    assert _run(database, run_id)[0] == RunState.UNDELIVERED
    if how == "removed":
        remove_peer(database, "PACS")
    else:
        put_peer(database, _peer(archive, is_destination=False))
    _send_due(outbox, utc_now() + LATER)
    assert _run(database, run_id) == (
        RunState.STORED,
        "no destination is configured: the results are kept on the node",
    )
    assert {(row.state, row.reason) for row in _rows(database)} == {
        (DeliveryState.CALLED_OFF, "it is no longer a destination")
    }


def test_what_is_for_a_disabled_destination_waits_says_so_and_is_sent_once_it_is_enabled(
    database: Database, settings: Settings, run_id: str, archive: Archive
) -> None:
    outbox = _unanswered(database, settings, run_id, archive)
    attempts = [row.attempts for row in _rows(database)]
    archive.store_answer = 0x0000
    set_enabled(database, "PACS", enabled=False)
    _send_due(outbox, utc_now() + SOON)
    waits = "it is disabled; sent once it is enabled again"
    assert _run(database, run_id) == (RunState.UNDELIVERED, f"PACS: {waits}")
    assert [(row.state, row.reason) for row in _rows(database)] == [(DeliveryState.WAITING, waits)] * 2
    assert ([row.attempts for row in _rows(database)], archive.stored) == (attempts, [])
    set_enabled(database, "PACS", enabled=True)
    _send_due(outbox, utc_now())  # at once, although the pause is not over
    assert _run(database, run_id) == (RunState.DELIVERED, "")
    assert len(archive.stored) == 2


def test_what_is_made_while_a_destination_is_disabled_waits_for_it_and_the_others_get_theirs(
    database: Database, settings: Settings, run_id: str, archive: Archive
) -> None:
    put_peer(database, _peer(archive))
    put_peer(database, replace(_peer(archive), name="Off", enabled=False))
    outbox = Outbox(settings, database)
    outbox.deliver(run_id)
    assert _run(database, run_id)[0] == RunState.UNDELIVERED
    assert {(row.destination, row.state) for row in _rows(database)} == {
        ("PACS", DeliveryState.ACCEPTED),
        ("Off", DeliveryState.WAITING),
    }
    remove_peer(database, "Off")
    _send_due(outbox, utc_now() + LATER)
    assert _run(database, run_id) == (RunState.DELIVERED, "")


def test_a_run_goes_only_where_the_routing_rules_send_it(
    database: Database, settings: Settings, run_id: str, archive: Archive
) -> None:
    put_peer(database, _peer(archive))
    put_peer(database, replace(_peer(archive), name="Other"))
    put_peer(database, replace(_peer(archive), name="Off", enabled=False))
    route = {"model": "", "destinations": ["PACS"], "priority": "", "by": {"destinations": "the rule"}}
    with database.session() as session:
        session.get_one(RunRow, run_id).route = route
    archive.store_answer = 0xA700
    outbox = Outbox(settings, database)
    outbox.deliver(run_id)
    archive.store_answer = 0x0000
    _send_due(outbox, utc_now() + SOON)
    assert _run(database, run_id) == (RunState.DELIVERED, "")
    assert {(row.destination, row.state) for row in _rows(database)} == {("PACS", DeliveryState.ACCEPTED)}
    with pytest.raises(Impossible, match="a routing rule sends its results elsewhere: sent to PACS alone"):
        resend(database, "k", "Other")
    assert resend(database, "k") == 2


def test_a_run_is_delivered_when_all_who_are_still_there_have_it(
    database: Database, settings: Settings, run_id: str, archive: Archive
) -> None:
    put_peer(database, _peer(archive))
    put_peer(database, replace(_peer(archive), name="Gone", host="no-such-host.invalid"))
    outbox = Outbox(settings, database)
    outbox.deliver(run_id)
    assert _run(database, run_id)[0] == RunState.UNDELIVERED
    remove_peer(database, "Gone")
    _send_due(outbox, utc_now() + LATER)
    assert _run(database, run_id) == (RunState.DELIVERED, "")


def test_a_destination_that_comes_back_gets_what_was_called_off(
    database: Database, settings: Settings, run_id: str, archive: Archive
) -> None:
    outbox = _unanswered(database, settings, run_id, archive)
    put_peer(database, _peer(archive, is_destination=False))
    _send_due(outbox, utc_now() + LATER)
    archive.store_answer = 0x0000
    put_peer(database, _peer(archive))
    _send_due(outbox, utc_now() + LATER)
    assert _run(database, run_id)[0] == RunState.DELIVERED
    assert len(archive.stored) == 2


def test_what_was_replaced_meanwhile_is_not_called_back(
    database: Database, settings: Settings, run_id: str, archive: Archive
) -> None:
    outbox = _unanswered(database, settings, run_id, archive)
    put_peer(database, _peer(archive, is_destination=False))
    _send_due(outbox, utc_now() + LATER)
    with database.session() as session:
        session.query(StudyRow).one().current_run = "another"
    archive.store_answer = 0x0000
    put_peer(database, _peer(archive))
    _send_due(outbox, utc_now() + LATER)
    assert archive.stored == []


def test_an_object_that_is_not_wanted_any_more_is_not_waited_for(
    database: Database, settings: Settings, run_id: str, archive: Archive
) -> None:
    outbox = _unanswered(database, settings, run_id, archive)
    archive.store_answer = 0x0000
    put_peer(database, _peer(archive, objects="SR"))
    _send_due(outbox, utc_now() + LATER)
    assert _run(database, run_id)[0] == RunState.DELIVERED
    assert {row.state for row in _rows(database)} == {DeliveryState.ACCEPTED, DeliveryState.CALLED_OFF}
    assert len(archive.stored) == 1


def test_another_form_is_not_wanted_of_what_a_destination_has(
    database: Database, settings: Settings, run_id: str, archive: Archive
) -> None:
    put_peer(database, _peer(archive))
    put_peer(database, replace(_peer(archive), name="Gone", host="no-such-host.invalid"))
    outbox = Outbox(settings, database)
    outbox.deliver(run_id)
    put_peer(database, _peer(archive, seg_form="labelmap"))
    remove_peer(database, "Gone")
    _send_due(outbox, utc_now() + LATER)
    assert _run(database, run_id)[0] == RunState.DELIVERED


def _due(minutes: float) -> dict[str, object]:
    return {"state": RunState.UNDELIVERED, "deliver_at": utc_now() - timedelta(minutes=minutes)}


@pytest.fixture
def quick() -> Iterator[Archive]:
    with running_archive("QUICK") as running:
        yield running


def _put_both(database: Database, slow: Archive, quick: Archive) -> None:
    """Make two destinations, of which the slow one comes first wherever they are gone through in order."""
    put_peer(database, _peer(slow, name="A-SLOW", proof="query"))
    put_peer(database, _peer(quick, name="B-QUICK", ae_title="QUICK", proof="query"))


def test_a_slow_destination_delays_what_it_gets_itself_and_nothing_else(
    database: Database, settings: Settings, archive: Archive, quick: Archive
) -> None:
    first = _keep_run(database, settings, "first", "one", **_due(2))
    second = _keep_run(database, settings, "second", "two", **_due(1))
    _put_both(database, archive, quick)
    quick_has_all, waited = threading.Event(), []
    quick.before_answer = lambda _: len(quick.stored) == 3 and quick_has_all.set()
    archive.before_answer = lambda _: waited.append(quick_has_all.wait(DEADLINE_S / 6))
    _send_due(Outbox(settings, database, "host/0"), utc_now())
    assert waited == [True] * 4, "the slow one answered before the quick one had everything"
    for one in (archive, quick):
        assert (set(one.stored[:2]), set(one.stored[2:])) == (set(first), set(second)), "each in its order, and once"
    with database.session() as session:
        assert {(run.state, run.executor) for run in session.query(RunRow)} == {(RunState.DELIVERED, "")}


def test_a_first_delivery_to_a_slow_destination_keeps_no_other_waiting(
    database: Database, settings: Settings, run_id: str, archive: Archive, quick: Archive
) -> None:
    _put_both(database, archive, quick)
    quick_has_all, waited = threading.Event(), []
    quick.before_answer = lambda _: len(quick.stored) == 1 and quick_has_all.set()
    archive.before_answer = lambda _: waited.append(quick_has_all.wait(DEADLINE_S / 6))
    assert _deliver(database, settings, run_id).state == RunState.DELIVERED
    assert waited == [True] * 2


def test_what_waits_in_a_lane_is_one_worker_s_and_is_sent_once(
    database: Database, settings: Settings, archive: Archive, quick: Archive
) -> None:
    objects = _keep_run(database, settings, "one", "one", **_due(1))
    _put_both(database, archive, quick)
    begun, goes_on = threading.Event(), threading.Event()
    archive.before_answer = lambda _: begun.set() or goes_on.wait(DEADLINE_S)
    quick.store_answer = 0xA700
    mine, another_s = Outbox(settings, database, "host/0"), Outbox(settings, database, "host/1")
    mine.send_due(utc_now())
    assert begun.wait(DEADLINE_S)
    run = _wait_for(database, "one", lambda run: "QUICK answered" in run.reason)
    assert "A-SLOW: not sent yet" in run.reason
    assert run.deliver_at is not None
    assert run.deliver_at <= utc_now() + timedelta(seconds=LONGEST_PAUSE_S), "the quick one is not tried when it could"
    quick.store_answer = 0x0000
    _send_due(another_s, utc_now() + timedelta(seconds=LONGEST_PAUSE_S))
    assert quick.stored == [], "another worker took what lies in the lanes of this one"
    mine.send_due(utc_now() + timedelta(seconds=LONGEST_PAUSE_S))
    _wait_for(database, "one", lambda _: len(quick.stored) == 2)
    goes_on.set()
    mine.join(DEADLINE_S)
    assert sorted(archive.stored) == sorted(quick.stored) == sorted(objects)
    assert _run(database, "one")[0] == RunState.DELIVERED


def _wait_for(database: Database, run_id: str, holds: Callable[[RunRow], bool]) -> RunRow:
    ends = time.monotonic() + DEADLINE_S
    while True:
        with database.session() as session:
            run = session.get_one(RunRow, run_id)
        if holds(run):
            return run
        assert time.monotonic() < ends, run.reason
        time.sleep(0.02)


def test_what_waits_in_the_lanes_of_a_worker_that_ends_is_begun_by_the_next(
    database: Database, settings: Settings, archive: Archive
) -> None:
    for number, name in enumerate(("first", "second")):
        _keep_run(database, settings, name, name, **_due(2 - number))
    put_peer(database, _peer(archive, proof="query"))
    begun, goes_on = threading.Event(), threading.Event()
    archive.before_answer = lambda _: begun.set() or goes_on.wait(DEADLINE_S)
    ending = Outbox(settings, database, "host/0")
    ending.send_due(utc_now())
    assert begun.wait(DEADLINE_S)
    ending.stop()
    goes_on.set()
    ending.join(DEADLINE_S)
    assert len(archive.stored) == 2, "what was under way is ended, and nothing else begun"
    with database.session() as session:
        give_back_rounds(session, ["host/0"])
    _send_due(Outbox(settings, database, "host/1"), utc_now() + timedelta(seconds=1))
    assert len(archive.stored) == len(set(archive.stored)) == 4
    assert _run(database, "second")[0] == RunState.DELIVERED


def test_a_first_delivery_that_waits_behind_another_when_its_worker_ends_is_left_for_the_next_round(
    database: Database, settings: Settings, run_id: str, archive: Archive
) -> None:
    _keep_run(database, settings, "first", "first", **_due(1))
    put_peer(database, _peer(archive, proof="query"))
    begun, goes_on = threading.Event(), threading.Event()
    archive.before_answer = lambda _: begun.set() or goes_on.wait(DEADLINE_S)
    ending = Outbox(settings, database, "host/0")
    ending.send_due(utc_now())
    assert begun.wait(DEADLINE_S)
    step = threading.Thread(target=ending.deliver, args=(run_id,), daemon=True)
    step.start()
    ending.stop()
    goes_on.set()
    step.join(DEADLINE_S)
    assert not step.is_alive(), "the step waits for what nobody will do any more"
    assert _run(database, run_id) == (RunState.UNDELIVERED, "PACS: not sent yet (the worker stopped)")
    assert len(archive.stored) == 2
    _send_due(Outbox(settings, database, "host/1"), utc_now() + timedelta(hours=1))
    assert _run(database, run_id)[0] == RunState.DELIVERED
    assert len(archive.stored) == len(set(archive.stored)) == 4
