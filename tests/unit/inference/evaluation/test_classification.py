"""The report is scikit-learn's, figure by figure and space by space."""

import numpy as np
import pytest
from sklearn.metrics import classification_report as peer_report
from sklearn.metrics import confusion_matrix as peer_confusion

from inference.evaluation.classification import classification_report, confusion, report_text

NAMES = ("background", "NCR", "ED", "ET")


def _labels(seed: int, classes: int = 4) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(seed)
    reference = draw.choice(classes, 500, p=[0.7, 0.1, 0.15, 0.05][:classes] if classes == 4 else None)
    predicted = np.where(draw.random(500) < 0.8, reference, draw.integers(0, classes, 500))
    return predicted.astype(np.uint8), reference.astype(np.uint8)


def test_confusion_has_the_reference_in_rows() -> None:
    predicted, reference = _labels(1)
    assert np.array_equal(confusion(predicted, reference, 4), peer_confusion(reference, predicted))


@pytest.mark.parametrize(("seed", "digits"), [(1, 2), (2, 4)])
def test_text_is_scikit_learns(seed: int, digits: int) -> None:
    predicted, reference = _labels(seed)
    report = classification_report(confusion(predicted, reference, 4), NAMES)
    expected = peer_report(reference, predicted, target_names=NAMES, digits=digits, zero_division=0)
    assert report_text(report, digits) == expected


def test_a_class_that_is_never_predicted_counts_as_nothing() -> None:
    predicted, reference = np.zeros(10, np.uint8), np.array([0] * 8 + [1, 2], np.uint8)
    report = classification_report(confusion(predicted, reference, 3), NAMES[:3])
    expected = peer_report(reference, predicted, target_names=NAMES[:3], zero_division=0, output_dict=True)
    assert report.accuracy == pytest.approx(expected["accuracy"])
    for found in (*report.classes, report.macro, report.weighted):
        line = expected[found.name]
        assert (found.precision, found.recall, found.f1) == pytest.approx(
            (line["precision"], line["recall"], line["f1-score"])
        )
        assert found.support == line["support"]


def test_the_table_of_one_case_is_counted_by_hand() -> None:
    predicted, reference = np.array([0, 0, 1, 1, 1], np.uint8), np.array([0, 1, 1, 1, 0], np.uint8)
    matrix = confusion(predicted, reference, 2)
    assert matrix.tolist() == [[1, 1], [1, 2]]
    background, tumour = classification_report(matrix, ("background", "tumour")).classes
    assert (background.precision, background.recall, background.f1, background.support) == (0.5, 0.5, 0.5, 2)
    assert (tumour.precision, tumour.recall, tumour.f1, tumour.support) == pytest.approx((2 / 3, 2 / 3, 2 / 3, 3))
    report = classification_report(matrix, ("background", "tumour"))
    assert (report.accuracy, report.macro.f1) == pytest.approx((0.6, 7 / 12))
    assert report.weighted.f1 == pytest.approx((2 * 0.5 + 3 * 2 / 3) / 5)
    assert report.weighted.support == 5


def test_confusion_counts_a_volume_of_any_axes_and_classes_that_do_not_occur() -> None:
    predicted, reference = np.zeros((2, 3, 4), np.uint8), np.zeros((2, 3, 4), np.uint8)
    reference[1, 2, 3], predicted[0, 0, 0] = 3, 2
    assert confusion(predicted, reference, 4).tolist() == [[22, 0, 1, 0], [0] * 4, [0] * 4, [1, 0, 0, 0]]


def test_no_voxel_at_all_has_a_report_of_zeros() -> None:
    report = classification_report(np.zeros((2, 2), np.int64), ("background", "tumour"))
    assert report.accuracy == 0
    for line in (*report.classes, report.macro, report.weighted):
        assert (line.precision, line.recall, line.f1, line.support) == (0, 0, 0, 0)


def test_each_class_needs_a_name() -> None:
    with pytest.raises(ValueError, match="longer"):
        classification_report(np.eye(3, dtype=np.int64), ("background", "tumour"))
