"""A synthetic study there and back, against archives over real sockets: every answer is told, every change is seen."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pydicom
import pytest
import sqlalchemy as sa

from dicom_node.database.connection_tables import ConnectionTestRow
from dicom_node.database.engine import Database
from dicom_node.database.states import ProbeState
from dicom_node.database.tables import InstanceRow, utc_now
from dicom_node.peers.peer import Peer, UnknownPeer
from dicom_node.peers.registry import put_peer
from dicom_node.phantom.connection_study import write_connection_study
from dicom_node.phantom.connection_uids import TEST_PATIENT_ID, is_test_uid, new_test_uids
from dicom_node.reception.listener import Listener
from dicom_node.retrieval.connection_tests import KEPT, LONGEST, CannotTest, newest_tests, start_test
from dicom_node.retrieval.round_trip import IMAGES, Answered, Patience, RoundTrip
from dicom_node.settings import Settings, read_settings
from tests.support.archive import Archive, running_archive
from tests.support.orthanc import free_port
from tests.support.waiting import wait_until
from viewer_integration.transport.association import RemoteEntity
from viewer_integration.transport.delivery import send_files

HASTE = Patience(shown_s=1.0, fetched_s=5.0, routed_s=1.0)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    port = str(free_port())
    return read_settings(environment={"GLIONODE_NODE_FOLDER": str(tmp_path / "node"), "GLIONODE_NODE_DICOM_PORT": port})


@pytest.fixture
def archive() -> Iterator[Archive]:
    with running_archive() as running:
        yield running


def _peer(archive: Archive) -> Peer:
    return Peer(name="PACS", ae_title="ARCHIVE", host="127.0.0.1", port=archive.port)


def _walk(settings: Settings, database: Database, peer: Peer) -> tuple[bool, list[Answered]]:
    steps: list[Answered] = []
    return RoundTrip(settings, database, peer, steps.append, HASTE).run(), steps


def _told(steps: list[Answered]) -> list[tuple[str, bool | None]]:
    return [(one.step, one.ok) for one in steps]


def test_every_uid_of_the_study_is_known_as_a_test_s_and_no_other_is(tmp_path: Path) -> None:
    uids = new_test_uids(9)
    assert len(set(uids)) == 9
    assert all(is_test_uid(uid) and len(uid) <= 64 and pydicom.uid.UID(uid).is_valid for uid in uids)
    for path in write_connection_study(tmp_path, uids):
        ds = pydicom.dcmread(path)
        assert (ds.PatientID, ds.Modality, ds.StudyInstanceUID) == (TEST_PATIENT_ID, "MR", uids[0])
        assert is_test_uid(ds.SOPInstanceUID)
    others = ["", "2.25.", "2.25.1", "2.25.x", "1.2.3", "2.25.\N{SUPERSCRIPT TWO}", f"1.{uids[0]}", f"2.25.{10**40}"]
    assert not any(is_test_uid(uid) for uid in [*others, pydicom.uid.generate_uid(prefix=None)])


def test_two_studies_never_have_the_same_pixels(tmp_path: Path) -> None:
    first, second = (
        [pydicom.dcmread(one).PixelData for one in write_connection_study(tmp_path / name, new_test_uids(9))]
        for name in ("a", "b")
    )
    assert not set(first) & set(second)


def test_a_peer_that_accepts_nothing_is_told_and_the_test_ends(
    settings: Settings, database: Database, archive: Archive
) -> None:
    archive.store_answer = 0xA700
    passed, steps = _walk(settings, database, _peer(archive))
    assert (passed, _told(steps)) == (False, [("make", True), ("send", False)])
    assert steps[-1].sentence == f"Accepted by C-STORE: 0 of {IMAGES} images: ARCHIVE answered 0xA700."


def test_a_peer_that_keeps_the_study_to_itself_is_told(
    settings: Settings, database: Database, archive: Archive
) -> None:
    passed, steps = _walk(settings, database, _peer(archive))
    assert (passed, _told(steps)) == (False, [("make", True), ("send", True), ("wait", False), ("compare", False)])
    assert "mark it as queried" in steps[2].sentence
    assert steps[3].sentence.endswith(f"0 of {IMAGES} images. Not the same: {IMAGES} x missing.")


def test_a_peer_that_loses_what_it_accepted_is_told(settings: Settings, database: Database, archive: Archive) -> None:
    archive.loses = True
    passed, steps = _walk(settings, database, replace(_peer(archive), is_source=True))
    told = [("make", True), ("send", True), ("find", False), ("wait", False), ("compare", False)]
    assert (passed, _told(steps)) == (False, told)
    assert steps[2].sentence == f"Listed by C-FIND: 0 of {IMAGES} images."


def test_what_is_asked_for_comes_back_by_c_get(settings: Settings, database: Database, archive: Archive) -> None:
    passed, steps = _walk(settings, database, replace(_peer(archive), is_source=True))
    assert passed
    assert [one.sentence for one in steps] == [
        f"Made a synthetic MR study of {IMAGES} images; it is of no patient.",
        f"Accepted by C-STORE: {IMAGES} of {IMAGES} images.",
        f"Listed by C-FIND: {IMAGES} of {IMAGES} images.",
        f"Sent back when asked: {IMAGES} instances by C-GET, 0 failed.",
        f"Came back unchanged (pixels and identifiers): {IMAGES} of {IMAGES} images.",
    ]


@pytest.mark.parametrize("change", ["", "pixels", "PatientID"])
def test_what_is_routed_back_is_compared_image_by_image(
    settings: Settings, database: Database, archive: Archive, tmp_path: Path, change: str
) -> None:
    put_peer(database, Peer(name="Router", ae_title="ROUTER"))
    listener = Listener(settings, database)
    listener.start()
    router = threading.Thread(target=_route, args=(archive, settings, tmp_path, change))
    router.start()
    try:
        steps: list[Answered] = []
        passed = RoundTrip(settings, database, _peer(archive), steps.append, Patience(routed_s=60.0)).run()
    finally:
        router.join()
        listener.stop()
    assert _told(steps)[2:] == [("wait", True), ("compare", change == "")]
    same = IMAGES if not change else IMAGES - 1
    assert (passed, steps[-1].sentence) == (
        change == "",
        f"Came back unchanged (pixels and identifiers): {same} of {IMAGES} images."
        + (f" Not the same: 1 x {change}." if change else ""),
    )


def _route(archive: Archive, settings: Settings, folder: Path, change: str) -> None:
    """Send to the node what the archive has received, one image of it changed."""
    wait_until(lambda: len(archive.holds) == IMAGES)
    paths = []
    for number, ds in enumerate(archive.holds.values()):
        if number == 3 and change == "pixels":
            ds.PixelData = bytes([ds.PixelData[0] ^ 1]) + ds.PixelData[1:]
        elif number == 3 and change:
            setattr(ds, change, "ANOTHER")
        paths.append(folder / f"{number}.dcm")
        ds.save_as(paths[-1], enforce_file_format=True)
    node = RemoteEntity(name="node", ae_title="GLIONODE", host="127.0.0.1", port=settings.node.dicom_port)
    assert all(one.accepted for one in send_files(paths, node, "ROUTER"))


def test_a_test_runs_beside_the_panel_and_can_be_looked_at(
    settings: Settings, books: Database, archive: Archive
) -> None:
    put_peer(books, replace(_peer(archive), is_source=True))
    number = start_test(settings, books, "PACS", HASTE)
    wait_until(lambda: newest_tests(books, "PACS")[0].state is not ProbeState.RUNNING)
    (test,) = newest_tests(books, "PACS")
    assert (test.id, test.state, [one.step for one in test.steps]) == (
        number,
        ProbeState.PASSED,
        ["make", "send", "find", "fetch", "compare"],
    )
    assert test.ended_at is not None
    with books.session() as session:
        received = session.scalars(sa.select(InstanceRow.study_uid)).all()
        assert set(received) == set(session.scalars(sa.select(ConnectionTestRow.study_uid)))


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"enabled": False}, "PACS is disabled: nothing is sent to it. Enable it first."),
        ({"host": "", "port": 0}, "PACS has no host: nothing can be sent to it."),
        ({"send_by": "stow-rs"}, "PACS has no DICOMweb address: nothing can be sent to it."),
    ],
)
def test_what_cannot_be_sent_to_is_not_tested(
    settings: Settings, database: Database, values: dict[str, Any], sentence: str
) -> None:
    put_peer(database, replace(Peer(name="PACS", ae_title="ARCHIVE", host="127.0.0.1", port=104), **values))
    with pytest.raises(CannotTest) as refused:
        start_test(settings, database, "PACS")
    assert str(refused.value) == sentence
    with pytest.raises(UnknownPeer):
        start_test(settings, database, "Ghost")
    assert newest_tests(database, "PACS") == []


def test_one_test_of_a_peer_and_four_in_all_run_at_a_time(
    settings: Settings, database: Database, archive: Archive
) -> None:
    put_peer(database, _peer(archive))
    with database.session() as session:
        session.add_all(ConnectionTestRow(peer=f"P{number}", study_uid="1", steps=[]) for number in range(3))
        session.add(ConnectionTestRow(peer="PACS", study_uid="1", steps=[]))
    with pytest.raises(CannotTest, match="PACS is being tested"):
        start_test(settings, database, "PACS")
    with database.session() as session:
        session.query(ConnectionTestRow).filter_by(peer="PACS").update({"peer": "P4"})
    with pytest.raises(CannotTest, match="4 peers are being tested"):
        start_test(settings, database, "PACS")


def test_a_test_that_a_killed_process_left_does_not_stand_in_the_way(
    settings: Settings, database: Database, archive: Archive
) -> None:
    archive.store_answer = 0xA700
    put_peer(database, _peer(archive))
    long_ago = utc_now() - LONGEST - timedelta(seconds=1)
    with database.session() as session:
        session.add(ConnectionTestRow(peer="PACS", study_uid="1", steps=[], began_at=long_ago))
    (left,) = newest_tests(database, "PACS")
    assert (left.state, left.steps[-1].sentence) == (
        ProbeState.FAILED,
        "The node was restarted during this test; start it again.",
    )
    start_test(settings, database, "PACS", HASTE)
    wait_until(lambda: newest_tests(database, "PACS")[0].ended_at is not None)


def test_the_newest_tests_of_a_peer_are_kept(settings: Settings, database: Database, archive: Archive) -> None:
    archive.store_answer = 0xA700
    put_peer(database, _peer(archive))
    facts = {"study_uid": "1", "steps": [], "state": ProbeState.FAILED}
    with database.session() as session:
        session.add(ConnectionTestRow(peer="Other", **facts))
        session.flush()
        session.add_all(ConnectionTestRow(peer="PACS", **facts) for _ in range(KEPT + 3))
    number = start_test(settings, database, "PACS", HASTE)
    wait_until(lambda: newest_tests(database, "PACS")[0].ended_at is not None)
    with database.session() as session:
        kept = session.scalars(sa.select(ConnectionTestRow.id).where(ConnectionTestRow.peer == "PACS")).all()
        assert (len(kept), max(kept)) == (KEPT, number)
        assert session.query(ConnectionTestRow).filter_by(peer="Other").count() == 1
