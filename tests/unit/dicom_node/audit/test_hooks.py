"""What the node does leaves its message: reception, refusal, delivery, removal, fetching. Never one for each image."""

import hashlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from dicom_node.audit.reading import ShownMessage
from dicom_node.audit.trail import AuditTrail
from dicom_node.database.engine import Database, open_database
from dicom_node.database.states import AssociationEnd, RunState, StudyState
from dicom_node.database.tables import AssociationRow, InstanceRow, ResultRow, RunRow, StudyRow, utc_now
from dicom_node.delivery.outbox import Outbox
from dicom_node.peers.peer import Peer
from dicom_node.peers.registry import put_peer
from dicom_node.reception.listener import Listener
from dicom_node.retrieval.fetch import Fetcher
from dicom_node.runs.retention import Retention
from dicom_node.settings import Settings, read_settings
from dicom_node.studies.source_counts import SourceReader
from tests.support.archive import Archive, running_archive
from tests.support.audit_schema import recorded
from tests.support.canary import AE_TITLE, CANARIES, leaks, mark
from tests.support.held_study import hold_small_study
from tests.support.pacs import instance_of, store
from tests.support.small_study import make_small_study
from tests.support.waiting import wait_until

MR = "1.2.840.10008.5.1.4.1.1.4"


@pytest.fixture
def settings(folder: Path) -> Settings:
    environment = {"GLIONODE_NODE_FOLDER": str(folder), "GLIONODE_NODE_DICOM_PORT": "0"}
    return read_settings(environment=environment | {"GLIONODE_RETENTION_PIXELS_DAYS": "0.000001"})


@pytest.fixture
def listener(settings: Settings, database: Database) -> Iterator[Listener]:
    put_peer(database, Peer(name="Scanner", ae_title="SCANNER"))
    running = Listener(settings, database)
    running.start()
    yield running
    running.stop()


@pytest.fixture
def archive() -> Iterator[Archive]:
    with running_archive() as running:
        yield running


def _names(*written: bytes) -> list[str]:
    """Return what stands there of the patient besides the Patient ID, which a message states."""
    return [leak for leak in leaks(*written) if leak.partition(" (")[0] not in CANARIES["PatientID"]]


def _await(folder: Path, database: Database, event: str, count: int = 1) -> list[ShownMessage]:
    wait_until(lambda: len(recorded(folder, database, event)) >= count)
    return recorded(folder, database, event)


def test_an_association_of_many_images_costs_one_message_for_each_study(
    listener: Listener, database: Database, folder: Path
) -> None:
    images = [mark(ds) for name in ("one", "two") for ds in make_small_study(name)]
    assert len(images) == 80
    assert set(store([instance_of(ds) for ds in images], listener.port, "SCANNER")) == {0}
    found = _await(folder, database, "transferred", 2)
    assert [(one.action, one.outcome, one.patients) for one in found] == [("C", "0", (CANARIES["PatientID"],))] * 2
    assert {one.studies for one in found} == {(str(ds.StudyInstanceUID),) for ds in images}
    assert all(f'UID="{MR}" NumberOfInstances="40"' in one.xml and "AETITLES=SCANNER" in one.xml for one in found)
    assert _names(*(path.read_bytes() for path in (folder / "audit").iterdir())) == []


def test_what_a_killed_listener_had_stored_is_recorded_by_the_next(
    settings: Settings, database: Database, folder: Path
) -> None:
    hold_small_study(database, folder, "killed")
    with database.session() as session:
        gone = {"association_id": "a" * 32, "listener": "gone", "calling_ae": "SCANNER"}
        session.add(AssociationRow(**gone, end=AssociationEnd.OPEN))
        session.execute(sa.update(InstanceRow).values(association_id="a" * 32))
    running = Listener(settings, database)
    running._associations._name = "gone"  # so that the association counts as one of an ended process
    running.start()
    try:
        (found,) = _await(folder, database, "transferred")
    finally:
        running.stop()
    assert "ended while the association was open" in found.description
    assert found.patients == ("SMALL-1",)


def test_a_stranger_who_scans_is_recorded_now_and_then_and_by_address_alone(
    listener: Listener, database: Database, folder: Path
) -> None:
    image = instance_of(make_small_study("refused")[0])
    for _ in range(3):
        with pytest.raises(ConnectionRefusedError):
            store([image], listener.port, AE_TITLE[:16])
    (alert,) = _await(folder, database, "alert")
    assert (alert.types, alert.outcome, alert.users[0]) == (("Node Authentication",), "4", "127.0.0.1")
    assert leaks(alert.xml) == []


def test_reception_goes_on_while_the_trail_cannot_be_written(
    listener: Listener, database: Database, folder: Path
) -> None:
    """No study is lost for it; what was held in memory is recorded once that is possible."""
    (folder / "audit").write_text("in the way", "utf-8")
    images = make_small_study("unwritten")[:3]
    assert set(store([instance_of(ds) for ds in images], listener.port, "SCANNER")) == {0}
    with database.session() as session:
        assert session.scalar(sa.select(sa.func.count()).select_from(InstanceRow)) == 3
    (folder / "audit").unlink()
    store([instance_of(make_small_study("written")[0])], listener.port, "SCANNER")
    found = _await(folder, database, "transferred", 2)
    assert [str(images[0].StudyInstanceUID) in one.studies for one in found] == [True, False]
    assert [one.types for one in recorded(folder, database, "alert")] == [
        ("Audit Recording Stopped",),
        ("Audit Recording Started",),
    ]


