"""The training loss: exact where it can be said, and silent about what no expert drew."""

import math

import pytest
import torch
from torch import Tensor

from inference.training.losses import region_loss


def _targets() -> Tensor:
    targets = torch.zeros(2, 3, 6, 6)
    targets[:, :, 1:4, 2:5] = 1.0
    return targets


def test_a_perfect_answer_costs_nothing_and_the_opposite_much() -> None:
    targets, known = _targets(), torch.ones(2, 3)
    assert float(region_loss((targets * 2 - 1) * 40, targets, known)) == pytest.approx(0.0, abs=1e-4)
    assert float(region_loss((1 - targets * 2) * 40, targets, known)) > 20


@pytest.mark.parametrize("drawn", [(1.0, 1.0, 1.0), (1.0, 0.0, 0.0), (0.0, 1.0, 1.0)])
def test_the_value_of_no_opinion_is_that_of_the_formula(drawn: tuple[float, float, float]) -> None:
    known = torch.tensor([drawn, drawn])
    overlap, total = 0.5 * 9 * 2, 0.5 * 36 * 2 + 9 * 2
    expected = math.log(2) + 1 - (2 * overlap + 1) / (total + 1)
    assert float(region_loss(torch.zeros(2, 3, 6, 6), _targets(), known)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("region", [0, 1, 2])
def test_a_region_that_nobody_drew_counts_for_nothing(region: int) -> None:
    known = torch.ones(2, 3)
    known[1, region] = 0.0
    logits = torch.linspace(-2, 2, 2 * 3 * 36).reshape(2, 3, 6, 6).requires_grad_()
    changed = _targets()
    changed[1, region] = 1 - changed[1, region]
    loss = region_loss(logits, _targets(), known)
    assert torch.equal(region_loss(logits, changed, known), loss)
    loss.backward()
    assert logits.grad is not None
    assert not logits.grad[1, region].any()
    assert logits.grad[0, region].any()


def test_a_region_drawn_in_no_sample_leaves_the_others_as_they_are() -> None:
    known = torch.tensor([[1.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
    logits = torch.linspace(-2, 2, 2 * 3 * 36).reshape(2, 3, 6, 6)
    alone = region_loss(logits[:, :1], _targets()[:, :1], known[:, :1])
    assert float(region_loss(logits, _targets(), known)) == pytest.approx(float(alone), rel=1e-6)


def test_nothing_known_at_all_is_no_error() -> None:
    assert float(region_loss(torch.ones(2, 3, 6, 6), _targets(), torch.zeros(2, 3))) == 0.0
