"""Revisions of a study: what makes two results the same, which run stands, and which report is replaced."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from conversion.selection import SeriesSelection
from conversion.sequences import Role
from conversion.study import StudyUID
from dicom_node.database.engine import Database
from dicom_node.database.states import DeliveryState, RunState, StudyState
from dicom_node.database.tables import DeliveryRow, ResultRow, RunRow, StudyRow
from dicom_node.settings import Settings, read_settings
from dicom_node.studies.revisions import begin_revision, inputs_sha256, predecessor_of, stand_as
from tests.support.series_headers import series_of

START = datetime(2026, 1, 5, 8, tzinfo=UTC)
FLAIR, T1CE = series_of(4, slices=2), series_of(7, slices=2)
CHOSEN = SeriesSelection(
    study_uid=StudyUID("1.2"), series={Role.T1CE: T1CE, Role.FLAIR: FLAIR}, reference=Role.T1CE, decisions=()
)
MANIFEST = [
    {"series_uid": f"1.{number}", "sop_instance_uid": f"1.{number}.{k}", "sha256": f"bytes of {number}.{k}"}
    for number in (4, 7, 9)
    for k in range(2)
]


def _settings(**values: str) -> Settings:
    return read_settings(environment={f"GLIONODE_{key.upper()}": value for key, value in values.items()})


def _hash(
    selection: SeriesSelection = CHOSEN,
    manifest: Sequence[dict[str, str]] = MANIFEST,
    settings: Settings | None = None,
    model: str = "model",
) -> str:
    return inputs_sha256(selection, manifest, settings or _settings(), model)


def _with_other_bytes(series_uid: str) -> list[dict[str, str]]:
    return [one | ({"sha256": "other"} if one["series_uid"] == series_uid else {}) for one in MANIFEST]


def test_what_a_result_does_not_depend_on_leaves_its_hash() -> None:
    assert _hash(manifest=MANIFEST[::-1]) == _hash()
    assert _hash(manifest=_with_other_bytes("1.9")) == _hash(manifest=MANIFEST[:4]) == _hash()
    assert _hash(settings=_settings(processing_threads="7", node_ae_title="OTHER")) == _hash()
    other_order = {Role.FLAIR: FLAIR, Role.T1CE: T1CE}
    assert _hash(replace(CHOSEN, series=other_order)) == _hash()


def test_each_thing_that_a_result_depends_on_has_a_hash_of_its_own() -> None:
    swapped = {Role.T1CE: FLAIR, Role.FLAIR: T1CE}
    part = replace(T1CE, part="echo 20 ms")
    backwards = replace(T1CE, images=T1CE.images[::-1])
    found = [
        _hash(),
        _hash(manifest=_with_other_bytes("1.4")),
        _hash(model="other"),
        _hash(settings=_settings(processing_admit="under_18")),
        _hash(replace(CHOSEN, reference=Role.FLAIR)),
        _hash(replace(CHOSEN, series=swapped)),
        _hash(replace(CHOSEN, series={Role.T1CE: T1CE})),
        _hash(replace(CHOSEN, series={**CHOSEN.series, Role.T1CE: part})),
        _hash(replace(CHOSEN, series={**CHOSEN.series, Role.T1CE: backwards})),
    ]
    assert len(set(found)) == len(found)
    assert all(len(one) == 64 for one in found)


def test_a_manifest_without_series_names_its_instances_alone() -> None:
    older = [{key: text for key, text in one.items() if key != "series_uid"} for one in MANIFEST]
    assert _hash(manifest=older) == _hash()


def test_a_copy_of_an_image_in_another_series_is_not_taken_for_it() -> None:
    copies = [one | {"series_uid": "1.99", "sha256": "copy"} for one in MANIFEST]
    assert _hash(manifest=[*MANIFEST, *copies]) == _hash(manifest=[*copies, *MANIFEST]) == _hash()


def test_a_chosen_image_that_the_manifest_lacks_is_an_error() -> None:
    with pytest.raises(KeyError, match=r"1\.7\.1"):
        _hash(manifest=[one for one in MANIFEST if one["sop_instance_uid"] != "1.7.1"])


def _runs(database: Database, *runs: tuple[RunState, str]) -> None:
    """Keep a study with runs, each of a state and of inputs: run ``1`` is revision 1, and the last one is current."""
    with database.session() as session:
        session.add(StudyRow(study_uid="1.2", key="key", state=StudyState.RUNNING, current_run=f"{len(runs)}"))
        session.flush()
        for number, (state, inputs) in enumerate(runs, start=1):
            facts = {"manifest_sha256": "0", "ready_at": START + timedelta(minutes=number), "reason": f"as {number}"}
            session.add(
                RunRow(run_id=f"{number}", study_uid="1.2", revision=number, state=state, inputs_sha256=inputs, **facts)
            )


def _states(database: Database) -> list[str]:
    with database.session() as session:
        return [run.state for run in session.query(RunRow).order_by(RunRow.revision)]


def _study(database: Database) -> tuple[str, str, str | None]:
    with database.session() as session:
        study = session.get_one(StudyRow, "1.2")
        return study.state, study.reason, study.current_run


NEW = (RunState.RUNNING, "")


@pytest.mark.parametrize(
    "state", [RunState.DELIVERED, RunState.STORED, RunState.UNDELIVERED, RunState.REJECTED, RunState.RUNNING]
)
def test_a_run_of_the_same_inputs_is_stopped_and_the_earlier_result_stands(database: Database, state: RunState) -> None:
    _runs(database, (state, "same"), NEW)
    assert not begin_revision(database, "2", "same")
    with database.session() as session:
        run = session.get_one(RunRow, "2")
    assert (run.state, run.same_as, run.inputs_sha256) == (RunState.UNCHANGED, "1", "same")
    assert run.reason == "the new images are not used; the result of revision 1 remains valid"
    assert run.finished_at is not None
    assert _study(database) == (state, "as 1", "1")


@pytest.mark.parametrize(
    "state", [RunState.FAILED, RunState.CANCELLED, RunState.SUPERSEDED, RunState.UNCHANGED, RunState.DELIVERED]
)
def test_a_run_goes_on_where_no_result_of_its_inputs_stands(database: Database, state: RunState) -> None:
    _runs(database, (state, "other" if state is RunState.DELIVERED else "same"), NEW)
    assert begin_revision(database, "2", "same")
    assert _states(database) == [state, RunState.RUNNING]
    assert _study(database) == (StudyState.RUNNING, "", "2")


def test_earlier_runs_that_are_still_open_are_stopped_by_a_run_of_other_inputs(database: Database) -> None:
    _runs(database, (RunState.DELIVERED, "a"), (RunState.UNDELIVERED, "b"), (RunState.QUEUED, ""), NEW)
    assert begin_revision(database, "4", "c")
    assert _states(database) == ["delivered", "superseded", "superseded", "running"]
    with database.session() as session:
        assert session.get_one(RunRow, "2").reason == "revision 4 uses other images"


@pytest.mark.parametrize(
    ("between", "goes_on"), [(RunState.DELIVERED, True), (RunState.UNCHANGED, False), (RunState.FAILED, False)]
)
def test_a_study_that_went_back_to_earlier_content_has_its_result_made_again(
    database: Database, between: RunState, *, goes_on: bool
) -> None:
    _runs(database, (RunState.DELIVERED, "a"), (between, "b"), NEW)
    assert begin_revision(database, "3", "a") is goes_on


def test_a_study_that_receives_again_keeps_that_state(database: Database) -> None:
    _runs(database, (RunState.DELIVERED, "same"), NEW)
    with database.session() as session:
        session.get_one(StudyRow, "1.2").state = StudyState.RECEIVING
    assert not begin_revision(database, "2", "same")
    assert _study(database) == (StudyState.RECEIVING, "", "2")


def test_a_study_stands_as_the_run_that_made_the_result_however_many_were_unchanged(database: Database) -> None:
    _runs(database, (RunState.STORED, "a"), (RunState.UNCHANGED, "a"), (RunState.UNCHANGED, "a"))
    with database.session() as session:
        for number in (2, 3):
            session.get_one(RunRow, f"{number}").same_as = f"{number - 1}"
        stand_as(session, session.get_one(StudyRow, "1.2"), session.get_one(RunRow, "3"))
    assert _study(database) == (StudyState.STORED, "as 1", "1")


def _report(database: Database, run_id: str, profile: str = "", *, accepted: bool = True, kind: str = "SR") -> None:
    uid = f"9.{run_id}.{kind}{profile}"
    facts = {"study_uid": "1.2", "series_uid": f"9.{run_id}", "sop_class_uid": "1.88", "path": "p", "sha256": "0"}
    with database.session() as session:
        session.add(ResultRow(sop_instance_uid=uid, run_id=run_id, kind=kind, profile=profile, **facts))
        session.flush()
        state = DeliveryState.ACCEPTED if accepted else DeliveryState.REFUSED
        session.add(DeliveryRow(run_id=run_id, sop_instance_uid=uid, destination="PACS", state=state))


def test_a_report_replaces_the_newest_earlier_one_that_somebody_may_have_read(database: Database) -> None:
    _runs(database, *[(RunState.DELIVERED, "")] * 3, (RunState.STORED, ""), *[(RunState.DELIVERED, "")] * 2)
    assert predecessor_of(database, "6") is None
    _report(database, "1")
    _report(database, "2", kind="SEG")
    _report(database, "3", accepted=False)
    _report(database, "5", "labelmap-7701-7702")
    _report(database, "6")
    found = predecessor_of(database, "6")
    assert found is not None
    assert (found.study_uid, found.series_uid, found.sop_instance_uid) == ("1.2", "9.1", "9.1.SR")
    assert found.sop_class_uid == "1.88"
    assert predecessor_of(database, "1") is None
    labelled = predecessor_of(database, "6", "labelmap-7701-7702")
    assert labelled is not None
    assert labelled.series_uid == "9.5"
    _report(database, "4", accepted=False)  # kept on the node, where it can be read
    stored = predecessor_of(database, "6")
    assert stored is not None
    assert stored.series_uid == "9.4"
