"""The training loop: samples depend on seed and number alone, and an interrupted run ends where a whole one does."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from inference.networks import build_network
from inference.training.datasets import TrainingCase
from inference.training.loop import SliceSampler, TrainingPlan, held_out_dice, train
from inference.training.losses import region_loss
from tests.support.detector_model import NETWORK

PLAN = TrainingPlan(steps=6, batch_size=2, crop=24, learning_rate=1e-2, checkpoint_every=2)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def _case(source: str, number: int) -> TrainingCase:
    """Return a patient whose tumour is bright on FLAIR; an LGG one has neither T2 nor a drawn core."""
    rng = np.random.default_rng(number)
    images = rng.uniform(0.8, 1.2, (4, 5, 30, 34))
    regions = np.zeros((3, 5, 30, 34), bool)
    regions[0, 1:4, 8:20, 10:22] = True
    lgg = source == "lgg"
    if not lgg:
        regions[1, 2:4, 10:18, 12:20] = True
        regions[2, 2:4, 10:13, 12:20] = True
    images[3][regions[0]] += 1.5
    images[1][regions[2]] += 2.0
    present = (True, True, not lgg, True)
    images *= np.array(present)[:, None, None, None]
    return TrainingCase(
        patient=f"{source}{number}",
        source=source,
        images=images.astype(np.float16),
        present=present,
        regions=regions,
        annotated=(True, not lgg, not lgg),
    )


@pytest.fixture(scope="module")
def cases() -> list[TrainingCase]:
    return [_case("lgg", 1), _case("lgg", 2), _case("brats", 3), _case("brats", 4)]


def _network(seed: int = 4) -> nn.Module:
    torch.manual_seed(seed)
    return build_network("unet2d", NETWORK)


def _equal(first: nn.Module, second: nn.Module) -> bool:
    pairs = zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def test_an_interrupted_training_ends_with_the_weights_of_a_whole_one(
    tmp_path: Path, cases: list[TrainingCase]
) -> None:
    network = _network()
    whole = train(network, cases, PLAN, tmp_path / "whole.pt")
    interrupted = _network()
    passes = 0

    def stop_at_the_sixth(*_: object) -> None:
        nonlocal passes
        passes += 1
        if passes == 6:
            raise KeyboardInterrupt

    interrupted.register_forward_pre_hook(stop_at_the_sixth)
    with pytest.raises(KeyboardInterrupt):
        train(interrupted, cases, PLAN, tmp_path / "parts.pt")
    assert torch.load(tmp_path / "parts.pt", weights_only=True)["step"] == 4
    continued = _network(seed=99)
    resumed = train(continued, cases, PLAN, tmp_path / "parts.pt")
    assert _equal(resumed, whole)
    assert _equal(continued, network)
    assert not _equal(whole, _network())
    assert not _equal(whole, network), "the average lags behind the last weights"


def test_a_finished_training_is_not_continued(tmp_path: Path, cases: list[TrainingCase]) -> None:
    plan = TrainingPlan(steps=2, batch_size=2, crop=24, checkpoint_every=50)
    first = train(_network(), cases, plan, tmp_path / "run.pt")
    assert _equal(train(_network(seed=5), cases, plan, tmp_path / "run.pt"), first)


def test_training_lowers_the_loss_on_what_it_sees(tmp_path: Path, cases: list[TrainingCase]) -> None:
    plan = TrainingPlan(steps=60, batch_size=4, crop=24, learning_rate=5e-2, ema_decay=0.8)
    samples = list(islice(iter(SliceSampler(cases, plan, 0)), 24))
    images, regions, annotated = (torch.stack(parts) for parts in zip(*samples, strict=True))
    trained = train(_network(), cases, plan, tmp_path / "run.pt")
    with torch.inference_mode():
        before = float(region_loss(_network()(images), regions, annotated))
        after = float(region_loss(trained(images), regions, annotated))
    assert after < 0.75 * before, (before, after)


def test_a_sample_depends_on_seed_and_number_alone(cases: list[TrainingCase]) -> None:
    from_start = list(islice(iter(SliceSampler(cases, PLAN, 0)), 5))
    torch.manual_seed(12345)
    later = next(iter(SliceSampler(cases, PLAN, 3)))
    assert all(torch.equal(a, b) for a, b in zip(from_start[3], later, strict=True))
    assert not torch.equal(from_start[3][0], from_start[4][0])
    other = next(iter(SliceSampler(cases, TrainingPlan(crop=24, seed=7), 3)))
    assert not torch.equal(other[0], later[0])


def test_samples_are_what_the_network_and_the_loss_expect(cases: list[TrainingCase]) -> None:
    seen = {"lgg": 0, "brats": 0}
    for images, regions, annotated in islice(iter(SliceSampler(cases, PLAN, 0)), 60):
        assert images.shape == (4, 24, 24)
        assert regions.shape == (3, 24, 24)
        assert torch.equal(regions, regions.round())
        assert annotated[0] == 1.0
        if not images[1].any():
            assert annotated.tolist() == [1.0, 0.0, 0.0], "without contrast the core cannot be learned"
        seen["brats" if annotated[1] else "lgg"] += 1
        assert images[1].any() or images[3].any()
    assert min(seen.values()) > 10


class _Threshold(nn.Module):
    """Says WT, TC and ET where FLAIR, T1CE and T2 exceed 2."""

    def forward(self, images: Tensor) -> Tensor:
        return torch.as_tensor(images[:, [3, 1, 2]] - 2.0)


def test_held_out_dice_is_that_of_the_whole_patient() -> None:
    case = _case("brats", 9)
    scores = held_out_dice(_Threshold(), case, (True, True, True, True))
    wt, tc, et = (int(region.sum()) for region in case.regions)
    assert scores["WT"] == pytest.approx(1.0)
    assert scores["TC"] == pytest.approx(2 * et / (tc + et))
    assert scores["ET"] == 0.0
    assert wt > tc > et


def test_held_out_dice_hides_what_is_not_kept_and_scores_what_was_drawn() -> None:
    case = _case("lgg", 9)
    assert held_out_dice(_Threshold(), case, (True, True, True, True)) == {"WT": 1.0}
    assert held_out_dice(_Threshold(), case, (True, True, True, False)) == {"WT": 0.0}


def test_nothing_drawn_and_nothing_found_is_full_agreement() -> None:
    case = _case("brats", 9)
    empty = TrainingCase(
        patient="p",
        source="brats",
        images=np.zeros_like(case.images),
        present=case.present,
        regions=np.zeros_like(case.regions),
        annotated=case.annotated,
    )
    assert held_out_dice(_Threshold(), empty, (True, True, True, True)) == {"WT": 1.0, "TC": 1.0, "ET": 1.0}
