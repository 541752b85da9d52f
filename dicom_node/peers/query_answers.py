"""What peers answer to questions, taken as it comes: any value may be missing, of the wrong kind, or far too large."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pydicom.dataset import Dataset

from conversion.attributes import Attributes

__all__ = ["MOST_ANSWERS", "Answer", "QueryFailed", "is_uid", "json_answer", "same_uid"]

MOST_ANSWERS = 100_000
"""Answers to one question: forty times the instances of a large study. More is a peer that does not come to an end."""

LONGEST_TEXT = 1024
"""Characters of a value: a name in three scripts has at most 3 x 64 (PS3.5 6.2), and more is no name."""

_UID = re.compile(r"[0-9]+(\.[0-9]+)+")
_LONGEST_UID = 64
_PADDING = " \0\t\r\n"


class QueryFailed(Exception):  # noqa: N818 - named for what happened
    """A peer could not be asked, or answered with a failure or with what nobody can read."""


def is_uid(text: str) -> bool:
    """Tell whether a text is a UID as far as it can name something (PS3.5 9.1, but for leading zeros)."""
    return len(text) <= _LONGEST_UID and _UID.fullmatch(text) is not None


def same_uid(said: str, asked: str) -> bool:
    """Tell whether an answer is about what was asked; one that does not say is taken to be."""
    return said in ("", asked)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One answer.

    Parameters
    ----------
    values
        Gives the values of an attribute by keyword; it may raise whatever a broken value makes it raise.
    """

    values: Callable[[str], tuple[str, ...]]

    @classmethod
    def of(cls, ds: Dataset) -> "Answer":
        """Return the answer that a C-FIND identifier holds."""
        return cls(values=Attributes(ds).texts)

    def all(self, keyword: str) -> tuple[str, ...]:
        """Return all values of an attribute as text without padding; none where one of them cannot be read."""
        try:
            found = tuple(value.strip(_PADDING) for value in self.values(keyword))
        except (ArithmeticError, AttributeError, LookupError, NotImplementedError, OSError, TypeError, ValueError):
            return ()
        return found if all(len(value) <= LONGEST_TEXT and value.isprintable() for value in found) else ()

    def one(self, keyword: str) -> str:
        """Return the value of an attribute that has exactly one; empty otherwise."""
        found = self.all(keyword)
        return found[0] if len(found) == 1 else ""

    def uid(self, keyword: str) -> str:
        """Return a UID; empty where it is missing or none."""
        value = self.one(keyword)
        return value if is_uid(value) else ""

    def is_about(self, keyword: str, asked: str) -> bool:
        """Tell whether an answer is about what was asked for."""
        return same_uid(self.one(keyword), asked)


def json_answer(item: Mapping[str, Any], tags: Mapping[str, str]) -> Answer:
    """Return the answer that an item of the DICOM JSON model holds (PS3.18 F.2).

    Parameters
    ----------
    tags
        Tag by keyword, of what is looked at.
    """

    def values(keyword: str) -> tuple[str, ...]:
        element = item.get(tags[keyword])
        found = element.get("Value") if isinstance(element, dict) else None
        return tuple(_text(value) for value in found if value is not None) if isinstance(found, list) else ()

    return Answer(values=values)


def _text(value: object) -> str:
    if isinstance(value, dict):  # a person's name; other objects have no text
        value = value.get("Alphabetic", "")
    if not isinstance(value, str | int | float):
        raise TypeError
    return str(value)
