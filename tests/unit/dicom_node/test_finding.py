"""Studies are found by any words of their patient and request, by date and state, and listed in pages."""

from collections.abc import Mapping
from datetime import timedelta

import pytest

from conversion.study_identity import StudyIdentity
from dicom_node.database.engine import Database
from dicom_node.database.states import StudyState
from dicom_node.database.tables import StudyRow, utc_now
from dicom_node.invalid_entry import InvalidEntryError
from dicom_node.studies import finding
from dicom_node.studies.finding import (
    MOST_CHARACTERS,
    MOST_WORDS,
    PAGE,
    Order,
    Search,
    StudyLabel,
    find_studies,
    read_label,
)
from tests.support.named_study import name_study

NOW = utc_now()

PATIENTS = (
    {"patient_name": "DOE^John", "patient_id": "4711", "accession_number": "A-100", "description": "MR brain"},
    {"patient_name": "Müller^Jörg", "patient_id": "P_17", "accession_number": "B200", "description": "Head 50% dose"},
    {"patient_name": "Yamada^Tarou=山田^太郎=やまだ^たろう", "patient_id": "99", "description": "MRI follow-up"},
    {"patient_name": "O'Brien-Doe^Jane", "patient_id": "4712", "description": "Brain <b>tumour</b>"},
)
DATES = ("2026-01-10", "2026-03-05", "", "2025-12-31")
STATES = (StudyState.DELIVERED, StudyState.FAILED, StudyState.DELIVERED, StudyState.RECEIVING)


@pytest.fixture
def filled(books: Database) -> Database:
    """Hold four studies; the first was received last."""
    for number, (patient, day, state) in enumerate(zip(PATIENTS, DATES, STATES, strict=True)):
        identity = StudyIdentity(study_date=day, **patient)
        name_study(books, number, identity, state=state, received_at=NOW - timedelta(hours=number))
    return books


def _keys(database: Database, **search: str | int) -> list[str]:
    found = find_studies(database, Search(**search))  # type: ignore[arg-type] - the fields of a search
    return [one.status.key.removeprefix("key") for one in found.studies]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("john doe", "0"),
        ("doe john", "0"),
        ("DOE^JOHN", "0"),
        ("Doe, John", "0"),
        ("doe", "03"),
        ("do jo", "01"),
        ("oe", ""),
        ("müller", "1"),
        ("MULLER jorg", "1"),
        ("mueller", ""),
        ("山田", "2"),
        ("たろう", "2"),
        ("4711", "0"),
        ("471", "03"),
        ("a-100", "0"),
        ("b200", "1"),
        ("brain", "03"),
        ("john brain 4711 a-100", "0"),
        ("john muller", ""),
        ("50%", "1"),
        ("%", ""),
        ("_", ""),
        ("p_17", "1"),
        ("d_e", ""),
        ("p 17", "1"),
        ("obrien", "3"),
        ("o'brien", "3"),
        ("' OR 1=1 --", ""),
        ("<b>", "013"),
        ("", "0123"),
        ("  ", "0123"),
    ],
)
def test_words_are_found_in_any_order_by_their_beginnings(filled: Database, text: str, found: str) -> None:
    assert "".join(_keys(filled, text=text)) == found


@pytest.mark.parametrize(
    ("search", "found"),
    [
        ({"first": "2026-01-10"}, "01"),
        ({"last": "2026-01-10"}, "03"),
        ({"first": "2026-01-01", "last": "2026-02-01"}, "0"),
        ({"state": "delivered"}, "02"),
        ({"state": "queued"}, ""),
        ({"state": "delivered", "text": "doe"}, "0"),
        ({"state": "receiving", "first": "2025-01-01", "text": "doe"}, "3"),
        ({"order": "studied"}, "1032"),
        ({"order": "name"}, "0132"),
        ({"order": "name", "text": "doe"}, "03"),
        ({"order": "studied", "text": "doe", "last": "2026-01-01"}, "3"),
    ],
)
def test_dates_and_states_narrow_it_down_and_the_order_is_chosen(
    filled: Database, search: Mapping[str, str], found: str
) -> None:
    assert "".join(_keys(filled, **search)) == found


@pytest.mark.parametrize(
    ("search", "field", "sentence"),
    [
        ({"text": "a" * (MOST_CHARACTERS + 1)}, "text", "Search for at most 200 characters."),
        ({"text": "a " * (MOST_WORDS + 1)}, "text", "Search for at most 12 words."),
        ({"text": "^-"}, "text", "Search for letters or digits."),
        ({"first": "31.12.2026"}, "first", "Enter a date such as 2026-12-31."),
        ({"last": "20261231"}, "last", "Enter a date such as 2026-12-31."),
        ({"last": "2026-02-30"}, "last", "Enter a date such as 2026-12-31."),
        ({"first": "2026-02-02", "last": "2026-02-01"}, "last", "The latest date is before the earliest one."),
        ({"state": "lost"}, "state", "Choose one of these states."),
        ({"order": "random"}, "order", "Choose one of these orders."),
        ({"page": 0}, "page", "There is no such page."),
        ({"page": 10**9}, "page", "There is no such page."),
    ],
)
def test_what_cannot_be_searched_for_is_said(search: Mapping[str, str], field: str, sentence: str) -> None:
    with pytest.raises(InvalidEntryError) as refused:
        Search(**search)  # type: ignore[arg-type] - the fields of a search
    assert [(one.field, one.sentence) for one in refused.value.problems] == [(field, sentence)]


@pytest.mark.parametrize("rare", [0, 10**4])
@pytest.mark.parametrize("order", list(Order))
def test_every_study_is_on_one_page_and_on_no_other(
    books: Database, order: str, rare: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finding, "_RARE", rare)
    for number in range(2 * PAGE + 1):
        name_study(books, number, StudyIdentity(patient_name="Doe^John", study_date="2026-01-01"), received_at=NOW)
    pages = [find_studies(books, Search(order=order, text="doe", page=page)) for page in (1, 2, 3, 4)]
    assert [(len(page.studies), page.more) for page in pages] == [(PAGE, True), (PAGE, True), (1, False), (0, False)]
    assert len({one.status.key for page in pages for one in page.studies}) == 2 * PAGE + 1


def test_a_study_whose_header_was_not_read_is_listed_without_a_name_and_counted_in_a_search(filled: Database) -> None:
    with filled.session() as session:
        session.add(StudyRow(study_uid="1.3", key="new", last_received_at=NOW + timedelta(hours=1)))
    found = find_studies(filled, Search())
    assert (found.studies[0].status.key, found.studies[0].label, len(found.studies)) == ("new", None, 5)
    assert find_studies(filled, Search(text="doe")).unread == 1


def test_a_label_is_readable_and_says_how_many_patients(books: Database) -> None:
    identity = StudyIdentity(
        patient_name="DOE^John",
        patient_id="P1",
        birth_date="1970-01-01",
        sex="M",
        accession_number="A1",
        study_date="2026-01-02",
        study_time="10:00",
        description="Brain",
        modality="MR",
    )
    name_study(books, 1, identity, patients=2)
    assert read_label(books, "1.2.1") == StudyLabel(
        name="DOE, John",
        patient_id="P1",
        birth_date="1970-01-01",
        sex="M",
        accession_number="A1",
        study_date="2026-01-02",
        study_time="10:00",
        description="Brain",
        modalities="MR",
        patients=2,
    )
    assert read_label(books, "1.9") is None
