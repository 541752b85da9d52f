"""An explanation of one code, and the groups that the page Help shows."""

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["Explanation", "Group", "group"]


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """One code in plain words.

    Attributes
    ----------
    anchor
        Where it stands on the page, such as ``flag-small_lesion``. Other pages link to it.
    means
        What has happened, for a person who has not read the manual.
    then
        What a radiologist or an administrator can do.
    """

    code: str
    anchor: str
    means: str
    then: str


@dataclass(frozen=True, kw_only=True)
class Group:
    """The codes of one kind, under one heading.

    Attributes
    ----------
    kind
        Anchor of the heading; the anchor of each code begins with it.
    lead
        Where these codes appear.
    """

    kind: str
    title: str
    lead: str
    entries: tuple[Explanation, ...]


def group(kind: str, title: str, lead: str, texts: Mapping[str, tuple[str, str]]) -> Group:
    """Return a group of what was written down as a code with two sentences: what it means, and what to do."""
    entries = tuple(
        Explanation(code=str(code), anchor=f"{kind}-{code}", means=means, then=then)
        for code, (means, then) in texts.items()
    )
    return Group(kind=kind, title=title, lead=lead, entries=entries)
