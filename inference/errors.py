"""What can go wrong between aligned volumes and findings.

::

    InferenceError
    ├── UnusableModel       a model folder is incomplete, changed or unknown to this version
    └── UnsuitableInput     the sequences at hand are not enough for the model
"""

import enum

__all__ = ["InferenceError", "InferenceReason", "UnsuitableInput", "UnusableModel"]


class InferenceReason(enum.StrEnum):
    """Stable codes of everything this room refuses."""

    MODEL_MISSING = "model_missing"
    MODEL_CHANGED = "model_changed"
    MODEL_UNKNOWN = "model_unknown"
    SEQUENCES_MISSING = "sequences_missing"
    EMPTY_VOLUME = "empty_volume"


class InferenceError(Exception):
    """Base of this room's errors; `reason` is a stable code."""

    def __init__(self, reason: InferenceReason, sentence: str) -> None:
        super().__init__(sentence)
        self.reason = reason


class UnusableModel(InferenceError):  # noqa: N818 - named for what happened
    """A model folder cannot be used as it is."""


class UnsuitableInput(InferenceError):  # noqa: N818
    """The volumes do not suit the model."""
