"""Storage commitment over real sockets: the request, the answer over either association, and what a failure means."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from pydicom.dataset import Dataset
from pynetdicom import AE, build_role, evt
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    StorageCommitmentPushModel,
    StorageCommitmentPushModelInstance,
)

from dicom_node.audit.trail import AuditTrail
from dicom_node.database.engine import Database
from dicom_node.database.tables import CommitmentRow, RefusalRow
from dicom_node.delivery.proof import Prover, SentObject
from dicom_node.peers.peer import Peer
from dicom_node.peers.query import ObjectPlace
from dicom_node.peers.registry import put_peer
from dicom_node.reception.listener import Listener
from dicom_node.settings import read_settings
from tests.support.pacs import OpenSockets, instance_of, store
from tests.support.raw_values import put_raw
from tests.support.small_study import make_small_study
from viewer_integration.transport.commitment import read_answer

OBJECTS = tuple(
    SentObject(
        sop_class_uid="1.2.840.10008.5.1.4.1.1.4",
        place=ObjectPlace(study_uid="1", series_uid="2", sop_instance_uid=uid),
    )
    for uid in ("3.1", "3.2")
)


@pytest.fixture
def database(books: Database) -> Database:
    """Hold each on SQLite and on PostgreSQL, which knows types that the other does not care for."""
    return books


@pytest.fixture
def trail(database: Database, tmp_path: Path) -> AuditTrail:
    return AuditTrail(tmp_path, "GLIONODE", database)


@pytest.fixture
def listener(database: Database, tmp_path: Path) -> Iterator[Listener]:
    environment = {"GLIONODE_NODE_FOLDER": str(tmp_path / "node"), "GLIONODE_NODE_DICOM_PORT": "0"}
    running = Listener(read_settings(environment=environment), database)
    running.start()
    yield running
    running.stop()


def _report(transaction_uid: str, failed: dict[str, int]) -> Dataset:
    """Return event information: every object committed but those that failed."""
    ds = Dataset()
    ds.TransactionUID = transaction_uid
    uids = [one.place.sop_instance_uid for one in OBJECTS]
    ds.ReferencedSOPSequence = [_reference(uid) for uid in uids if uid not in failed]
    if failed:
        ds.FailedSOPSequence = [_reference(uid, reason) for uid, reason in failed.items()]
    return ds


def _reference(uid: str, reason: int | None = None) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = OBJECTS[0].sop_class_uid, uid
    if reason is not None:
        item.FailureReason = reason
    return item


def _tell(port: int, report: Dataset, calling_ae: str = "COMMITTER") -> int | None:
    """Send an N-EVENT-REPORT as a commitment SCP does: over an association of its own, in the role of SCP."""
    entity = AE(ae_title=calling_ae)
    entity.add_requested_context(StorageCommitmentPushModel)
    sockets = OpenSockets()
    role = build_role(StorageCommitmentPushModel, scp_role=True)
    assoc = entity.associate("127.0.0.1", port, ae_title="GLIONODE", ext_neg=[role], evt_handlers=[sockets.handler])
    assert assoc.is_established
    event_type = 2 if report.get("FailedSOPSequence") else 1
    model, instance = StorageCommitmentPushModel, StorageCommitmentPushModelInstance
    status, _ = assoc.send_n_event_report(report, event_type, model, instance)
    assoc.release()
    sockets.close()
    code: int | None = status.get("Status")
    return code


@contextmanager
def _committer(node_port: int, failed: dict[str, int]) -> Iterator[Peer]:
    """Run a commitment SCP that answers at the node's listener."""
    entity = AE(ae_title="COMMITTER")
    entity.add_supported_context(StorageCommitmentPushModel)
    sockets = OpenSockets()

    def on_action(event: evt.Event) -> tuple[int, None]:
        assert _tell(node_port, _report(str(event.action_information.TransactionUID), failed)) == 0x0000
        return 0x0000, None

    handlers: list[Any] = [(evt.EVT_N_ACTION, on_action), sockets.handler]
    server: Any = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
    where = {"host": "127.0.0.1", "port": server.server_address[1], "is_destination": True, "may_send": False}
    yield Peer(name="Committer", ae_title="COMMITTER", proof="commitment", **where)
    entity.shutdown()
    sockets.close()


def test_what_a_destination_commits_itself_to_is_proven(
    database: Database, listener: Listener, trail: AuditTrail
) -> None:
    with _committer(listener.port, {}) as peer:
        put_peer(database, peer)
        proof = Prover(database, "GLIONODE", trail).prove(peer, OBJECTS)
    assert (proof.kind, proof.proven, dict(proof.missing)) == ("commitment", {"3.1", "3.2"}, {})


def test_what_it_does_not_hold_is_missing_with_its_reason(
    database: Database, listener: Listener, trail: AuditTrail
) -> None:
    with _committer(listener.port, {"3.2": 0x0112}) as peer:
        put_peer(database, peer)
        proof = Prover(database, "GLIONODE", trail).prove(peer, OBJECTS)
    assert (proof.proven, dict(proof.missing)) == ({"3.1"}, {"3.2": "it does not have the object"})


def test_an_answer_that_nobody_asked_for_is_refused_and_noted(database: Database, listener: Listener) -> None:
    put_peer(database, Peer(name="Committer", ae_title="COMMITTER"))
    assert _tell(listener.port, _report("1.2.3", {})) == 0x0112
    with database.session() as session:
        (refusal,) = session.scalars(sa.select(RefusalRow)).all()
        assert session.scalars(sa.select(CommitmentRow)).all() == []
    assert refusal.code == "unknown_commitment"


