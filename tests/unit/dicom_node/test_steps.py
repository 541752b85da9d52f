"""Steps done twice: a killed node repeats the one that was cut off, and nothing of an earlier try may be sent."""

import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import highdicom as hd
import pytest
import sqlalchemy as sa
from pydicom import dcmread
from structlog.testing import capture_logs

from conversion.errors import UnusableStudy
from dicom_node.database.engine import Database, open_database
from dicom_node.database.states import RunState, StudyState
from dicom_node.database.tables import DeliveryRow, PeerRow, ResultRow, RunRow, StudyRow, utc_now
from dicom_node.delivery.outbox import Outbox
from dicom_node.peers.peer import Peer
from dicom_node.peers.registry import put_peer
from dicom_node.runs import workflow
from dicom_node.runs.deliver import deliver
from dicom_node.runs.durable import DurableSteps
from dicom_node.runs.lifecycle import Lifecycle
from dicom_node.runs.pipeline import STEPS
from dicom_node.settings import Settings, read_settings
from dicom_node.studies.assembly import Assembly
from dicom_node.studies.run_folder import RunFolder
from tests.support.detector_model import write_detector
from tests.support.held_study import hold_small_study
from tests.support.pacs import running_pacs
from tests.support.raw_values import with_second_study_uid
from viewer_integration.errors import UnusableSource

CHILD = {"PatientBirthDate": "20140601"}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    model = write_detector(tmp_path / "model", minimum_lesion_ml=0.0)
    return read_settings(
        environment={
            "GLIONODE_NODE_FOLDER": str(tmp_path),
            "GLIONODE_PROCESSING_DEVICE": "cpu",
            "GLIONODE_PROCESSING_MODEL": str(model),
        }
    )


@pytest.fixture
def database(settings: Settings) -> Iterator[Database]:
    opened = open_database(settings.database_url)
    yield opened
    opened.engine.dispose()


def _run_of_a_child(database: Database, settings: Settings) -> str:
    """Return the run of a frozen study whose patient is nine years old."""
    hold_small_study(database, settings.node.folder, "child", ["FLAIR"], attributes=CHILD)
    with database.session() as session:
        session.scalars(sa.select(StudyRow)).one().state = StudyState.RECEIVING
    (ready,) = Assembly(
        database, settings.node.folder, replace(settings.assembly, quiet_period_s=0.0), "GLIONODE"
    ).ready_studies(utc_now() + timedelta(seconds=1))
    return ready.run_id


def _admitting(settings: Settings, codes: str) -> Settings:
    return replace(settings, processing=replace(settings.processing, admit=codes))


def _up_to(settings: Settings, database: Database, run_id: str, last: str) -> DurableSteps:
    """Perform the steps to the last one that is named; return who performs more of them."""
    steps = DurableSteps(settings, database)
    for name in STEPS:
        Lifecycle(settings, database).begin(run_id, name)
        steps.perform(name, run_id)
        if name == last:
            break
    return steps


def _kinds(database: Database) -> dict[str, str]:
    with database.session() as session:
        return {row.kind: row.sop_instance_uid for row in session.scalars(sa.select(ResultRow))}


def test_a_gate_that_was_closed_meanwhile_is_one_for_the_next_run(database: Database, settings: Settings) -> None:
    run_id = _run_of_a_child(database, settings)
    _up_to(_admitting(settings, "under_18"), database, run_id, "encode")
    before = _kinds(database)
    assert set(before) == {"SEG", "SR"}
    DurableSteps(settings, database).perform("encode", run_id)
    assert _kinds(database) == before, "the same object, as the gate stood when the tumour was found"


def test_the_pictures_of_a_run_are_kept_with_its_objects(database: Database, settings: Settings) -> None:
    run_id = _run_of_a_child(database, settings)
    _up_to(_admitting(settings, "under_18"), database, run_id, "encode")
    kept = {path.name for path in RunFolder(settings.node.folder, run_id).pictures.iterdir()}
    assert {"image_flair.nii.gz", "segmentation.nii.gz", "key_images.png", "pictures.json"} < kept


def test_pictures_that_cannot_be_made_cost_no_result(database: Database, settings: Settings) -> None:
    run_id = _run_of_a_child(database, settings)
    steps = _up_to(_admitting(settings, "under_18"), database, run_id, "segment")
    (RunFolder(settings.node.folder, run_id).folder / "aligned.npz").unlink()
    with capture_logs() as logs:
        steps.perform("encode", run_id)
    assert set(_kinds(database)) == {"SEG", "SR"}
    assert [log["event"] for log in logs if log["log_level"] == "error"] == ["pictures_not_kept"]


def test_what_an_earlier_try_wrote_and_this_one_does_not_is_never_sent(database: Database, settings: Settings) -> None:
    run_id = _run_of_a_child(database, settings)
    _up_to(_admitting(settings, "under_18"), database, run_id, "encode")
    before = _kinds(database)
    with database.session() as session:
        session.add(DeliveryRow(run_id=run_id, sop_instance_uid=before["SEG"], destination="PACS"))
    steps = DurableSteps(settings, database)
    steps.perform("segment", run_id)
    steps.perform("encode", run_id)
    after = _kinds(database)
    assert set(after) == {"SR"}
    assert after["SR"] != before["SR"]
    assert not list(settings.node.folder.glob("results/*/*/SEG.dcm"))
    waiting = Outbox(settings, database).waiting(run_id, Peer(name="PACS", ae_title="PACS"))
    assert {row.sop_instance_uid for row in waiting} == {after["SR"]}
    with database.session() as session:
        assert session.scalars(sa.select(DeliveryRow.sop_instance_uid)).all() == [after["SR"]]


