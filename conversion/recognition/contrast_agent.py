"""Whether contrast agent had been given: evidence from tags, words and the order of acquisition.

All evidence here is of kind ``T1CE``, whatever the weighting: positive for after, negative for before contrast agent.
"""

import re
from collections.abc import Iterable, Sequence

from conversion.decision import Evidence
from conversion.likeness import SAME_TIME_S
from conversion.recognition.text_evidence import PROTOCOL_SHARE, folded
from conversion.sequences import pulse_family
from conversion.study import Series, SeriesUID

__all__ = [
    "AGENT_PRIOR",
    "course_of_study",
    "first_of_course",
    "repeated_protocols",
    "same_protocol",
    "stated_agent",
    "without_order",
]

SeriesKey = tuple[SeriesUID, str]

AGENT_PRIOR = -2.0
"""Log-odds that a series was acquired after contrast agent when nothing indicates it: scanners and sites mostly do."""

TAG, TAG_EVERYWHERE = 4.5, 3.0
"""Weights of a tag that names a contrast agent. It is less where all T1-weighted series carry the tag, because some
consoles fill it in beforehand."""

AFTER_WORD, BEFORE_WORD = 4.5, -4.5
"""Weights of words in descriptions."""

REPEATED, REPEATED_LATER = 3.2, -1.0
"""Weights of a T1 protocol that is repeated later in a study: for the later and for the earlier series."""

ORDER = 3.0
"""Weight of the order relative to a series known to be before or after contrast agent, which stays for hours."""

NO_ORDER = 1.5
"""Weight of another series after contrast agent where times give no order: this series may be after it as well."""

LONGEST_STUDY_S = 2 * 86400.0
"""Series further apart than this have no order: the date of one of them is missing or wrong."""

PERFUSION = 2.0
"""Weight of an earlier perfusion series: most are acquired with a contrast agent."""

_BOTH = (
    r"(\bw ?(&|and|\+)? ?/? ?wo\b|w/? ?(and|&|\+)? ?w/?o|with ?(and|&|\+|/) ?without|without (and|&) with|"
    r"pre ?(and|&|/|\+|-) ?post|mit ?(und|/|&) ?ohne|ohne ?(und|/|&) ?mit|avec ?(et|/) ?sans|sans ?(et|/) ?avec|"
    r"con ?(e|y|/) ?(senza|sin)|(senza|sin) ?(e|y|/) ?con\b|com ?(e|/) ?sem|sem ?(e|/) ?com|met ?(en|/) ?zonder|"
    r"z i bez|bez i z) ?(iv )?(contr\w*|kontr\w*|inj\w*|gad\w*|gd|km|mdc|cte|agent)?"
)
"""Before and after in one name: an examination's, which does not distinguish its series."""

_NEITHER = (
    r"(phase|image|high|tissue|soft|bright|mag\w*) ?contrast|mag\w* transfer|"
    r"post(erior\w*| ?fossa|[- ]?op\w*|[- ]?proc\w*|[- ]?rt\b)|pre[- ]?op\w*|pre ?(scan|sat\w*|press)|contralat\w*"
)
"""Words that look like contrast agent but mean something else."""

_AGENT = r"(gad\w*|gd|contrast\w*|kontrast\w*|contraste?s?|contrasto|cte|mdc|mc|km|k\.m\.|pdc|civ|agent|injec\w*|inj|c)"
_BEFORE = (
    r"\b(pre|w/?o|without|no|non|un|before|ohne|o\.?|vor|sans|avant|senza|prima|sin|antes( de)?|sem|zonder|voor|bez|"
    rf"przed|uden|uten|utan|fore?|oncesi)[- ]?(iv |i\.v\. |del |de |du |le |la |podania )?{_AGENT}\b|"
    r"\bpre(?!\w)|\bprae?(?!\w)|without|\bw/?o\b|\bnati[vf]\w*|\bplain\b|\bunenhanced|non[- ]?(contrast|enhanced|inj)|"
    r"\bnoncon\w*|\bohne\b|\bsans\b|\bsenza\b|\bsin\b|\bsem\b|\bzonder\b|\bblanco\b|\bbasale?\b|\bc-(?!\w)|(?<=\s)-c\b|"
    r"kontrast(siz|fri)\w*|без контраст\w*|до контраст\w*|нативн\w*|平扫|造影前|単純"
)
_AFTER = (
    r"\bgd\b|gado\w*|\bgad\b|\bpost\b|\bpostk\w*|\bpostc\w*|\bpostg\w*|\+ ?c\b|\bc ?\+|\+ ?(gd|km|gad\w*|mdc|k|iv)\b|"
    r"[- ]ce\b|t1[- ]?ce\b|t1w?c\b|t1w?[- ]?gd|\bc/c\b|contras\w*|kontras\w*|mezzo di c|enhanced|\benh\b|\binje[ck]\w*|"
    r"\binj\b|\bkm\b|\bmdc\b|\bpdc\b|\bciv\b|\bcte\b|\biv\b|\bapres\b|\bapos\b|\bdopo\b|\bpos\b|sonrasi|gadovist|"
    r"gadavist|dotarem|prohance|magnevist|omniscan|clariscan|multihance|elucirem|vueway|artirem|контраст\w*|после|"
    r"造影|增强|增強|조영"
)


