"""Guesses the sequence of a file by its name and its folders, for files without a header that states it."""

import re
from pathlib import PurePosixPath

from conversion.sequences import Role

__all__ = ["GROUND_TRUTH", "guess_role", "guess_role_by_path", "is_ground_truth"]

GROUND_TRUTH = "truth"
"""Stands where a file's sequence would: regions that a person outlined."""

_SUFFIX = re.compile(r"\.(nii(\.gz)?|png|jpe?g|tiff?|dcm)$")
_WEIGHTING = re.compile(r"(?<![a-z])(ax|sag|cor|tra|3d|ce|gd|post|pre)?(t[12])(?!\d)(?:wi?)?")
"""With what people write before it without a blank; what comes after it without one, as in ``t1ce``, is a word too."""

_WORD = re.compile(r"t[12](?!\d)|[a-z]+")

_FLAIR = r"flair|tirm|\bda(?:rk)? ?fl|\bt2 f\b"
_NAMED = re.compile(rf"(?P<flair>{_FLAIR})|(?P<t2>\bt2\b(?! star))|\bt1\b|mprage|bravo|spgr")
_AGENT = r"(?:ce?|gd(?:dtpa)?|gad[a-z]*|km|[ck]ontrast[a-z]*|enhanced)"
_WITH = re.compile(rf"\b(?:(?:post|mit|nach)?{_AGENT}|post(?! ?op))\b")
_WITHOUT = re.compile(rf"\b(?:pre|non?|without|wo|ohne|vor|sans)(?: ?{_AGENT})+\b")


def guess_role(name: str) -> Role | None:
    """Return the sequence that a file's name suggests, such as FLAIR for ``BraTS20_001-t2f.nii.gz``; None if none does.

    Names are those of the BraTS challenges and of BIDS, and what people write in English and German. The sequence that
    is named first counts: "T1 FLAIR" is T1-weighted, and "T2 dark fluid" is a FLAIR.
    """
    text = _words(name)
    named = _NAMED.search(text)
    if named is None:
        return None
    if named["flair"] or (named["t2"] and re.search(_FLAIR, text)):
        return Role.FLAIR
    if named["t2"]:
        return Role.T2
    return Role.T1CE if _WITH.search(_WITHOUT.sub("", text)) else Role.T1


_TRUTH = re.compile(r"(?<![a-z])(seg|segmentations?|masks?|labels?|truth|gt|annotations?|rois?)(?![a-z])")


def is_ground_truth(name: str) -> bool:
    """Return whether a file's name tells that it holds outlined regions, as ``BraTS20_001_seg.nii.gz`` does."""
    return _TRUTH.search(name.lower()) is not None


def guess_role_by_path(path: str) -> Role | None:
    """Return the sequence that a file's name suggests, or else the nearest of its folders, as in ``T1ce/vol.nii``.

    A folder that names T1 and T2 contains both, and says nothing about one file.
    """
    name, *folders = reversed(PurePosixPath(path).parts or (path,))
    told = (guess_role(folder) for folder in folders if not {"t1", "t2"} <= set(_words(folder).split()))
    return guess_role(name) or next((role for role in told if role is not None), None)


def _words(name: str) -> str:
    return " ".join(_WORD.findall(_WEIGHTING.sub(r" \1 \2 ", _SUFFIX.sub("", name.lower()))))
