"""Finds studies by patient, accession number, description, date and state, and returns them in pages."""

import enum
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from conversion.study_identity import readable_name
from dicom_node.database.engine import Database
from dicom_node.database.identity_tables import StudyIdentityRow
from dicom_node.database.states import StudyState
from dicom_node.database.tables import StudyRow
from dicom_node.invalid_entry import FieldProblem, InvalidEntryError
from dicom_node.studies.search_words import searched_words
from dicom_node.studies.status import StudyStatus, statuses

__all__ = ["PAGE", "Found", "FoundStudy", "Order", "Search", "StudyLabel", "find_studies", "labels_of", "read_label"]

PAGE = 50
"""Studies of one page."""

MOST_CHARACTERS, MOST_WORDS = 200, 12
_MOST_PAGES = 1_000_000
_RARE = 500
"""Studies that one statement may name; SQLite takes 32,766 values in one (SQLITE_MAX_VARIABLE_NUMBER)."""


class Order(enum.StrEnum):
    """What is listed first."""

    RECEIVED = "received"  # the study received last
    STUDIED = "studied"  # the newest study date
    NAME = "name"  # A to Z


@dataclass(frozen=True, kw_only=True)
class Search:
    """What a person searches for; every part narrows it down.

    Attributes
    ----------
    text
        Beginnings of words, in any order, of the name, ID, accession number and description together.
    first, last
        Earliest and latest study date, ``2026-12-31``, or empty.
    state
        A `StudyState`, or empty.
    page
        Counted from 1.

    Raises
    ------
    InvalidEntryError
        When something cannot be searched for, with a sentence for each field.
    """

    text: str = ""
    first: str = ""
    last: str = ""
    state: str = ""
    order: str = Order.RECEIVED
    page: int = 1

    def __post_init__(self) -> None:
        problems = [FieldProblem(field=field, sentence=sentence) for field, sentence in self._problems()]
        if problems:
            raise InvalidEntryError(*problems)

    @property
    def words(self) -> tuple[str, ...]:
        """What is searched for."""
        return searched_words(self.text)

    @property
    def is_empty(self) -> bool:
        """Whether it finds every study."""
        return not (self.text.strip() or self.first or self.last or self.state)

    def _problems(self) -> Iterable[tuple[str, str]]:
        if problem := self._problem_of_text():
            yield "text", problem
        yield from self._problems_of_dates()
        if self.state not in ("", *StudyState):
            yield "state", "Choose one of these states."
        if self.order not in tuple(Order):
            yield "order", "Choose one of these orders."
        if not 1 <= self.page <= _MOST_PAGES:
            yield "page", "There is no such page."

    def _problem_of_text(self) -> str:
        if len(self.text) > MOST_CHARACTERS:
            return f"Search for at most {MOST_CHARACTERS} characters."
        if len(self.words) > MOST_WORDS:
            return f"Search for at most {MOST_WORDS} words."
        return "Search for letters or digits." if self.text.strip() and not self.words else ""

    def _problems_of_dates(self) -> Iterable[tuple[str, str]]:
        wrong = [name for name, text in (("first", self.first), ("last", self.last)) if not _is_day(text)]
        yield from ((name, "Enter a date such as 2026-12-31.") for name in wrong)
        if not wrong and self.first and self.last and self.first > self.last:
            yield "last", "The latest date is before the earliest one."


def _is_day(text: str) -> bool:
    """Return whether a text is a date in the one form that is compared as text, or empty."""
    try:
        return not text or date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


@dataclass(frozen=True, kw_only=True)
class StudyLabel:
    """By what a person recognises a study; patient data, only for pages behind the login.

    Attributes
    ----------
    name
        Of the patient, readable: ``DOE, John``.
    patients
        How many different patients the images name.
    """

    name: str
    patient_id: str
    birth_date: str
    sex: str
    accession_number: str
    study_date: str
    study_time: str
    description: str
    modalities: str
    patients: int


@dataclass(frozen=True, kw_only=True)
class FoundStudy:
    """One study, its status without decisions, results and deliveries; no label until a worker has read a header."""

    status: StudyStatus
    label: StudyLabel | None


