"""Recognise the kind of each series of a study, from headers and pixels, with evidence and confidence."""

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
"""A kind less probable than this is not named: below it, every third name would be wrong."""

SITE_RULE = 200.0
"""Weight of a site rule: more than all other evidence together, because a person has looked at the series."""

STRUCTURAL = 0.05
"""Pixels are read only for series that are T1, T2 or FLAIR with at least this probability by their headers."""

T1_WEIGHTED = 0.4
"""Series that are T1-weighted with at least this probability are compared for contrast agent."""

KNOWN = 0.85
"""If a series is after contrast agent with at least this probability, series acquired later count as after it too."""

SETTLED = 2.0
"""Evidence for or against contrast agent from which a series needs no further comparison. Against: earlier series
count as before it too."""

REFORMAT_PRIOR = -4.0
"""Log-odds that a series was reformatted from another volume when nothing indicates it."""

_REFORMATTED = (*Role, "PD", "STIR", "T2*", "double inversion")
"""Kinds whose reformats are called reformats; a reformatted angiogram or map stays what it is."""

Read = Callable[[Series], ImageVolume]
SeriesKey = tuple[SeriesUID, str]


@dataclass(frozen=True, kw_only=True)
class Recognition:
    """The recognised kind of a series.

    Attributes
    ----------
    kind
        ``T1``, ``T1CE``, ``T2``, ``FLAIR``; ``reformat``; another kind; or ``unknown`` where the confidence is too low.
    confidence
        Probability of the kind, 0 to 1. Where the kind is unknown: of the most probable kind.
    weighting
        For a reformat: the weighting it shows. For an unknown series: the most probable kind. Otherwise the kind.
    weighting_confidence
        Probability of the weighting.
    after_contrast
        Probability that the series was acquired after contrast agent.
    evidence
        The weightiest first. Where a series is not T1-weighted, evidence of a contrast agent has the kind
        ``after contrast``.
    needs
        Where the kind is unknown: what would help.
    decisions
        What could not be judged, and why.
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
        """Return whether the kind is left open."""
        return self.kind == ABSTAINED

    @property
    def role(self) -> Role | None:
        """Return the role the series could have: acquired as such, or a reformat whose weighting is certain enough."""
        named = self.kind in (*Role, REFORMAT) and self.weighting_confidence >= MINIMUM_CONFIDENCE
        return Role(self.weighting) if named and self.weighting in list(Role) else None


@dataclass(kw_only=True)
class _Case:
    """All evidence on one series, while it is collected."""

    series: Series
    kinds: list[Evidence]
    agent: list[Evidence] = field(default_factory=list)
    reformat: list[Evidence] = field(default_factory=list)
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
        """Return whether the series is after contrast agent, or None where that is open.

        The prior alone does not settle it.
        """
        if self.after_agent() >= KNOWN:
            return True
        return False if self.for_agent() <= -SETTLED else None

    def could_not_judge(self, what: str, error: ConversionError) -> None:
        reason = f"{what}: {error}"
        self.decisions.append(_decision("pixels_not_judged", self.series, reason))


def _decision(code: str, series: Series, reason: str) -> Decision:
    return Decision(code=code, subject=series.name, reason=reason, series_uid=series.series_uid)


def recognise(study: Study, read: Read, rules: Sequence[SiteRule] = (), *, threads: int = 1) -> tuple[Recognition, ...]:
    """Recognise the kind of each series of a study.

    Parameters
    ----------
    read
        Reads the pixels of a series (`conversion.reading.read_series`); called for series that could be T1, T2 or
        FLAIR. A series that cannot be read is judged by its header alone.
    rules
        The rules of the site; the first rule that matches a series decides.
    threads
        Number of series that are read and judged at a time. The result is the same for every number.

    Returns
    -------
    tuple of Recognition
        In the order of the study's series. The result for each series does not depend on that order.
    """
    cases = [_Case(series=series, kinds=_headers(series, study)) for series in study.series]
    for case in cases:
        _apply(rules, case)
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(_judge_pixels, cases, repeat(read)))
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
    case.reformat.append(replace(ruled, kind=REFORMAT, weight=SITE_RULE if rule.kind == REFORMAT else -SITE_RULE))
    if rule.kind in (Role.T1, Role.T1CE):
        case.kinds.append(replace(ruled, kind=str(Role.T1)))
        case.agent.append(replace(ruled, kind="T1CE", weight=SITE_RULE if rule.kind == Role.T1CE else -SITE_RULE))
    elif rule.kind != REFORMAT:
        case.kinds.append(ruled)


def _judge_pixels(case: _Case, read: Read) -> None:
    """Add the evidence of the pixels, unless by its header the series can be neither T1, T2 nor FLAIR."""
    case.reformat += reformat_evidence(case.series)
    by_header = kind_probabilities(case.kinds)
    if sum(by_header[kind] for kind in WEIGHTINGS) < STRUCTURAL:
        return
    case.t1_by_header = by_header[Role.T1] >= T1_WEIGHTED
    try:
        case.kinds += tissue_evidence(case.series, read)
    except ConversionError as error:
        case.could_not_judge("its tissue contrast could not be judged", error)


def _find_differences(cases: Sequence[_Case], read: Read) -> None:
    """Find series that are T1 by header but not by tissue contrast: differences of two series, which show no brain."""
    weightings = {case.series.key: weighting_seen(case.kinds) for case in cases}
    with_brain = sorted(
        (case.series for case in cases if weightings[case.series.key]), key=lambda series: (series.number, series.key)
    )
    for case in cases:
        if not case.t1_by_header or case.ruled or case.decisions or weightings[case.series.key] == Role.T1:
            continue
        try:
            case.kinds += difference_evidence(case.series, [s for s in with_brain if s.key != case.series.key], read)
        except ConversionError as error:
            case.could_not_judge("whether it is a difference of two series could not be judged", error)


def _find_contrast_agent(cases: Sequence[_Case], read: Read) -> None:
    """Add to every case the evidence of a contrast agent: its own header, comparisons, then the order of the study."""
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
    """Compare T1-weighted series in pairs: the most alike in any case, further pairs while a series is unsettled."""
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
                readable[series.key].could_not_judge("its contrast enhancement could not be judged", error)


def _readable(case: _Case) -> bool:
    try:
        return not case.decisions and shows_enough(case.series)
    except ConversionError:
        return False


def _uses_agent(case: _Case) -> bool:
    """Return whether a series shows perfusion with a contrast agent; arterial spin labelling needs none."""
    words = f"{case.series.acquisition.text} {case.series.acquisition.technique}"
    return case.of_kind("perfusion") >= MINIMUM_CONFIDENCE and "asl" not in words and "tgse" not in words


def _judge(case: _Case) -> Recognition:
    after = case.after_agent()
    shares = dict(kind_probabilities(case.kinds))
    t1 = shares.pop(Role.T1)
    shares |= {str(Role.T1): t1 * (1.0 - after), str(Role.T1CE): t1 * after}
    weighting = max(shares, key=lambda kind: (shares[kind], kind))
    kind, confidence = weighting, shares[weighting]
    reformatted = probability(REFORMAT_PRIOR, case.reformat)
    if reformatted > 0.5 and (weighting in _REFORMATTED or case.ruled == REFORMAT):
        kind, confidence = REFORMAT, reformatted
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
    found = [*case.kinds, *agent, *case.reformat]
    return tuple(sorted(found, key=lambda e: (-abs(e.weight), e.source, e.kind, e.says)))


def _needs(case: _Case, weighting: str, t1_weighted: float) -> tuple[str, ...]:
    """Return what would help to recognise a series whose kind is left open."""
    acquisition = case.series.acquisition
    if weighting in (Role.T1, Role.T1CE) and t1_weighted >= MINIMUM_CONFIDENCE:
        open_question = (
            "a contrast tag, or a word for before or after contrast in its description",
            "a T1-weighted series from before contrast to compare with, and acquisition times",
        )
        return (*open_question, "a site rule")
    missing = (
        ("a repetition time", acquisition.repetition_time_ms),
        ("an echo time", acquisition.echo_time_ms),
        ("a description that names its contrast", acquisition.description),
        ("pixels that can be judged", any(e.source == "pixels" and e.weight for e in case.kinds)),
    )
    return (*(what for what, there in missing if not there), "a site rule")
