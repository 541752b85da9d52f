"""What can go wrong between findings and objects a PACS has accepted.

::

    ResultError
    ├── UnusableSource      the source's headers do not allow a valid derived object
    └── ProofFailed         an encoded object, read again, is not what was measured

Failures of single deliveries are values (`DeliveryReceipt`), not errors.
"""

import enum

__all__ = ["ProofFailed", "ResultError", "ResultReason", "UnusableSource"]


class ResultReason(enum.StrEnum):
    """Stable codes of everything this room refuses."""

    SOURCE_HEADERS = "source_headers"
    PROOF_FAILED = "proof_failed"


class ResultError(Exception):
    """Base of this room's errors; `reason` is a stable code."""

    def __init__(self, reason: ResultReason, sentence: str) -> None:
        super().__init__(sentence)
        self.reason = reason


class UnusableSource(ResultError):  # noqa: N818 - named for what happened
    """No valid object can be derived from these headers."""


class ProofFailed(ResultError):  # noqa: N818
    """What was written is not what was meant; nothing of it is sent."""
