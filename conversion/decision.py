"""A decision: one thing that was left out, preferred or assumed, with its reason."""

from dataclasses import dataclass

__all__ = ["Decision"]


@dataclass(frozen=True, kw_only=True)
class Decision:
    """One recorded decision.

    Attributes
    ----------
    code
        Stable code, for example ``not_mr``.
    subject
        What it is about, without patient data, for example ``series 701``.
    reason
        One sentence for a person, with the evidence.
    """

    code: str
    subject: str
    reason: str