def stated_agent(series: Series, *, tag_everywhere: bool = False) -> tuple[Evidence, ...]:
    """Return the evidence from a series' own tag and words.

    Parameters
    ----------
    tag_everywhere
        Whether every T1-weighted series of the study names a contrast agent, so that the tag does not tell them apart.
    """
    found = list(_words(series.acquisition.description, "description", 1.0))
    found = found or list(_words(series.acquisition.protocol, "protocol name", PROTOCOL_SHARE))
    if series.acquisition.contrast_agent:
        weight = TAG_EVERYWHERE if tag_everywhere else TAG
        says = "the header names a contrast agent"
        says += ", as in every T1-weighted series of the study" if tag_everywhere else ""
        found.append(_evidence("contrast agent", weight, says))
    return tuple(found)


def first_of_course(stated: tuple[Evidence, ...], phases: int) -> tuple[Evidence, ...]:
    """Return the evidence for the first phase of a dynamic series whose every phase names a contrast agent.

    It means that a contrast agent was given, not that it had been given by the first phase.

    Parameters
    ----------
    stated
        The evidence from tag and words, the same for every phase.
    phases
        Number of phases.
    """
    if sum(evidence.weight for evidence in stated) <= 0:
        return stated
    says = f"contrast agent is named for all {phases} phases of a dynamic series; the first is usually before it"
    return (_evidence("contrast agent", -AGENT_PRIOR, says),)


def _words(text: str, where: str, share: float) -> Iterable[Evidence]:
    plain = re.sub(f"{_BOTH}|{_NEITHER}", " ", folded(text))
    before = re.search(_BEFORE, plain)
    after = re.search(_AFTER, re.sub(_BEFORE, " ", plain))
    for match, weight in ((before, BEFORE_WORD), (after, AFTER_WORD)):
        if match:
            yield _evidence("description", weight * share, f"{where} contains '{match.group(0).strip()}'")


def _evidence(source: str, weight: float, says: str) -> Evidence:
    return Evidence(source=source, kind="T1CE", weight=weight, says=says)


def same_protocol(first: Series, second: Series) -> bool:
    """Return whether two series were acquired with the same sequence, times and number of slices."""
    a, b = first.acquisition, second.acquisition
    times = ((a.repetition_time_ms, b.repetition_time_ms), (a.echo_time_ms, b.echo_time_ms))
    close = all(x is not None and y is not None and abs(x - y) <= 0.05 * max(x, y) for x, y in times)
    return (
        close
        and a.scanning_sequence == b.scanning_sequence
        and pulse_family(first) == pulse_family(second)
        and len(first.images) == len(second.images)
    )


def repeated_protocols(candidates: Sequence[Series]) -> dict[SeriesKey, tuple[Evidence, ...]]:
    """Return the evidence from repeated protocols among T1-weighted series, none known to be after contrast agent.

    When a site repeats a T1 protocol within one study, it is usually for contrast agent, seldom for motion.
    """
    found: dict[SeriesKey, list[Evidence]] = {}
    for later in candidates:
        for earlier in candidates:
            minutes = _minutes_between(earlier, later)
            if minutes <= 0 or not same_protocol(earlier, later):
                continue
            says = f"repeats the protocol of {earlier.name} {minutes:.0f} min later"
            found.setdefault(later.key, []).append(_evidence("acquisition time", REPEATED, says))
            says = f"{later.name} repeats its protocol {minutes:.0f} min later"
            found.setdefault(earlier.key, []).append(_evidence("acquisition time", REPEATED_LATER, says))
    # Only the weightiest of several repetitions counts: they are one observation.
    return {key: (max(items, key=_weight_and_words),) for key, items in found.items()}


def _weight_and_words(evidence: Evidence) -> tuple[float, str]:
    return evidence.weight, evidence.says


def course_of_study(
    series: Series, known: Sequence[tuple[Series, bool]], perfused: Sequence[Series] = ()
) -> tuple[Evidence, ...]:
    """Return the evidence from the order of acquisition: once given, contrast agent stays for the rest of a study.

    Parameters
    ----------
    known
        Series that are known to be after (True) or before (False) contrast agent.
    perfused
        Perfusion series acquired with a contrast agent.
    """
    found = [
        _evidence("acquisition time", ORDER, f"acquired after {other.name}, which is after contrast agent")
        for other, after in known
        if after and _minutes_between(other, series) > 0
    ]
    found += [
        _evidence("acquisition time", -ORDER, f"acquired before {other.name}, which is before contrast agent")
        for other, after in known
        if not after and _minutes_between(series, other) > 0
    ]
    found += [
        _evidence("acquisition time", PERFUSION, f"acquired after {other.name}, a perfusion series")
        for other in perfused
        if _minutes_between(other, series) > 0
    ]
    one_of_each = {evidence.weight: evidence for evidence in sorted(found, key=_weight_and_words)}
    return tuple(one_of_each.values())


def without_order(series: Series, known: Sequence[tuple[Series, bool]]) -> tuple[Evidence, ...]:
    """Return the evidence that a series may be after contrast agent like another one, where their order is unknown.

    Only for studies in which no series names a contrast agent: where one series is marked, one without a mark is
    before.
    """
    if any(_minutes_between(*((other, series) if after else (series, other))) > 0 for other, after in known):
        return ()
    for other, after in sorted(known, key=lambda pair: pair[0].number):
        if after and other.key != series.key:
            says = f"{other.name} is after contrast agent; acquisition times do not show whether this one is too"
            return (_evidence("acquisition time", NO_ORDER, says),)
    return ()


def _minutes_between(earlier: Series, later: Series) -> float:
    """Return minutes from the start of one series to that of another; 0 if equal, unknown or too far apart."""
    start, end = earlier.acquisition.acquired_at, later.acquisition.acquired_at
    if start is None or end is None or abs(end - start) <= SAME_TIME_S or abs(end - start) > LONGEST_STUDY_S:
        return 0.0
    return (end - start) / 60.0
