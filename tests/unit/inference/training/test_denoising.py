"""Samples for the autoencoder: one number, one sample; the damage is in the input alone."""

from dataclasses import replace

import pytest
import torch

from inference.errors import UnreadableCase
from inference.novelty import GRID_SHAPE
from inference.training.denoising import DenoisingSampler, reconstruction_loss
from inference.training.plan import RECONSTRUCT, TrainingPlan
from tests.support.training_cases import training_case

PLAN = TrainingPlan(task=RECONSTRUCT, network={"filters": [4, 8], "narrow": 4}, crop=GRID_SHAPE)
CASES = [training_case("brats", 3), training_case("brats", 4)]


def test_a_sample_depends_on_its_number_alone() -> None:
    first, second = DenoisingSampler(CASES, PLAN), DenoisingSampler(CASES, PLAN)
    first.sample(1)
    for one, other in zip(first.sample(7), second.sample(7), strict=True):
        assert torch.equal(one, other)
    assert not torch.equal(first.sample(7)[1], first.sample(8)[1])


def test_the_input_is_damaged_and_one_sequence_always_stays() -> None:
    sampler = DenoisingSampler(CASES, PLAN)
    left_out = 0
    for number in range(40):
        damaged, whole, present = sampler.sample(number)
        assert damaged.shape == whole.shape == (4, *GRID_SHAPE)
        assert torch.equal(present, torch.ones(4))
        shown = (damaged > 0).flatten(1).any(dim=1)
        assert bool(shown.any())
        left_out += int((~shown).sum())
        assert bool((whole > 0).flatten(1).any(dim=1).all()), "what is wanted back is never damaged"
    assert 0.1 < left_out / 160 < 0.6


def test_a_sequence_that_was_not_there_is_neither_shown_nor_wanted() -> None:
    case = CASES[0]
    images = case.images.copy()
    images[2] = 0
    sampler = DenoisingSampler([replace(case, images=images, present=(True, True, False, True))], PLAN)
    damaged, whole, present = sampler.sample(0)
    assert present.tolist() == [1, 1, 0, 1]
    assert not damaged[2].any()
    assert not whole[2].any()


def test_a_case_of_unknown_voxel_size_is_refused() -> None:
    with pytest.raises(UnreadableCase, match="known voxel size"):
        DenoisingSampler([replace(CASES[0], spacing_mm=None)], PLAN)


def test_the_loss_is_the_error_of_what_was_there() -> None:
    whole = torch.zeros(2, 4, 2, 2, 2)
    made = whole.clone()
    made[0, 1], made[1, 3] = 0.5, 9.0
    present = torch.tensor([[1.0, 1, 1, 1], [1, 1, 1, 0]])
    assert float(reconstruction_loss(made, whole, present)) == pytest.approx(0.5 / 7)
