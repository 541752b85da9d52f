"""Evidence from descriptions and protocol names, in the languages that sites write.

Words for a weighting weigh less than times, because technologists copy protocols and keep their names. Words for other
kinds (a subtraction, a map, a localizer) weigh more: they are not used for anything else, and a derived series keeps
the times of its source.
"""

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

from conversion.decision import Evidence
from conversion.study import Acquisition, Series

__all__ = ["LONGEST_TEXT", "MADE", "PROTOCOL_SHARE", "folded", "text_evidence"]

PROTOCOL_SHARE = 0.5
"""Share of a word's weight when only ProtocolName contains it: on GE scanners it names the examination."""


MADE = 30.0
"""Weight of a statement that a series was derived from others and shows no weighting. It is more than all evidence
that such a series keeps from its source: times (6.5), contrast (5), sequence (4), words (3.5), and what its pixels may
seem to show (3)."""


@dataclass(frozen=True)
class _Word:
    """A pattern for folded text.

    Attributes
    ----------
    hides
        Kinds that do not count beside it: its words contain theirs ("T2 FLAIR" is not T2), or it was derived from them
        (a projection of differences).
    derived
        Whether it counts only where ImageType does not state that the image is original. For words that mean little by
        themselves.
    """

    kind: str
    weight: float
    pattern: str
    hides: tuple[str, ...] = ()
    derived: bool = False


_AFTER = r"(c ?\+|\+ ?c|\b(post\w*|gd|gad\w*|km|ce|mdc|contrast\w*|kontrast\w*|inj\w*|t1\w*))"
_BEFORE = r"(pre\b(?![- ]?(op|sat|scan))|nati[vf]\w*|c-|-c\b|plain\b|ohne\b|sans\b|senza\b|sin\b|basale?\b)"
_T1_AFTER = r"\bt1w?[- ]?(\+ ?c|c ?\+|ce|c|gd|gad\w*|km|post\w*|mdc|inj\w*)|\b(ce|gd|km|post)[- ]t1w?"
"""Without "C minus" and "post-T1", which are common names of a single series."""

_SUBTRACTIONS = (
    r"\bsubs?\b(?!-| ?sampl)|\bsub-?(?=t[12]|flair)|\bt[12]w?sub\b|subtr|subst?rak|soustr|sottraz|su[bs]s?trac|odejm",
    r"cikarma|kivonas|aftrek|vahenn|(?<!phase )differen(z|ce|cia)|diferenc|roznic|rozdil|субтрак|вычита|разност",
    r"减影|減影|剪影|サフトラクション|差分|감산",
    rf"\bpost\b[\w ]{{0,16}}- ?{_BEFORE}|\bpost\w* ?- ?{_BEFORE}|(c\+|\+ ?c|\b(km|gd|mdc)) ?- ?{_BEFORE}",
    rf"{_AFTER} ?(minus|moins|menos?) ?(t1|{_BEFORE})|\b\d+ ?minus ?\d+\b",
    rf"({_T1_AFTER}) ?- ?t1w?( ?(pre|nati[vf]\w*))?$",
    r"(\bdelta|[\u03b4\u2206]) ?t1",
    r"\(\d+\) ?- ?\(\d+\)|\[\d+\] ?- ?\[\d+\]|\bs\d{2,} ?- ?s\d{2,}\b",
)

