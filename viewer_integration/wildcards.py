"""Matches texts against patterns with ``*`` and ``?``, in time that grows with their length and no faster."""

__all__ = ["LONGEST_VALUE", "fits"]

LONGEST_VALUE = 1024
"""Characters of a value that is matched with wildcards, as many as a short text may have (PS3.5 6.2). A longer value
is compared literally."""


def fits(text: str, pattern: str) -> bool:
    """Match ``*`` and ``?`` (PS3.4 C.2.2.2.4): each piece between two ``*`` is matched at its first possible place.

    A later place would leave less text for the rest, so no piece is tried twice, however many ``*`` there are.
    """
    if len(text) > LONGEST_VALUE:
        return text == pattern
    first, *others = pattern.split("*")
    if not others:
        return len(text) == len(first) and _matches_at(text, first, 0)
    *inner, last = others
    at, end = len(first), len(text) - len(last)
    if end < at or not _matches_at(text, first, 0) or not _matches_at(text, last, end):
        return False
    for piece in inner:
        at = _place(text, piece, at, end) + len(piece)
        if at < len(piece):
            return False
    return True


def _place(text: str, piece: str, start: int, end: int) -> int:
    """Return the first place of a piece, with ``?`` for any character, between two places, or -1."""
    if "?" not in piece:
        return text.find(piece, start, end)
    return next((at for at in range(start, end - len(piece) + 1) if _matches_at(text, piece, at)), -1)


def _matches_at(text: str, piece: str, at: int) -> bool:
    return all(wanted in ("?", actual) for wanted, actual in zip(piece, text[at : at + len(piece)], strict=True))
