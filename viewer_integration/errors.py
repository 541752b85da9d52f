"""Errors between findings and objects that a PACS has accepted.

::

    ResultError
    ├── UnusableSource      the source's headers do not allow a valid derived object
    └── ProofFailed         an encoded object, read again, differs from what was measured

Failures of single deliveries are values (`DeliveryReceipt`), not errors.
"""

import enum

__all__ = ["ProofFailed", "ResultError", "ResultReason", "UnusableSource"]


class ResultReason(enum.StrEnum):
    """Stable codes of all reasons for which no result is made."""

    SOURCE_HEADERS = "source_headers"
    PROOF_FAILED = "proof_failed"


class ResultError(Exception):
    """Base of this package's errors; `reason` is a stable code."""

    def __init__(self, reason: ResultReason, sentence: str) -> None:
        super().__init__(sentence)
        self.reason = reason


class UnusableSource(ResultError):  # noqa: N818 - named for what happened
    """No valid object can be derived from these headers."""


class ProofFailed(ResultError):  # noqa: N818
    """An encoded object differs from what was measured; nothing is sent."""
