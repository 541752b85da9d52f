"""Answers of peers to queries, read with care: any value may be missing, of the wrong kind, or far too large."""

import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pydicom.dataset import Dataset

from conversion.attributes import Attributes

__all__ = ["MOST_ANSWERS", "Answer", "QueryFailed", "is_uid", "json_answer", "same_uid"]

MOST_ANSWERS = 100_000
"""Limit of answers to one query: forty times the instances of a large study. A peer that sends more never stops."""

LONGEST_TEXT = 1024
"""Limit of characters of a value: a name in three scripts has at most 3 x 64 (PS3.5 6.2); more is not a name."""

_UID = re.compile(r"[0-9]+(\.[0-9]+)+")
_LONGEST_UID = 64
_PADDING = " \0\t\r\n"


class QueryFailed(Exception):  # noqa: N818 - named for what happened
    """A peer could not be queried, or its answer was a failure or unreadable."""


def is_uid(text: str) -> bool:
    """Return whether a text is a usable UID (PS3.5 9.1, except that leading zeros are allowed)."""
    return len(text) <= _LONGEST_UID and _UID.fullmatch(text) is not None


def _is_readable(text: str) -> bool:
    """Return whether a text has no control characters; `str.isprintable` alone would also refuse Japanese spaces."""
    return all(character.isprintable() or unicodedata.category(character) == "Zs" for character in text)


def same_uid(stated: str, requested: str) -> bool:
    """Return whether an answer is about the requested UID; one that states none is assumed to be."""
    return stated in ("", requested)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One answer.

    Parameters
    ----------
    values
        Returns the values of an attribute by keyword; may raise any exception that a damaged value causes.
    """

    values: Callable[[str], tuple[str, ...]]

    @classmethod
    def of(cls, ds: Dataset) -> "Answer":
        """Return the answer in a C-FIND identifier."""
        return cls(values=Attributes(ds).texts)

    def all(self, keyword: str) -> tuple[str, ...]:
        """Return all values of an attribute as text without padding; none where one of them cannot be read."""
        try:
            found = tuple(value.strip(_PADDING) for value in self.values(keyword))
        except (ArithmeticError, AttributeError, LookupError, NotImplementedError, OSError, TypeError, ValueError):
            return ()
        return found if all(len(value) <= LONGEST_TEXT and _is_readable(value) for value in found) else ()

    def one(self, keyword: str) -> str:
        """Return the value of an attribute that has exactly one; empty otherwise."""
        found = self.all(keyword)
        return found[0] if len(found) == 1 else ""

    def uid(self, keyword: str) -> str:
        """Return a UID; empty where it is missing or invalid."""
        value = self.one(keyword)
        return value if is_uid(value) else ""

    def is_about(self, keyword: str, requested: str) -> bool:
        """Return whether the answer is about the requested UID or ID."""
        return same_uid(self.one(keyword), requested)


def json_answer(item: Mapping[str, Any], tags: Mapping[str, str]) -> Answer:
    """Return the answer in an item of the DICOM JSON model (PS3.18 F.2).

    Parameters
    ----------
    tags
        Tags by keyword of the attributes to read.
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
