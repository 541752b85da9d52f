"""Overlap metrics, computed from four voxel counts (TP, FP, FN, TN)."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

__all__ = ["Counts", "Overlap", "count", "overlap"]


@dataclass(frozen=True, kw_only=True)
class Counts:
    """Voxel counts by prediction and reference, over the complete grid, air included."""

    true_positive: int
    false_positive: int
    false_negative: int
    true_negative: int

    @property
    def predicted(self) -> int:
        """Number of voxels that the model marked."""
        return self.true_positive + self.false_positive

    @property
    def reference(self) -> int:
        """Number of voxels that the experts marked."""
        return self.true_positive + self.false_negative

    def __add__(self, other: Self) -> Self:
        return type(self)(
            true_positive=self.true_positive + other.true_positive,
            false_positive=self.false_positive + other.false_positive,
            false_negative=self.false_negative + other.false_negative,
            true_negative=self.true_negative + other.true_negative,
        )


@dataclass(frozen=True, kw_only=True)
class Overlap:
    """How well two masks agree, each within 0 to 1.

    Two empty masks agree, so all figures are 1. Where only one of them is empty, every figure of the tumour is 0. No
    figure is ever undefined. Specificity and accuracy cover the complete grid and are close to 1 for every small
    lesion; they are given because others report them.

    Attributes
    ----------
    f1
        The Dice coefficient under its other name.
    """

    dice: float
    iou: float
    precision: float
    recall: float
    specificity: float
    f1: float
    accuracy: float


def count(predicted: NDArray[np.bool_], reference: NDArray[np.bool_]) -> Counts:
    """Count the voxels of two masks of equal shape."""
    if predicted.shape != reference.shape:
        raise ValueError(f"masks of shapes {predicted.shape} and {reference.shape} cannot be compared")
    both = int(np.count_nonzero(predicted & reference))
    marked, true = int(np.count_nonzero(predicted)), int(np.count_nonzero(reference))
    return Counts(
        true_positive=both,
        false_positive=marked - both,
        false_negative=true - both,
        true_negative=predicted.size - marked - true + both,
    )


def overlap(counts: Counts) -> Overlap:
    """Return the figures of one pair of masks, or of several whose counts were added (pooled over voxels)."""
    tp, fp, fn, tn = counts.true_positive, counts.false_positive, counts.false_negative, counts.true_negative
    both_empty = counts.predicted + counts.reference == 0
    dice = 1.0 if both_empty else 2 * tp / (counts.predicted + counts.reference)
    return Overlap(
        dice=dice,
        iou=1.0 if both_empty else tp / (tp + fp + fn),
        precision=1.0 if both_empty else _share(tp, counts.predicted, otherwise=0.0),
        recall=1.0 if both_empty else _share(tp, counts.reference, otherwise=0.0),
        specificity=_share(tn, tn + fp, otherwise=1.0),
        f1=dice,
        accuracy=_share(tp + tn, tp + fp + fn + tn, otherwise=1.0),
    )


def _share(part: int, whole: int, *, otherwise: float) -> float:
    return part / whole if whole else otherwise
