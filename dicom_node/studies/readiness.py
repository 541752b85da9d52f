"""Decides whether a study is complete enough to process. Pure functions, called by `dicom_node.studies.assembly`.

The evidence that a series is complete, in this order:

1. the source holds no more images of it;
2. as many images were received as its own headers state;
3. the associations that sent it were released, and nothing has arrived since;
4. as the last resort, nothing has arrived for a longer time (silence).

The node waits longer for a series that is known to be incomplete, up to a limit, and then does not use it.
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
    """How long the node waits, derived from the one setting ``assembly.quiet_period_s``.

    Attributes
    ----------
    quiet
        Silence after which a study counts as complete if nothing is known to be missing.
    """

    quiet: timedelta

    @property
    def released(self) -> timedelta:
        """Silence after the last association was released: two thirds, longer than the 30 s that senders pause."""
        return self.quiet * 2 / 3

    @property
    def aborted(self) -> timedelta:
        """Silence after an aborted association: three times as long, because senders try again after a while."""
        return self.quiet * 3

    @property
    def incomplete(self) -> timedelta:
        """Silence after which missing images are no longer awaited: fifteen times as long, 12.5 minutes by default.

        A PACS that lost its connection tries again within minutes.
        """
        return self.quiet * 15

    @property
    def examination(self) -> timedelta:
        """Upper limit of any waiting, from the first image on: 100 minutes by default."""
        return self.quiet * 120


@dataclass(frozen=True, kw_only=True)
class StudyTransfer:
    """When and how a study was received.

    Attributes
    ----------
    open_associations
        Number of associations that sent images of it and are still open.
    released
        Whether the association that ended last was released; False if it was aborted or lost, None if none is known.
    patients
        Number of different patients in its current images.
    """

    first_at: datetime
    last_at: datetime
    open_associations: int = 0
    released: bool | None = None
    patients: int = 1


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Whether a study is ready to be processed.

    Attributes
    ----------
    ready
        Whether to start.
    reason
        Why it counts as ready.
    awaited
        What the node waits for, in sentences.
    look_at
        When the verdict changes if nothing arrives.
    incomplete
        Series that must not be used because images are missing, each with a sentence.
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
    """Decide whether a study is ready.

    Parameters
    ----------
    series
        Series that may have a role.
    wanted
        Roles to wait for. Once each is there and complete, the node waits for nothing else.
    """
    complete = {one.series_uid: why for one in series if (why := _complete_because(one, source, patience, now))}
    lacking = _lacking(series, wanted)
    if series and not lacking and len(complete) == len(series) and transfer.patients == 1:
        reasons = dict.fromkeys(complete.values())
        return Verdict(ready=True, reason=f"every wanted sequence is complete: {'; '.join(reasons)}")
    case = _Case(series=series, complete=complete, lacking=lacking, transfer=transfer, source=source)
    return _by_silence(case, patience, now)


def _complete_because(one: SeriesProgress, source: SourceCounts | None, patience: Patience, now: datetime) -> str:
    """Return the evidence that no more images of a series will arrive; empty if there is none."""
    if source is not None and source.missing.get(one.series_uid) == 0:
        settled = source.grew_at is None or now - source.grew_at >= patience.released
        if settled and source.counts[one.series_uid] <= one.held:
            return f"all images that {source.peer} holds were received"
    if one.whole_as_stated and not one.flaw:
        return "as many images were received as the headers state"
    return ""


def _lacking(series: Sequence[SeriesProgress], wanted: frozenset[Role]) -> frozenset[Role]:
    """Return the wanted roles without a series; a series that may have either of two roles counts for one of them."""
    open_roles = set(wanted) - {role for one in series if one.sure and len(one.roles) == 1 for role in one.roles}
    for one in series:
        if len(one.roles) > 1 and (fits := sorted(open_roles & one.roles)):
            open_roles.discard(fits[0])
    return frozenset(open_roles)


def _awaited(case: "_Case") -> tuple[str, ...]:
    """Return what the node waits for, in sentences for an administrator."""
    awaited = [case.sentence(one) for one in case.series if one.series_uid not in case.complete]
    awaited += [f"{role}: nothing received yet" for role in sorted(case.lacking)]
    if case.transfer.patients > 1:
        awaited.append(f"the images name {case.transfer.patients} patients: the rest of a correction is awaited")
    return tuple(awaited)


@dataclass(frozen=True, kw_only=True)
class _Case:
    """A study whose content does not show that it is ready."""

    series: Sequence[SeriesProgress]
    complete: Mapping[SeriesUID, str]
    lacking: frozenset[Role]
    transfer: StudyTransfer
    source: SourceCounts | None

    @property
    def missing(self) -> tuple[SeriesProgress, ...]:
        """Series of which images are known to be missing."""
        return tuple(one for one in self.series if one.series_uid not in self.complete and self._is_short(one))

    def sentence(self, one: SeriesProgress) -> str:
        at_source = self.source.counts.get(one.series_uid, 0) if self.source else 0
        if self.source and at_source > one.held:
            return f"{one.name}: {one.held} of {at_source} slices that {self.source.peer} holds"
        return one.awaits or f"{one.name}: {one.held} slices; it is not known yet whether these are all"

    def patience(self, patience: Patience) -> timedelta:
        """Return how long silence has to last before the study counts as ready."""
        if self.missing or self.transfer.patients > 1:
            return patience.incomplete
        if self.transfer.released is False:
            return patience.aborted
        doubtful = any(one.doubt for one in self.series if one.series_uid not in self.complete)
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
        reason += f"; no longer awaited: {'; '.join(case.sentence(one) for one in case.missing)}"
    incomplete = {one.series_uid: case.sentence(one) for one in case.missing}
    return Verdict(ready=True, reason=reason, incomplete=incomplete)
