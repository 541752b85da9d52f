"""Overlap figures against hand-made examples, the edge cases, and SimpleITK."""

import numpy as np
import pytest
import SimpleITK as sitk

from inference.evaluation.overlap import Counts, Overlap, count, overlap


def _overlap(predicted: list[int], reference: list[int]) -> Overlap:
    return overlap(count(np.array(predicted, bool), np.array(reference, bool)))


def test_known_figures() -> None:
    found = _overlap([1, 1, 1, 0, 0, 0, 0, 0, 0, 0], [1, 1, 0, 1, 1, 0, 0, 0, 0, 0])
    assert found == Overlap(
        dice=4 / 7, iou=2 / 5, precision=2 / 3, recall=1 / 2, specificity=5 / 6, f1=4 / 7, accuracy=7 / 10
    )


def test_two_empty_masks_agree_wholly() -> None:
    found = _overlap([0, 0, 0], [0, 0, 0])
    assert found == Overlap(dice=1, iou=1, precision=1, recall=1, specificity=1, f1=1, accuracy=1)


@pytest.mark.parametrize(("predicted", "reference"), [([0, 0, 0], [1, 0, 0]), ([1, 0, 0], [0, 0, 0])])
def test_one_empty_mask_is_worth_nothing(predicted: list[int], reference: list[int]) -> None:
    found = _overlap(predicted, reference)
    assert (found.dice, found.iou, found.precision, found.recall, found.f1) == (0, 0, 0, 0, 0)
    assert found.accuracy == pytest.approx(2 / 3)


def test_nothing_is_divided_by_nothing() -> None:
    assert _overlap([1, 1], [1, 1]).specificity == 1
    assert overlap(Counts(true_positive=0, false_positive=0, false_negative=0, true_negative=0)).accuracy == 1


def test_agrees_with_simpleitk() -> None:
    draw = np.random.default_rng(3)
    predicted, reference = draw.random((2, 7, 8, 9)) > 0.6
    peer = sitk.LabelOverlapMeasuresImageFilter()
    peer.Execute(*(sitk.GetImageFromArray(mask.astype(np.uint8)) for mask in (predicted, reference)))
    found = overlap(count(predicted, reference))
    assert found.dice == pytest.approx(peer.GetDiceCoefficient())
    assert found.iou == pytest.approx(peer.GetJaccardCoefficient())
    assert found.precision == pytest.approx(1 - peer.GetFalseDiscoveryRate())
    assert found.recall == pytest.approx(1 - peer.GetFalseNegativeError())
    assert found.specificity == pytest.approx(1 - peer.GetFalsePositiveError())


def test_counts_add_up_to_the_whole() -> None:
    first = count(np.array([True, False, True]), np.array([True, True, False]))
    assert first == Counts(true_positive=1, false_positive=1, false_negative=1, true_negative=0)
    both = first + count(np.array([False]), np.array([False]))
    assert both == Counts(true_positive=1, false_positive=1, false_negative=1, true_negative=1)
    assert (both.predicted, both.reference) == (2, 2)


def test_masks_of_different_shape_are_refused() -> None:
    with pytest.raises(ValueError, match="cannot be compared"):
        count(np.zeros((1, 3), bool), np.zeros((3, 1), bool))
