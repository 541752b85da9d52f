"""Which MR contrast a series is, by its headers alone."""

import enum
import re
from dataclasses import dataclass

from conversion.study import Acquisition, Series

__all__ = ["Contrast", "Role", "classify_contrast", "marks_contrast_agent"]


class Role(enum.StrEnum):
    """The four sequences a tumour protocol consists of."""

    T1 = "T1"
    T1CE = "T1CE"
    T2 = "T2"
    FLAIR = "FLAIR"


@dataclass(frozen=True, kw_only=True)
class Contrast:
    """The kind of a series and what spoke for it.

    Attributes
    ----------
    kind
        ``T1``, ``T2`` or ``FLAIR``; else what it is instead: ``DWI``, ``SWI``, ``PD``, ``localizer``, ``unknown``, ...
    evidence
        The header values that decided.
    """

    kind: str
    evidence: str


_OTHER_KINDS = (
    ("DWI", r"dwi|diff|\badc\b|trace|dti|tensor|b ?1000|\bfa\b"),
    ("SWI", r"\bswi\b|swan|venobold|minip|t2\*|t2 ?star|\bgre\b.*hemo|hemo"),
    ("perfusion", r"perf|\bdsc\b|\bdce\b|\basl\b|\bcbf\b|\bcbv\b|\bmtt\b"),
    ("angiography", r"\btof\b|angio|\bmra\b|\bpca\b|\bmip\b"),
    ("spectroscopy", r"spectro|\bmrs\b|\bcsi\b"),
    ("localizer", r"survey|locali[sz]er|scout|3[- ]?plane|calib|asset"),
    ("functional", r"\bfmri\b|bold|resting"),
)
_OTHER_IMAGE_TYPES = {
    "ADC": "DWI",
    "DIFFUSION": "DWI",
    "TRACEW": "DWI",
    "FA": "DWI",
    "P": "phase",
    "PHASE": "phase",
    "PHASE MAP": "phase",
}
_FLAIR_TEXT = r"flair|dark.?fluid|tirm"
_AGENT_TEXT = (
    r"\bgd\b|gado|gad\b|\bpost\b|post[- _]?(contrast|gd|gad|km)|\+ ?c\b|\bc\+|\+ ?gd|\+ ?km|t1[- _]?ce\b|t1c\b|t1gd"
)
_AGENT_WORDS = r"contrast|kontrast|contraste|injekt|inject|\bkm\b|\bmdc\b|\biv\b|gadovist|dotarem|prohance|magnevist"
_NO_AGENT = r"\bpre\b|without|ohne|sans|senza|\bsin\b|native|nativ|non[- ]?contrast|no contrast"

MINIMUM_SLICES = 8
"""Fewer slices than this are a localizer; a head of 150 mm at 10 mm has 15."""


def marks_contrast_agent(acquisition: Acquisition) -> str:
    """Return the header value that says a contrast agent was given, or an empty string."""
    if re.search(_NO_AGENT, acquisition.text):
        return ""
    if acquisition.contrast_agent:
        return "ContrastBolusAgent"
    found = re.search(f"{_AGENT_TEXT}|{_AGENT_WORDS}", acquisition.text)
    return f"description says '{found.group(0)}'" if found else ""


def classify_contrast(series: Series) -> Contrast:
    """Return the contrast of a series by image type, sequence, timing and, last, its description."""
    acquisition = series.acquisition
    other = _other_kind(acquisition, len(series.images))
    if other is not None:
        return other
    by_timing = _by_timing(acquisition)
    if by_timing is not None:
        return by_timing
    return _by_text(acquisition.text)


def _other_kind(acquisition: Acquisition, slices: int) -> Contrast | None:
    if slices < MINIMUM_SLICES:
        return Contrast(kind="localizer", evidence=f"only {slices} images, at least {MINIMUM_SLICES} are needed")
    if (acquisition.diffusion_b_value or 0.0) > 0:
        return Contrast(kind="DWI", evidence=f"b-value {acquisition.diffusion_b_value:g}")
    if re.search(r"dwi|ep_b", acquisition.technique):
        return Contrast(kind="DWI", evidence=f"sequence {acquisition.technique}")
    for value in acquisition.image_type:
        if value in _OTHER_IMAGE_TYPES:
            return Contrast(kind=_OTHER_IMAGE_TYPES[value], evidence=f"ImageType {value}")
    matches = ((kind, re.search(pattern, acquisition.text)) for kind, pattern in _OTHER_KINDS)
    return next(
        (Contrast(kind=kind, evidence=f"description says '{found.group(0)}'") for kind, found in matches if found), None
    )


def _by_timing(acquisition: Acquisition) -> Contrast | None:
    """Judge by TR, TE and TI; limits are the usual clinical ranges at 1 to 3 T."""
    tr, te, ti = acquisition.repetition_time_ms, acquisition.echo_time_ms, acquisition.inversion_time_ms or 0.0
    if not tr or te is None:
        return None
    evidence = f"TR {tr:.0f} ms, TE {te:.0f} ms" + (f", TI {ti:.0f} ms" if ti else "")
    gradient = "GR" in acquisition.scanning_sequence and "SE" not in acquisition.scanning_sequence
    if ti >= 1400 and te >= 60:
        kind = "FLAIR"
    elif te >= 60 and tr >= 1800:
        kind = "FLAIR" if re.search(_FLAIR_TEXT, acquisition.text) else "T2"
    elif gradient and te > 12:
        kind = "T2*"
    elif te <= 40 and (tr <= 1300 or gradient or 0 < ti < 1400):
        kind = "T1"
    elif te <= 40:
        kind = "PD"
    else:
        return None
    return Contrast(kind=kind, evidence=evidence)


def _by_text(text: str) -> Contrast:
    for kind, pattern in (("FLAIR", _FLAIR_TEXT), ("T2", r"t2"), ("T1", r"t1|mprage|bravo|fspgr|\btfe\b|vibe")):
        found = re.search(pattern, text)
        if found:
            return Contrast(kind=kind, evidence=f"no timing; description says '{found.group(0)}'")
    return Contrast(kind="unknown", evidence="neither timing nor description tells the contrast")
