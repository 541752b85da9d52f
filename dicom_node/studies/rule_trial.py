"""What a change of the site rules would do to the studies that the node holds."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import structlog

from conversion.errors import ConversionError
from conversion.reading import read_studies
from conversion.recognition.recognise import Recognition, recognise
from conversion.recognition.site_rules import SiteRule
from conversion.study import Series
from conversion.volume import ImageVolume
from dicom_node.database.engine import Database
from dicom_node.rules.site_rules import site_rules
from dicom_node.studies.holdings import HeldStudy, Holdings
from dicom_node.studies.stored_study import headers_only, stored_study

__all__ = ["KindChange", "Trial", "try_rules"]

LOOKED_AT = 100
"""Newest studies of which one image per series is read: about a second."""

RECOGNISED_AGAIN = 10
"""Of these, the newest with a matching series are recognised again: about a second each, to read their headers."""

_log = structlog.get_logger()

Reader = Callable[[Series], ImageVolume]


@dataclass(frozen=True, kw_only=True)
class KindChange:
    """One series that would be another kind; `description` is the site's free text, to be shown only to people."""

    study_key: str
    series: str
    description: str
    before: str
    after: str


@dataclass(frozen=True, kw_only=True)
class Trial:
    """What a change of rules would do.

    Attributes
    ----------
    changes
        Each series that would be another kind, the newest study first.
    fitting
        Number of series that the added, changed or removed rules match, in the studies that were recognised again.
    overruled
        Number of these that would not get the kind of such a rule: an earlier rule decides, or the rule is removed.
    studies, not_tried, looked_at
        Number of studies that were recognised again, of further studies that may have matching series, and of the
        newest studies that were searched for them.
    unreadable
        Number of these with files that cannot be read, so that nothing is known about them.
    """

    changes: tuple[KindChange, ...]
    fitting: int
    overruled: int
    studies: int
    not_tried: int
    looked_at: int
    unreadable: int


@dataclass(frozen=True, kw_only=True)
class _Outcome:
    changes: list[KindChange]
    fitting: int
    overruled: int


def try_rules(
    database: Database,
    folder: Path,
    rules: Sequence[SiteRule],
    *,
    read: Reader = headers_only,
    looked_at: int = LOOKED_AT,
    recognised_again: int = RECOGNISED_AGAIN,
) -> Trial:
    """Recognise stored studies by the present rules and by others, and return where the kinds differ.

    Parameters
    ----------
    rules
        All rules as they would be after the change.
    read
        Reads the pixels of a series, `conversion.reading.read_series`; by default headers alone are used.
    looked_at, recognised_again
        Maximum number of studies, the newest first.
    """
    present = site_rules(database)
    sought = set(present) ^ set(rules) or set(rules)
    outcomes: list[_Outcome] = []
    not_tried = examined = unreadable = 0
    for held in islice(Holdings(database, folder).studies(), looked_at):
        examined += 1
        try:
            if not _any_may_fit(held, sought):
                continue
            if len(outcomes) == recognised_again:
                not_tried += 1
                continue
            study = stored_study(database, folder, held.study_uid)
            outcomes.append(_compare(held, recognise(study, read, present), recognise(study, read, rules), sought))
        except Exception as error:  # noqa: BLE001 - files from outside: the trial goes on without their study
            unreadable += 1
            _log.warning("held_study_unreadable", study=held.key, error=type(error).__name__)
    return Trial(
        changes=tuple(change for outcome in outcomes for change in outcome.changes),
        fitting=sum(outcome.fitting for outcome in outcomes),
        overruled=sum(outcome.overruled for outcome in outcomes),
        studies=len(outcomes),
        not_tried=not_tried,
        looked_at=examined,
        unreadable=unreadable,
    )


def _any_may_fit(held: HeldStudy, rules: set[SiteRule]) -> bool:
    """Return whether a rule may match one of a study's series, judged by one image of each."""
    try:
        samples = [series for study in read_studies(s.sample for s in held.series) for series in study.series]
    except ConversionError:  # nothing of it is an MR image
        return False
    return any(_may_fit(rule, series) for rule in rules for series in samples)


def _may_fit(rule: SiteRule, series: Series) -> bool:
    """Return whether a rule may match; the sequence name is ignored, as only it can differ within a series."""
    if not any((rule.manufacturer, rule.station, rule.description, rule.protocol)):
        return True
    return replace(rule, technique="").matches(series)


def _compare(
    held: HeldStudy, before: Sequence[Recognition], after: Sequence[Recognition], sought: set[SiteRule]
) -> _Outcome:
    kinds = {recognition.series.key: recognition.kind for recognition in before}
    changes = [
        KindChange(
            study_key=held.key,
            series=recognition.series.name,
            description=recognition.series.acquisition.description,
            before=kinds[recognition.series.key],
            after=recognition.kind,
        )
        for recognition in after
        if recognition.kind != kinds[recognition.series.key]
    ]
    by_rules = [(each.kind, {rule.kind for rule in sought if rule.matches(each.series)}) for each in after]
    return _Outcome(
        changes=changes,
        fitting=sum(bool(rule_kinds) for _, rule_kinds in by_rules),
        overruled=sum(bool(rule_kinds) and kind not in rule_kinds for kind, rule_kinds in by_rules),
    )
