"""When a study counts as complete, and what a late instance does."""

import io
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from pydicom.dataset import Dataset

from conversion.reading import read_series, read_study
from dicom_node.database.engine import Database, open_database
from dicom_node.database.states import Priority, RunState, StudyState
from dicom_node.database.tables import ResultRow, RunRow, StudyRow, utc_now
from dicom_node.peers.peer import Peer
from dicom_node.peers.registry import put_peer
from dicom_node.phantom.connection_uids import TEST_PATIENT_ID, new_test_uids
from dicom_node.reception.inbox import Inbox
from dicom_node.routing.rule import Condition, Operator, RoutingRule
from dicom_node.routing.versions import save_rules
from dicom_node.runs.operations import prioritise, replay
from dicom_node.settings import AssemblySettings, read_settings
from dicom_node.studies.assembly import NOT_JUDGED, TEST_STUDY, Assembly
from dicom_node.studies.run_folder import RunFolder
from tests.support.raw_values import with_second_study_uid
from tests.support.small_study import make_small_study, uid_of

QUIET_S = 20.0


def _assembly(database: Database, folder: Path) -> Assembly:
    return Assembly(database, folder, AssemblySettings(quiet_period_s=QUIET_S, wanted="T1,T1CE,T2,FLAIR"), "GLIONODE")


@pytest.fixture
def assembly(database: Database, tmp_path: Path) -> Assembly:
    return _assembly(database, tmp_path)


@pytest.fixture
def images() -> list[Dataset]:
    return make_small_study("assembly", roles=["FLAIR"])


def _receive(database: Database, folder: Path, *images: Dataset) -> None:
    for ds in images:
        buffer = io.BytesIO()
        ds.save_as(buffer, enforce_file_format=True)
        content = buffer.getvalue()
        Inbox(database, folder).receive(content, content, "SENDER", str(ds.SOPInstanceUID))


def _after_quiet(database: Database, assembly: Assembly, more_s: float = 0.0) -> list[str]:
    """Let exactly the quiet period pass after the last arrival, and return the runs that became ready."""
    with database.session() as session:
        last = max(study.last_received_at for study in session.query(StudyRow))
    return [ready.run_id for ready in assembly.ready_studies(last + timedelta(seconds=QUIET_S + more_s))]


def _study(database: Database, images: list[Dataset]) -> StudyRow:
    with database.session() as session:
        return session.get_one(StudyRow, images[0].StudyInstanceUID)


def _queued(database: Database) -> list[str]:
    with database.session() as session:
        return list(session.scalars(sa.select(RunRow.run_id).where(RunRow.state == RunState.QUEUED)))


def _revision(database: Database, run_id: str) -> int:
    with database.session() as session:
        return session.get_one(RunRow, run_id).revision


def _finish(database: Database, run_id: str, state: RunState = RunState.DELIVERED) -> None:
    with database.session() as session:
        run = session.get_one(RunRow, run_id)
        run.state, run.reason = state, "the reason of that run"
        study = session.get_one(StudyRow, run.study_uid)
        study.state, study.reason = StudyState(state), run.reason


def test_a_study_is_ready_when_nothing_came_for_the_quiet_period(
    database: Database, assembly: Assembly, tmp_path: Path, images: list[Dataset]
) -> None:
    _receive(database, tmp_path, *images)
    assert _after_quiet(database, assembly, more_s=-0.001) == []
    assert _study(database, images).state == StudyState.RECEIVING
    (run_id,) = _after_quiet(database, assembly)
    study = _study(database, images)
    assert (study.state, study.current_run) == (StudyState.QUEUED, run_id)
    assert _revision(database, run_id) == 1
    assert _after_quiet(database, assembly, more_s=100) == []


@pytest.mark.parametrize("marked", ["UID", "patient"])
def test_the_study_of_a_connection_test_is_kept_out_whatever_a_router_has_made_of_it(
    books: Database, tmp_path: Path, images: list[Dataset], marked: str
) -> None:
    uid = new_test_uids(1)[0]
    for ds in images:
        if marked == "UID":
            ds.StudyInstanceUID = uid
        else:
            ds.PatientID = TEST_PATIENT_ID
    assembly = _assembly(books, tmp_path)
    _receive(books, tmp_path, *images[:-1])
    assert _after_quiet(books, assembly, more_s=1000) == []
    study = _study(books, images)
    assert (study.state, study.reason, study.awaited, study.current_run) == (StudyState.KEPT_OUT, TEST_STUDY, [], None)
    _receive(books, tmp_path, images[-1])  # a late image opens it again
    assert _study(books, images).state == StudyState.RECEIVING
    assert _after_quiet(books, assembly, more_s=1000) == []
    assert (_study(books, images).state, _queued(books)) == (StudyState.KEPT_OUT, [])


