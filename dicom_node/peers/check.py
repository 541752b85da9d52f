"""One thing that was checked, with what was found."""

from dataclasses import dataclass

__all__ = ["Check"]


@dataclass(frozen=True, kw_only=True)
class Check:
    """One check: its name, whether it passed, and what it found."""

    name: str
    ok: bool
    detail: str
