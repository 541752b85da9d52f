"""A decision: one thing that was left out, preferred or assumed, with its reason and the evidence it rests on."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

__all__ = ["Decision", "Evidence"]


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """One observation that speaks for or against a kind of series.

    Attributes
    ----------
    source
        What was looked at: ``timing``, ``image type``, ``sequence``, ``contrast agent``, ``description``,
        ``acquisition time``, ``geometry``, ``pixels``, ``enhancement``, ``site rule``.
    kind
        The kind it speaks for, for example ``FLAIR``; ``T1`` means T1-weighted, with or without contrast agent, and
        ``T1CE`` that an agent was given.
    weight
        Natural log-odds; negative where it speaks against.
    says
        The observation for a person, without patient data.
    """

    source: str
    kind: str
    weight: float
    says: str


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
        One sentence for a person.
    series_uid
        The DICOM series it concerns; empty where it concerns none or several.
    evidence
        What a decision about the kind of a series rests on, the weightiest first.
    """

    code: str
    subject: str
    reason: str
    series_uid: str = ""
    evidence: tuple[Evidence, ...] = ()

    @classmethod
    def restored(cls, kept: Mapping[str, Any]) -> Self:
        """Return a decision from what `dataclasses.asdict` made of it, also after a way through JSON."""
        evidence = tuple(Evidence(**item) for item in kept.get("evidence", ()))
        return cls(**(dict(kept) | {"evidence": evidence}))