@dataclass(frozen=True, kw_only=True)
class Found:
    """One page of studies.

    Attributes
    ----------
    more
        Whether a page follows.
    unread
        Studies whose headers wait to be read: they are missing from a search.
    """

    studies: tuple[FoundStudy, ...]
    more: bool
    unread: int


def find_studies(database: Database, search: Search) -> Found:
    """Return one page of the studies that a search finds."""
    with database.session() as session:
        wanted = _of_labels(session, search) if _needs_labels(search) else _of_studies(search)
        page = wanted.offset((search.page - 1) * PAGE).limit(PAGE + 1)
        uids = session.scalars(page).all()
        waiting = sa.select(sa.func.count()).select_from(StudyRow).where(StudyRow.identity_due)
        return Found(
            studies=tuple(_found(session, uids[:PAGE])),
            more=len(uids) > PAGE,
            unread=session.scalar(waiting) or 0,
        )


def read_label(database: Database, study_uid: str) -> StudyLabel | None:
    """Return by what a person recognises a study; None until its first header was read."""
    with database.session() as session:
        row = session.get(StudyIdentityRow, study_uid)
        return _label(row) if row else None


def labels_of(session: Session, uids: Sequence[str]) -> dict[str, StudyLabel]:
    """Return by what a person recognises each of some studies; those are missing whose headers were not read yet."""
    named = sa.select(StudyIdentityRow).where(StudyIdentityRow.study_uid.in_(uids))
    return {row.study_uid: _label(row) for row in session.scalars(named)}


def _needs_labels(search: Search) -> bool:
    return bool(search.words or search.first or search.last or search.order != Order.RECEIVED)


def _of_studies(search: Search) -> sa.Select[str]:
    chosen = sa.select(StudyRow.study_uid).order_by(StudyRow.last_received_at.desc(), StudyRow.study_uid.desc())
    return chosen.where(StudyRow.state == search.state) if search.state else chosen


def _of_labels(session: Session, search: Search) -> sa.Select[str]:
    label = StudyIdentityRow
    orders: dict[str, tuple[sa.ColumnElement[Any], ...]] = {  # each as one index runs
        Order.RECEIVED: (label.received_at.desc(), label.study_uid.desc()),
        Order.STUDIED: (label.study_date.desc(), label.study_uid.desc()),
        Order.NAME: (label.name_key.asc(), label.study_uid.asc()),
    }
    chosen = sa.select(label.study_uid).order_by(*orders[search.order])
    if search.state:
        chosen = chosen.join(StudyRow, StudyRow.study_uid == label.study_uid).where(StudyRow.state == search.state)
    if search.first:
        chosen = chosen.where(label.study_date >= search.first)
    if search.last:
        chosen = chosen.where(label.study_date <= search.last, label.study_date != "")
    return _with_words(session, chosen, search.words)


def _with_words(session: Session, chosen: sa.Select[str], words: Sequence[str]) -> sa.Select[str]:
    """Narrow down to studies with words that begin so.

    Frequent words are met soon in any order. For rare ones every row is read, which takes half the time without an
    order.
    """
    label = StudyIdentityRow
    place = sa.func.instr if session.get_bind().dialect.name == "sqlite" else sa.func.strpos  # no wildcards in these
    has_all = [place(label.words, f" {word}") > 0 for word in words]
    if not has_all:
        return chosen
    some = session.scalars(sa.select(label.study_uid).where(*has_all).limit(_RARE + 1)).all()
    return chosen.where(label.study_uid.in_(some)) if len(some) <= _RARE else chosen.where(*has_all)


def _found(session: Session, uids: Sequence[str]) -> Iterable[FoundStudy]:
    rows = {row.study_uid: row for row in session.scalars(sa.select(StudyRow).where(StudyRow.study_uid.in_(uids)))}
    labels = labels_of(session, uids)
    for status in statuses(session, [rows[uid] for uid in uids], details=False):
        yield FoundStudy(status=status, label=labels.get(status.study_uid))


def _label(row: StudyIdentityRow) -> StudyLabel:
    return StudyLabel(
        name=readable_name(row.patient_name),
        patient_id=row.patient_id,
        birth_date=row.birth_date,
        sex=row.sex,
        accession_number=row.accession_number,
        study_date=row.study_date,
        study_time=row.study_time,
        description=row.description,
        modalities=row.modalities,
        patients=row.patients,
    )
