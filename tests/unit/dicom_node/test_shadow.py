"""The shadow: its figures against production, what is kept, and that nothing of it can be sent."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from numpy.typing import NDArray

from conversion.alignment import AlignedVolumes
from conversion.sequences import Role
from conversion.study import PatientFacts
from conversion.volume import Grid, ImageVolume, LabelVolume
from dicom_node.database.engine import Database, open_database
from dicom_node.database.states import RunState
from dicom_node.database.tables import ResultRow, RunRow, StudyRow
from dicom_node.models.roles import ModelChoice, ModelRole, choose, go_back
from dicom_node.runs.artifacts import Artifacts
from dicom_node.runs.durable import SHADOW, DurableSteps
from dicom_node.runs.lifecycle import Lifecycle
from dicom_node.runs.shadow import compare, keep_shadow
from dicom_node.runs.shadow_results import begin_shadow, fail_shadow, mean_dice, shadow_results
from dicom_node.settings import Settings, read_settings
from inference.errors import InferenceReason, UnusableModel
from inference.foreign.addition import add_model
from inference.regions import Label, Region
from inference.registry import Registry, StoredModel
from inference.segmentation import ModelIdentity, Segmentation
from tests.support.detector_model import write_detector

RUN, STUDY = "key-1", "1.2.3"
ALL = (Region.NCR, Region.ED, Region.ET, Region.WT, Region.TC)
GRID = Grid(shape=(10, 32, 32), affine=np.diag([2.0, 1.0, 1.0, 1.0])[[2, 1, 0, 3]], frame_of_reference_uid="1.2")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return read_settings(environment={"GLIONODE_NODE_FOLDER": str(tmp_path), "GLIONODE_PROCESSING_DEVICE": "cpu"})


@pytest.fixture
def database(settings: Settings) -> Iterator[Database]:
    opened = open_database(settings.database_url)
    with opened.session() as session:
        session.add(StudyRow(study_uid=STUDY, key="key"))
        session.flush()
        session.add(
            RunRow(
                run_id=RUN,
                study_uid=STUDY,
                revision=1,
                manifest_sha256="0" * 64,
                ready_at=datetime(2026, 1, 1, tzinfo=UTC),
                state=RunState.STORED,
            )
        )
    yield opened
    opened.engine.dispose()


def _choice(name: str) -> ModelChoice:
    return ModelChoice(action="shadow", at="", who="", name=name, version="1", sha256=name * 64)


def _found(name: str, labels: NDArray[np.uint8], regions: tuple[Region, ...] = ALL) -> Segmentation:
    return Segmentation(
        label_volume=LabelVolume(grid=GRID, labels=labels),
        regions=regions,
        probabilities={},
        model=ModelIdentity(name=name, version="1", sha256=name * 64),
        sequences=("FLAIR",),
        decisions=(),
    )


def _labels(rows: int, inside: Label = Label.ET) -> NDArray[np.uint8]:
    """Return labels of `rows` x 10 voxels of edema in one slice, with 10 voxels of another label in it."""
    labels = np.zeros(GRID.shape, np.uint8)
    labels[4, :rows, :10] = Label.ED
    labels[4, :1, :10] = inside
    return labels


def test_figures_are_dice_and_volumes_of_every_region_that_both_know() -> None:
    figures = compare(_found("a", _labels(10)), _found("b", _labels(20)))
    assert figures["WT"] == {
        "dice": round(2 * 100 / 300, 4),
        "volume_ml": 0.4,
        "production_ml": 0.2,
        "difference_ml": 0.2,
    }
    assert figures["ET"]["dice"] == figures["NCR"]["dice"] == 1.0
    assert figures["NCR"]["volume_ml"] == 0.0
    missed = compare(_found("a", _labels(10)), _found("b", _labels(10, Label.ED)))
    assert (missed["ET"]["dice"], missed["WT"]["dice"]) == (0.0, 1.0)
    assert list(compare(_found("a", _labels(10)), _found("b", _labels(10), (Region.WT,)))) == ["WT"]


def test_what_is_kept_is_labels_findings_and_figures_and_no_result(database: Database, tmp_path: Path) -> None:
    begin_shadow(database, RUN, _choice("b"))
    assert [result.state for result in shadow_results(database)] == ["running"]
    for _ in range(2):
        keep_shadow(database, tmp_path, RUN, _found("a", _labels(10)), _found("b", _labels(20)))
    (result,) = shadow_results(database, "b" * 64)
    assert (result.state, result.run_id, result.study_key, result.reason) == ("done", RUN, "key", "")
    assert (result.name, result.production_sha256) == ("b", "a" * 64)
    assert mean_dice((result,))["WT"] == result.regions["WT"]["dice"]
    stored = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / result.path)))
    assert np.count_nonzero(stored) == 200
    folder = (tmp_path / result.path).parent
    assert {path.name for path in folder.iterdir()} == {"labels.nii.gz", "findings.json"}
    with database.session() as session:
        assert session.query(ResultRow).count() == 0  # what is sent and shown comes from this table alone


def test_a_failure_closes_what_is_open_and_nothing_else(database: Database, tmp_path: Path) -> None:
    begin_shadow(database, RUN, _choice("b"))
    keep_shadow(database, tmp_path, RUN, _found("a", _labels(10)), _found("b", _labels(20)))
    begin_shadow(database, RUN, _choice("c"))
    fail_shadow(database, RUN, "defect", "KeyError")
    states = {result.name: (result.state, result.code, result.reason) for result in shadow_results(database)}
    assert states == {"b": ("done", "", ""), "c": ("failed", "defect", "KeyError")}
    assert mean_dice(shadow_results(database, "c" * 64)) == {}


@pytest.fixture
def finished(settings: Settings) -> Artifacts:
    """Return the artifacts of a run whose arrays are still there, with a bright lesion on FLAIR."""
    artifacts = Artifacts(settings.node.folder, RUN)
    voxels = np.full(GRID.shape, 100.0, np.float32)
    voxels[3:6, 8:20, 8:20] = 320.0
    volumes = {Role.FLAIR: ImageVolume(grid=GRID, voxels=voxels)}
    artifacts.save_patient(PatientFacts())
    artifacts.save_rules(())
    artifacts.save_aligned(AlignedVolumes(reference=Role.FLAIR, volumes=volumes, registrations={}, decisions=()))
    artifacts.save_segmentation(_found("a", _labels(10), (Region.WT,)))
    return artifacts


def _shadow_of(settings: Settings, tmp_path: Path, database: Database) -> StoredModel:
    model = add_model(Registry(settings.node.folder), write_detector(tmp_path / "source"))
    choose(database, ModelRole.SHADOW, model, "Ada")
    return model


def test_the_step_runs_the_shadow_on_the_runs_arrays_and_then_lets_them_go(
    database: Database, settings: Settings, tmp_path: Path, finished: Artifacts
) -> None:
    model, steps = _shadow_of(settings, tmp_path, database), DurableSteps(settings, database)
    steps.perform(SHADOW, RUN)
    (first,) = shadow_results(database)
    assert (first.state, first.sha256) == ("done", model.sha256)
    assert first.regions["WT"]["volume_ml"] > 0.5
    steps.perform(SHADOW, RUN)
    (again,) = shadow_results(database)
    assert (again.regions, again.path) == (first.regions, first.path)
    Lifecycle(settings, database).end_shadow(RUN)
    assert not finished.has_arrays()
    steps.perform(SHADOW, RUN)  # nothing is left to look at
    assert len(shadow_results(database)) == 1


def test_where_production_withheld_the_shadow_says_that_it_did_not_look(
    database: Database, settings: Settings, tmp_path: Path, finished: Artifacts
) -> None:
    steps, lifecycle = DurableSteps(settings, database), Lifecycle(settings, database)
    _shadow_of(settings, tmp_path, database)
    with database.session() as session:
        session.get_one(RunRow, RUN).summary = {"withheld": "the result is withheld: too young (under_18)"}
    lifecycle.finish(RUN, RunState.UNDELIVERED, "undelivered", "PACS does not answer")
    assert not finished.has_arrays(), "what nobody will look at is not kept"
    steps.perform(SHADOW, RUN)
    (told,) = shadow_results(database)
    assert (told.state, told.code, told.regions) == ("failed", "withheld", {})


def test_without_a_shadow_the_arrays_go_at_once(
    database: Database, settings: Settings, tmp_path: Path, finished: Artifacts
) -> None:
    steps, lifecycle = DurableSteps(settings, database), Lifecycle(settings, database)
    _shadow_of(settings, tmp_path, database)
    lifecycle.finish(RUN, RunState.DELIVERED)
    assert finished.has_arrays()
    choose(database, ModelRole.SHADOW, None, "Ada")
    lifecycle.finish(RUN, RunState.DELIVERED)
    assert not finished.has_arrays()
    steps.perform(SHADOW, RUN)
    assert shadow_results(database) == ()


def test_a_promotion_acts_on_the_next_study_and_a_changed_byte_stops_it(
    database: Database, settings: Settings, tmp_path: Path, finished: Artifacts
) -> None:
    other = add_model(Registry(settings.node.folder), write_detector(tmp_path / "other", name="other"))
    by_setting = write_detector(tmp_path / "setting", name="setting")
    steps = DurableSteps(replace(settings, processing=replace(settings.processing, model=str(by_setting))), database)
    used = []
    for model in (None, other, None):
        if model is not None:
            choose(database, ModelRole.PRODUCTION, model, "Ada")
        elif used:
            go_back(database, ModelRole.PRODUCTION, "Ada", lambda _: None)
        steps.perform("segment", RUN)
        used.append(finished.load_segmentation().model.name)
    assert used == ["setting", "other", "setting"]
    weights = other.folder / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\1")
    choose(database, ModelRole.PRODUCTION, other, "Ada")
    with pytest.raises(UnusableModel, match=r"weights\.safetensors") as caught:
        steps.perform("segment", RUN)
    assert caught.value.reason is InferenceReason.MODEL_CHANGED
