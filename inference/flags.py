"""Reasons to doubt a result, and which of them withhold it."""

import enum
from dataclasses import dataclass

__all__ = ["Flag", "FlagCode"]


class FlagCode(enum.StrEnum):
    """Stable codes of all flags."""

    SMALL_LESION = "small_lesion"  # less than a cubic centimetre, where a voxel's width decides
    LOW_AGREEMENT = "low_agreement"  # the predictions of the ensemble members disagree
    OUT_OF_DISTRIBUTION = "out_of_distribution"  # unlike the model's training data
    NOT_A_BRAIN = "not_a_brain"  # the images show no brain
    BRAIN_DOUBTFUL = "brain_doubtful"  # two sequences of the study show different brains
    BOTH_SIDES = "both_sides"  # something was left out because both halves of the brain show it alike
    POOR_REGISTRATION = "poor_registration"  # a sequence may not be aligned with the reference
    UNDER_18 = "under_18"  # the model was trained on adults
    AGE_UNREADABLE = "age_unreadable"  # it is not known whether the patient is an adult
    AFTER_SURGERY = "after_surgery"  # the model was trained on tumours before surgery


@dataclass(frozen=True, kw_only=True)
class Flag:
    """One reason for doubt.

    Attributes
    ----------
    sentence
        For a person, without patient data. It starts in lower case and has no full stop.
    closes
        Whether it withholds the result.
    """

    code: FlagCode
    sentence: str
    closes: bool = False