def _when_station(value: str, **decided: Any) -> RoutingRule:  # noqa: ANN401 - any field of a rule
    condition = Condition(attribute="StationName", operator=Operator.EQUALS, value=value)
    return RoutingRule(name=f"of {value}", conditions=(condition,), **decided)


def test_a_study_is_routed_by_the_rules_when_it_is_complete(
    books: Database, tmp_path: Path, images: list[Dataset]
) -> None:
    put_peer(books, Peer(name="ER", ae_title="ER", host="h", port=104, is_destination=True))
    save_rules(books, [_when_station("MR7", destinations=("ER",), priority="high", model="glioma")], "Ada")
    for ds in images:
        ds.StationName = "MR7"
    assembly = _assembly(books, tmp_path)
    _receive(books, tmp_path, *images)
    (run_id,) = _after_quiet(books, assembly)
    with books.session() as session:
        run = session.get_one(RunRow, run_id)
        by = dict.fromkeys(("destinations", "priority", "model"), "of MR7")
        assert run.route == {"model": "glioma", "destinations": ["ER"], "priority": "high", "by": by}
        assert run.priority == session.get_one(StudyRow, run.study_uid).priority == Priority.HIGH


def test_a_rule_lowers_no_priority_that_a_person_has_set(
    database: Database, tmp_path: Path, assembly: Assembly, images: list[Dataset]
) -> None:
    save_rules(database, [RoutingRule(name="A", priority="routine")], "Ada")
    _receive(database, tmp_path, *images)
    prioritise(database, str(images[0].StudyInstanceUID), Priority.STAT)
    _after_quiet(database, assembly)
    assert _study(database, images).priority == Priority.STAT


def test_a_study_that_a_rule_keeps_out_says_why_and_is_judged_again_by_a_replay(
    books: Database, tmp_path: Path, images: list[Dataset]
) -> None:
    save_rules(books, [_when_station("MR7", keep_out="only spines come from there")], "Ada")
    for ds in images:
        ds.StationName = "MR7"
    assembly, uid = _assembly(books, tmp_path), str(images[0].StudyInstanceUID)
    _receive(books, tmp_path, *images)
    assert _after_quiet(books, assembly) == []
    study = _study(books, images)
    reason = "kept out by the routing rule 'of MR7': only spines come from there"
    assert (study.state, study.reason, study.awaited, _queued(books)) == (StudyState.KEPT_OUT, reason, [], [])
    save_rules(books, [], "Ada")
    assert replay(books, read_settings(environment={}), uid) == "assemble"
    with books.session() as session:
        later = session.get_one(StudyRow, uid).look_at + timedelta(seconds=1000)
    assert len(assembly.ready_studies(later)) == 1


@pytest.mark.parametrize("named", [True, False], ids=["by their number", "by nothing"])
def test_two_acquisitions_between_each_other_miss_nothing_and_are_not_waited_for(
    database: Database, assembly: Assembly, tmp_path: Path, images: list[Dataset], *, named: bool
) -> None:
    """Slices 0.7 mm apart among slices of 11 mm are those of another volume, and no gap."""
    second = make_small_study("assembly", roles=["FLAIR"])
    for k, ds in enumerate(second):
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = uid_of("second", str(k))
        ds.InstanceNumber = len(images) + k + 1
        ds.ImagePositionPatient = [*ds.ImagePositionPatient[:2], ds.ImagePositionPatient[2] + 0.7]
        if named:
            images[k].AcquisitionNumber, ds.AcquisitionNumber, ds.AcquisitionTime = 4, 5, "104000"
    _receive(database, tmp_path, *images, *second)
    (run_id,) = _after_quiet(database, assembly)
    study = read_study([tmp_path / entry["path"] for entry in RunFolder(tmp_path, run_id).load_manifest()])
    assert [len(series.images) for series in study.series] == [len(images)] * 2
    assert [read_series(series).grid.shape for series in study.series] == [(10, 48, 40)] * 2
    firsts = [read_series(series).grid.affine[2, 3] for series in study.series]
    assert firsts == pytest.approx([0.0, 0.7])


def test_a_slice_that_is_missing_is_waited_for_longer(
    database: Database, assembly: Assembly, tmp_path: Path, images: list[Dataset]
) -> None:
    _receive(database, tmp_path, *images[:4], *images[5:])
    assert _after_quiet(database, assembly) == []
    assert len(_after_quiet(database, assembly, more_s=14 * QUIET_S)) == 1


def test_what_is_ready_says_why(database: Database, assembly: Assembly, tmp_path: Path, images: list[Dataset]) -> None:
    _receive(database, tmp_path, *images)
    (ready,) = assembly.ready_studies(utc_now() + timedelta(seconds=QUIET_S))
    assert (ready.instances, ready.reason) == (len(images), "nothing arrived for 20 s")
    assert ready.study_key == _study(database, images).key
    assert images[0].StudyInstanceUID not in ready.run_id


