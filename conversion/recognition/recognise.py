"""Who is who: the kind of each series of a study, from headers and pixels, with its evidence and its confidence."""

import math
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import repeat

from conversion.decision import Decision, Evidence
from conversion.errors import ConversionError
from conversion.recognition.contrast_agent import (
    AGENT_PRIOR,
    course_of_study,
    first_of_course,
    repeated_protocols,
    stated_agent,
    without_order,
)
from conversion.recognition.header_evidence import header_evidence, reformat_evidence
from conversion.recognition.pixel_evidence import (
    difference_evidence,
    enhancement_evidence,
    next_pair,
    shows_enough,
    tissue_evidence,
    weighting_seen,
)
from conversion.recognition.site_rules import SiteRule
from conversion.recognition.time_course import phases_of
from conversion.recognition.weighing import kind_probabilities, probability
from conversion.sequences import ABSTAINED, REFORMAT, WEIGHTINGS, Role
from conversion.study import Series, SeriesUID, Study
from conversion.volume import ImageVolume

__all__ = ["MINIMUM_CONFIDENCE", "Recognition", "recognise"]

MINIMUM_CONFIDENCE = 0.7
"""A kind less probable than this is not named: below it, every third of such namings would be wrong."""

SITE_RULE = 200.0
"""Weight of a rule of the site: more than all other evidence together, for a person has looked."""

STRUCTURAL = 0.05
"""Pixels are read of series that are T1, T2 or FLAIR with at least this probability by their headers."""

T1_WEIGHTED = 0.4
"""Series that are T1-weighted with at least this probability are compared for contrast agent."""

KNOWN = 0.85
"""A series that is after the agent with this probability tells that those acquired later are, too."""

SETTLED = 2.0
"""Evidence for or against an agent from which on a series needs no further comparison, and tells of earlier ones."""

REFORMAT_PRIOR = -4.0
"""Log-odds that a series was cut anew from another volume when nothing says so."""

_CUT_ANEW = (*Role, "PD", "STIR", "T2*", "double inversion")
"""Kinds whose reformats are called reformats; a reformatted angiogram or map stays what it is."""

Read = Callable[[Series], ImageVolume]
SeriesKey = tuple[SeriesUID, str]


@dataclass(frozen=True, kw_only=True)
class Recognition:
    """What a series is.

    Attributes
    ----------
    kind
        ``T1``, ``T1CE``, ``T2``, ``FLAIR``; ``reformat``; another kind; or ``unknown`` where the confidence is too low.
    confidence
        Probability of the kind, 0 to 1; of the leaning where the kind is unknown.
    weighting
        What a reformat shows, and what an unknown series leans to; else the kind.
    weighting_confidence
        Probability of the weighting.
    after_contrast
        Probability that a contrast agent was in the blood.
    evidence
        The weightiest first; where a series is not T1-weighted, evidence of an agent is of kind ``after contrast``.
    needs
        What would help, where the kind is unknown.
    decisions
        What could not be looked at, and why.
    """

    series: Series
    kind: str
    confidence: float
    weighting: str
    weighting_confidence: float
    after_contrast: float
    evidence: tuple[Evidence, ...]
    needs: tuple[str, ...] = ()
    decisions: tuple[Decision, ...] = ()

    @property
    def abstained(self) -> bool:
        """Tell whether the kind is left open."""
        return self.kind == ABSTAINED

    @property
    def role(self) -> Role | None:
        """Return the role the series could have: acquired as such, or as a reformat whose weighting is sure."""
        named = self.kind in (*Role, REFORMAT) and self.weighting_confidence >= MINIMUM_CONFIDENCE
        return Role(self.weighting) if named and self.weighting in list(Role) else None


@dataclass(kw_only=True)
class _Case:
    """All evidence on one series, while it is gathered."""

    series: Series
    kinds: list[Evidence]
    agent: list[Evidence] = field(default_factory=list)
    cut: list[Evidence] = field(default_factory=list)
    ruled: str = ""
    t1_by_header: bool = False
    decisions: list[Decision] = field(default_factory=list)

    def of_kind(self, kind: str) -> float:
        return kind_probabilities(self.kinds).get(kind, 0.0)

    def after_agent(self) -> float:
        return probability(AGENT_PRIOR, self.agent)

    def for_agent(self) -> float:
        return math.fsum(evidence.weight for evidence in self.agent)

    def known_after(self) -> bool | None:
        """Tell whether a series is after the agent, or None where that is open; its prior alone does not settle it."""
        if self.after_agent() >= KNOWN:
            return True
        return False if self.for_agent() <= -SETTLED else None

    def cannot_look(self, what: str, error: ConversionError) -> None:
        reason = f"{what}: {error}"
        self.decisions.append(_decision("pixels_not_judged", self.series, reason))


