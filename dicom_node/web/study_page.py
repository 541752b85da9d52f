"""Collects the series of a study for its page: how each was recognised, with what confidence and evidence."""

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
    """One series as shown on the page; descriptions are the site's free text and only shown to people.

    Attributes
    ----------
    role
        The sequence as which the newest run used it, or empty.
    recognised
        Recognition by the newest run, or by headers alone when there is none.
    recorded
        Whether the recognition is of the newest run.
    decisions
        Reasons of the newest run's decisions about it.
    rule
        The site rule that matches it now, or None.
    patterns
        Patterns that match it literally, as the start of a new rule.
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
    """The series of a study and the other decisions about it; `problem` gives the reason when there are no series."""

    series: tuple[SeriesShown, ...]
    decisions: tuple[Decision, ...]
    problem: str = ""


def show_study(database: Database, folder: Path, status: StudyStatus) -> StudyShown:
    """Combine the files of a study with its newest run and the site's rules."""
    try:
        return _read_study(database, folder, status)
    except ConversionError as error:
        return StudyShown(series=(), decisions=status.decisions, problem=str(error))
    except Exception as error:  # noqa: BLE001 - received files may raise any error; the page still answers
        _log.exception("study_page_unreadable", study=status.key)
        problem = f"a file cannot be read as DICOM ({type(error).__name__}). Send the study again, or without the file."
        return StudyShown(series=(), decisions=status.decisions, problem=problem)


def _read_study(database: Database, folder: Path, status: StudyStatus) -> StudyShown:
    study = stored_study(database, folder, status.study_uid)
    rules = site_rules(database)
    recorded = {(each.series_uid, each.part): each for each in recognised_in_newest_run(database, status.study_uid)}
    by_headers = _by_headers(study, rules, known=recorded)
    series = tuple(_shown(one, status, rules, recorded.get(one.key), by_headers) for one in study.series)
    shown = {decision for one in study.series for decision in _about(one, status)}
    return StudyShown(series=series, decisions=tuple(each for each in status.decisions if each not in shown))


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
    recorded: Recognised | None,
    by_headers: Mapping[tuple[str, str], Recognised],
) -> SeriesShown:
    return SeriesShown(
        series=series,
        role=_role(series, status),
        recognised=recorded or by_headers[series.key],
        recorded=recorded is not None,
        decisions=tuple(dict.fromkeys(decision.reason for decision in _about(series, status))),
        rule=next((rule for rule in rules if rule.matches(series)), None),
        patterns=patterns_of(series),
    )


def _role(series: Series, status: StudyStatus) -> str:
    """Return the role that a series was used for; of two series with one name, only of the one that was chosen."""
    named = (role for role, name in status.summary.get("sequences", {}).items() if name == series.name)
    chosen = {one.series_uid for one in status.decisions if (one.code, one.subject) == ("role", series.name)} - {""}
    return next(named, "") if not chosen or series.series_uid in chosen else ""


def _about(series: Series, status: StudyStatus) -> list[Decision]:
    """Return the decisions about a series or about all its volumes."""
    names = {series.name, f"series {series.number}"}
    return [
        decision
        for decision in status.decisions
        if decision.subject in names and decision.series_uid in ("", series.series_uid)
    ]
