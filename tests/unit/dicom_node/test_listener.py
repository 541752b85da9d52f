"""The listener over real sockets: what is stored, what is refused, and who is let in."""

import hashlib
import os
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pydicom
import pytest
import sqlalchemy as sa
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    Comprehensive3DSRStorage,
    CTImageStorage,
    EncapsulatedPDFStorage,
    EnhancedMRImageStorage,
    ExplicitVRLittleEndian,
    GrayscaleSoftcopyPresentationStateStorage,
    ImplicitVRLittleEndian,
    SecondaryCaptureImageStorage,
    SegmentationStorage,
)

from dicom_node.database.engine import Database, open_database
from dicom_node.database.maintenance import set_maintenance
from dicom_node.database.states import AssociationEnd, StudyState
from dicom_node.database.tables import AssociationRow, InstanceRow, RefusalRow, StudyRow
from dicom_node.peers.peer import Peer
from dicom_node.peers.registry import put_peer, set_enabled
from dicom_node.reception.listener import ACCEPTED_TRANSFER_SYNTAXES, Listener
from dicom_node.settings import Settings, read_settings
from tests.support.pacs import Line, association, echo, instance_of, store
from tests.support.small_study import make_small_study, uid_of

VERIFICATION = [("1.2.840.10008.1.1", ExplicitVRLittleEndian)]
SENDER = Peer(name="Sender", ae_title="SENDER")
COMPRESSED = tuple(syntax for syntax in ACCEPTED_TRANSFER_SYNTAXES if syntax.is_encapsulated)
STORAGE_CLASSES = (
    CTImageStorage,
    EnhancedMRImageStorage,
    Comprehensive3DSRStorage,
    SegmentationStorage,
    EncapsulatedPDFStorage,
    GrayscaleSoftcopyPresentationStateStorage,
    SecondaryCaptureImageStorage,
)
NO_UIDS = ("../../../outside", "1.2/../../3", "1.2\\3", "..", "1." + "2" * 70, "1..2", "1.2.", ".1.2", "1.2.x", "")


def _settings(folder: Path, **values: str) -> Settings:
    fixed = {"GLIONODE_NODE_FOLDER": str(folder), "GLIONODE_NODE_DICOM_PORT": "0"}
    return read_settings(environment={**fixed, **values})


