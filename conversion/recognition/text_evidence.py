"""What descriptions and protocol names say about a series, in the languages that sites write.

Words for a weighting weigh less than times: a technologist copies a protocol and keeps its name. Words for what is no
weighting (a subtraction, a map, a localizer) weigh more, because nobody writes them for anything else, and because a
derived series keeps the times of its source.
"""

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

from conversion.decision import Evidence
from conversion.study import Series

__all__ = ["LONGEST_TEXT", "PROTOCOL_SHARE", "folded", "text_evidence"]

PROTOCOL_SHARE = 0.5
"""Share of a word's weight when it stands in ProtocolName alone: with GE that names the whole examination."""


@dataclass(frozen=True)
class _Word:
    """A pattern over folded text; `hides` are kinds whose own words it contains ("T2 FLAIR" says no T2)."""

    kind: str
    weight: float
    pattern: str
    hides: tuple[str, ...] = ()


_WORDS = (
    _Word("map", 18.0, r"\bt[12]\*? ?map|\br[12]\*? ?map|\bqsm\b|relaxomet|synthetic|\bsymri\b", ("T1", "T2", "T2*")),
    _Word("map", 18.0, r"\b(col|colou?r )?fa\b|fractional aniso|tensor", ("DWI",)),
    _Word("subtraction", 18.0, r"\bsubs?\b(?!-)|subtr|subst?rak|soustr|sottraz|su[bs]s?trac|odejm|cikarma|differenz"),
    _Word(
        "subtraction",
        18.0,
        r"\bpost\w* ?(-|minus) ?(pre\b(?![- ]?op)|nativ)|\bc\+ ?(-|minus) ?c-|\bkm ?(-|minus) ?nativ",
    ),
    _Word("subtraction", 18.0, r"\bsub-(?=t[12]|flair)|\bdt1\b|(\bdelta|\u03b4) ?t1"),
    _Word("subtraction", 18.0, r"\(\d+\) ?- ?\(\d+\)|\[\d+\] ?- ?\[\d+\]|\bs\d{2,} ?- ?s\d{2,}\b"),
    _Word("projection", 18.0, r"\bmips?\b|\bmnip\b|minip|max(imum)? ?int|min(imum)? ?int"),
    _Word("ADC", 18.0, r"\b[de]?adc\b|apparent diff|\bdadc", ("DWI",)),
    _Word("DWI", 7.0, r"dwi|diff\b|diff?us|difuz|dyfuz|\btrace|\bdti\b", ("double inversion",)),
    _Word("DWI", 7.0, r"\bb ?= ?\d{2,4}|\bb ?(8|9|10|15|20)00\b"),
    _Word("field map", 14.0, r"field ?map|\bb[01] ?map", ("T1", "T2", "T2*")),
    _Word("phase", 9.0, r"\bpha(se)?[ -]images?\b"),
    _Word("SWI", 8.0, r"\bswi|\bswan\b|venobold|sus[cz]ept|suscetti", ("T2*", "T2")),
    _Word("T2*", 6.0, r"t2 ?(\*|star|stern|etoile|estrella|stella)|\bt2s\b|\bh[ae]e?mo", ("T2",)),
    _Word("T2*", 6.0, r"\bt2w? ?(ffe|gre|fl2d|eg)\b", ("T2",)),
    _Word("perfusion", 9.0, r"perf|\bdsc\b|\bdce\b|\bp?c?asl\b|\br?c?cb[fv]\b|\bmtt\b|\btmax\b|ktrans"),
    _Word("angiography", 9.0, r"\btof\b|angio|\bmr[av]\b|\bpca\b|willis|phase ?contrast|venogr"),
    _Word("angiography", 9.0, r"\bpc ?(2|3)d|tricks\b|twist\b"),
    _Word("spectroscopy", 9.0, r"spe[ck]tro|espectro|spettro|\bmrs\b|\bcsi\b|\bsvs\b"),
    _Word("localizer", 9.0, r"survey|lo[ck]ali[sz]|scout|3[- ]?(plane|ebenen|plans|piani|planos)|\bloc\d?\b"),
    _Word("localizer", 9.0, r"calib|ref(erence)?[- ]?scan|reperage|kilavuz|plan ?scan|u?ubersicht|pilot\b"),
    _Word("localizer", 9.0, r"smartbrain|smartexam"),
    _Word("functional", 9.0, r"\bfmri\b|\bbold\b|resting|finger ?tap"),
    _Word("double inversion", 14.0, r"\bdir\b|double ?(inversion|ir\b)", ("T2", "FLAIR")),
    _Word("steady state", 8.0, r"\bciss\b|fiesta|trufi|true ?fisp|\bb-?(ffe|tfe)\b|balanced", ("T2", "T1")),
    _Word("STIR", 6.0, r"\bstir\b", ("T2", "T1")),
    _Word("PD", 9.0, r"\binv ?2\b", ("T1",)),
    _Word("PD", 5.0, r"\bpdw?\b|proton|\bdp\b|densidad|densita"),
    _Word("T1", 3.5, r"t1w?[- /]*(tirm|flair|dark)|psir\b", ("FLAIR", "T2")),
    _Word("FLAIR", 3.5, r"fl ?air|dark[- ]?fluid|liquor ?suppr", ("T2",)),
    _Word("FLAIR", 1.5, r"\btirm\b"),
    _Word("T1", 3.0, r"mp2?[- ]?rage|bravo|fspgr|\bspgr\b|\btfe\b|\bvibe\b|\blava\b"),
    _Word("T1", 3.0, r"(?<![a-z]{3})t1(?!\d)"),
    _Word("T2", 3.0, r"(?<![a-z]{3})t2(?!\d)"),
)

LONGEST_TEXT = 1024
"""Characters that words are sought in, 16 times what a description may have (PS3.5 6.2); some patterns take time that
grows with the square of the text."""

_LETTERS = str.maketrans({"\u0131": "i", "ł": "l", "ø": "o", "æ": "ae"})
"""Letters that do not fall apart into a plain one and an accent; the first is the Turkish i without a dot."""


def folded(text: str) -> str:
    """Return text in lower case, without accents, with spaces for underscores, and with a Latin T in Cyrillic T1.

    Of a text that is longer than any description, only its beginning is looked at.
    """
    plain = unicodedata.normalize("NFKD", text[:LONGEST_TEXT].casefold().translate(_LETTERS))
    latin = re.sub("\u0442(?=[12])", "t", "".join(c for c in plain if not unicodedata.combining(c)))
    return " ".join(latin.replace("_", " ").split())


def text_evidence(series: Series) -> tuple[Evidence, ...]:
    """Return what description and protocol name speak for; a word of both counts once."""
    found = [*_kinds_in(series.acquisition.description, "description", 1.0)]
    named = {evidence.kind for evidence in found}
    protocol = _kinds_in(series.acquisition.protocol, "protocol name", PROTOCOL_SHARE)
    return (*found, *(evidence for evidence in protocol if evidence.kind not in named))


def _kinds_in(text: str, where: str, share: float) -> Iterable[Evidence]:
    plain = folded(text)
    matches = [(word, match) for word in _WORDS if (match := re.search(word.pattern, plain))]
    hidden = {kind for word, _ in matches for kind in word.hides}
    best: dict[str, Evidence] = {}
    for word, match in matches:
        if word.kind in hidden or (word.kind in best and best[word.kind].weight >= word.weight * share):
            continue
        says = f"{where} says '{match.group(0).strip()}'"
        best[word.kind] = Evidence(source="description", kind=word.kind, weight=word.weight * share, says=says)
    return best.values()