def test_the_manifest_is_what_the_inbox_holds(
    database: Database, assembly: Assembly, tmp_path: Path, images: list[Dataset]
) -> None:
    _receive(database, tmp_path, *images)
    (run_id,) = _after_quiet(database, assembly)
    manifest = RunFolder(tmp_path, run_id).load_manifest()
    assert {entry["sop_instance_uid"] for entry in manifest} == {ds.SOPInstanceUID for ds in images}
    assert all((tmp_path / entry["path"]).is_file() for entry in manifest)
    assert len({entry["patient_key"] for entry in manifest}) == 1


def test_the_order_of_arrival_does_not_change_the_run(tmp_path: Path, images: list[Dataset]) -> None:
    manifests = []
    for name, arriving in (("forward", images), ("backward", images[::-1])):
        database = open_database(f"sqlite:///{tmp_path / name / 'node.sqlite'}")
        _receive(database, tmp_path / name, *arriving)
        (run_id,) = _after_quiet(database, _assembly(database, tmp_path / name))
        with database.session() as session:
            manifests.append(session.get_one(RunRow, run_id).manifest_sha256)
        database.engine.dispose()
    assert manifests[0] == manifests[1]


def test_a_late_instance_makes_another_run(
    database: Database, assembly: Assembly, tmp_path: Path, images: list[Dataset]
) -> None:
    _receive(database, tmp_path, *images[:-1])
    (first,) = _after_quiet(database, assembly)
    _finish(database, first)
    _receive(database, tmp_path, images[-1])
    study = _study(database, images)
    assert (study.state, study.reason) == (StudyState.RECEIVING, "")
    (second,) = _after_quiet(database, assembly)
    assert second != first
    assert (_revision(database, first), _revision(database, second)) == (1, 2)
    assert len(RunFolder(tmp_path, first).load_manifest()) == len(images) - 1
    assert len(RunFolder(tmp_path, second).load_manifest()) == len(images)
    assert _study(database, images).current_run == second


def test_a_corrected_instance_makes_another_run_on_the_newest_version(
    database: Database, assembly: Assembly, tmp_path: Path, images: list[Dataset]
) -> None:
    _receive(database, tmp_path, *images)
    (first,) = _after_quiet(database, assembly)
    images[0].SeriesDescription = "corrected"
    _receive(database, tmp_path, images[0])
    (second,) = _after_quiet(database, assembly)
    assert second != first
    manifest = RunFolder(tmp_path, second).load_manifest()
    assert len(manifest) == len(images)
    assert (
        len({entry["sha256"] for entry in RunFolder(tmp_path, first).load_manifest()} - {e["sha256"] for e in manifest})
        == 1
    )


def test_a_study_that_goes_back_to_earlier_content_has_its_earlier_result(
    database: Database, assembly: Assembly, tmp_path: Path, images: list[Dataset]
) -> None:
    _receive(database, tmp_path, *images)
    (first,) = _after_quiet(database, assembly)
    _finish(database, first, RunState.STORED)
    original = images[0].SeriesDescription
    images[0].SeriesDescription = "for a while"
    _receive(database, tmp_path, images[0])
    (second,) = _after_quiet(database, assembly)
    _finish(database, second)
    images[0].SeriesDescription = original
    _receive(database, tmp_path, images[0])
    assert _after_quiet(database, assembly) == []
    study = _study(database, images)
    assert (study.current_run, study.state, study.reason) == (first, StudyState.STORED, "the reason of that run")
    assert _queued(database) == []


def test_the_node_does_not_work_on_its_own_results(
    database: Database, assembly: Assembly, tmp_path: Path, images: list[Dataset]
) -> None:
    _receive(database, tmp_path, *images)
    (run_id,) = _after_quiet(database, assembly)
    _finish(database, run_id)
    result = images[0].copy()
    result.SOPInstanceUID, result.SeriesInstanceUID = uid_of("result"), uid_of("result", "series")
    names = {"sop_instance_uid": result.SOPInstanceUID, "series_uid": result.SeriesInstanceUID, "kind": "SEG"}
    with database.session() as session:
        rest = {"sop_class_uid": "1.2", "path": "results/SEG.dcm", "sha256": "0"}
        session.add(ResultRow(run_id=run_id, study_uid=result.StudyInstanceUID, **names, **rest))
    _receive(database, tmp_path, result)  # a PACS that routes everything
    assert _study(database, images).state == StudyState.DELIVERED
    assert _after_quiet(database, assembly) == []
    study = _study(database, images)
    assert (study.state, study.current_run) == (StudyState.DELIVERED, run_id)


