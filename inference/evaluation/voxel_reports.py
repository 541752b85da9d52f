"""The voxel-wise classification reports of cases: of the whole tumour, and of its labels."""

from collections.abc import Sequence

import numpy as np

from inference.evaluation.classification import ClassificationReport, classification_report
from inference.evaluation.result import LABELS, CaseResult
from inference.regions import Region

__all__ = ["label_report", "whole_tumour_report"]


def whole_tumour_report(cases: Sequence[CaseResult]) -> ClassificationReport | None:
    """Return the report of background and whole tumour; None where no case has its figures."""
    per_case = [figures for case in cases if (figures := case.regions.get(Region.WT)) is not None]
    if not per_case:
        return None
    background = [[f.counts.true_negative, f.counts.false_positive] for f in per_case]
    tumour = [[f.counts.false_negative, f.counts.true_positive] for f in per_case]
    matrix = np.array([np.sum(background, axis=0), np.sum(tumour, axis=0)], np.int64)
    return classification_report(matrix, ("background", "whole tumour"))


def label_report(cases: Sequence[CaseResult]) -> ClassificationReport | None:
    """Return the report of background, NCR, ED and ET; None where no case has all of them."""
    known = [case.confusion for case in cases if case.confusion is not None]
    if not known:
        return None
    return classification_report(
        np.sum(known, axis=0), [label.name.replace("BACKGROUND", "background") for label in LABELS]
    )