_WORDS = (
    *(_Word("subtraction", MADE, pattern) for pattern in _SUBTRACTIONS),
    _Word("subtraction", MADE, r"\bdt1\b|^(?!(19|20)\d\d ?-)[1-9]\d{0,3} ?- ?[1-9]\d{0,3}$", derived=True),
    _Word(
        "map",
        MADE,
        r"\bt[12]\*? ?map|\br[12]\*? ?map|\bqsm\b|relaxomet|synthetic|\bsymri\b|\bt[12]\*?[- ]?karte|"
        r"\b(carte|cartographie|mapa|mappa) (de |di |del |en )?t[12]|\bratio\b(?! ?\d)|quotient",
        ("T1", "T2", "T2*"),
    ),
    _Word("map", MADE, r"\b(col|colou?r )?fa\b|fractional aniso|tensor|tra[ck]?togra", ("DWI",)),
    _Word("map", MADE, r"^(fa|md|ad|rd|ra|vr|mk|ve|vp|k2|pei|nei|ser|msi)( ?map)?$", derived=True),
    _Word("perfusion", MADE, r"\bk ?trans\b|\b(r|rel|n)?c?cb[fv]\b|\bmtt\b|\bttp\b|\btmax\b|\bi?auc ?\d*\b|\bkep\b"),
    _Word("perfusion", MADE, r"time[- ]to[- ]peak|mean[- ]transit|wash[- ]?(in|out)\b|blood (flow|volume)|permeabil"),
    _Word(
        "projection",
        MADE,
        r"\b(rot|rad|t|thin|slab)?mips?\b|\bmnip\b|minip|\bpjn\b|\b(max|min)(im\w*)?[ -]?int(ens\w*)?\b|"
        r"intensi\w+ (max|min)|\bvrt\b|volume ?render",
        ("subtraction",),
    ),
    _Word("ADC", MADE, r"\b(e|d|avg|av|iso|mean|trace)?adc(map)?\b|apparent diff|\bdadc", ("DWI",)),
    _Word("DWI", 7.0, r"dwi|diff\b|diff?us|difuz|dyfuz|\btrace|\bdti\b", ("double inversion",)),
    _Word("DWI", 7.0, r"\bb ?= ?\d{2,4}|\bb ?(8|9|10|15|20)00\b"),
    _Word("field map", 14.0, r"field ?map|\bb[01] ?map", ("T1", "T2", "T2*")),
    _Word("phase", 9.0, r"\bpha(se)?[ -]images?\b"),
    _Word("SWI", 8.0, r"\bswi|\bswan\b|venobold|sus[cz]ept|suscetti", ("T2*", "T2")),
    _Word("T2*", 6.0, r"t2 ?(\*|star|stern|etoile|estrella|stella)|\bt2s\b|\bh[ae]e?mo", ("T2",)),
    _Word("T2*", 6.0, r"\bt2w? ?(ffe|gre|fl2d|eg)\b", ("T2",)),
    _Word("perfusion", 9.0, r"perf|\bdsc\b|\bdce\b|\bp?c?asl\b"),
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
"""Number of characters that are searched: 16 times what a description may have (PS3.5 6.2). The time of some patterns
grows with the square of the length."""

_DASHES = dict.fromkeys(map(ord, "\u2010\u2011\u2012\u2013\u2014\u2015\u2212"), "-")
"""Dashes and the minus sign, which workstations write instead of a hyphen."""

_LETTERS = str.maketrans({"\u0131": "i", "ł": "l", "ø": "o", "æ": "ae"})
"""Letters that Unicode does not decompose into a plain letter and an accent; the first is the Turkish dotless i."""


def folded(text: str) -> str:
    """Return text in lower case, without accents, with spaces for underscores, hyphens for dashes, a Latin T in "T1".

    Text beyond `LONGEST_TEXT` is ignored.
    """
    plain = unicodedata.normalize("NFKD", text[:LONGEST_TEXT].casefold().translate(_LETTERS)).translate(_DASHES)
    composed = unicodedata.normalize("NFC", "".join(c for c in plain if not unicodedata.combining(c)))  # for Hangul
    latin = re.sub("\u0442(?=[12])", "t", composed)
    return " ".join(latin.replace("_", " ").split())


def text_evidence(series: Series) -> tuple[Evidence, ...]:
    """Return the evidence from description and protocol name; a kind that both name counts once."""
    words = [word for word in _WORDS if not (word.derived and _is_original(series.acquisition))]
    found = [*_kinds_in(series.acquisition.description, "description", 1.0, words)]
    named = {evidence.kind for evidence in found}
    protocol = _kinds_in(series.acquisition.protocol, "protocol name", PROTOCOL_SHARE, words)
    return (*found, *(evidence for evidence in protocol if evidence.kind not in named))


def _is_original(acquisition: Acquisition) -> bool:
    """Return whether ImageType states that an image is original; Philips writes that into maps and reformats too."""
    return acquisition.image_type[:1] == ("ORIGINAL",) and "philips" not in acquisition.manufacturer.lower()


def _kinds_in(text: str, where: str, share: float, words: Iterable[_Word]) -> Iterable[Evidence]:
    plain = folded(text)
    matches = [(word, match) for word in words if (match := re.search(word.pattern, plain))]
    hidden = {kind for word, _ in matches for kind in word.hides}
    best: dict[str, Evidence] = {}
    for word, match in matches:
        if word.kind in hidden or (word.kind in best and best[word.kind].weight >= word.weight * share):
            continue
        says = f"{where} contains '{match.group(0).strip()}'"
        best[word.kind] = Evidence(source="description", kind=word.kind, weight=word.weight * share, says=says)
    return best.values()
