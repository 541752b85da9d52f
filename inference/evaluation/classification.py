"""The voxel-wise classification report: each class with macro and weighted averages, in scikit-learn's format."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["ClassFigures", "ClassificationReport", "classification_report", "confusion", "report_text"]


@dataclass(frozen=True, kw_only=True)
class ClassFigures:
    """One line of the report.

    Attributes
    ----------
    support
        Number of voxels in the reference.
    """

    name: str
    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True, kw_only=True)
class ClassificationReport:
    """Figures of a confusion matrix; a division by zero gives 0, as with scikit-learn's `zero_division=0`."""

    classes: tuple[ClassFigures, ...]
    accuracy: float
    macro: ClassFigures
    weighted: ClassFigures


def confusion(predicted: NDArray[np.uint8], reference: NDArray[np.uint8], classes: int) -> NDArray[np.int64]:
    """Count voxels by class, shape (classes of the reference, classes of the prediction)."""
    pairs = reference.astype(np.int64).ravel() * classes + predicted.ravel()
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)


def classification_report(matrix: NDArray[np.int64], names: Sequence[str]) -> ClassificationReport:
    """Return the report of a confusion matrix with the reference along its rows."""
    hits, predicted, true = np.diagonal(matrix).astype(float), matrix.sum(axis=0), matrix.sum(axis=1)
    precision, recall, f1 = _divide(hits, predicted), _divide(hits, true), _divide(2 * hits, predicted + true)
    total = int(matrix.sum())
    rows = [
        ClassFigures(name=name, precision=float(p), recall=float(r), f1=float(f), support=int(n))
        for name, p, r, f, n in zip(names, precision, recall, f1, true, strict=True)
    ]
    even, weight = np.full(len(true), 1 / len(true)), _divide(true.astype(float), np.full(len(true), total))
    averages = [
        ClassFigures(
            name=name,
            precision=float(precision @ share),
            recall=float(recall @ share),
            f1=float(f1 @ share),
            support=total,
        )
        for name, share in (("macro avg", even), ("weighted avg", weight))
    ]
    accuracy = float(hits.sum()) / total if total else 0.0
    return ClassificationReport(classes=tuple(rows), accuracy=accuracy, macro=averages[0], weighted=averages[1])


def report_text(report: ClassificationReport, digits: int = 2) -> str:
    """Return the table as scikit-learn's `classification_report` prints it."""
    lines = [*report.classes, report.macro, report.weighted]
    width = max(len(line.name) for line in lines)
    head = f"{'':>{width}} " + "".join(f" {name:>9}" for name in ("precision", "recall", "f1-score", "support"))

    def row(line: ClassFigures) -> str:
        figures = "".join(f" {value:>9.{digits}f}" for value in (line.precision, line.recall, line.f1))
        return f"{line.name:>{width}} {figures} {line.support:>9}"

    accuracy = f"{'accuracy':>{width}} {'':>10}{'':>10} {report.accuracy:>9.{digits}f} {report.macro.support:>9}"
    classes = [row(line) for line in report.classes]
    return "\n".join([head, "", *classes, "", accuracy, row(report.macro), row(report.weighted), ""])


def _divide(part: NDArray[np.floating], whole: NDArray[np.integer]) -> NDArray[np.float64]:
    return np.asarray(np.where(whole > 0, part / np.where(whole > 0, whole, 1), 0.0), np.float64)