@pytest.fixture(autouse=True)
def _quiet_pydicom(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let pydicom read values that break the standard without a warning, as `configure_logs` has it in a real node."""
    monkeypatch.setattr(pydicom.config.settings, "reading_validation_mode", pydicom.config.IGNORE)


@pytest.fixture
def database(folder: Path) -> Iterator[Database]:
    opened = open_database(_settings(folder).database_url)
    put_peer(opened, SENDER)
    yield opened
    opened.engine.dispose()


@pytest.fixture
def image() -> Dataset:
    return make_small_study("listener", roles=["FLAIR"])[0]


def _rows(database: Database) -> list[InstanceRow]:
    with database.session() as session:
        return list(session.scalars(sa.select(InstanceRow).order_by(InstanceRow.id)))


def _refusals(database: Database) -> list[RefusalRow]:
    with database.session() as session:
        return list(session.scalars(sa.select(RefusalRow).order_by(RefusalRow.id)))


def _wait_for_refusal(database: Database) -> RefusalRow:
    """Wait for the first one: the peer hears of a rejection before the books do."""
    deadline = time.monotonic() + 30.0
    while not (refusals := _refusals(database)) and time.monotonic() < deadline:
        time.sleep(0.01)
    (refusal,) = refusals
    return refusal


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in (folder / "inbox").rglob("*") if path.is_file())


def _all_files(folder: Path) -> list[Path]:
    """Return everything beside the database that lies in the node's folder or next to it."""
    return sorted(path for path in folder.parent.rglob("*") if "sqlite" not in path.name)


def _data_set(path: Path) -> bytes:
    """Return what follows the file meta information."""
    content = path.read_bytes()
    assert content[128:132] == b"DICM"
    length = int.from_bytes(content[140:144], "little")  # value of (0002,0000)
    return content[144 + length :]


def _with_frames(ds: Dataset, *frames: bytes) -> Dataset:
    ds.PixelData = encapsulate(list(frames))
    ds["PixelData"].VR = "OB"
    ds["PixelData"].is_undefined_length = True
    return ds


def test_an_echo_is_answered(port: int) -> None:
    assert echo(port)


def test_the_port_is_not_known_before_the_start(folder: Path, database: Database) -> None:
    with pytest.raises(RuntimeError, match="not been started"):
        Listener(_settings(folder), database).port  # noqa: B018 - the property raises


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_uncompressed_bytes_are_stored_as_received(
    port: int, folder: Path, database: Database, image: Dataset, syntax: str
) -> None:
    sent = instance_of(image, syntax)
    assert store([sent], port) == [0x0000]
    (path,), (row,) = _files(folder), _rows(database)
    assert _data_set(path) == sent.data_set
    assert path == folder / row.path
    assert row.transfer_syntax_uid == dcmread(path).file_meta.TransferSyntaxUID == syntax
    assert row.sha256 == hashlib.sha256(sent.data_set).hexdigest()
    assert (row.calling_ae, row.sop_class_uid, row.current) == ("SENDER", image.SOPClassUID, True)


def test_compressed_bytes_are_stored_as_received_even_if_no_decoder_could_read_them(
    port: int, folder: Path, database: Database, image: Dataset
) -> None:
    _with_frames(image, b"\xff\x4f no decoder reads this \xff\xd9")
    sent = {}
    for syntax in COMPRESSED:
        image.SOPInstanceUID = uid_of(syntax)
        sent[syntax] = instance_of(image, syntax)
    assert store(list(sent.values()), port) == [0x0000] * len(COMPRESSED)
    stored = {row.transfer_syntax_uid: folder / row.path for row in _rows(database)}
    assert {syntax: _data_set(path) for syntax, path in stored.items()} == {s: one.data_set for s, one in sent.items()}
    assert all(dcmread(path).file_meta.TransferSyntaxUID == syntax for syntax, path in stored.items())


def test_every_storage_class_is_kept(port: int, folder: Path, database: Database, image: Dataset) -> None:
    sent = {}
    for sop_class in STORAGE_CLASSES:
        image.SOPClassUID, image.SOPInstanceUID = sop_class, uid_of(sop_class)
        sent[sop_class] = instance_of(image)
    assert store(list(sent.values()), port) == [0x0000] * len(STORAGE_CLASSES)
    assert {row.sop_class_uid: _data_set(folder / row.path) for row in _rows(database)} == {
        sop_class: one.data_set for sop_class, one in sent.items()
    }


def test_the_same_instance_twice_is_one_file_and_one_row(
    port: int, folder: Path, database: Database, image: Dataset
) -> None:
    sent = instance_of(image)
    assert store([sent, sent], port) == [0x0000, 0x0000]
    assert store([sent], port) == [0x0000]
    assert len(_files(folder)) == len(_rows(database)) == 1


def test_a_repeat_does_not_open_the_study_again(port: int, database: Database, image: Dataset) -> None:
    sent = instance_of(image)
    store([sent], port)
    with database.session() as session:
        session.get_one(StudyRow, image.StudyInstanceUID).state = StudyState.DELIVERED
    store([sent], port)
    with database.session() as session:
        assert session.get_one(StudyRow, image.StudyInstanceUID).state == StudyState.DELIVERED


def test_other_bytes_under_the_same_uid_are_both_kept_and_the_newest_is_current(
    port: int, folder: Path, database: Database, image: Dataset
) -> None:
    first = instance_of(image)
    image.SeriesDescription = "corrected"
    second = instance_of(image)
    assert store([first, second], port) == [0x0000, 0x0000]
    assert sorted(_data_set(path) for path in _files(folder)) == sorted([first.data_set, second.data_set])
    assert [(_data_set(folder / row.path), row.current) for row in _rows(database)] == [
        (first.data_set, False),
        (second.data_set, True),
    ]


def test_an_older_version_that_comes_again_is_current_again(
    port: int, folder: Path, database: Database, image: Dataset
) -> None:
    first = instance_of(image)
    image.SeriesDescription = "other"
    second = instance_of(image)
    assert store([first, second, first], port) == [0x0000] * 3
    assert [row.current for row in _rows(database)] == [True, False]
    assert len(_files(folder)) == 2


@pytest.mark.parametrize("keyword", ["SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID"])
def test_a_uid_that_is_none_is_refused_and_nothing_is_written(
    port: int, folder: Path, database: Database, image: Dataset, keyword: str
) -> None:
    name = image.SOPInstanceUID
    image[keyword].VR = "LO"  # of which pydicom believes anything
    sent = []
    for value in NO_UIDS:
        setattr(image, keyword, value)
        sent.append(replace(instance_of(image, ImplicitVRLittleEndian), sop_instance_uid=name))
    before = _all_files(folder)
    assert store(sent, port) == [0xC000] * len(NO_UIDS)
    assert _all_files(folder) == before
    (refusal,) = _refusals(database)
    assert (refusal.code, refusal.calling_ae, refusal.count) == ("invalid_uid", "SENDER", len(NO_UIDS))
    assert f"no valid {keyword}" in refusal.reason
    assert "outside" not in refusal.reason
    assert echo(port)


def test_a_request_with_a_path_as_its_uid_is_refused_and_nothing_is_written(
    port: int, folder: Path, database: Database, image: Dataset
) -> None:
    sent = instance_of(image)
    before = _all_files(folder)
    assert store([replace(sent, sop_instance_uid="../../outside")], port) == [0xA900]
    assert _all_files(folder) == before
    assert [refusal.code for refusal in _refusals(database)] == ["uid_mismatch"]


def test_a_request_that_names_another_instance_is_refused(
    port: int, folder: Path, database: Database, image: Dataset
) -> None:
    sent = replace(instance_of(image), sop_instance_uid=uid_of("another"))
    assert store([sent], port) == [0xA900]
    assert [refusal.code for refusal in _refusals(database)] == ["uid_mismatch"]
    assert _files(folder) == []


def test_what_is_no_data_set_is_refused(port: int, folder: Path, database: Database, image: Dataset) -> None:
    contents = [b"\x00", b"this is no DICOM at all", bytes(range(256)) * 16, b"\x08\x00\x18\x00UI\xff\xff1.2"]
    statuses = store([replace(instance_of(image), data_set=content) for content in contents], port)
    assert statuses == [0xC000] * len(contents)
    refusals = _refusals(database)
    assert sum(refusal.count for refusal in refusals) == len(contents)
    assert {refusal.code for refusal in refusals} <= {"unreadable_data_set", "invalid_uid"}
    assert all("damaged" in refusal.reason for refusal in refusals)
    assert _files(folder) == []
    assert echo(port)


@pytest.mark.parametrize("in_the_way", ["a file", "a link to a volume that is not there"])
def test_what_cannot_be_filed_yet_is_kept_in_the_journal(
    port: int, folder: Path, database: Database, image: Dataset, in_the_way: str
) -> None:
    if in_the_way == "a file":
        (folder / "inbox").write_text(in_the_way)
    else:
        (folder / "inbox").symlink_to(folder / "unmounted" / "inbox")
    sent = instance_of(image)
    assert store([sent], port) == [0x0000]
    assert _rows(database) == []
    (folder / "inbox").unlink()
    _wait_for_rows(database, 1)
    assert [_data_set(path) for path in _files(folder)] == [sent.data_set]


def test_what_no_disk_takes_stays_with_the_sender(folder: Path, database: Database, image: Dataset) -> None:
    listener = Listener(_settings(folder), database)
    listener.start()
    try:
        for segment in listener._journal._segments:
            os.close(segment._fd)  # as when the disk is torn out
            segment._fd = os.open("/dev/full", os.O_RDWR)
        assert store([instance_of(image)], listener.port) == [0xA700]
        (refusal,) = _refusals(database)
        assert refusal.code == "not_stored"
        assert "the sender keeps it" in refusal.reason
        assert _rows(database) == []
    finally:
        listener.stop()


def test_a_sender_hears_it_when_the_books_do_not_even_take_a_refusal(folder: Path, image: Dataset) -> None:
    books = open_database(_settings(folder).database_url)
    put_peer(books, SENDER)
    listener = Listener(_settings(folder), books)
    listener.start()
    line = Line(listener.port, [instance_of(image)])
    try:
        with books.engine.begin() as connection:
            connection.execute(sa.text("ALTER TABLE association RENAME TO association_gone"))
            connection.execute(sa.text("ALTER TABLE refusal RENAME TO refusal_gone"))
        assert line.send(instance_of(image)) == 0xA700
        with books.engine.begin() as connection:
            connection.execute(sa.text("ALTER TABLE association_gone RENAME TO association"))
            connection.execute(sa.text("ALTER TABLE refusal_gone RENAME TO refusal"))
        assert line.send(instance_of(image)) == 0x0000
    finally:
        line.close()
        listener.stop()
    assert [row.sop_instance_uid for row in _rows(books)] == [image.SOPInstanceUID]
    books.engine.dispose()


def _wait_for_rows(database: Database, count: int) -> None:
    deadline = time.monotonic() + 20
    while len(_rows(database)) != count:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_an_unknown_calling_ae_title_is_rejected_with_its_reason(port: int, database: Database) -> None:
    with pytest.raises(ConnectionRefusedError, match="rejected"), association(VERIFICATION, port, "STRANGER"):
        pass
    refusal = _wait_for_refusal(database)
    assert (refusal.code, refusal.calling_ae) == ("calling_ae_title", "STRANGER")
    assert "add it on the AE titles page" in refusal.reason


def test_another_called_ae_title_is_rejected_with_its_reason(port: int, database: Database) -> None:
    assert not echo(port, called_ae="ELSEWHERE")
    refusal = _wait_for_refusal(database)
    assert refusal.code == "called_ae_title"
    assert "'ELSEWHERE'" in refusal.reason
    assert "'GLIONODE'" in refusal.reason


def test_the_node_answers_to_each_of_its_ae_titles_and_notes_which_was_called(
    start: Callable[..., int], database: Database
) -> None:
    several = start(GLIONODE_NODE_FURTHER_AE_TITLES="GLIOSTAT, GLIO2")
    assert [echo(several, called_ae=title) for title in ("GLIONODE", "GLIOSTAT", "GLIO2")] == [True] * 3
    assert not echo(several, called_ae="GLIO")
    assert _wait_for_refusal(database).reason == (
        "called AE title 'GLIO' is not that of this node ('GLIONODE', 'GLIOSTAT', 'GLIO2')"
    )


def test_a_change_of_the_peers_acts_on_the_next_association(port: int, database: Database) -> None:
    assert echo(port)
    set_enabled(database, "Sender", enabled=False)
    assert not echo(port)
    put_peer(database, Peer(name="Another", ae_title="ANOTHER"))
    assert echo(port, "ANOTHER")
    assert not echo(port)
    set_enabled(database, "Sender", enabled=True)
    assert echo(port)


def test_a_peer_that_only_receives_may_not_send(port: int, database: Database) -> None:
    put_peer(database, replace(SENDER, may_send=False))
    assert not echo(port)


def test_without_any_peer_everybody_is_rejected(port: int, database: Database) -> None:
    set_enabled(database, "Sender", enabled=False)
    assert not echo(port)
    assert not echo(port, "ANY")


def test_everybody_is_let_in_where_the_setting_says_so(start: Callable[..., int], database: Database) -> None:
    set_enabled(database, "Sender", enabled=False)
    open_port = start(GLIONODE_NODE_ANY_CALLING_AE="true")
    assert echo(open_port, "STRANGER")
    assert not echo(open_port, "STRANGER", called_ae="ELSEWHERE")


def test_nobody_is_let_in_while_the_peers_cannot_be_read(port: int, database: Database) -> None:
    with database.session() as session:
        session.execute(sa.text("ALTER TABLE peer RENAME TO hidden"))
    assert not echo(port, "STRANGER")
    with database.session() as session:
        session.execute(sa.text("ALTER TABLE hidden RENAME TO peer"))
    assert echo(port)


def test_one_association_too_many_is_rejected_and_told(start: Callable[..., int], database: Database) -> None:
    limited = start(GLIONODE_LISTENER_MAXIMUM_ASSOCIATIONS="1")
    with association(VERIFICATION, limited):
        assert not echo(limited)
    assert _wait_for_refusal(database).code == "association_limit"


def test_several_senders_at_once_lose_nothing(port: int, folder: Path, database: Database) -> None:
    senders = [f"SENDER{number}" for number in range(4)]
    for title in senders:
        put_peer(database, Peer(name=title, ae_title=title))
    shared = [instance_of(ds) for ds in make_small_study("of all", roles=["T2"])]
    own = {title: [instance_of(ds) for ds in make_small_study(title, roles=["FLAIR"])] for title in senders}

    def send(title: str) -> list[int | None]:
        return store([*own[title], *shared], port, title)

    with ThreadPoolExecutor(len(senders)) as pool:
        statuses = [status for answer in pool.map(send, senders) for status in answer]
    assert set(statuses) == {0x0000}
    expected = {
        one.sop_instance_uid: one.data_set for one in (*shared, *(each for group in own.values() for each in group))
    }
    rows = _rows(database)
    assert {row.sop_instance_uid: _data_set(folder / row.path) for row in rows} == expected
    assert len(rows) == len(_files(folder)) == len(expected)
    assert all(row.current for row in rows)


def test_what_the_books_do_not_take_yet_is_kept_in_the_journal(
    port: int, database: Database, image: Dataset, folder: Path
) -> None:
    with database.session() as session:
        session.execute(sa.text("ALTER TABLE instance RENAME TO hidden"))
    sent = instance_of(image)
    assert store([sent], port) == [0x0000]
    with database.session() as session:
        session.execute(sa.text("ALTER TABLE hidden RENAME TO instance"))
    _wait_for_rows(database, 1)
    assert [_data_set(path) for path in _files(folder)] == [sent.data_set]


def test_a_full_disk_is_refused_before_anything_is_lost_and_told_once(
    start: Callable[..., int], database: Database, folder: Path
) -> None:
    full = start(GLIONODE_LIMITS_FREE_DISK_GIB="1e9")
    sent = [instance_of(ds) for ds in make_small_study("full", roles=["FLAIR"])]
    assert set(store(sent, full)) == {0xA700}
    assert _files(folder) == []
    with database.session() as session:
        (row,) = session.scalars(sa.select(RefusalRow)).all()
    assert row.code == "disk_full"
    assert "GiB are free and limits.free_disk_gib is 1e+09" in row.reason


def test_in_maintenance_senders_are_asked_to_come_again(port: int, database: Database, image: Dataset) -> None:
    set_maintenance(database, "somebody", on=True)
    assert not echo(port)
    assert _wait_for_refusal(database).code == "maintenance"
    set_maintenance(database, "somebody", on=False)
    assert store([instance_of(image)], port) == [0x0000]


def test_an_association_is_noted_with_its_end(port: int, database: Database, image: Dataset) -> None:
    store([instance_of(image)], port)
    row = _wait_for_end(database, 1)[0]
    assert (row.end, row.calling_ae) == (AssociationEnd.RELEASED, "SENDER")
    assert [one.association_id for one in _rows(database)] == [row.association_id]
    line = Line(port, [instance_of(image)])
    line.close(abort=True)  # before its first image
    assert sorted(row.end for row in _wait_for_end(database, 2)) == [AssociationEnd.ABORTED, AssociationEnd.RELEASED]


def test_an_echo_leaves_nothing_in_the_books(port: int, database: Database) -> None:
    assert echo(port)
    with database.session() as session:
        assert session.scalars(sa.select(AssociationRow)).all() == []


def test_a_listener_that_was_killed_left_its_associations_lost(start: Callable[..., int], database: Database) -> None:
    with database.session() as session:
        session.add(AssociationRow(association_id="a", listener=f"{socket.gethostname()}/{2**22 + 1}", calling_ae="A"))
        session.add(AssociationRow(association_id="b", listener="another-host/1", calling_ae="A"))
    start()
    with database.session() as session:
        ends = {row.association_id: row.end for row in session.scalars(sa.select(AssociationRow))}
    assert ends == {"a": AssociationEnd.LOST, "b": AssociationEnd.OPEN}


def _wait_for_end(database: Database, count: int) -> list[AssociationRow]:
    deadline = time.monotonic() + 10
    while True:
        with database.session() as session:
            rows = list(session.scalars(sa.select(AssociationRow).where(AssociationRow.ended_at.is_not(None))))
        if len(rows) == count:
            return rows
        assert time.monotonic() < deadline, rows
        time.sleep(0.02)
