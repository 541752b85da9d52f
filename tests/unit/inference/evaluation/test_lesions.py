"""Lesion-wise figures by the BraTS rule, against hand-made scenes and a slow reading of the rule."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from inference.evaluation.lesions import LesionScore, score_lesions
from inference.evaluation.overlap import count, overlap
from inference.evaluation.surface import hd95

ONE_MM = np.ones(3)
SHAPE = (30, 40, 50)
Mask = NDArray[np.bool_]


def _cubes(*corners: tuple[int, int, int], size: int = 5) -> Mask:
    mask = np.zeros(SHAPE, bool)
    for k, i, j in corners:
        mask[k : k + size, i : i + size, j : j + size] = True
    return mask


def test_a_hit_and_a_miss_are_not_plain_dice() -> None:
    reference = _cubes((2, 2, 2), (2, 2, 30))
    predicted = _cubes((2, 2, 2))
    assert overlap(count(predicted, reference)).dice == pytest.approx(2 / 3)
    assert score_lesions(predicted, reference, ONE_MM) == LesionScore(
        dice=0.5, hd95_mm=(0 + 374) / 2, found=1, missed=1, false=0
    )


def test_a_false_component_counts_as_one_more_lesion_however_small() -> None:
    reference = _cubes((2, 2, 2))
    predicted = reference | _cubes((20, 30, 40), size=1)
    assert score_lesions(predicted, reference, ONE_MM) == LesionScore(
        dice=0.5, hd95_mm=187.0, found=1, missed=0, false=1
    )


@pytest.mark.parametrize(("gap", "lesions"), [(6, 1), (7, 2)])
def test_parts_of_the_reference_within_the_dilation_are_one_lesion(gap: int, lesions: int) -> None:
    reference = _cubes((2, 2, 2), (2, 2, 7 + gap))
    found = score_lesions(reference, reference, ONE_MM)
    assert (found.dice, found.hd95_mm, found.found) == (1, 0, lesions)


def test_what_lies_within_the_dilation_belongs_to_the_lesion() -> None:
    reference = _cubes((2, 2, 2))
    near, far = _cubes((2, 2, 9), size=1), _cubes((2, 2, 10), size=1)
    assert score_lesions(reference | near, reference, ONE_MM).false == 0
    assert score_lesions(reference | near, reference, ONE_MM).dice == pytest.approx(250 / 251)
    assert score_lesions(reference | far, reference, ONE_MM).false == 1


def test_parts_that_touch_by_a_corner_are_one_component() -> None:
    reference = _cubes((2, 2, 2))
    corner = _cubes((20, 20, 20), (21, 21, 21), size=1)
    assert score_lesions(reference | corner, reference, ONE_MM).false == 1


@pytest.mark.parametrize(("voxels", "counted"), [(50, 0), (51, 1)])
def test_lesions_up_to_the_limit_are_left_out_and_hits_on_them_forgiven(voxels: int, counted: int) -> None:
    reference = np.zeros(SHAPE, bool)
    reference[3, 3:5, 3:28] = True  # 50 voxels
    reference[4, 3, 3 : 3 + voxels - 50] = True
    assert score_lesions(reference, reference, ONE_MM) == LesionScore(
        dice=1, hd95_mm=0, found=counted, missed=0, false=0
    )
    missed = score_lesions(np.zeros(SHAPE, bool), reference, ONE_MM)
    assert (missed.dice, missed.hd95_mm, missed.missed) == ((0, 374, 1) if counted else (1, 0, 0))


def test_empty_masks() -> None:
    nothing = np.zeros(SHAPE, bool)
    assert score_lesions(nothing, nothing, ONE_MM) == LesionScore(dice=1, hd95_mm=0, found=0, missed=0, false=0)
    assert score_lesions(_cubes((2, 2, 2)), nothing, ONE_MM) == LesionScore(
        dice=0, hd95_mm=374, found=0, missed=0, false=1
    )


def test_the_dilation_and_the_limit_are_in_mm() -> None:
    thick = np.array([5.0, 1.0, 1.0])
    reference = _cubes((2, 2, 2), (8, 2, 2), size=4)  # two slices, 10 mm, between them
    assert score_lesions(reference, reference, thick).found == 2
    assert score_lesions(reference, reference, ONE_MM).found == 1
    small = np.zeros(SHAPE, bool)
    small[3, 3, 3:14] = True  # 11 voxels of 5 mm3
    assert score_lesions(small, small, thick).found == 1
    assert score_lesions(small, small, ONE_MM).found == 0


def _slowly(predicted: Mask, reference: Mask) -> tuple[float, float, int]:
    """Read the rule word by word: every lesion is dilated alone, three times with 18 neighbours."""
    neighbours, touching = ndimage.generate_binary_structure(3, 2), np.ones((3, 3, 3))
    grown = ndimage.label(ndimage.binary_dilation(reference, neighbours, iterations=3), touching)[0]
    components, number = ndimage.label(predicted, touching)
    dice, distance, matched = [], [], set()
    for lesion in range(1, grown.max() + 1):
        truth = reference & (grown == lesion)
        mine = set(components[ndimage.binary_dilation(truth, neighbours, iterations=3)]) - {0}
        matched |= mine
        if truth.sum() > 50:
            answer = np.isin(components, list(mine))
            dice.append(overlap(count(answer, truth)).dice)
            distance.append(hd95(answer, truth, ONE_MM))
    false = number - len(matched)
    if not dice and not false:
        return 1.0, 0.0, 0
    return sum(dice) / (len(dice) + false), (sum(distance) + 374 * false) / (len(dice) + false), false


@pytest.mark.parametrize("seed", range(4))
def test_agrees_with_a_slow_reading_of_the_rule(seed: int) -> None:
    draw = np.random.default_rng(seed)
    base, noise = (ndimage.gaussian_filter(draw.normal(size=SHAPE), 2) for _ in range(2))
    reference, predicted = base > 0.13, base + 0.6 * noise > 0.14
    found = score_lesions(predicted, reference, ONE_MM)
    assert found.found + found.missed + found.false > 3
    assert (found.dice, found.hd95_mm, found.false) == pytest.approx(_slowly(predicted, reference))
