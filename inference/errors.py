"""What can go wrong between aligned volumes and findings.

::

    InferenceError
    ├── UnusableModel       a model folder is incomplete, changed or unknown to this version
    ├── UnsuitableInput     the study lacks sequences that the model needs, or its result is withheld
    └── UnreadableCase      a set of annotated cases, or one case of it, cannot be used
"""

import enum

__all__ = ["InferenceError", "InferenceReason", "UnreadableCase", "UnsuitableInput", "UnusableModel"]


class InferenceReason(enum.StrEnum):
    """Stable codes of everything that this package refuses."""

    MODEL_MISSING = "model_missing"
    MODEL_CHANGED = "model_changed"
    MODEL_UNKNOWN = "model_unknown"
    SEQUENCES_MISSING = "sequences_missing"
    EMPTY_VOLUME = "empty_volume"
    WITHHELD = "withheld"
    NO_CASES = "no_cases"
    UNREADABLE_CASE = "unreadable_case"


class InferenceError(Exception):
    """Base of this package's errors; `reason` is a stable code."""

    def __init__(self, reason: InferenceReason, sentence: str) -> None:
        super().__init__(sentence)
        self.reason = reason


class UnusableModel(InferenceError):  # noqa: N818 - named for what happened
    """A model folder cannot be used as it is."""


class UnsuitableInput(InferenceError):  # noqa: N818
    """The volumes do not suit the model."""


class UnreadableCase(InferenceError):  # noqa: N818
    """Annotated cases cannot be used as they are."""
