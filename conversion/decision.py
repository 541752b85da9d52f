"""A decision: one thing that was left out, preferred or assumed, with its reason and its evidence."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

__all__ = ["Decision", "Evidence"]


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """One observation that supports or contradicts a kind of series.

    Attributes
    ----------
    source
        What was examined: ``timing``, ``image type``, ``sequence``, ``contrast agent``, ``description``,
        ``acquisition time``, ``geometry``, ``pixels``, ``enhancement``, ``site rule``.
    kind
        The kind it supports, for example ``FLAIR``. ``T1`` means T1-weighted, with or without contrast agent;
        ``T1CE`` means that contrast agent was given.
    weight
        Natural log-odds; negative if the observation contradicts the kind.
    says
        The observation in words, without patient data.
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
        One sentence for the reader.
    series_uid
        The DICOM series it concerns; empty where it concerns none or several.
    evidence
        The evidence for a decision about the kind of a series, the strongest first.
    """

    code: str
    subject: str
    reason: str
    series_uid: str = ""
    evidence: tuple[Evidence, ...] = ()

    @classmethod
    def restored(cls, kept: Mapping[str, Any]) -> Self:
        """Restore a decision from the output of `dataclasses.asdict`, also after a round trip through JSON."""
        evidence = tuple(Evidence(**item) for item in kept.get("evidence", ()))
        return cls(**(dict(kept) | {"evidence": evidence}))
