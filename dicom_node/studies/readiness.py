"""Whether a study is ready: by what has come of it, never by a timer alone. Pure; `dicom_node.studies.assembly` asks.

The evidence for a series, in this order: the source holds no more of it; its own headers' number has come; the
associations that brought it were released and nothing came since; and, as the last resort, silence. What is known to
be incomplete is waited for longer, up to a bound, and is then not used.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from conversion.completeness import SeriesProgress
from conversion.sequences import Role
from conversion.study import SeriesUID
from dicom_node.studies.source_counts import SourceCounts

__all__ = ["Patience", "StudyTransfer", "Verdict", "judge"]


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How long is waited, all by the one setting ``assembly.quiet_period_s``.

    Attributes
    ----------
    quiet
        Silence after which a study of which nothing is known to be missing counts as complete.
    """

    quiet: timedelta

    @property
    def released(self) -> timedelta:
        """Silence after the last association was released: two thirds, above the pauses of 30 s that senders make."""
        return self.quiet * 2 / 3

    @property
    def aborted(self) -> timedelta:
        """Silence after an association that was aborted: three times, since senders try again after a while."""
        return self.quiet * 3

    @property
    def incomplete(self) -> timedelta:
        """Silence after which what is known to be missing is given up: fifteen times, 12.5 minutes as delivered.

        A PACS that lost its connection tries again within minutes.
        """
        return self.quiet * 15

    @property
    def examination(self) -> timedelta:
        """From the first image on, the bound of any waiting for more: 100 minutes as delivered."""
        return self.quiet * 120


@dataclass(frozen=True, kw_only=True)
class StudyTransfer:
    """When and how a study came.

    Attributes
    ----------
    open_associations
        How many of those that brought images of it are still open.
    released
        Whether the last that ended was released; False for one that was aborted or lost. None where none is known.
    patients
        How many patients its current images name.
    """

    first_at: datetime
    last_at: datetime
    open_associations: int = 0
    released: bool | None = None
    patients: int = 1


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What was found.

    Attributes
    ----------
    ready
        Whether to start.
    reason
        Why it counts as ready.
    awaited
        What is waited for, each in words.
    look_at
        When time alone would change the verdict.
    incomplete
        Series that must not be used, because images of them never came, each with a sentence.
    """

    ready: bool
    reason: str = ""
    awaited: tuple[str, ...] = ()
    look_at: datetime | None = None
    incomplete: Mapping[SeriesUID, str] = field(default_factory=dict)


def judge(
    series: Sequence[SeriesProgress],
    wanted: frozenset[Role],
    transfer: StudyTransfer,
    source: SourceCounts | None,
    patience: Patience,
    now: datetime,
) -> Verdict:
    """Judge a study.

    Parameters
    ----------
    series
        Those that may have a role.
    wanted
        Roles that are waited for; once each is there and whole, nothing else is.
    """
    whole = {one.series_uid: why for one in series if (why := _whole_because(one, source, patience, now))}
    lacking = _lacking(series, wanted)
    if series and not lacking and len(whole) == len(series) and transfer.patients == 1:
        reasons = dict.fromkeys(whole.values())
        return Verdict(ready=True, reason=f"every wanted sequence is whole: {'; '.join(reasons)}")
    case = _Case(series=series, whole=whole, lacking=lacking, transfer=transfer, source=source)
    return _by_silence(case, patience, now)


def _whole_because(one: SeriesProgress, source: SourceCounts | None, patience: Patience, now: datetime) -> str:
    """Return the evidence that nothing more of a series will come, or nothing."""
    if source is not None and source.missing.get(one.series_uid) == 0:
        settled = source.grew_at is None or now - source.grew_at >= patience.released
        if settled and source.counts[one.series_uid] <= one.held:
            return f"all that {source.peer} holds of them has come"
    if one.whole_as_stated and not one.flaw:
        return "as many images have come as their headers state"
    return ""


def _lacking(series: Sequence[SeriesProgress], wanted: frozenset[Role]) -> frozenset[Role]:
    """Return the wanted roles that no series is there for; one that may be either of two stands for one of them."""
    open_roles = set(wanted) - {role for one in series if one.sure and len(one.roles) == 1 for role in one.roles}
    for one in series:
        if len(one.roles) > 1 and (fits := sorted(open_roles & one.roles)):
            open_roles.discard(fits[0])
    return frozenset(open_roles)


def _awaited(case: "_Case") -> tuple[str, ...]:
    """Say what is waited for, as an administrator wants to read it."""
    found = [case.sentence(one) for one in case.series if one.series_uid not in case.whole]
    found += [f"{role}: nothing has come yet" for role in sorted(case.lacking)]
    if case.transfer.patients > 1:
        found.append(f"the images name {case.transfer.patients} patients: the rest of a correction")
    return tuple(found)


@dataclass(frozen=True, kw_only=True)
class _Case:
    """A study that is not ready by content."""

    series: Sequence[SeriesProgress]
    whole: Mapping[SeriesUID, str]
    lacking: frozenset[Role]
    transfer: StudyTransfer
    source: SourceCounts | None

    @property
    def missing(self) -> tuple[SeriesProgress, ...]:
        """Series of which images are known to be missing."""
        return tuple(one for one in self.series if one.series_uid not in self.whole and self._is_short(one))

    def sentence(self, one: SeriesProgress) -> str:
        at_source = self.source.counts.get(one.series_uid, 0) if self.source else 0
        if self.source and at_source > one.held:
            return f"{one.name}: {one.held} of {at_source} slices that {self.source.peer} holds"
        return one.awaits or f"{one.name}: {one.held} slices, and nothing tells yet that they are all"

    def patience(self, patience: Patience) -> timedelta:
        """Return how long silence has to last."""
        if self.missing or self.transfer.patients > 1:
            return patience.incomplete
        if self.transfer.released is False:
            return patience.aborted
        doubtful = any(one.doubt for one in self.series if one.series_uid not in self.whole)
        if self.transfer.released and not self.transfer.open_associations and not doubtful:
            return patience.released
        return patience.quiet

    def _is_short(self, one: SeriesProgress) -> bool:
        return bool(one.awaits) or (self.source is not None and self.source.missing.get(one.series_uid, 0) > 0)


def _by_silence(case: _Case, patience: Patience, now: datetime) -> Verdict:
    transfer, wait = case.transfer, case.patience(patience)
    bound = max(transfer.first_at + patience.examination, transfer.last_at + patience.quiet)
    deadline = min(transfer.last_at + wait, bound)
    if now < deadline:
        return Verdict(ready=False, awaited=_awaited(case), look_at=deadline)
    reason = f"nothing arrived for {(deadline - transfer.last_at).total_seconds():g} s"
    if wait == patience.released:
        reason += " after the association was released"
    elif case.missing:
        reason += f"; given up: {'; '.join(case.sentence(one) for one in case.missing)}"
    incomplete = {one.series_uid: case.sentence(one) for one in case.missing}
    return Verdict(ready=True, reason=reason, incomplete=incomplete)
