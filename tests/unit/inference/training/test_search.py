"""Search and ablation on tiny patients, and curves that can be read again."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from inference.cases.array_file import write_arrays
from inference.cases.prepared import PreparedCase, PreparedReference, PreparedSet
from inference.cases.splits import Split
from inference.regions import Region
from inference.training.ablation import SUBSETS, ablate, ablation_table
from inference.training.loop import Progress
from inference.training.plan import TrainingPlan
from inference.training.presets import AUTOENCODER, DIMENSIONS, plan_for, preparation_for
from inference.training.run import TrainingTask
from inference.training.search import search
from inference.training.tracking import tracked
from inference.unet import TumourUNet
from tests.support.training_cases import SMALL_NETWORKS, training_case


def _stored(folder: Path, case: PreparedCase) -> PreparedReference:
    path = folder / f"{case.case_id}.npz"
    kept = {"present": case.present, "annotated": case.annotated, "spacing_mm": None, "shape": case.images.shape[1:]}
    kept["stripped"] = case.stripped
    write_arrays(path, {"images": case.images, "regions": np.packbits(case.regions)}, kept)
    return PreparedReference(case_id=case.case_id, patient=case.patient, source=case.source, site="", path=path)


@pytest.fixture
def task(tmp_path: Path) -> TrainingTask:
    cases = tuple(_stored(tmp_path, training_case("brats", number)) for number in range(4))
    return TrainingTask(
        cases=PreparedSet(cases=cases, skipped=()),
        split=Split(folds=(("brats0",), ("brats1", "brats2", "brats3")), seed=1),
        fold=0,
        plan=TrainingPlan(network=SMALL_NETWORKS["2.5D"], crop=(1, 24, 24), batch_size=2, steps=80, warm_up=2),
        out=tmp_path / "search",
    )


def test_a_search_finds_a_plan_and_goes_on_where_it_was_stopped(task: TrainingTask) -> None:
    tried: list[int] = []
    found = search(task, 2, lambda number, _: tried.append(number))
    assert set(tried) == {0, 1}
    assert found.steps == task.plan.steps
    assert 2e-4 <= found.learning_rate <= 5e-3
    assert found.network["filters"] in ([4, 4, 4], [4, 4, 6], [4, 6, 8])
    tried.clear()
    again = search(task, 3, lambda number, _: tried.append(number))
    assert set(tried) == {2}
    assert 2e-4 <= again.learning_rate <= 5e-3
    assert search(task, 3, lambda *_: tried.append(99)) == again


def test_subsets_that_cannot_be_segmented_are_not_scored() -> None:
    assert len(SUBSETS) == len(set(SUBSETS)) == 12
    assert SUBSETS[0] == (True, True, True, True)
    assert all(subset[1] or subset[3] for subset in SUBSETS)
    network = TumourUNet(**SMALL_NETWORKS["2D"])
    rows = ablate(network, [training_case("lgg", 1), training_case("brats", 2)])
    by_names = {row.sequences: row for row in rows}
    assert by_names["T1", "T1CE", "T2", "FLAIR"].cases == 1
    assert set(by_names["T1", "FLAIR"].dice) == {"brats WT", "lgg WT"}
    assert set(by_names["T1CE",].dice) == {"brats ET", "brats TC", "brats WT", "lgg WT"}
    assert set(by_names["T2", "FLAIR"].dice) == {f"brats {Region.WT}"}
    table = ablation_table(rows)
    assert table.count("\n") == 14
    assert "| T2, FLAIR | 1 | - | - |" in table


@pytest.mark.filterwarnings("ignore::DeprecationWarning:mlflow", "ignore:The ``noload``")  # of MLflow's own store
def test_curves_are_written_where_they_are_wanted(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # noqa: PLC0415 - slow

    plan = TrainingPlan(steps=25)
    with tracked(plan, tensorboard=tmp_path / "curves", mlflow=f"sqlite:///{tmp_path / 'mlflow.db'}") as track:
        for step in range(1, 26):
            dice = None if step < 20 else 0.75
            track(Progress(step=step, steps=25, loss=2.0 / step, rate=1e-3, dice=dice, step_s=0.5))
    events = EventAccumulator(str(tmp_path / "curves")).Reload()
    assert [(point.step, pytest.approx(point.value)) for point in events.Scalars("loss")] == [
        (10, 0.2),
        (20, 0.1),
        (25, 0.08),
    ]
    assert [point.step for point in events.Scalars("dice")] == [20, 25]
    import mlflow  # noqa: PLC0415 - slow

    client = mlflow.MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")
    (run,) = client.search_runs([experiment.experiment_id for experiment in client.search_experiments()])
    assert run.data.metrics["dice"] == pytest.approx(0.75)
    assert run.data.params["steps"] == "25"


@pytest.mark.parametrize("dimensions", DIMENSIONS)
def test_presets_are_plans_that_can_be_changed(dimensions: str) -> None:
    if dimensions == AUTOENCODER:
        assert plan_for(dimensions, network={"narrow": 8}, steps=3).network["narrow"] == 8
        return
    assert plan_for(dimensions).network["variant"] == "plain"
    plan = plan_for(dimensions, "residual", steps=7, network={"filters": [8, 8, 8, 8]})
    assert plan.steps == 7
    assert plan.network["variant"] == "residual"
    assert plan.network["filters"] == [8, 8, 8, 8]
    assert plan.network["dimensions"] == (3 if dimensions == "3d" else 2)
    assert preparation_for(plan).cubes is (dimensions in ("views", "3d"))
    assert replace(plan, steps=8).sha256 != plan.sha256
