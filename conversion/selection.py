"""Selects which of the recognised series is used for each role, and gives the reason."""

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
"""How many pieces of evidence for the kind, and for or against contrast agent, a reason names; the decision has all."""

MANY_PARTS = 5
"""From this many unused volumes of one series on (diffusion directions, a time course), they share one decision."""


NOTHING: Mapping[SeriesUID, str] = MappingProxyType({})


@dataclass(frozen=True, kw_only=True)
class SeriesSelection:
    """The chosen series of each role.

    Attributes
    ----------
    reference
        The role whose native grid carries the result.
    decisions
        Why each series was used or not, including the decisions from reading the study.
    """

    study_uid: StudyUID
    series: Mapping[Role, Series]
    reference: Role
    decisions: tuple[Decision, ...]


@dataclass(frozen=True, kw_only=True)
class BestOfEachRole:
    """The best series of each role, and the roles for which every series is broken.

    Attributes
    ----------
    broken
        For a role whose acquired series are all broken: what is wrong with the first of them.
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
        The result of `conversion.recognition.recognise` for the series of the study.
    reference
        Preferred role of the reference, T1CE or FLAIR; the other one is used if it is missing.
    incomplete
        Series that are known to lack images, each with the reason; they count as broken.

    Raises
    ------
    UnusableStudy
        When there is neither T1 after contrast nor FLAIR.
    BrokenGeometry
        When every acquired series of a role is broken; a partial result would hide that.
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
    """Choose the best series of each role; a broken series excludes only itself.

    The order of preference, with reasons:

    1. acquired before derived, and a reformat last: reformatting interpolates, and hides gaps;
    2. the whole head before a slab: anything outside the slab would be taken for healthy;
    3. T2 and FLAIR before contrast agent rather than after it: leaking agent brightens FLAIR, which models were not
       trained on;
    4. the smaller maximum voxel spacing, so 3D isotropic before thick slices, even if these are fine in plane: all
       series are resampled to about 1 mm, and thick slices degrade volumes and surfaces;
    5. axial before other planes: reports are based on axial images;
    6. smaller voxels; 7. the earlier acquisition, but of several phases after contrast agent the latest, when most of
       the agent has arrived; 8. the lower series number.

    Among T1 series that are equal in 1 and 2, one with the same technique, plane and voxels as the chosen T1 after
    contrast agent comes first: such a pair differs in nothing but the agent.
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
    recorded = {(decision.subject, decision.reason) for decision in decisions}
    for recognition in recognitions:
        decisions += [d for d in recognition.decisions if not any(_repeats(d, *other) for other in recorded)]
    return BestOfEachRole(series=MappingProxyType(chosen), broken=MappingProxyType(broken), decisions=tuple(decisions))


def _repeats(decision: Decision, subject: str, reason: str) -> bool:
    return decision.subject == subject and reason in decision.reason


def _usable(
    candidates: Iterable[Recognition], incomplete: Mapping[SeriesUID, str], decisions: list[Decision]
) -> tuple[list[Recognition], list[BrokenGeometry]]:
    """Return the candidates that form a volume of a head, the best first, and the errors of the acquired ones."""
    known = list(candidates)
    phases = phases_of([candidate.series for candidate in known])
    ranked: list[tuple[tuple[float, ...], Recognition]] = []
    broken: list[BrokenGeometry] = []
    for candidate in known:
        series = candidate.series
        try:
            enough = shows_enough(series)  # raises if slices are missing, and names them
            _check_complete(series, incomplete)
            if enough:
                ranked.append((_rank(candidate, phases.get(series.key)), candidate))
                continue
        except BrokenGeometry as error:
            if candidate.kind != REFORMAT:
                broken.append(error)
            decisions.append(_decision(str(error.reason), candidate, str(error)))
            continue
        extent = f"{len(series.images)} images within less than {MINIMUM_EXTENT_MM:g} mm"
        reason = f"not used: {candidate.weighting}, but it shows too little of a head ({extent})"
        decisions.append(_decision("not_used", candidate, reason))
    ranked.sort(key=lambda pair: pair[0], reverse=True)
    return [candidate for _, candidate in ranked], broken