def test_a_withheld_result_that_no_destination_takes_still_says_that_it_is_withheld(
    database: Database, settings: Settings
) -> None:
    run_id = _run_of_a_child(database, settings)
    _up_to(settings, database, run_id, "encode")
    with running_pacs() as pacs:
        pacs.answer = 0xA700
        with database.session() as session:
            peer = PeerRow(name="PACS", ae_title="PACS", host="127.0.0.1", port=pacs.port)
            peer.may_send, peer.is_destination = False, True
            session.add(peer)
        deliver(run_id, Outbox(settings, database), Lifecycle(settings, database))
    with database.session() as session:
        run = session.get_one(RunRow, run_id)
        assert run.state == RunState.UNDELIVERED
        assert run.reason.startswith("the result is withheld: the patient is under 18")
        assert "PACS: " in run.reason


def test_a_step_that_closed_its_run_is_not_done_again(
    database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed after the run was closed and before that was noted: the arrays are gone, and nothing is left to do."""
    run_id, lifecycle = _run_of_a_child(database, settings), Lifecycle(settings, database)
    _up_to(settings, database, run_id, "align")
    lifecycle.finish(run_id, RunState.REJECTED, "sequences_missing", "for a reason")
    assert not RunFolder(settings.node.folder, run_id).has_arrays()
    monkeypatch.setattr(workflow, "_lifecycle", [lifecycle])
    assert workflow._run_step("segment", run_id) == "closed"
    with database.session() as session:
        run = session.get_one(RunRow, run_id)
        assert (run.state, run.code, run.reason) == (RunState.REJECTED, "sequences_missing", "for a reason")


def test_a_run_that_has_come_further_is_not_what_workers_die_of(database: Database, settings: Settings) -> None:
    run_id, lifecycle = _run_of_a_child(database, settings), Lifecycle(settings, database)
    with database.session() as session:
        run = session.get_one(RunRow, run_id)
        run.step, run.takeovers = "select", 9
    lifecycle.begin(run_id, "select")
    with database.session() as session:
        assert session.get_one(RunRow, run_id).takeovers == 9
    lifecycle.begin(run_id, "convert")
    with database.session() as session:
        assert session.get_one(RunRow, run_id).takeovers == 0


@pytest.mark.parametrize("renamed", [1, None])
def test_images_that_name_another_study_inside_are_refused(
    database: Database, settings: Settings, renamed: int | None
) -> None:
    run_id = _run_of_a_child(database, settings)
    for path in sorted(settings.node.folder.glob("inbox/*/*.dcm"))[:renamed]:
        path.write_bytes(with_second_study_uid(path.read_bytes()))
    with pytest.raises(UnusableStudy, match="belong to 2 studies" if renamed else "contain another Study Instance UID"):
        DurableSteps(settings, database).perform("select", run_id)


def test_what_headers_do_not_allow_is_refused_before_the_networks_run(database: Database, settings: Settings) -> None:
    run_id = _run_of_a_child(database, settings)
    first, second, *_ = sorted(settings.node.folder.glob("inbox/*/*.dcm"))
    ds = dcmread(second)
    ds.SOPInstanceUID = dcmread(first).SOPInstanceUID
    ds.save_as(second)
    steps = _up_to(settings, database, run_id, "select")
    with pytest.raises(UnusableSource, match=r"share SOP Instance UIDs.*\(10 images, 9 UIDs\)"):
        steps.perform("convert", run_id)


def test_what_a_destination_wants_is_rehearsed(
    database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The library that writes SEGs stands for headers that it takes in one form and not in the other."""
    real = hd.seg.Segmentation

    def without_label_maps(**given: object) -> hd.seg.Segmentation:
        if given["segmentation_type"] is hd.seg.SegmentationTypeValues.LABELMAP:
            raise ValueError
        return real(**given)  # type: ignore[arg-type]

    monkeypatch.setattr(hd.seg, "Segmentation", without_label_maps)
    run_id = _run_of_a_child(database, settings)
    steps = _up_to(settings, database, run_id, "convert")
    put_peer(
        database,
        Peer(name="PACS", ae_title="PACS", host="127.0.0.1", port=104, is_destination=True, seg_form="labelmap"),
    )
    with pytest.raises(UnusableSource, match="no valid result can be made"):
        steps.perform("convert", run_id)


def test_a_worker_in_another_time_zone_makes_the_same_objects(
    database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id, made = _run_of_a_child(database, settings), []
    try:
        for zone in ("Asia/Tokyo", "America/New_York"):
            monkeypatch.setenv("TZ", zone)
            time.tzset()
            _up_to(settings, database, run_id, "encode")
            with database.session() as session:
                made.append({row.sop_instance_uid: row.sha256 for row in session.scalars(sa.select(ResultRow))})
    finally:
        monkeypatch.undo()
        time.tzset()
    assert made[0]
    assert made[0] == made[1]