def _decision(code: str, series: Series, reason: str) -> Decision:
    return Decision(code=code, subject=series.name, reason=reason, series_uid=series.series_uid)


def recognise(study: Study, read: Read, rules: Sequence[SiteRule] = (), *, threads: int = 1) -> tuple[Recognition, ...]:
    """Tell what each series of a study is.

    Parameters
    ----------
    read
        Reads the pixels of a series (`conversion.reading.read_series`); called for series that could be T1, T2 or
        FLAIR. A series that cannot be read is judged by its header alone.
    rules
        What the site said about its series; the first rule that fits a series decides.
    threads
        Series that are looked at at a time, by `read` too; the result is the same for every number.

    Returns
    -------
    tuple of Recognition
        In the order of the study's series; the result for each does not depend on that order.
    """
    cases = [_Case(series=series, kinds=_headers(series, study)) for series in study.series]
    for case in cases:
        _apply(rules, case)
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(_look, cases, repeat(read)))
    _find_differences(cases, read)
    _find_contrast_agent(cases, read)
    return tuple(_judge(case) for case in cases)


def _headers(series: Series, study: Study) -> list[Evidence]:
    siblings = [other for other in study.series if other.series_uid == series.series_uid and other.part != series.part]
    return list(header_evidence(series, siblings))


def _apply(rules: Iterable[SiteRule], case: _Case) -> None:
    rule = next((rule for rule in rules if rule.matches(case.series)), None)
    if rule is None:
        return
    case.ruled = rule.kind
    ruled = Evidence(source="site rule", kind=rule.kind, weight=SITE_RULE, says=f"site rule '{rule.name}'")
    case.cut.append(replace(ruled, kind=REFORMAT, weight=SITE_RULE if rule.kind == REFORMAT else -SITE_RULE))
    if rule.kind in (Role.T1, Role.T1CE):
        case.kinds.append(replace(ruled, kind=str(Role.T1)))
        case.agent.append(replace(ruled, kind="T1CE", weight=SITE_RULE if rule.kind == Role.T1CE else -SITE_RULE))
    elif rule.kind != REFORMAT:
        case.kinds.append(ruled)


def _look(case: _Case, read: Read) -> None:
    """Add what the pixels say, unless the header has settled that the series is nothing of interest."""
    case.cut += reformat_evidence(case.series)
    by_header = kind_probabilities(case.kinds)
    if sum(by_header[kind] for kind in WEIGHTINGS) < STRUCTURAL:
        return
    case.t1_by_header = by_header[Role.T1] >= T1_WEIGHTED
    try:
        case.kinds += tissue_evidence(case.series, read)
    except ConversionError as error:
        case.cannot_look("its tissue contrast could not be judged", error)


def _find_differences(cases: Sequence[_Case], read: Read) -> None:
    """Find series that are T1 by header and none by their tissue: differences of two, which show no brain."""
    seen = {case.series.key: weighting_seen(case.kinds) for case in cases}
    shown = sorted(
        (case.series for case in cases if seen[case.series.key]), key=lambda series: (series.number, series.key)
    )
    for case in cases:
        if not case.t1_by_header or case.ruled or case.decisions or seen[case.series.key] == Role.T1:
            continue
        try:
            case.kinds += difference_evidence(case.series, [s for s in shown if s.key != case.series.key], read)
        except ConversionError as error:
            case.cannot_look("whether it is a difference of two series could not be judged", error)


