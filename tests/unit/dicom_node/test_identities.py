"""Whose study each is: read soon after its first image, again after every change, and afterwards for older studies."""

import errno
import io
import threading
from collections.abc import Mapping
from pathlib import Path

import pytest
import sqlalchemy as sa
from pydicom.dataset import Dataset
from structlog.testing import capture_logs

from dicom_node.database.engine import Database, open_database
from dicom_node.database.identity_tables import StudyIdentityRow
from dicom_node.database.tables import InstanceRow, ResultRow, RunRow, StudyRow, utc_now
from dicom_node.reception.inbox import Inbox
from dicom_node.runs.worker import Worker
from dicom_node.settings import read_settings
from dicom_node.studies import identities
from dicom_node.studies.identities import AT_ONCE, Identities
from tests.support.canary import leaks, mark
from tests.support.held_study import hold_small_study
from tests.support.small_study import make_small_study
from tests.support.waiting import wait_until

SENDER = "SENDER"


def _store(database: Database, folder: Path, ds: Dataset) -> None:
    """Receive an image as the listener does."""
    buffer = io.BytesIO()
    ds.save_as(buffer, enforce_file_format=True)
    Inbox(database, folder).receive(buffer.getvalue(), buffer.getvalue(), SENDER, str(ds.SOPInstanceUID))


def _receive(database: Database, folder: Path, name: str, attributes: Mapping[str, object], number: int = 0) -> str:
    """Receive one image of a study with other attributes."""
    ds = make_small_study(name, ["T1", "T2"])[number]
    for keyword, value in attributes.items():
        setattr(ds, keyword, value)
    _store(database, folder, ds)
    return str(ds.StudyInstanceUID)


def _row(database: Database, study_uid: str) -> StudyIdentityRow:
    with database.session() as session:
        return session.get_one(StudyIdentityRow, study_uid)


def test_a_study_is_named_after_its_first_image_and_read_no_more(books: Database, tmp_path: Path) -> None:
    uid = _receive(books, tmp_path, "a", {"PatientName": "Müller^Jörg", "PatientID": "P1", "AccessionNumber": "A-7"})
    reader = Identities(books, tmp_path)
    assert [reader.read_due(), reader.read_due()] == [1, 0]
    row = _row(books, uid)
    assert (row.patient_name, row.patient_id, row.birth_date, row.sex) == ("Müller^Jörg", "P1", "1970-01-01", "O")
    assert (row.accession_number, row.study_date, row.study_time) == ("A-7", "2024-01-02", "10:00")
    assert (row.description, row.modalities, row.patients) == ("Synthetic brain", "MR", 1)
    assert (row.name_key, row.words) == ("muller jorg", " muller jorg p1 a 7 synthetic brain")
    with books.session() as session:
        assert row.received_at == session.get_one(StudyRow, uid).last_received_at


def test_the_newest_image_decides(books: Database, tmp_path: Path) -> None:
    reader = Identities(books, tmp_path)
    uid = _receive(books, tmp_path, "a", {"PatientName": "Wrong^Name", "PatientID": "P1"})
    reader.read_due()
    assert _receive(books, tmp_path, "a", {"PatientName": "Right^Name", "PatientID": "P1"}) == uid
    assert reader.read_due() == 1
    row = _row(books, uid)
    assert (row.patient_name, row.patients, row.words) == ("Right^Name", 1, " right name p1 a1 synthetic brain")


@pytest.mark.parametrize(
    ("first", "second", "patients"),
    [
        ({"PatientID": "P1", "PatientName": "Doe^John"}, {"PatientID": "P2", "PatientName": "Roe^Jane"}, 2),
        ({"PatientID": "", "PatientName": "Doe^John"}, {"PatientID": "", "PatientName": "Roe^Jane"}, 2),
        ({"PatientID": "P1", "PatientName": "Doe^Jane"}, {"PatientID": "P1", "PatientName": "Roe^Jane"}, 1),
    ],
)
def test_two_patients_in_one_study_are_counted_as_in_a_run_and_both_are_found(
    books: Database, tmp_path: Path, first: dict[str, str], second: dict[str, str], patients: int
) -> None:
    uid = _receive(books, tmp_path, "a", first)
    _receive(books, tmp_path, "a", second, number=-1)
    Identities(books, tmp_path).read_due()
    row = _row(books, uid)
    assert (row.patient_name, row.patients) == (second["PatientName"], patients)
    assert " doe" in row.words
    assert " roe" in row.words


def test_studies_of_an_earlier_version_are_read_in_rounds_behind_what_arrives(
    database: Database, tmp_path: Path
) -> None:
    for number in range(AT_ONCE + 3):
        hold_small_study(database, tmp_path, f"old{number}", ["T1"], received_at=utc_now().replace(year=2020))
    uid = _receive(database, tmp_path, "new", {})
    reader = Identities(database, tmp_path)
    assert reader.read_due() == AT_ONCE
    assert _row(database, uid).patient_id == "SMALL-1"
    assert [reader.read_due(), reader.read_due()] == [4, 0]


