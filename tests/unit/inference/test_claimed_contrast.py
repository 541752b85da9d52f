"""Sequences that are not what they are said to be, on a drawn head whose contrasts are known."""

from collections.abc import Mapping

import numpy as np
import pytest

from conversion.sequences import Role
from conversion.volume import ImageVolume
from inference.claimed_contrast import contrast_judgements
from tests.support.phantom_volumes import phantom_volume

ALL = (Role.T1, Role.T1CE, Role.T2, Role.FLAIR)


def contrast_novelty(volumes: Mapping[Role, ImageVolume]) -> float:
    """Return how unlikely the least likely role is."""
    return max(judge() for judge in contrast_judgements(volumes))


@pytest.fixture(scope="module")
def study() -> dict[Role, ImageVolume]:
    return {role: phantom_volume(role) for role in ALL}


def test_a_study_that_is_what_it_says_scores_low(study: dict[Role, ImageVolume]) -> None:
    assert contrast_novelty(study) < 0.6
    assert contrast_novelty({Role.FLAIR: study[Role.FLAIR]}) < 0.6


@pytest.mark.parametrize(
    ("claimed", "given"),
    [
        (Role.FLAIR, Role.T2),
        (Role.FLAIR, Role.T1CE),
        (Role.T2, Role.FLAIR),
        (Role.T1CE, Role.FLAIR),
        (Role.T1, Role.T2),
    ],
)
def test_another_weighting_than_the_claimed_one_scores_high(
    study: dict[Role, ImageVolume], claimed: Role, given: Role
) -> None:
    assert contrast_novelty({**study, claimed: study[given]}) > 1.0
    assert contrast_novelty({claimed: study[given]}) > 1.0


def test_t1_before_and_after_contrast_agent_are_told_apart(study: dict[Role, ImageVolume]) -> None:
    swapped = {**study, Role.T1: study[Role.T1CE], Role.T1CE: study[Role.T1]}
    assert contrast_novelty(swapped) > 1.0 > contrast_novelty(study)


def test_what_cannot_be_judged_says_nothing(study: dict[Role, ImageVolume]) -> None:
    flair = study[Role.FLAIR]
    empty = ImageVolume(grid=flair.grid, voxels=np.zeros_like(flair.voxels))
    assert contrast_novelty({Role.FLAIR: empty}) == 0.0


def test_one_volume_in_two_roles_is_noticed_whatever_its_scale(study: dict[Role, ImageVolume]) -> None:
    twice = ImageVolume(grid=study[Role.T1].grid, voxels=study[Role.T1].voxels * 3 + 1)
    assert contrast_novelty({**study, Role.T1CE: twice}) > 5
