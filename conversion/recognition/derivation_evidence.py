"""Evidence from how a series was derived from others: codes, descriptions, and calculation techniques.

Only derivations that make another kind of image count. An image that was compressed, filtered, averaged, masked,
corrected for motion or resampled shows what its source shows, so such codes and words are ignored here.
"""

import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType

from conversion.decision import Evidence
from conversion.recognition.text_evidence import MADE, folded
from conversion.sequences import REFORMAT
from conversion.study import Derivation

__all__ = ["DERIVATION_CODES", "REFORMAT_WEIGHT", "derivation_evidence", "derived_reformat"]

REFORMAT_WEIGHT = 20.0
"""Weight of a code or image type for a reformatted volume, which keeps its weighting."""

DERIVATION_CODES: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "113048": ("projection", "Pixel by pixel Maximum"),
        "113051": ("projection", "Pixel by pixel Minimum"),
        "113074": ("projection", "Volume rendering"),
        "113075": ("projection", "Surface rendering"),
        "113078": ("projection", "Maximum intensity projection"),
        "113079": ("projection", "Minimum intensity projection"),
        "113062": ("subtraction", "Pixel by pixel subtraction"),
        "113041": ("ADC", "Apparent Diffusion Coefficient"),
        "129104": ("perfusion", "Perfusion image analysis"),
        "113052": ("perfusion", "Mean Transit Time"),
        "113054": ("perfusion", "Negative enhancement integral"),
        "113055": ("perfusion", "Regional Cerebral Blood Flow"),
        "113056": ("perfusion", "Regional Cerebral Blood Volume"),
        "113069": ("perfusion", "Time To Peak"),
        "113084": ("perfusion", "Tmax"),
        "129105": ("map", "Diffusion image analysis"),
        "129106": ("map", "Diffusion tractography"),
        "113044": ("map", "Diffusion Anisotropy"),
        "113045": ("map", "Diffusion Attenuated"),
        "110808": ("map", "Fractional Anisotropy"),
        "110809": ("map", "Relative Anisotropy"),
        "113046": ("map", "Pixel by pixel division"),
        "113057": ("map", "R-Coefficient"),
        "113059": ("map", "Signal change"),
        "113060": ("map", "Signal to noise"),
        "113061": ("map", "Standard Deviation"),
        "113063": ("map", "T1"),
        "113064": ("map", "T2*"),
        "113065": ("map", "T2"),
        "113067": ("map", "Temperature encoded"),
        "113068": ("functional", "Student's T-test"),
        "113071": ("functional", "Z-score"),
        "113050": ("spectroscopy", "Metabolite Maps from spectroscopy data"),
        "113072": (REFORMAT, "Multiplanar reformatting"),
        "113073": (REFORMAT, "Curved multiplanar reformatting"),
    }
)
"""Kind and meaning of codes of scheme DCM, the last step of processing first (PS3.16, CID 7203 Image Derivation; until
2008 it also contained the quantities of CID 7180). The other codes of CID 7203 do not change the kind of an image."""

_TECHNIQUES: Mapping[str, str] = MappingProxyType(
    {
        "MAX_IP": "projection",
        "MIN_IP": "projection",
        "VOLUME_RENDER": "projection",
        "SURFACE_RENDER": "projection",
        "MPR": REFORMAT,
        "CURVED_MPR": REFORMAT,
    }
)
"""Volume Based Calculation Technique (PS3.3 C.8.16.2.1.3)."""

_WORDS = (
    ("projection", r"\bm(ax|in)?ips?\b|\bmnip\b|intensity[- ]projection|volume[- ]render|surface[- ]render"),
    (
        "subtraction",
        r"(?<!ground[ -])(?<!noise[ -])(?<!line[ -])(?<!offset[ -])(su[bs]s?tra[ck]|soustr|sottraz)|^sub$",
    ),
    ("subtraction", r"\bpost\w*( \w+)? ?(-|minus) ?pre(?![a-z])"),
    ("ADC", r"\badc\b|apparent diff"),
    (
        "perfusion",
        r"\bk ?trans\b|\b(r|rel)?cb[fv]\b|\bmtt\b|\bttp\b|\btmax\b|time[- ]to[- ]peak|perfusion (map|anal|param)",
    ),
    ("map", r"\b[tr][12]\*?[- ]map|relaxomet|fractional aniso|parametric map|\btensor\b|tractogra"),
)
"""Words in derivation descriptions, the last step of processing first. There are fewer than for series descriptions,
because derivation descriptions also mention compression ratios, sampling, and maximum intensities used for scaling."""


def derivation_evidence(derivation: Derivation) -> tuple[Evidence, ...]:
    """Return what kind a derivation makes of a series; of several codes or words the last step: a MIP of a difference.

    Returns
    -------
    tuple of Evidence
        Empty, or one item.
    """
    named = [e for e in _stated(derivation) if e.kind != REFORMAT]
    return tuple((named or [*_described(derivation.words)])[:1])


def derived_reformat(derivation: Derivation) -> tuple[Evidence, ...]:
    """Return the evidence in a derivation that a series was reformatted from another volume."""
    return tuple([e for e in _stated(derivation) if e.kind == REFORMAT][:1])


def _stated(derivation: Derivation) -> Iterable[Evidence]:
    kind = _TECHNIQUES.get(derivation.technique)
    if kind:
        yield _evidence(kind, f"VolumeBasedCalculationTechnique {derivation.technique}")
    for code, (kind, meaning) in DERIVATION_CODES.items():
        if code in derivation.codes:
            yield _evidence(kind, f"DerivationCodeSequence contains {code} ({meaning})")


def _described(words: str) -> Iterable[Evidence]:
    plain = folded(words)
    for kind, pattern in _WORDS:
        match = re.search(pattern, plain)
        if match:
            yield _evidence(kind, f"DerivationDescription contains '{match.group(0).strip()}'")


def _evidence(kind: str, says: str) -> Evidence:
    weight = REFORMAT_WEIGHT if kind == REFORMAT else MADE
    return Evidence(source="derivation", kind=kind, weight=weight, says=says)