def test_studies_are_assembled_apart(database: Database, assembly: Assembly, tmp_path: Path) -> None:
    for name in ("one", "two"):
        _receive(database, tmp_path, *make_small_study(name, roles=["FLAIR"])[:2])
    runs = _after_quiet(database, assembly)
    assert len(set(runs)) == 2
    assert sorted(_queued(database)) == sorted(runs)


def test_a_crash_between_freezing_and_queueing_loses_no_run(
    database: Database, assembly: Assembly, tmp_path: Path, images: list[Dataset]
) -> None:
    _receive(database, tmp_path, *images)
    (run_id,) = _after_quiet(database, assembly)
    restarted = _assembly(database, tmp_path)
    assert restarted.ready_studies(utc_now() + timedelta(hours=1)) == []
    assert _queued(database) == [run_id]
    _finish(database, run_id)
    assert _queued(database) == []


def test_a_study_that_is_done_is_not_frozen_again(
    database: Database, assembly: Assembly, tmp_path: Path, images: list[Dataset]
) -> None:
    _receive(database, tmp_path, *images)
    (run_id,) = _after_quiet(database, assembly)
    _finish(database, run_id)
    _receive(database, tmp_path, *images)  # byte for byte what is held
    assert _after_quiet(database, assembly, more_s=1000) == []
    assert _study(database, images).state == StudyState.DELIVERED


def test_an_image_that_names_two_studies_ends_no_judging_and_makes_a_run(
    database: Database, assembly: Assembly, tmp_path: Path, images: list[Dataset]
) -> None:
    _receive(database, tmp_path, *images[1:])
    buffer = io.BytesIO()
    images[0].save_as(buffer, enforce_file_format=True)
    content = with_second_study_uid(buffer.getvalue())
    Inbox(database, tmp_path).receive(content, content, "SENDER", str(images[0].SOPInstanceUID))
    (run_id,) = _after_quiet(database, assembly)
    assert len(RunFolder(tmp_path, run_id).load_manifest()) == len(images)


def test_one_study_that_cannot_be_judged_does_not_hold_up_the_others(
    database: Database, assembly: Assembly, tmp_path: Path, images: list[Dataset]
) -> None:
    """It is closed with its reason instead of being judged for ever; a further image has it judged again."""
    other = make_small_study("other", roles=["FLAIR"])
    _receive(database, tmp_path, *images[:-1])
    _receive(database, tmp_path, *other)
    uid = images[0].StudyInstanceUID
    with database.session() as session:
        session.get_one(StudyRow, uid).key = "no\0folder"  # what no file system takes stands for any defect
    (ready,) = _after_quiet(database, assembly)
    assert _study(database, other).current_run == ready
    study = _study(database, images)
    assert (study.state, study.current_run, study.reason) == (StudyState.FAILED, None, NOT_JUDGED)
    assert _after_quiet(database, assembly, more_s=100) == []
    with database.session() as session:
        session.get_one(StudyRow, uid).key = "k"
    _receive(database, tmp_path, images[-1])
    assert _study(database, images).state == StudyState.RECEIVING
    assert len(_after_quiet(database, assembly)) == 1


def test_a_study_that_could_not_be_judged_is_judged_again_by_replay(
    database: Database, assembly: Assembly, tmp_path: Path, images: list[Dataset]
) -> None:
    _receive(database, tmp_path, *images)
    with database.session() as session:
        session.get_one(StudyRow, images[0].StudyInstanceUID).key = "no\0folder"
    assert _after_quiet(database, assembly) == []
    with database.session() as session:
        session.get_one(StudyRow, images[0].StudyInstanceUID).key = "k"
    settings = read_settings(environment={"GLIONODE_NODE_FOLDER": str(tmp_path)})
    assert replay(database, settings, "k") == "assemble"
    (ready,) = assembly.ready_studies(utc_now() + timedelta(seconds=QUIET_S))
    assert _study(database, images).current_run == ready.run_id


def test_content_that_was_given_up_midway_and_comes_back_is_processed(
    database: Database, assembly: Assembly, tmp_path: Path, images: list[Dataset]
) -> None:
    _receive(database, tmp_path, *images)
    (first,) = _after_quiet(database, assembly)
    images[0].SeriesDescription, before = "corrected", images[0].SeriesDescription
    _receive(database, tmp_path, images[0])
    (second,) = _after_quiet(database, assembly)
    with database.session() as session:  # as `begin_revision` leaves a run that was at work when other images came
        session.get_one(RunRow, first).state = RunState.SUPERSEDED
    images[0].SeriesDescription = before
    _receive(database, tmp_path, images[0])
    assert _after_quiet(database, assembly) == [first]
    with database.session() as session:
        run = session.get_one(RunRow, first)
        assert (run.state, run.step, run.attempt) == (RunState.QUEUED, "", 1)
        assert run.revision > session.get_one(RunRow, second).revision
    assert (_study(database, images).state, _study(database, images).current_run) == (StudyState.QUEUED, first)
