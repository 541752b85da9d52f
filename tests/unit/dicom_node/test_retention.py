"""Cleaning by policy: what is done and delivered goes when its time has passed, and nothing else ever."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from dicom_node.database.engine import Database
from dicom_node.database.history_tables import OpinionRow, StepTimeRow
from dicom_node.database.identity_tables import StudyIdentityRow
from dicom_node.database.states import DeliveryState, RunState, StudyState
from dicom_node.database.tables import CommitmentRow, DeliveryRow, InstanceRow, ResultRow, RunRow, StudyRow
from dicom_node.runs.retention import Cleaned, Retention
from dicom_node.settings import read_settings
from dicom_node.studies.assembly import NOT_JUDGED
from dicom_node.studies.run_folder import RunFolder

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
OLD = NOW - timedelta(days=40)
POLICY = {"PIXELS": "30", "RESULTS": "30", "HISTORY": "30"}


def _retention(database: Database, folder: Path, policy: Mapping[str, str]) -> Retention:
    environment = {f"GLIONODE_RETENTION_{name}_DAYS": days for name, days in policy.items()}
    return Retention(read_settings(environment=environment | {"GLIONODE_NODE_FOLDER": str(folder)}), database)


def _hold(
    database: Database,
    folder: Path,
    name: str,
    state: RunState = RunState.DELIVERED,
    delivered: DeliveryState = DeliveryState.ACCEPTED,
    at: datetime = OLD,
) -> dict[str, Path]:
    """Keep a study of one image with one result; return its files."""
    files = {
        "pixels": folder / "inbox" / f"1.{name}" / "a.dcm",
        "result": folder / "results" / f"1.{name}" / name / "SR.dcm",
        "work": RunFolder(folder, name).folder / "manifest.json",
    }
    for path in files.values():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"something")
    with database.session() as session:
        session.add(
            StudyRow(study_uid=f"1.{name}", key=name, state=StudyState(state), current_run=name, last_received_at=at)
        )
        session.flush()
        session.add(_identity(name))
        session.add(_instance(name))
        run = {"revision": 1, "manifest_sha256": "0", "ready_at": at, "state": state, "finished_at": at}
        session.add(RunRow(run_id=name, study_uid=f"1.{name}", **run))
        session.flush()
        session.add(_result(name))
        session.flush()
        session.add(DeliveryRow(run_id=name, sop_instance_uid=f"3.{name}", destination="PACS", state=delivered))
        session.add(StepTimeRow(run_id=name, step="select"))
        session.add(OpinionRow(run_id=name, study_uid=f"1.{name}", verdict="agree", who="panel"))
    return files


def _identity(name: str) -> StudyIdentityRow:
    said = dict.fromkeys(("patient_id", "birth_date", "sex", "accession_number", "study_date", "study_time"), "")
    rest = dict.fromkeys(("description", "modalities", "name_key", "words"), "")
    return StudyIdentityRow(study_uid=f"1.{name}", patient_name="Doe^John", received_at=OLD, **said, **rest)


def _instance(name: str) -> InstanceRow:
    uids = {"sop_instance_uid": f"2.{name}", "series_uid": "2", "sop_class_uid": "1", "transfer_syntax_uid": "1"}
    rest = {"patient_key": "p", "sha256": "0", "path": f"inbox/1.{name}/a.dcm", "calling_ae": "A"}
    return InstanceRow(study_uid=f"1.{name}", **uids, **rest)


def _result(name: str) -> ResultRow:
    uids = {"sop_instance_uid": f"3.{name}", "series_uid": "3", "sop_class_uid": "1"}
    path = f"results/1.{name}/{name}/SR.dcm"
    return ResultRow(run_id=name, study_uid=f"1.{name}", kind="SR", path=path, sha256="0", **uids)


def test_what_is_done_and_old_is_removed_by_each_policy_of_its_own(books: Database, tmp_path: Path) -> None:
    files = _hold(books, tmp_path, "old")
    assert _retention(books, tmp_path, {"PIXELS": "30"}).clean(NOW) == Cleaned(pixels=1, results=0, history=0)
    assert [path.exists() for path in files.values()] == [False, True, True]
    assert _retention(books, tmp_path, {"RESULTS": "30"}).clean(NOW) == Cleaned(pixels=0, results=1, history=0)
    assert [path.exists() for path in files.values()] == [False, False, False]
    with books.session() as session:
        assert session.get_one(ResultRow, "3.old").path == ""  # its UID is still known
    assert _retention(books, tmp_path, {"HISTORY": "30"}).clean(NOW) == Cleaned(pixels=0, results=0, history=1)
    with books.session() as session:
        assert session.get(StudyRow, "1.old") is None
        assert session.get(StudyIdentityRow, "1.old") is None


def test_a_study_cannot_be_removed_while_its_patient_is_still_named(books: Database, tmp_path: Path) -> None:
    _hold_unjudged(books, tmp_path, "old")
    with books.session() as session:
        session.execute(sa.delete(InstanceRow))
        session.add(_identity("old"))
    with pytest.raises(sa.exc.IntegrityError), books.session() as session:
        session.execute(sa.delete(StudyRow))


def test_by_default_everything_is_kept(books: Database, tmp_path: Path) -> None:
    files = _hold(books, tmp_path, "old")
    assert _retention(books, tmp_path, {}).clean(NOW) == Cleaned(pixels=0, results=0, history=0)
    assert all(path.exists() for path in files.values())


@pytest.mark.parametrize(
    "state",
    [
        state
        for state in RunState
        if state not in (RunState.DELIVERED, RunState.REJECTED, RunState.UNCHANGED, RunState.SUPERSEDED)
    ],
)
def test_what_is_not_done_is_never_touched(books: Database, tmp_path: Path, state: RunState) -> None:
    files = _hold(books, tmp_path, "open", state=state)
    assert _retention(books, tmp_path, POLICY).clean(NOW) == Cleaned(pixels=0, results=0, history=0)
    assert all(path.exists() for path in files.values())


def test_what_a_destination_has_not_accepted_is_never_touched(books: Database, tmp_path: Path) -> None:
    files = _hold(books, tmp_path, "refused", delivered=DeliveryState.REFUSED)
    assert _retention(books, tmp_path, POLICY).clean(NOW) == Cleaned(pixels=0, results=0, history=0)
    assert all(path.exists() for path in files.values())


def test_what_was_called_off_does_not_hold_back_the_cleaning(books: Database, tmp_path: Path) -> None:
    _hold(books, tmp_path, "gone", delivered=DeliveryState.CALLED_OFF)
    assert _retention(books, tmp_path, POLICY).clean(NOW) == Cleaned(pixels=1, results=1, history=1)


@pytest.mark.parametrize("state", list(RunState))
@pytest.mark.parametrize("current", [RunState.DELIVERED, RunState.REJECTED])
def test_an_earlier_run_holds_back_the_cleaning_while_something_of_it_is_to_come(
    books: Database, tmp_path: Path, state: RunState, current: RunState
) -> None:
    files = _hold(books, tmp_path, "later", state=current)
    with books.session() as session:
        run = {"revision": 0, "manifest_sha256": "0", "ready_at": OLD, "state": state, "finished_at": OLD}
        session.add(RunRow(run_id="earlier", study_uid="1.later", **run))
    over = {RunState.DELIVERED, RunState.REJECTED, RunState.UNCHANGED, RunState.SUPERSEDED}
    if current is RunState.DELIVERED:
        over |= {RunState.FAILED, RunState.CANCELLED, RunState.STORED}
    done = int(state in over)
    assert _retention(books, tmp_path, POLICY).clean(NOW) == Cleaned(pixels=done, results=done, history=done)
    assert [path.exists() for path in files.values()] == [not done] * 3


def test_what_is_younger_than_the_policy_stays(books: Database, tmp_path: Path) -> None:
    files = _hold(books, tmp_path, "young", at=NOW - timedelta(days=29))
    assert _retention(books, tmp_path, POLICY).clean(NOW) == Cleaned(pixels=0, results=0, history=0)
    assert all(path.exists() for path in files.values())


def test_history_goes_last(books: Database, tmp_path: Path) -> None:
    _hold(books, tmp_path, "old")
    assert _retention(books, tmp_path, {"HISTORY": "30"}).clean(NOW) == Cleaned(pixels=0, results=0, history=0)
    assert _retention(books, tmp_path, POLICY).clean(NOW) == Cleaned(pixels=1, results=1, history=1)


def test_cleaning_is_due_once_an_hour(books: Database, tmp_path: Path) -> None:
    retention = _retention(books, tmp_path, POLICY)
    _hold(books, tmp_path, "first")
    assert retention.clean_when_due(NOW) == Cleaned(pixels=1, results=1, history=1)
    _hold(books, tmp_path, "second")
    assert retention.clean_when_due(NOW + timedelta(minutes=59)) is None
    assert retention.clean_when_due(NOW + timedelta(minutes=60)) == Cleaned(pixels=1, results=1, history=1)


def test_requests_for_commitment_go_when_their_answer_would_count_no_more(books: Database, tmp_path: Path) -> None:
    asked = {"1.1": NOW - timedelta(days=8), "1.2": NOW - timedelta(days=6)}
    with books.session() as session:
        session.add_all(
            CommitmentRow(transaction_uid=uid, destination="PACS", asked_at=at) for uid, at in asked.items()
        )
    _retention(books, tmp_path, {}).clean(NOW)
    with books.session() as session:
        assert [row.transaction_uid for row in session.query(CommitmentRow)] == ["1.2"]


def _hold_unjudged(database: Database, folder: Path, name: str, at: datetime = OLD) -> Path:
    """Keep a study of one image that could not be judged, so that no run was made of it."""
    pixels = folder / "inbox" / f"1.{name}" / "a.dcm"
    pixels.parent.mkdir(parents=True)
    pixels.write_bytes(b"something")
    with database.session() as session:
        facts = {"key": name, "state": StudyState.FAILED, "reason": NOT_JUDGED, "last_received_at": at}
        session.add(StudyRow(study_uid=f"1.{name}", **facts))
        session.flush()
        session.add(_instance(name))
    return pixels


def test_a_study_that_could_not_be_judged_goes_when_its_time_has_passed(books: Database, tmp_path: Path) -> None:
    old = _hold_unjudged(books, tmp_path, "old")
    young = _hold_unjudged(books, tmp_path, "young", NOW - timedelta(days=1))
    assert _retention(books, tmp_path, POLICY).clean(NOW) == Cleaned(pixels=1, results=0, history=1)
    assert (old.exists(), young.exists()) == (False, True)
    with books.session() as session:
        assert [study.key for study in session.query(StudyRow)] == ["young"]


@pytest.mark.parametrize("state", [RunState.STORED, RunState.UNDELIVERED, RunState.FAILED, RunState.RUNNING])
def test_what_came_before_a_study_could_not_be_judged_any_more_is_kept(
    books: Database, tmp_path: Path, state: RunState
) -> None:
    pixels = _hold_unjudged(books, tmp_path, "old")
    with books.session() as session:
        run = {"revision": 1, "manifest_sha256": "0", "ready_at": OLD, "state": state, "finished_at": OLD}
        session.add(RunRow(run_id="earlier", study_uid="1.old", **run))
    assert _retention(books, tmp_path, POLICY).clean(NOW) == Cleaned(pixels=0, results=0, history=0)
    assert pixels.exists()
