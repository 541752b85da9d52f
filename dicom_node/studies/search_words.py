"""Texts as they are searched: without case, diacritics and separators, so that a person need not know the spelling."""

import re
import unicodedata

__all__ = ["indexed_words", "searched_words"]

_APOSTROPHES = "'`\N{ACUTE ACCENT}\N{RIGHT SINGLE QUOTATION MARK}\N{MODIFIER LETTER APOSTROPHE}"
_OF_A_WORD = "_%"
"""Literal in a search as everywhere else: neither stands for other characters."""

_LETTERS = str.maketrans(
    {
        "ø": "o",
        "ł": "l",
        "đ": "d",
        "ð": "d",
        "æ": "ae",
        "œ": "oe",
        "\N{LATIN SMALL LETTER DOTLESS I}": "i",
        "þ": "th",
        "ħ": "h",
    }
)
"""Letters that Unicode does not take apart into a plain letter and its mark."""

_DROPPED = str.maketrans(dict.fromkeys(_APOSTROPHES))


def indexed_words(*texts: str) -> str:
    """Return all words of some texts once, each with a blank before it: a prefix of a word is then one search."""
    words = [word for text in texts for word in searched_words(text)]
    parts = [part for word in words for part in re.split(f"[{_OF_A_WORD}]", word)]
    return "".join(f" {word}" for word in dict.fromkeys([*words, *parts]) if word)


def searched_words(text: str) -> tuple[str, ...]:
    """Return the words of a text; separators such as ``^`` and ``-`` are between words, apostrophes in none."""
    plain = _folded(text.translate(_DROPPED))
    return tuple("".join(c if c.isalnum() or c in _OF_A_WORD else " " for c in plain).split())


def _folded(text: str) -> str:
    """Return a text without case and diacritics (Unicode 15, 3.13 and 5.18.2)."""
    apart = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    bare = "".join(character for character in apart if unicodedata.category(character) != "Mn")
    return unicodedata.normalize("NFC", bare.translate(_LETTERS))
