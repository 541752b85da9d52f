"""The inbox without a network: versions of instances, and files that are whole or absent."""

import hashlib
import io
import shutil
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from pydicom.dataset import Dataset

from dicom_node.database.engine import Database, open_database
from dicom_node.database.keyed_hashes import KeyedHash
from dicom_node.database.tables import InstanceRow, StudyRow
from dicom_node.reception.arrived_instance import ArrivedInstance
from dicom_node.reception.identity import InboxRefusal
from dicom_node.reception.inbox import Inbox, ReceivedInstance
from dicom_node.storage.durable import write_durably
from tests.support.raw_values import put_raw, reread
from tests.support.small_study import make_small_study


@pytest.fixture
def image() -> Dataset:
    return make_small_study("inbox", roles=["FLAIR"])[0]


def _file_of(ds: Dataset) -> bytes:
    buffer = io.BytesIO()
    ds.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def _receive(database: Database, folder: Path, ds: Dataset) -> ReceivedInstance:
    content = _file_of(ds)
    return Inbox(database, folder).receive(content, content, "SENDER", str(ds.SOPInstanceUID))


def _row(database: Database) -> InstanceRow:
    with database.session() as session:
        return session.scalars(sa.select(InstanceRow)).one()


def test_an_instance_is_stored_below_its_study_and_series(database: Database, tmp_path: Path, image: Dataset) -> None:
    received = _receive(database, tmp_path, image)
    content = received.path.read_bytes()
    sha256 = hashlib.sha256(content).hexdigest()
    name = f"{image.SOPInstanceUID}.{sha256[:12]}.dcm"
    assert received.path == tmp_path / "inbox" / image.StudyInstanceUID / image.SeriesInstanceUID / name
    assert (received.sha256, received.is_new, received.is_changed) == (sha256, True, False)
    assert _row(database).path == str(received.path.relative_to(tmp_path))


def test_a_repeat_and_a_change_are_told_apart(database: Database, tmp_path: Path, image: Dataset) -> None:
    first = _receive(database, tmp_path, image)
    again = _receive(database, tmp_path, image)
    assert (again.path, again.is_new, again.is_changed) == (first.path, False, False)
    image.SeriesDescription = "another"
    changed = _receive(database, tmp_path, image)
    assert (changed.is_new, changed.is_changed) == (True, True)
    assert changed.path != first.path


def test_one_uid_in_two_studies_is_two_instances(database: Database, tmp_path: Path, image: Dataset) -> None:
    _receive(database, tmp_path, image)
    image.StudyInstanceUID = "1.2.3"
    assert not _receive(database, tmp_path, image).is_changed
    with database.session() as session:
        assert [row.current for row in session.scalars(sa.select(InstanceRow))] == [True, True]
        assert session.scalar(sa.select(sa.func.count()).select_from(StudyRow)) == 2


def test_studies_and_patients_are_named_by_keyed_hashes(database: Database, tmp_path: Path, image: Dataset) -> None:
    image.PatientID, image.IssuerOfPatientID = "TELLTALE", "HOSPITAL"
    received = _receive(database, tmp_path, image)
    key = KeyedHash(database)
    assert received.study_key == key(str(image.StudyInstanceUID))
    assert _row(database).patient_key == key("TELLTALE")  # one device may name the issuer, another not


@pytest.mark.parametrize("written", [b"TELLTALE", b" TELLTALE", b"TELLTALE\0", b"  TELLTALE  "])
def test_blanks_around_a_patient_id_make_no_other_patient(
    database: Database, tmp_path: Path, image: Dataset, written: bytes
) -> None:
    put_raw(image, "PatientID", "LO", written)
    _receive(database, tmp_path, image)
    assert _row(database).patient_key == KeyedHash(database)("TELLTALE")


