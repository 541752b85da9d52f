"""Dice of whole patients while training."""

from dataclasses import replace

import numpy as np
import pytest
from torch import Tensor, nn

from inference.regions import Region
from inference.training.scoring import case_dice, mean_dice
from inference.unet import TumourUNet
from tests.support.training_cases import SMALL_NETWORKS, training_case


class _Threshold(nn.Module):
    """Says WT, TC and ET where FLAIR, T1CE and T2 exceed 2."""

    def forward(self, images: Tensor) -> Tensor:
        return (images[:, [3, 1, 2]] - 2.0) * 100


def _thresholding() -> TumourUNet:
    network = TumourUNet(**SMALL_NETWORKS["2D"])
    network.body = _Threshold()
    network.register_parameter("place", nn.Parameter())
    return network


def test_dice_is_that_of_the_whole_patient() -> None:
    case = training_case("brats", 9)
    scores = case_dice(_thresholding(), case)
    wt, tc, et = (int(region.sum()) for region in case.regions)
    assert scores[Region.WT] == pytest.approx(1.0)
    assert scores[Region.TC] == pytest.approx(2 * et / (tc + et))
    assert scores[Region.ET] == 0.0
    assert wt > tc > et
    lgg = training_case("lgg", 9)
    expected = (np.mean(list(scores.values())) + 1.0) / 2
    assert mean_dice(_thresholding(), [case, lgg]) == pytest.approx(expected)


def test_what_is_not_kept_is_hidden_and_what_nobody_drew_is_not_scored() -> None:
    case = training_case("lgg", 9)
    assert case_dice(_thresholding(), case) == {Region.WT: 1.0}
    assert case_dice(_thresholding(), case, (True, True, True, False)) == {Region.WT: 0.0}


def test_nothing_drawn_and_nothing_found_is_full_agreement() -> None:
    case = training_case("brats", 9)
    empty = replace(case, images=np.zeros_like(case.images), regions=np.zeros_like(case.regions))
    assert set(case_dice(_thresholding(), empty).values()) == {1.0}


def test_a_network_that_looks_along_three_axes_puts_its_answers_back_in_place() -> None:
    """A threshold says the same of a voxel from every side, so that only a lost axis could lower the Dice."""
    case = training_case("brats", 9)
    assert case_dice(_thresholding(), case, views=3) == case_dice(_thresholding(), case)
