"""Which series is T1, T1 after contrast, T2 and FLAIR, and why."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from conversion.decision import Decision
from conversion.errors import BrokenGeometry, ConversionReason, UnusableStudy
from conversion.sequences import Contrast, Role, classify_contrast, marks_contrast_agent
from conversion.stack import stack_slices
from conversion.study import Series, Study, StudyUID

__all__ = ["SeriesSelection", "select_series"]

MINIMUM_COVERAGE_MM = 90.0
"""A slab thinner than this along its slice axis does not cover a brain (about 140 mm high, 120 mm wide)."""


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


@dataclass(kw_only=True)
class _Candidate:
    series: Series
    contrast: Contrast
    role: Role | None = None
    evidence: str = ""
    rank: tuple[float, ...] = field(default=())


def select_series(study: Study, reference: Role = Role.T1CE) -> SeriesSelection:
    """Choose one series for each role.

    Parameters
    ----------
    reference
        Preferred role of the reference, T1CE or FLAIR; the other one is taken when it is missing.

    Raises
    ------
    UnusableStudy
        When neither T1 after contrast nor FLAIR is there.
    BrokenGeometry
        When every candidate of a role is broken: a partial result would hide that.
    """
    decisions = list(study.decisions)
    candidates = [_Candidate(series=series, contrast=classify_contrast(series)) for series in study.series]
    _assign_roles(candidates)
    chosen: dict[Role, Series] = {}
    for role in Role:
        best = _best([c for c in candidates if c.role is role], decisions)
        if best is not None:
            chosen[role] = best.series
            decisions.append(Decision(code="role", subject=best.series.name, reason=f"{role}: {best.evidence}"))
    for candidate in candidates:
        if candidate.role is None:
            reason = f"not used: {candidate.contrast.kind} ({candidate.contrast.evidence})"
            decisions.append(Decision(code="not_used", subject=candidate.series.name, reason=reason))
    found = _reference(chosen, candidates, reference)
    return SeriesSelection(
        study_uid=study.study_uid,
        series=MappingProxyType(chosen),
        reference=found,
        decisions=tuple(decisions),
    )


def _reference(chosen: Mapping[Role, Series], candidates: list[_Candidate], preferred: Role) -> Role:
    for role in (preferred, Role.T1CE, Role.FLAIR):
        if role in chosen:
            return role
    seen = ", ".join(f"{c.series.name} {c.contrast.kind}" for c in candidates)
    sentence = f"neither T1 after contrast nor FLAIR recognised, and one of them is needed (found: {seen})"
    raise UnusableStudy(ConversionReason.NO_REFERENCE, sentence)


def _assign_roles(candidates: list[_Candidate]) -> None:
    for candidate in candidates:
        kind, evidence = candidate.contrast.kind, candidate.contrast.evidence
        if kind == "T1":
            agent = marks_contrast_agent(candidate.series.acquisition)
            candidate.role = Role.T1CE if agent else Role.T1
            candidate.evidence = f"{evidence}; {agent}" if agent else evidence
        elif kind in (Role.T2, Role.FLAIR):
            candidate.role, candidate.evidence = Role(kind), evidence
    if not any(candidate.role is Role.T1CE for candidate in candidates):
        _assign_contrast_by_time([c for c in candidates if c.role is Role.T1])


def _assign_contrast_by_time(t1: list[_Candidate]) -> None:
    """Take the later of two T1 series of equal protocol as the one after contrast.

    No header says so here; but a site that repeats a T1 protocol within one study does it for the contrast agent.
    """
    for later in sorted(t1, key=lambda c: c.series.acquisition.acquired_at or 0.0, reverse=True):
        for earlier in t1:
            minutes = _minutes_between(earlier, later)
            if minutes > 0 and _same_protocol(earlier.series, later.series):
                later.role = Role.T1CE
                later.evidence += (
                    f"; no contrast tag, but the protocol of {earlier.series.name} repeated {minutes:.0f} min later, "
                    "taken as after contrast"
                )
                return


def _minutes_between(earlier: _Candidate, later: _Candidate) -> float:
    start, end = earlier.series.acquisition.acquired_at, later.series.acquisition.acquired_at
    return (end - start) / 60.0 if start is not None and end is not None else 0.0


def _same_protocol(first: Series, second: Series) -> bool:
    a, b = first.acquisition, second.acquisition
    times = ((a.repetition_time_ms, b.repetition_time_ms), (a.echo_time_ms, b.echo_time_ms))
    close = all(x is not None and y is not None and abs(x - y) <= 0.05 * max(x, y) for x, y in times)
    return close and a.scanning_sequence == b.scanning_sequence and len(first.images) == len(second.images)


def _best(candidates: list[_Candidate], decisions: list[Decision]) -> _Candidate | None:
    """Return the best candidate whose slices make a volume; the others become decisions."""
    usable: list[_Candidate] = []
    broken: list[BrokenGeometry] = []
    for candidate in candidates:
        try:
            candidate.rank = _rank(candidate.series)
            usable.append(candidate)
        except BrokenGeometry as error:
            broken.append(error)
            decisions.append(Decision(code=error.reason, subject=candidate.series.name, reason=str(error)))
    if broken and not usable:
        raise broken[0]
    usable.sort(key=lambda candidate: candidate.rank, reverse=True)
    for other in usable[1:]:
        reason = f"also {other.role}, but {usable[0].series.name} is preferred (acquired, coverage, voxel size, time)"
        decisions.append(Decision(code="not_used", subject=other.series.name, reason=reason))
    return usable[0] if usable else None


def _rank(series: Series) -> tuple[float, ...]:
    """Order candidates: acquired before reformatted, whole head, smaller voxels, then the earlier one."""
    grid = stack_slices(series).grid
    image_type = series.acquisition.image_type
    acquired = image_type[:1] != ("DERIVED",) and not {"PROJECTION IMAGE", "MPR", "REFORMATTED"} & set(image_type)
    covers = grid.shape[0] * grid.spacing_mm[0] >= MINIMUM_COVERAGE_MM
    voxel = round(-grid.voxel_volume_ml, 5)
    return (float(acquired), float(covers), voxel, -(series.acquisition.acquired_at or 0.0))
