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
