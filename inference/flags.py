"""What a person should know before trusting a result, and what keeps a result back."""

import enum
from dataclasses import dataclass

__all__ = ["Flag", "FlagCode"]


class FlagCode(enum.StrEnum):
    """Stable codes of all flags."""

    SMALL_LESION = "small_lesion"  # less than a cubic centimetre, where a voxel's width decides
    LOW_AGREEMENT = "low_agreement"  # the model's networks and looks differ
    OUT_OF_DISTRIBUTION = "out_of_distribution"  # unlike what the model was trained on
    NOT_A_BRAIN = "not_a_brain"  # no brain in what the images show
    BRAIN_DOUBTFUL = "brain_doubtful"  # two sequences of the study show different brains
    BOTH_SIDES = "both_sides"  # left out, for both halves of the brain show it alike
    POOR_REGISTRATION = "poor_registration"  # a sequence may not lie where the reference lies
    UNDER_18 = "under_18"  # the model learned from adults
    AGE_UNREADABLE = "age_unreadable"  # whether the patient is an adult cannot be told
    AFTER_SURGERY = "after_surgery"  # the model learned from tumours before surgery


@dataclass(frozen=True, kw_only=True)
class Flag:
    """One reason for doubt.

    Attributes
    ----------
    sentence
        For a person, without patient data.
    closes
        Whether a result with it lies below the gate.
    """

    code: FlagCode
    sentence: str
    closes: bool = False