def _counterpart_first(before: list[Recognition], after: Recognition) -> list[Recognition]:
    """Return T1 series, the best first, but begin with the one that matches the T1 after contrast agent."""
    best = _rank(before[0], None)[:2]
    for candidate in before:
        if _rank(candidate, None)[:2] == best and same_technique(candidate.series, after.series):
            return [candidate, *(other for other in before if other is not candidate)]
    return before


def _check_complete(series: Series, incomplete: Mapping[SeriesUID, str]) -> None:
    if series.series_uid in incomplete:
        sentence = f"{series.name} is incomplete ({incomplete[series.series_uid]}); send the missing images"
        raise BrokenGeometry(ConversionReason.MISSING_SLICE, sentence)


def _rank(candidate: Recognition, phase: Phase | None) -> tuple[float, ...]:
    """Return the rank of a candidate by the order of `best_of_each_role`; the greatest is the best."""
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
        yield _decision(
            "reformat_used", best, f"a reformat is used as {role}, because no acquired series has that role"
        )
    for other in others:
        reason = (
            f"also {role} ({other.weighting_confidence:.0%}), but {best.series.name} is preferred (by acquisition, "
            "coverage, before contrast, same technique as T1 after contrast, voxel size, plane and time)"
        )
        yield _decision("not_used", other, reason)


def _unused(recognitions: Iterable[Recognition]) -> Iterable[Decision]:
    """Yield decisions on the series without a role; many volumes of one kind and series share one."""
    groups: dict[tuple[SeriesUID, str], list[Recognition]] = {}
    for recognition in recognitions:
        groups.setdefault((recognition.series.series_uid, recognition.kind), []).append(recognition)
    for (_, kind), group in groups.items():
        shared = group if len(group) < MANY_PARTS else group[:1]
        for recognition in shared:
            count = f", {len(group)} volumes" if shared != group else ""
            if recognition.abstained:
                yield _decision("abstained", recognition, _not_determined(recognition) + count)
            else:
                reason = f"not used: {kind} ({recognition.confidence:.0%}{count}): {_because(recognition)}"
                yield _decision("not_used", recognition, reason, all_volumes=shared != group)


def _not_determined(recognition: Recognition) -> str:
    return (
        f"its kind is uncertain: most likely {recognition.weighting} ({recognition.confidence:.0%}, at least "
        f"{MINIMUM_CONFIDENCE:.0%} needed); what would help: {'; '.join(recognition.needs)}"
    )


def _because(recognition: Recognition) -> str:
    """Return the strongest evidence for the kind of a series, and for it being before or after contrast."""
    weighting = recognition.weighting
    kinds = {recognition.kind, "T1" if weighting == Role.T1CE else weighting}
    for_kind = [e.says for e in recognition.evidence if e.kind in kinds and e.kind != Role.T1CE and e.weight > 0]
    sign = {Role.T1: -1.0, Role.T1CE: 1.0}.get(Role(weighting), 0.0) if weighting in list(Role) else 0.0
    for_agent = [e.says for e in recognition.evidence if e.kind == Role.T1CE and e.weight * sign > 0]
    return "; ".join((*for_kind[:NAMED_EACH], *for_agent[:NAMED_EACH])) or "the usual composition of such studies"


def _decision(code: str, recognition: Recognition, reason: str, *, all_volumes: bool = False) -> Decision:
    series = recognition.series
    return Decision(
        code=code,
        subject=f"series {series.number}" if all_volumes else series.name,
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
        f"neither T1 after contrast nor FLAIR was recognised; one of them is needed (found: {', '.join(found)}); "
        f"what would help: {'; '.join(helps) or 'such a series, or a site rule that names one'}"
    )
    raise UnusableStudy(ConversionReason.NO_REFERENCE, sentence)