def test_a_destination_that_may_only_answer_stores_nothing(database: Database, listener: Listener) -> None:
    where = {"host": "127.0.0.1", "port": 104, "is_destination": True, "may_send": False}
    put_peer(database, Peer(name="Committer", ae_title="COMMITTER", proof="commitment", **where))
    images = [instance_of(ds) for ds in make_small_study("not authorised", roles=["FLAIR"])]
    assert set(store(images, listener.port, "COMMITTER")) == {0x0124}
    with database.session() as session:
        (refusal,) = session.scalars(sa.select(RefusalRow)).all()
    assert refusal.code == "calling_ae_title"


def test_a_destination_without_commitment_proves_nothing_where_nothing_else_will_do(
    database: Database, trail: AuditTrail
) -> None:
    entity = AE(ae_title="PLAIN")
    entity.add_supported_context("1.2.840.10008.1.1")
    sockets = OpenSockets()
    handlers: list[Any] = [sockets.handler]
    server: Any = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
    peer = Peer(name="Plain", ae_title="PLAIN", host="127.0.0.1", port=server.server_address[1], proof="commitment")
    proof = Prover(database, "GLIONODE", trail).prove(peer, OBJECTS)
    entity.shutdown()
    sockets.close()
    assert proof.proven == frozenset()
    assert set(proof.missing.values()) == {"it has not answered the request for storage commitment"}


def test_a_failure_without_a_reason_and_one_that_nobody_knows_are_told() -> None:
    report = _report("1.2", {"3.1": 0x0999})
    report.FailedSOPSequence.append(_reference("3.2"))
    assert dict(read_answer(report).failed) == {"3.1": "it reported failure 0x0999", "3.2": "it gave no reason"}


def test_an_answer_that_is_broken_in_part_counts_for_the_rest() -> None:
    """One item without an instance, or with a reason that is no number, does not take the others along."""
    report, item = Dataset(), Dataset()
    item.ReferencedSOPInstanceUID = "3.1"
    put_raw(item, "FailureReason", "US", b"\1")
    put_raw(report, "TransactionUID", "UI", b"1.2.3 ")
    report.FailedSOPSequence, report.ReferencedSOPSequence = [Dataset(), item], [Dataset(), Dataset()]
    report.ReferencedSOPSequence[1].ReferencedSOPInstanceUID = "3.2"
    answer = read_answer(report)
    assert (answer.transaction_uid, answer.committed) == ("1.2.3", ("3.2",))
    assert dict(answer.failed) == {"3.1": "it gave no reason"}
    put_raw(report, "FailedSOPSequence", "LO", b"no sequence")
    assert dict(read_answer(report).failed) == {}


@contextmanager
def _slow_committer(asked: list[Dataset]) -> Iterator[Peer]:
    """Run a commitment SCP that takes every request and answers none."""
    entity = AE(ae_title="COMMITTER")
    entity.add_supported_context(StorageCommitmentPushModel)
    sockets = OpenSockets()

    def on_action(event: evt.Event) -> tuple[int, None]:
        asked.append(event.action_information)
        return 0x0000, None

    handlers: list[Any] = [(evt.EVT_N_ACTION, on_action), sockets.handler]
    server: Any = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
    where = {"host": "127.0.0.1", "port": server.server_address[1], "is_destination": True, "may_send": False}
    try:
        yield Peer(name="Committer", ae_title="COMMITTER", proof="commitment", **where)
    finally:
        entity.shutdown()
        sockets.close()


@pytest.mark.parametrize("proof", ["commitment", "auto"])
def test_an_answer_that_comes_when_nobody_waits_any_more_counts_once(
    database: Database, listener: Listener, monkeypatch: pytest.MonkeyPatch, proof: str, trail: AuditTrail
) -> None:
    monkeypatch.setattr("dicom_node.delivery.proof.ANSWER_S", 0.0)
    asked: list[Dataset] = []
    prover = Prover(database, "GLIONODE", trail)
    with _slow_committer(asked) as slow:
        peer = replace(slow, proof=proof)
        put_peer(database, peer)
        assert prover.prove(peer, OBJECTS).proven == frozenset()
        assert _tell(listener.port, _report(str(asked[0].TransactionUID), {"3.2": 0x0112})) == 0x0000
        assert prover.held(peer, [one.place for one in OBJECTS]) == {"3.1"}
        late = prover.prove(peer, OBJECTS[:1])
        assert (late.kind, late.proven, dict(late.missing)) == ("commitment", frozenset({"3.1"}), {})
        assert _tell(listener.port, _report(str(asked[0].TransactionUID), {})) == 0x0000  # the report once more
        assert prover.prove(peer, OBJECTS[:1]).proven == frozenset()


def test_where_nothing_but_commitment_will_do_it_is_asked_for_after_a_silence_too(
    database: Database, monkeypatch: pytest.MonkeyPatch, trail: AuditTrail
) -> None:
    monkeypatch.setattr("dicom_node.delivery.proof.ANSWER_S", 0.0)
    asked: list[Dataset] = []
    prover = Prover(database, "GLIONODE", trail)
    with _slow_committer(asked) as peer:
        for _ in range(2):
            assert set(prover.prove(peer, OBJECTS).missing) == {"3.1", "3.2"}
    assert len(asked) == 2