def test_what_is_delivered_is_recorded_and_so_is_what_is_not(
    settings: Settings, database: Database, folder: Path, archive: Archive
) -> None:
    put_peer(database, Peer(name="PACS", ae_title="ARCHIVE", host="127.0.0.1", port=archive.port, is_destination=True))
    study_uid = _keep_run(database, settings)
    archive.store_answer = 0xA700
    outbox = Outbox(settings, database)
    outbox.deliver("run")
    archive.store_answer = 0x0000
    outbox.deliver("run")
    found = recorded(folder, database, "transferred")
    assert [(one.outcome, one.studies) for one in found] == [("4", (study_uid,)), ("0", (study_uid,))]
    assert all("AETITLES=ARCHIVE" in one.xml and 'NumberOfInstances="2"' in one.xml for one in found)
    (query,) = recorded(folder, database, "query")  # whether the archive shows what it accepted
    assert "AETITLES=ARCHIVE" in query.xml


def _keep_run(database: Database, settings: Settings) -> str:
    """Keep a run with two objects, and return the UID of its study."""
    images = make_small_study("delivered", roles=["FLAIR"])[:2]
    study_uid = str(images[0].StudyInstanceUID)
    settings.node.folder.mkdir()
    with database.session() as session:
        session.add(StudyRow(study_uid=study_uid, key="k", state=StudyState.RUNNING, current_run="run"))
        session.flush()
        facts = {"revision": 1, "manifest_sha256": "0", "ready_at": utc_now(), "state": RunState.RUNNING}
        session.add(RunRow(run_id="run", study_uid=study_uid, step="deliver", **facts))
        session.flush()
        for kind, ds in zip(("SEG", "SR"), images, strict=True):
            ds.save_as(settings.node.folder / kind, enforce_file_format=True)
            uids = {"sop_instance_uid": ds.SOPInstanceUID, "series_uid": ds.SeriesInstanceUID}
            sha256 = hashlib.sha256((settings.node.folder / kind).read_bytes()).hexdigest()
            rest = {"sop_class_uid": ds.SOPClassUID, "kind": kind, "path": kind, "sha256": sha256}
            session.add(ResultRow(run_id="run", study_uid=study_uid, **uids, **rest))
    return study_uid


def test_what_the_policy_removes_is_recorded(settings: Settings, database: Database, folder: Path) -> None:
    hold_small_study(database, folder, "old")
    with database.session() as session:
        session.execute(sa.update(StudyRow).values(state="rejected", last_received_at=utc_now()))
        session.execute(sa.text("UPDATE study SET last_received_at = '2020-01-01 00:00:00'"))
    assert Retention(settings, database).clean(utc_now()).pixels == 1
    (found,) = recorded(folder, database, "deleted")
    assert (found.action, found.description, found.patients) == ("D", "received instances", ("SMALL-1",))
    assert Retention(settings, database).clean(utc_now()).pixels == 0
    assert len(recorded(folder, database, "deleted")) == 1


def test_what_is_fetched_is_recorded_with_the_queries(
    settings: Settings, database: Database, folder: Path, archive: Archive
) -> None:
    images = make_small_study("fetched", roles=["FLAIR"])
    archive.put(*(mark(ds) for ds in images))
    source = Peer(name="Archive", ae_title="ARCHIVE", host="127.0.0.1", port=archive.port, is_source=True)
    for ds in images:
        ds.StudyDate, ds.ModalitiesInStudy = "20240102", "MR"
    Fetcher(settings, database, source).fetch(str(images[0].StudyInstanceUID), priors=1)
    (found,) = recorded(folder, database, "transferred")
    assert (found.studies, found.patients) == ((str(images[0].StudyInstanceUID),), (CANARIES["PatientID"],))
    assert found.description == "10 instances by C-GET, 0 failed"
    assert len(recorded(folder, database, "query")) == 2  # of the study's patient, and of the patient's studies
    assert _names(*(one.xml.encode() for one in recorded(folder, database))) == []


def test_a_query_that_is_repeated_is_recorded_now_and_then(database: Database, folder: Path, archive: Archive) -> None:
    put_peer(database, Peer(name="A", ae_title="ARCHIVE", host="127.0.0.1", port=archive.port, is_source=True))
    reader = SourceReader(database, "GLIONODE", AuditTrail(folder, "GLIONODE", database))
    for study_uid in ("1.2", "1.2", "1.3"):
        reader.ask(study_uid, [], frozenset(), None, utc_now())
    assert len(recorded(folder, database, "query")) == 2


def test_the_roles_record_their_start_and_their_stop(folder: Path) -> None:
    variables = {"GLIONODE_NODE_FOLDER": str(folder), "GLIONODE_NODE_DICOM_PORT": "0"}
    database = open_database(f"sqlite:///{folder / 'glionode.sqlite'}")
    process = subprocess.Popen(
        [sys.executable, "-m", "dicom_node.cli", "listen"], env=os.environ | variables, stderr=subprocess.DEVNULL
    )
    (found,) = _await(folder, database, "activity")
    assert (found.types, found.users[1]) == (("Application Start",), "glionode listen")
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0
    assert [one.types[0] for one in recorded(folder, database, "activity")] == ["Application Start", "Application Stop"]
    database.engine.dispose()
