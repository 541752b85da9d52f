"""The training loop: it learns, it stops in time, and an interrupted run ends where a whole one does."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from inference.cases.prepared import PreparedCase
from inference.errors import UnusableModel
from inference.novelty import GRID_SHAPE
from inference.training.loop import Progress, Trainable, TrainingWork, train
from inference.training.losses import supervised_loss
from inference.training.plan import RECONSTRUCT, TrainingPlan
from inference.training.sampling import Sampler
from tests.support.training_cases import SMALL_NETWORKS, training_case


@pytest.fixture(scope="module")
def cases() -> list[PreparedCase]:
    return [training_case("lgg", 1), training_case("lgg", 2), training_case("brats", 3), training_case("brats", 4)]


def _plan(network: str = "2.5D", **changes: Any) -> TrainingPlan:  # noqa: ANN401 - any field
    crop = (8, 24, 24) if SMALL_NETWORKS[network]["dimensions"] == 3 else (1, 24, 24)
    usual = {"steps": 6, "batch_size": 2, "learning_rate": 1e-2, "warm_up": 2, "checkpoint_every": 2}
    return TrainingPlan(**{"network": SMALL_NETWORKS[network], "crop": crop, **usual, **changes})


def _network(plan: TrainingPlan, seed: int = 4) -> Trainable:
    torch.manual_seed(seed)
    return plan.build()


def _work(plan: TrainingPlan, folder: Path, split: str = "") -> TrainingWork:
    return TrainingWork(plan=plan, identity=plan.sha256 + split, folder=folder)


def _equal(first: nn.Module, second: nn.Module) -> bool:
    pairs = zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize(
    "changes", [{}, {"accumulate": 2}, {"validate_every": 2, "patience": 9}, {"batch_size": 3}], ids=str
)
def test_an_interrupted_training_ends_with_the_weights_of_a_whole_one(
    tmp_path: Path, cases: list[PreparedCase], changes: dict[str, int]
) -> None:
    plan = _plan(**changes)
    (tmp_path / "whole").mkdir()
    (tmp_path / "parts").mkdir()
    network = _network(plan)
    whole = train(network, cases, _work(plan, tmp_path / "whole"), validation=cases[:1])

    def stop_after_five(progress: Progress) -> None:
        if progress.step == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(_network(plan), cases, _work(plan, tmp_path / "parts"), validation=cases[:1], watch=stop_after_five)
    continued = _network(plan, seed=99)
    resumed = train(continued, cases, _work(plan, tmp_path / "parts"), validation=cases[:1])
    assert _equal(resumed.network, whole.network)
    assert _equal(continued, network)
    assert [progress.loss for progress in resumed.history] == [progress.loss for progress in whole.history]
    assert resumed.dice == whole.dice
    assert not _equal(whole.network, _network(plan))
    assert not _equal(whole.network, network), "the average lags behind the last weights"


def test_an_autoencoder_is_trained_by_the_same_loop_and_resumes_alike(
    tmp_path: Path, cases: list[PreparedCase]
) -> None:
    small = {"network": {"filters": [4, 8], "narrow": 4}, "crop": GRID_SHAPE, "steps": 8, "learning_rate": 1e-2}
    plan = TrainingPlan(task=RECONSTRUCT, batch_size=2, warm_up=2, checkpoint_every=2, **small)
    (tmp_path / "whole").mkdir()
    (tmp_path / "parts").mkdir()
    whole = train(_network(plan), cases[2:], _work(plan, tmp_path / "whole"))

    def stop_after_five(progress: Progress) -> None:
        if progress.step == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(_network(plan), cases[2:], _work(plan, tmp_path / "parts"), watch=stop_after_five)
    resumed = train(_network(plan, seed=9), cases[2:], _work(plan, tmp_path / "parts"))
    assert _equal(resumed.network, whole.network)
    assert whole.history[-1].loss < whole.history[0].loss


def test_a_finished_training_is_not_continued(tmp_path: Path, cases: list[PreparedCase]) -> None:
    first = train(_network(_plan()), cases, _work(_plan(), tmp_path))
    assert _equal(train(_network(_plan(), seed=5), cases, _work(_plan(), tmp_path)).network, first.network)


def test_a_checkpoint_of_another_plan_is_refused(tmp_path: Path, cases: list[PreparedCase]) -> None:
    train(_network(_plan()), cases, _work(_plan(), tmp_path))
    other = _plan(learning_rate=1e-3)
    with pytest.raises(UnusableModel, match="belongs to another plan, split, fold or set of cases"):
        train(_network(other), cases, _work(other, tmp_path))
    with pytest.raises(UnusableModel, match="may have been trained on patients that are held out now"):
        train(_network(_plan()), cases, _work(_plan(), tmp_path, "of another fold"))


@pytest.mark.parametrize("kind", SMALL_NETWORKS)
def test_every_kind_of_network_learns_what_it_sees(tmp_path: Path, cases: list[PreparedCase], kind: str) -> None:
    plan = _plan(kind, steps=100, batch_size=4, learning_rate=2e-2, ema_decay=0.8)
    samples = [Sampler(cases, plan).sample(number) for number in range(16)]
    images, regions, annotated = (torch.stack(parts) for parts in zip(*samples, strict=True))
    trained = train(_network(plan), cases, _work(plan, tmp_path)).network
    with torch.inference_mode():
        before, after = (
            float(supervised_loss(network(images), regions, annotated))
            for network in (_network(plan).eval(), trained.eval())
        )
    assert after < 0.85 * before, (before, after)


def test_a_step_that_bfloat16_cannot_make_is_made_in_float32(
    tmp_path: Path, cases: list[PreparedCase], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As convolutions of some processors do once in a while, and then in the forward pass already."""

    def broken_in_bfloat16(_: nn.Module, __: object, answer: Tensor) -> Tensor:
        return answer * torch.nan if torch.is_autocast_enabled("cpu") else answer

    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": True})
    plan = _plan()
    network = _network(plan)
    first = next(module for module in network.modules() if isinstance(module, nn.Conv2d))
    first.register_forward_hook(broken_in_bfloat16)
    trained = train(network, cases, _work(plan, tmp_path)).network
    assert not _equal(trained, _network(plan))
    assert all(bool(part.isfinite().all()) for part in trained.state_dict().values())


def test_training_ends_when_validation_no_longer_improves(tmp_path: Path, cases: list[PreparedCase]) -> None:
    """At a rate of nothing the moving average stands still, so the first validation stays the best."""
    plan = _plan(steps=40, learning_rate=1e-12, weight_decay=0.0, validate_every=3, patience=2)
    seen: list[Progress] = []
    network = _network(plan).eval()
    done = train(network, cases, _work(plan, tmp_path), validation=cases[2:3], watch=seen.append)
    assert done.step < 40
    assert done.step % 3 == 0
    assert seen[-1].step == done.step
    assert [progress.dice is None for progress in seen[:3]] == [True, True, False]
    assert done.dice == max(progress.dice for progress in seen if progress.dice is not None)
    again = train(_network(plan, seed=5), cases, _work(plan, tmp_path), validation=cases[2:3])
    assert (again.step, again.dice) == (done.step, done.dice)
