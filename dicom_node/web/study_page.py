"""What the page of one study shows of its series: what each was taken for, how surely, and by which evidence."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from conversion.decision import Decision
from conversion.errors import ConversionError
from conversion.recognition.recognise import recognise
from conversion.recognition.site_rules import SiteRule
from conversion.study import Series, Study
from dicom_node.database.engine import Database
from dicom_node.rules.site_rules import patterns_of, site_rules
from dicom_node.runs.recognised import Recognised, recognised_as, recognised_in_newest_run
from dicom_node.studies.status import StudyStatus
from dicom_node.studies.stored_study import headers_only, stored_study

__all__ = ["SeriesShown", "StudyShown", "show_study"]

_log = structlog.get_logger()


@dataclass(frozen=True, kw_only=True)
class SeriesShown:
    """One series as the page shows it; descriptions are the site's free text, for people's eyes only.

    Attributes
    ----------
    role
        The role it was chosen for in the newest run, or empty.
    recognised
        As the newest run did; else by headers alone.
    recorded
        Whether it was the newest run.
    decisions
        What the newest run decided about it.
    rule
        The site rule that fits it now, or None.
    patterns
        Patterns that fit it literally, to begin a new rule with.
    """

    series: Series
    role: str
    recognised: Recognised
    recorded: bool
    decisions: tuple[str, ...]
    rule: SiteRule | None
    patterns: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class StudyShown:
    """The series of a study, what was decided beside them, and why they cannot be shown where they cannot."""

    series: tuple[SeriesShown, ...]
    decisions: tuple[Decision, ...]
    problem: str = ""


def show_study(database: Database, folder: Path, status: StudyStatus) -> StudyShown:
    """Bring together what the files, the newest run and the site's rules say of a study."""
    try:
        return _read_and_shown(database, folder, status)
    except ConversionError as error:
        return StudyShown(series=(), decisions=status.decisions, problem=str(error))
    except Exception as error:  # noqa: BLE001 - a stranger's files: whatever they hold, the page answers
        _log.exception("study_page_unreadable", study=status.key)
        problem = f"a file of it cannot be read as DICOM ({type(error).__name__}); send the study again, or without it."
        return StudyShown(series=(), decisions=status.decisions, problem=problem)


def _read_and_shown(database: Database, folder: Path, status: StudyStatus) -> StudyShown:
    study = stored_study(database, folder, status.study_uid)
    rules = site_rules(database)
    kept = {(each.series_uid, each.part): each for each in recognised_in_newest_run(database, status.study_uid)}
    now = _by_headers(study, rules, known=kept)
    series = tuple(_shown(one, status, rules, kept.get(one.key), now) for one in study.series)
    told = {decision for one in study.series for decision in _about(one, status)}
    return StudyShown(series=series, decisions=tuple(each for each in status.decisions if each not in told))


def _by_headers(
    study: Study, rules: Sequence[SiteRule], known: Mapping[Any, Recognised]
) -> dict[tuple[str, str], Recognised]:
    if all(series.key in known for series in study.series):
        return {}
    return {each.series.key: recognised_as(each) for each in recognise(study, headers_only, rules)}


def _shown(
    series: Series,
    status: StudyStatus,
    rules: Sequence[SiteRule],
    kept: Recognised | None,
    now: Mapping[tuple[str, str], Recognised],
) -> SeriesShown:
    sequences = status.summary.get("sequences", {})
    return SeriesShown(
        series=series,
        role=next((role for role, name in sequences.items() if name == series.name), ""),
        recognised=kept or now[series.key],
        recorded=kept is not None,
        decisions=tuple(dict.fromkeys(decision.reason for decision in _about(series, status))),
        rule=next((rule for rule in rules if rule.matches(series)), None),
        patterns=patterns_of(series),
    )


def _about(series: Series, status: StudyStatus) -> list[Decision]:
    """Return the decisions about a series, or about all volumes of it."""
    names = {series.name, f"series {series.number}"}
    return [
        decision
        for decision in status.decisions
        if decision.subject in names and decision.series_uid in ("", series.series_uid)
    ]
