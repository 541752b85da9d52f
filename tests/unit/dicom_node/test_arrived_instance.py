"""What arrived becomes rows: one current version of each instance, and studies that open and reopen."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from dicom_node.database.engine import Database
from dicom_node.database.states import StudyState
from dicom_node.database.tables import InstanceRow, ResultRow, RunRow, StudyRow
from dicom_node.reception.arrived_instance import ArrivedInstance, note_arrivals

START = datetime(2026, 1, 5, 8, tzinfo=UTC)
SEG_STORAGE = "1.2.840.10008.5.1.4.1.1.66.4"


def _arrival(uid: str, version: str = "a", at_s: float = 0, **changed: Any) -> ArrivedInstance:  # noqa: ANN401
    """Return an arrival of study 1.2 and series 1.2.3 at a time after the start; a letter is its version."""
    facts = {
        "sop_instance_uid": uid,
        "study_uid": "1.2",
        "series_uid": "1.2.3",
        "sop_class_uid": "1.2.840.10008.5.1.4.1.1.4",
        "transfer_syntax_uid": "1.2.840.10008.1.2.1",
        "patient_key": "patient",
        "sha256": version * 64,
        "calling_ae": "SENDER",
        "association_id": f"association at {at_s:g}",
        "received_at": START + timedelta(seconds=at_s),
        "content": b"DICM",
    }
    return ArrivedInstance(**(facts | changed))  # type: ignore[arg-type]


def _note(database: Database, *arrivals: ArrivedInstance) -> set[str]:
    """Note arrivals in a transaction of their own; return the instances of which another version was known."""
    with database.session() as session:
        return {uid for uid, _, _ in note_arrivals(session, arrivals, lambda uid: f"key of {uid}")}


def _versions(database: Database) -> list[tuple[str, str, bool]]:
    with database.session() as session:
        rows = session.scalars(sa.select(InstanceRow).order_by(InstanceRow.sop_instance_uid, InstanceRow.sha256)).all()
        return [(row.sop_instance_uid, row.sha256[0], row.current) for row in rows]


def _study(database: Database, study_uid: str = "1.2") -> StudyRow:
    with database.session() as session:
        return session.get_one(StudyRow, study_uid)


def test_an_older_arrival_that_is_noted_late_does_not_move_the_last_one_back(database: Database) -> None:
    _note(database, _arrival("1", at_s=100))
    _note(database, _arrival("2", at_s=50, is_replayed=True))
    study = _study(database)
    assert (study.first_received_at, study.last_received_at) == (
        START + timedelta(seconds=50),
        START + timedelta(seconds=100),
    )
    assert study.look_at == study.last_received_at


def _close_study(database: Database, state: StudyState = StudyState.DELIVERED) -> None:
    with database.session() as session:
        session.get_one(StudyRow, "1.2").state = state
        session.get_one(StudyRow, "1.2").reason = "a result was delivered"


def test_the_file_of_an_arrival_is_named_by_its_uids_and_content() -> None:
    arrival = _arrival("1.2.3.4", "b")
    assert arrival.path == Path("inbox/1.2/1.2.3/1.2.3.4.bbbbbbbbbbbb.dcm")
    assert (arrival.is_in_place, _arrival("1.2.3.4", content=b"").is_in_place) == (False, True)
    assert arrival.instance == _arrival("1.2.3.4", "c", 9).instance != _arrival("1.2.3.4", series_uid="1.9").instance


def test_the_first_images_open_their_studies_with_the_times_of_each(database: Database) -> None:
    others = {"study_uid": "1.7", "series_uid": "1.7.1"}
    arrivals = [_arrival("1", at_s=2), _arrival("7", at_s=9, **others), _arrival("2", at_s=5), _arrival("3", at_s=1)]
    assert _note(database, *arrivals) == set()
    found = {uid: _study(database, uid) for uid in ("1.2", "1.7")}
    assert {uid: (row.key, row.state) for uid, row in found.items()} == {
        "1.2": ("key of 1.2", StudyState.RECEIVING),
        "1.7": ("key of 1.7", StudyState.RECEIVING),
    }
    seconds = {
        uid: [(at - START).total_seconds() for at in (row.first_received_at, row.last_received_at, row.look_at)]
        for uid, row in found.items()
    }
    assert seconds == {"1.2": [1, 5, 5], "1.7": [9, 9, 9]}


def test_a_row_keeps_every_fact_of_its_arrival(database: Database) -> None:
    _note(database, _arrival("1", at_s=3, calling_ae="MR1"))
    with database.session() as session:
        row = session.scalars(sa.select(InstanceRow)).one()
    assert (row.study_uid, row.series_uid, row.patient_key, row.calling_ae) == ("1.2", "1.2.3", "patient", "MR1")
    assert (row.association_id, row.received_at) == ("association at 3", START + timedelta(seconds=3))
    assert row.path == "inbox/1.2/1.2.3/1.aaaaaaaaaaaa.dcm"


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize(
    ("order", "current", "changed"),
    [("ab", "b", {"1"}), ("aba", "a", {"1"}), ("abb", "b", {"1"}), ("aa", "a", set()), ("abcb", "b", {"1"})],
)
def test_the_last_version_to_arrive_is_the_current_one(
    database: Database, order: str, current: str, changed: set[str], *, together: bool
) -> None:
    arrivals = [_arrival("1", version, at_s) for at_s, version in enumerate(order)]
    batches = [arrivals] if together else [[arrival] for arrival in arrivals]
    told = [_note(database, *batch) for batch in batches]
    assert set().union(*told) == changed
    assert _versions(database) == [("1", version, version == current) for version in sorted(set(order))]


def test_a_known_version_behind_a_new_one_in_the_same_batch_is_current_again(database: Database) -> None:
    _note(database, _arrival("1", "a"), _arrival("2", "a"))
    assert _note(database, _arrival("1", "b", 1), _arrival("2", "a", 1), _arrival("1", "a", 2)) == {"1"}
    assert _versions(database) == [("1", "a", True), ("1", "b", False), ("2", "a", True)]


def test_a_version_that_came_back_has_the_receipt_of_its_return(database: Database) -> None:
    for at_s, version in enumerate("aba"):
        _note(database, _arrival("1", version, at_s))
    with database.session() as session:
        row = session.scalars(sa.select(InstanceRow).where(InstanceRow.current)).one()
    assert (row.association_id, row.received_at) == ("association at 2", START + timedelta(seconds=2))


@pytest.mark.parametrize("elsewhere", [{"study_uid": "1.7"}, {"series_uid": "1.9"}])
def test_the_same_uid_in_another_series_or_study_is_another_instance(
    database: Database, elsewhere: dict[str, Any]
) -> None:
    assert _note(database, _arrival("1", "a"), _arrival("1", "b", **elsewhere)) == set()
    assert _note(database, _arrival("1", "c", 1, **elsewhere)) == {"1"}
    assert _versions(database) == [("1", "a", True), ("1", "b", False), ("1", "c", True)]


def test_what_is_there_already_reopens_nothing_and_keeps_its_receipt(database: Database) -> None:
    _note(database, _arrival("1"))
    _close_study(database)
    assert _note(database, _arrival("1", at_s=60)) == set()
    assert (_study(database).state, _study(database).last_received_at) == (StudyState.DELIVERED, START)
    with database.session() as session:
        assert session.scalars(sa.select(InstanceRow.received_at)).one() == START


@pytest.mark.parametrize("late", [_arrival("1", "b", 60), _arrival("2", "a", 60)])
def test_a_new_version_or_image_reopens_its_study_and_no_other(database: Database, late: ArrivedInstance) -> None:
    _note(database, _arrival("1"), _arrival("7", study_uid="1.7"))
    _close_study(database)
    _note(database, late)
    study, at = _study(database), START + timedelta(seconds=60)
    assert (study.state, study.reason, study.first_received_at) == (StudyState.RECEIVING, "", START)
    assert (study.last_received_at, study.look_at) == (at, at)
    assert _study(database, "1.7").last_received_at == START


def _keep_result(database: Database, uid: str) -> None:
    with database.session() as session:
        session.add(RunRow(run_id="run", study_uid="1.2", revision=1, manifest_sha256="0", ready_at=START))
        session.flush()
        facts = {"sop_class_uid": SEG_STORAGE, "kind": "SEG", "path": "results/seg.dcm", "sha256": "0"}
        session.add(ResultRow(sop_instance_uid=uid, run_id="run", study_uid="1.2", series_uid="9", **facts))


def test_a_result_that_a_pacs_sends_back_reopens_nothing(database: Database) -> None:
    _note(database, _arrival("1"))
    _close_study(database)
    _keep_result(database, "9.1")
    back = _arrival("9.1", at_s=60, series_uid="9", sop_class_uid=SEG_STORAGE)
    _note(database, back)
    assert (_study(database).state, _study(database).last_received_at) == (StudyState.DELIVERED, START)
    assert ("9.1", "a", True) in _versions(database)
    _note(database, _arrival("9.1", "b", 70, series_uid="9"), _arrival("2", at_s=61))
    assert _study(database).state == StudyState.RECEIVING


def test_a_result_that_comes_back_in_a_study_of_another_uid_opens_that_one(database: Database) -> None:
    _note(database, _arrival("1"))
    _keep_result(database, "9.1")
    _note(database, _arrival("9.1", at_s=60, study_uid="1.7"))
    assert _study(database, "1.7").state == StudyState.RECEIVING


def test_of_a_journal_that_is_read_again_only_what_was_not_noted_counts(database: Database) -> None:
    _note(database, _arrival("1"))
    _close_study(database)
    assert _note(database, _arrival("1", is_replayed=True)) == set()
    assert _study(database).state == StudyState.DELIVERED
    _note(database, _arrival("1", is_replayed=True), _arrival("2", at_s=1, is_replayed=True))
    assert _versions(database) == [("1", "a", True), ("2", "a", True)]
    assert _study(database).state == StudyState.RECEIVING


def test_nothing_that_arrived_changes_nothing(database: Database) -> None:
    assert _note(database) == set()
    assert _versions(database) == []
