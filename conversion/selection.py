"""Which of the recognised series is used for each role, and why."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from conversion.decision import Decision
from conversion.errors import BrokenGeometry, ConversionReason, UnusableStudy
from conversion.pairing import same_technique
from conversion.recognition.geometry_evidence import plane_of
from conversion.recognition.pixel_evidence import MINIMUM_EXTENT_MM, shows_enough
from conversion.recognition.recognise import MINIMUM_CONFIDENCE, Recognition
from conversion.recognition.time_course import Phase, phases_of
from conversion.sequences import REFORMAT, Role
from conversion.stack import stack_slices
from conversion.study import Series, SeriesUID, Study, StudyUID

__all__ = ["BestOfEachRole", "SeriesSelection", "best_of_each_role", "select_series"]

MINIMUM_COVERAGE_MM = 90.0
"""A slab thinner than this along its slice axis does not cover a brain (about 140 mm high, 120 mm wide)."""

NAMED_EACH = 2
"""How many pieces of evidence for its kind, and for or against contrast agent, a reason names; the decision has all."""

MANY_PARTS = 5
"""From this many unused volumes of one series on (directions of diffusion, a course in time) they share a decision."""


NOTHING: Mapping[SeriesUID, str] = MappingProxyType({})


@dataclass(frozen=True, kw_only=True)
class SeriesSelection:
    """The chosen series of each role.

    Attributes
    ----------
    reference
        The role whose native grid carries the result.
    decisions
        Why each series was taken or left, including what reading the study had decided.
    """

    study_uid: StudyUID
    series: Mapping[Role, Series]
    reference: Role
    decisions: tuple[Decision, ...]


@dataclass(frozen=True, kw_only=True)
class BestOfEachRole:
    """The best series of each role, and the roles that no whole series is left for.

    Attributes
    ----------
    broken
        What is wrong with the first series of a role whose acquired series are all broken.
    """

    series: Mapping[Role, Series]
    broken: Mapping[Role, BrokenGeometry]
    decisions: tuple[Decision, ...]


def select_series(
    study: Study,
    recognitions: Sequence[Recognition],
    reference: Role = Role.T1CE,
    incomplete: Mapping[SeriesUID, str] = NOTHING,
) -> SeriesSelection:
    """Choose one series for each role.

    Parameters
    ----------
    recognitions
        What `conversion.recognition.recognise` says of the study's series.
    reference
        Preferred role of the reference, T1CE or FLAIR; the other one is taken when it is missing.
    incomplete
        Series of which images are known to be missing, in a sentence; they count as broken.

    Raises
    ------
    UnusableStudy
        When neither T1 after contrast nor FLAIR is there.
    BrokenGeometry
        When every acquired series of a role is broken: a partial result would hide that.
    """
    best = best_of_each_role(recognitions, incomplete)
    for error in best.broken.values():
        raise error
    return SeriesSelection(
        study_uid=study.study_uid,
        series=best.series,
        reference=_reference(best.series, recognitions, reference, study.decisions),
        decisions=(*study.decisions, *best.decisions),
    )


def best_of_each_role(
    recognitions: Sequence[Recognition], incomplete: Mapping[SeriesUID, str] = NOTHING
) -> BestOfEachRole:
    """Choose the best series of each role; a broken one costs only itself.

    The order of preference, each with its reason:

    1. acquired before derived, and a reformat last: each cut through a volume interpolates, and hides gaps;
    2. the whole head before a slab: what is outside of the slab would be taken for healthy;
    3. T2 and FLAIR before contrast agent before those after it: leaking agent brightens FLAIR, as models never saw it;
    4. the smaller coarsest side of a voxel, so 3D isotropic before thick slices however fine in their plane: all is
       resampled to about 1 mm, and thickness is what volumes and surfaces suffer from;
    5. axial before other planes: what reports are made on;
    6. smaller voxels; 7. the earlier acquisition, but of the phases of one course after contrast agent the latest, when
       most of it has arrived; 8. the lower number.

    Of T1 that are equal in 1 and 2, one of the same technique, plane and voxels as the chosen T1 after contrast agent
    comes first: what differs between such a pair is the agent, and nothing else.
    """
    decisions: list[Decision] = []
    chosen: dict[Role, Series] = {}
    broken: dict[Role, BrokenGeometry] = {}
    usable: dict[Role, list[Recognition]] = {}
    for role in Role:
        usable[role], errors = _usable([r for r in recognitions if r.role is role], incomplete, decisions)
        if errors and not usable[role]:
            broken[role] = errors[0]
    if usable[Role.T1] and usable[Role.T1CE]:
        usable[Role.T1] = _counterpart_first(usable[Role.T1], usable[Role.T1CE][0])
    for role in (role for role in Role if usable[role]):
        chosen[role] = usable[role][0].series
        decisions += _taken(role, usable[role])
    decisions += _unused([r for r in recognitions if r.role is None])
    told = {(decision.subject, decision.reason) for decision in decisions}
    for recognition in recognitions:
        decisions += [d for d in recognition.decisions if not any(_says_same(d, *other) for other in told)]
    return BestOfEachRole(series=MappingProxyType(chosen), broken=MappingProxyType(broken), decisions=tuple(decisions))


def _says_same(decision: Decision, subject: str, reason: str) -> bool:
    return decision.subject == subject and reason in decision.reason


def _usable(
    candidates: Iterable[Recognition], incomplete: Mapping[SeriesUID, str], decisions: list[Decision]
) -> tuple[list[Recognition], list[BrokenGeometry]]:
    """Return the candidates that make a volume of a head, the best first, and what is wrong with acquired ones."""
    known = list(candidates)
    phases = phases_of([candidate.series for candidate in known])
    ranked: list[tuple[tuple[float, ...], Recognition]] = []
    broken: list[BrokenGeometry] = []
    for candidate in known:
        series = candidate.series
        try:
            enough = shows_enough(series)  # raises where slices are missing, and says which
            _check_whole(series, incomplete)
            if enough:
                ranked.append((_rank(candidate, phases.get(series.key)), candidate))
                continue
        except BrokenGeometry as error:
            if candidate.kind != REFORMAT:
                broken.append(error)
            decisions.append(_decision(str(error.reason), candidate, str(error)))
            continue
        reason = (
            f"not used: {candidate.weighting}, but {len(series.images)} images in less than {MINIMUM_EXTENT_MM:g} mm"
        )
        decisions.append(_decision("not_used", candidate, f"{reason} show too little of a head"))
    ranked.sort(key=lambda pair: pair[0], reverse=True)
    return [candidate for _, candidate in ranked], broken


def _counterpart_first(before: list[Recognition], after: Recognition) -> list[Recognition]:
    """Return T1, the best first, in an order that begins with the counterpart of a T1 after contrast agent."""
    best = _rank(before[0], None)[:2]
    for candidate in before:
        if _rank(candidate, None)[:2] == best and same_technique(candidate.series, after.series):
            return [candidate, *(other for other in before if other is not candidate)]
    return before


def _check_whole(series: Series, incomplete: Mapping[SeriesUID, str]) -> None:
    if series.series_uid in incomplete:
        sentence = f"{series.name} never became whole ({incomplete[series.series_uid]}); send the missing images"
        raise BrokenGeometry(ConversionReason.MISSING_SLICE, sentence)


def _rank(candidate: Recognition, phase: Phase | None) -> tuple[float, ...]:
    """Order candidates as `best_of_each_role` says; the greatest is the best."""
    series = candidate.series
    grid = stack_slices(series).grid
    acquired = 0.0 if candidate.kind == REFORMAT else 1.0 if series.acquisition.image_type[:1] == ("DERIVED",) else 2.0
    covers = grid.shape[0] * grid.spacing_mm[0] >= MINIMUM_COVERAGE_MM
    unenhanced = candidate.weighting not in (Role.T2, Role.FLAIR) or candidate.after_contrast < 0.5
    return (
        acquired,
        float(covers),
        float(unenhanced),
        -round(float(grid.spacing_mm.max()), 1),
        float(plane_of(series) == "axial"),
        -round(grid.voxel_volume_ml, 5),
        -(phase.began_at if phase else series.acquisition.acquired_at or 0.0),
        (1.0 if candidate.weighting == Role.T1CE else -1.0) * (phase.place if phase else 0),
        -float(series.number),
    )


def _taken(role: Role, usable: Sequence[Recognition]) -> Iterable[Decision]:
    best, *others = usable
    yield _decision("role", best, f"{role} ({best.weighting_confidence:.0%}): {_because(best)}")
    yield from stack_slices(best.series).decisions
    if best.kind == REFORMAT:
        yield _decision("reformat_used", best, f"a reformat is used as {role}: no acquired series has that role")
    for other in others:
        reason = (
            f"also {role} ({other.weighting_confidence:.0%}), but {best.series.name} is preferred "
            "(acquired, coverage, before contrast, same technique as T1 after contrast, voxel size, plane, time)"
        )
        yield _decision("not_used", other, reason)


def _unused(recognitions: Iterable[Recognition]) -> Iterable[Decision]:
    """Say what series are that have no role; many volumes of one kind and series at once."""
    groups: dict[tuple[SeriesUID, str], list[Recognition]] = {}
    for recognition in recognitions:
        groups.setdefault((recognition.series.series_uid, recognition.kind), []).append(recognition)
    for (_, kind), group in groups.items():
        shared = group if len(group) < MANY_PARTS else group[:1]
        for recognition in shared:
            count = f", {len(group)} volumes" if shared != group else ""
            if recognition.abstained:
                yield _decision("abstained", recognition, _left_open(recognition) + count)
            else:
                reason = f"not used: {kind} ({recognition.confidence:.0%}{count}): {_because(recognition)}"
                yield _decision("not_used", recognition, reason, whole=shared != group)


def _left_open(recognition: Recognition) -> str:
    return (
        f"its kind is left open: most likely {recognition.weighting} ({recognition.confidence:.0%}), and "
        f"{MINIMUM_CONFIDENCE:.0%} are asked for; what would help: {'; '.join(recognition.needs)}"
    )


def _because(recognition: Recognition) -> str:
    """Return the weightiest evidence that speaks for what a series is, and what tells before from after contrast."""
    weighting = recognition.weighting
    kinds = {recognition.kind, "T1" if weighting == Role.T1CE else weighting}
    for_kind = [e.says for e in recognition.evidence if e.kind in kinds and e.kind != Role.T1CE and e.weight > 0]
    sign = {Role.T1: -1.0, Role.T1CE: 1.0}.get(Role(weighting), 0.0) if weighting in list(Role) else 0.0
    for_agent = [e.says for e in recognition.evidence if e.kind == Role.T1CE and e.weight * sign > 0]
    return "; ".join((*for_kind[:NAMED_EACH], *for_agent[:NAMED_EACH])) or "what is usual in such studies"


def _decision(code: str, recognition: Recognition, reason: str, *, whole: bool = False) -> Decision:
    series = recognition.series
    return Decision(
        code=code,
        subject=f"series {series.number}" if whole else series.name,
        reason=reason,
        series_uid=series.series_uid,
        evidence=recognition.evidence,
    )


def _reference(
    chosen: Mapping[Role, Series],
    recognitions: Sequence[Recognition],
    preferred: Role,
    decisions: Iterable[Decision],
) -> Role:
    for role in (preferred, Role.T1CE, Role.FLAIR):
        if role in chosen:
            return role
    found = dict.fromkeys(
        f"{r.series.name} perhaps {r.weighting} ({r.confidence:.0%})" if r.abstained else f"{r.series.name} {r.kind}"
        for r in recognitions
    )
    hopeful = [r for r in recognitions if r.abstained and r.weighting in (Role.T1, Role.T1CE, Role.FLAIR)]
    apart = [decision.reason for decision in decisions if decision.code == "series_apart"]
    helps = dict.fromkeys([*apart, *(need for r in hopeful for need in r.needs)])
    sentence = (
        f"neither T1 after contrast nor FLAIR recognised, and one of them is needed (found: {', '.join(found)}); "
        f"what would help: {'; '.join(helps) or 'such a series, or a site rule that names one'}"
    )
    raise UnusableStudy(ConversionReason.NO_REFERENCE, sentence)