def test_a_study_whose_images_were_removed_is_named_by_its_result(books: Database, tmp_path: Path) -> None:
    uid = hold_small_study(books, tmp_path, "gone", ["T1"], attributes={"PatientName": "Doe^John"})
    path = tmp_path / "SR.dcm"
    (tmp_path / "inbox" / "gone" / "0.dcm").rename(path)
    with books.session() as session:
        session.execute(sa.delete(InstanceRow))
        session.add(RunRow(run_id="r", study_uid=uid, revision=1, manifest_sha256="0", ready_at=utc_now()))
        session.flush()
        facts = {"sop_instance_uid": "1.9", "series_uid": "1.8", "sop_class_uid": "1", "kind": "SR", "sha256": "0"}
        session.add(ResultRow(run_id="r", study_uid=uid, path="SR.dcm", **facts))
    assert Identities(books, tmp_path).read_due() == 1
    assert _row(books, uid).patient_name == "Doe^John"


def test_a_study_of_which_nothing_can_be_read_is_not_read_again_and_a_known_name_stays(
    database: Database, tmp_path: Path
) -> None:
    reader = Identities(database, tmp_path)
    uid = _receive(database, tmp_path, "a", {"PatientName": "Doe^John"})
    reader.read_due()
    broken = hold_small_study(database, tmp_path, "broken", ["T1"])
    for path in (tmp_path / "inbox" / "broken").iterdir():
        path.write_bytes(b"damaged")
    with database.session() as session:
        session.execute(sa.update(InstanceRow).where(InstanceRow.study_uid == uid).values(path="inbox/none"))
        session.get_one(StudyRow, uid).identity_due = True
    assert [reader.read_due(), reader.read_due()] == [2, 0]
    assert _row(database, uid).patient_name == "Doe^John"
    with database.session() as session:
        assert session.get(StudyIdentityRow, broken) is None


def test_a_disk_that_does_not_answer_delays_only_its_own_studies(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = _receive(database, tmp_path, "lost", {})
    other = _receive(database, tmp_path, "other", {})
    read = identities.read_header

    def failing(path: Path) -> object:
        if lost in str(path):
            raise OSError(errno.EIO, "gone")
        return read(path)

    reader = Identities(database, tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(identities, "read_header", failing)
        assert reader.read_due() == 2
        assert reader.read_due() == 1
    assert _row(database, other).patient_id == "SMALL-1"
    assert reader.read_due() == 1
    assert _row(database, lost).patient_id == "SMALL-1"


def test_what_arrives_while_a_study_is_read_is_read_next(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uid = _receive(database, tmp_path, "a", {"PatientName": "First^Name"})
    read = identities.read_header

    def slow(path: Path) -> object:
        _receive(database, tmp_path, "a", {"PatientName": "Second^Name"})
        return read(path)

    reader = Identities(database, tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(identities, "read_header", slow)
        reader.read_due()
    assert _row(database, uid).patient_name == "First^Name"
    assert reader.read_due() == 1
    assert _row(database, uid).patient_name == "Second^Name"


def test_no_log_names_the_patient(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ds = mark(make_small_study("canary", ["T1"])[0])
    _store(database, tmp_path, ds)
    reader = Identities(database, tmp_path)

    def failing(_path: Path) -> object:
        raise ValueError(ds.PatientName)

    with capture_logs() as logs:
        with monkeypatch.context() as patch:
            patch.setattr(identities, "read_header", failing)
            reader.read_due()
        with database.session() as session:
            session.get_one(StudyRow, str(ds.StudyInstanceUID)).identity_due = True
        reader.read_due()
    assert [log["event"] for log in logs] == ["identity_unreadable"]
    assert leaks(str(logs)) == []
    assert _row(database, str(ds.StudyInstanceUID)).patient_name == str(ds.PatientName)


def test_a_running_worker_reads_whose_study_arrives(tmp_path: Path) -> None:
    settings = read_settings(environment={"GLIONODE_NODE_FOLDER": str(tmp_path / "node")})
    database, stop = open_database(settings.database_url), threading.Event()
    thread = threading.Thread(target=Worker(settings, database).run, args=(stop,))
    thread.start()
    try:
        uid = _receive(database, settings.node.folder, "a", {"PatientName": "Doe^John"})

        def is_named() -> bool:
            with database.session() as session:
                return session.get(StudyIdentityRow, uid) is not None

        wait_until(is_named)
        assert _row(database, uid).patient_name == "Doe^John"
    finally:
        stop.set()
        thread.join()
        database.engine.dispose()