def _find_contrast_agent(cases: Sequence[_Case], read: Read) -> None:
    """Add to every case what speaks for a contrast agent: its own words, comparisons, then the course of the study."""
    t1 = [case for case in cases if case.of_kind(Role.T1) >= T1_WEIGHTED]
    everywhere = len(t1) > 1 and all(case.series.acquisition.contrast_agent for case in t1)
    phases = phases_of([case.series for case in t1])
    for case in cases:
        stated = stated_agent(case.series, tag_everywhere=everywhere)
        phase = phases.get(case.series.key)
        case.agent += first_of_course(stated, phase.count) if phase and phase.place == 0 else stated
    marked = any(case.known_after() for case in t1)
    if not marked:
        repeated = repeated_protocols([case.series for case in t1])
        for case in t1:
            case.agent += repeated.get(case.series.key, ())
    _compare(t1, read)
    known = [(case.series, after) for case in t1 if (after := case.known_after()) is not None]
    perfused = [case.series for case in cases if _uses_agent(case)]
    for case in cases:
        case.agent += course_of_study(case.series, known, perfused)
        if not marked:
            case.agent += without_order(case.series, known)


def _compare(t1: Sequence[_Case], read: Read) -> None:
    """Compare T1-weighted series in pairs, the most alike once in any case, further ones while it helps."""
    readable = {case.series.key: case for case in t1 if _readable(case)}
    compared: list[tuple[SeriesKey, SeriesKey]] = []
    while True:
        unsettled = {key for key, case in readable.items() if abs(case.for_agent()) < SETTLED}
        pair = next_pair([case.series for case in readable.values()], unsettled, compared)
        if pair is None:
            return
        compared.append((pair[0].key, pair[1].key))
        try:
            for series, evidence in enhancement_evidence(*pair, read):
                if evidence.weight:
                    readable[series.key].agent.append(evidence)
        except ConversionError as error:
            for series in pair:
                readable[series.key].cannot_look("its contrast enhancement could not be judged", error)


def _readable(case: _Case) -> bool:
    try:
        return not case.decisions and shows_enough(case.series)
    except ConversionError:
        return False


def _uses_agent(case: _Case) -> bool:
    """Tell whether a series shows perfusion by a contrast agent; spin labelling needs none."""
    words = f"{case.series.acquisition.text} {case.series.acquisition.technique}"
    return case.of_kind("perfusion") >= MINIMUM_CONFIDENCE and "asl" not in words and "tgse" not in words


def _judge(case: _Case) -> Recognition:
    after = case.after_agent()
    shares = dict(kind_probabilities(case.kinds))
    t1 = shares.pop(Role.T1)
    shares |= {str(Role.T1): t1 * (1.0 - after), str(Role.T1CE): t1 * after}
    weighting = max(shares, key=lambda kind: (shares[kind], kind))
    kind, confidence = weighting, shares[weighting]
    cut = probability(REFORMAT_PRIOR, case.cut)
    if cut > 0.5 and (weighting in _CUT_ANEW or case.ruled == REFORMAT):
        kind, confidence = REFORMAT, cut
    if confidence < MINIMUM_CONFIDENCE:
        kind = ABSTAINED
    return Recognition(
        series=case.series,
        kind=kind,
        confidence=confidence,
        weighting=weighting,
        weighting_confidence=shares[weighting],
        after_contrast=after,
        evidence=_weightiest_first(case, weighting),
        needs=_needs(case, weighting, t1) if kind == ABSTAINED else (),
        decisions=tuple(case.decisions),
    )


def _weightiest_first(case: _Case, weighting: str) -> tuple[Evidence, ...]:
    agent = case.agent
    if weighting not in (Role.T1, Role.T1CE):
        agent = [replace(evidence, kind="after contrast") for evidence in agent]
    found = [*case.kinds, *agent, *case.cut]
    return tuple(sorted(found, key=lambda e: (-abs(e.weight), e.source, e.kind, e.says)))


def _needs(case: _Case, weighting: str, t1_weighted: float) -> tuple[str, ...]:
    """Return what would let a series be named that is left open."""
    acquisition = case.series.acquisition
    if weighting in (Role.T1, Role.T1CE) and t1_weighted >= MINIMUM_CONFIDENCE:
        open_question = (
            "a contrast tag, or a word for before or after contrast in its description",
            "a T1-weighted series from before contrast to compare with, and the times of acquisition",
        )
        return (*open_question, "a site rule")
    missing = (
        ("a repetition time", acquisition.repetition_time_ms),
        ("an echo time", acquisition.echo_time_ms),
        ("a description that names its contrast", acquisition.description),
        ("pixels that can be judged", any(e.source == "pixels" and e.weight for e in case.kinds)),
    )
    return (*(what for what, there in missing if not there), "a site rule")