@pytest.mark.parametrize(
    ("vr", "value"), [("US", b"\1\2\3"), ("UI", b"1.2.3\\1.2.4"), ("SQ", b"1.2.3."), ("UI", b"\xff\xfe")]
)
def test_an_instance_whose_study_is_named_by_nonsense_is_refused(
    database: Database, tmp_path: Path, image: Dataset, vr: str, value: bytes
) -> None:
    image = reread(image)
    put_raw(image, "StudyInstanceUID", vr, value)
    with pytest.raises(InboxRefusal, match="no valid StudyInstanceUID"):
        _receive(database, tmp_path, image)


def test_a_keyed_hash_belongs_to_its_installation(database: Database, tmp_path: Path) -> None:
    other = open_database(f"sqlite:///{tmp_path / 'other.sqlite'}")
    assert KeyedHash(database)("1.2.3") == KeyedHash(database)("1.2.3") != KeyedHash(other)("1.2.3")
    assert KeyedHash(database)("ab", "c") != KeyedHash(database)("a", "bc")
    assert len(KeyedHash(database)("1.2.3")) == 12
    other.engine.dispose()


@pytest.mark.parametrize("keyword", ["StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"])
def test_an_instance_without_a_uid_is_refused(database: Database, tmp_path: Path, image: Dataset, keyword: str) -> None:
    uid = image.SOPInstanceUID
    image.file_meta.MediaStorageSOPInstanceUID = uid
    delattr(image, keyword)
    buffer = io.BytesIO()
    image.save_as(buffer, enforce_file_format=True)
    with pytest.raises(InboxRefusal, match=f"no valid {keyword}") as caught:
        Inbox(database, tmp_path).receive(buffer.getvalue(), b"", "SENDER", str(uid))
    assert caught.value.code == "invalid_uid"
    assert not (tmp_path / "inbox").exists()


def test_a_file_is_written_whole_and_replaces_another(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "file"
    write_durably(path, b"first")
    write_durably(path, b"second")
    assert path.read_bytes() == b"second"
    assert list(path.parent.iterdir()) == [path]


def test_a_file_that_cannot_take_its_place_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "taken"
    path.mkdir()
    with pytest.raises(IsADirectoryError):
        write_durably(path, b"content")
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_crashed_listener_had_noted_changes_nothing(database: Database, tmp_path: Path, image: Dataset) -> None:
    """Its journal is read again, although a later version has come since, by another listener."""
    inbox, first = Inbox(database, tmp_path), _arrival(database, tmp_path, image)
    image.SeriesDescription = "another"
    second = _arrival(database, tmp_path, image)
    inbox.file([first])
    inbox.file([second])
    inbox.file([replace(first, is_replayed=True)])
    assert _current(database) == second.sha256
    again = replace(first, received_at=second.received_at + timedelta(seconds=1))
    inbox.file([again])
    inbox.file([replace(first, is_replayed=True), replace(second, is_replayed=True)])
    assert _current(database) == first.sha256


def test_what_was_never_noted_is_noted_from_a_journal(database: Database, tmp_path: Path, image: Dataset) -> None:
    arrival = replace(_arrival(database, tmp_path, image), is_replayed=True)
    Inbox(database, tmp_path).file([arrival])
    assert _current(database) == arrival.sha256
    assert (tmp_path / arrival.path).read_bytes() == arrival.content


def test_a_folder_that_was_cleaned_away_is_made_again(database: Database, tmp_path: Path, image: Dataset) -> None:
    first = _arrival(database, tmp_path, image)
    image.SeriesDescription = "another"
    second = _arrival(database, tmp_path, image)
    inbox = Inbox(database, tmp_path)
    inbox.file([first])
    shutil.rmtree(tmp_path / "inbox" / first.study_uid)
    inbox.file([second])
    assert [path.read_bytes() for path in (tmp_path / "inbox").rglob("*") if path.is_file()] == [second.content]


def _arrival(database: Database, folder: Path, ds: Dataset) -> ArrivedInstance:
    content = _file_of(ds)
    return Inbox(database, folder).identify(content, content, "SENDER", str(ds.SOPInstanceUID))


def _current(database: Database) -> str:
    with database.session() as session:
        return session.scalars(sa.select(InstanceRow.sha256).where(InstanceRow.current)).one()
