"""The page on which a person finds a study: what it shows, what it refuses, and where nothing of it is ever written."""

import logging
import re
from collections.abc import Iterator
from datetime import timedelta
from html import unescape
from pathlib import Path

import httpx
import pytest
from structlog.testing import capture_logs

from conversion.study_identity import StudyIdentity
from dicom_node.database.engine import Database
from dicom_node.database.states import StudyState
from dicom_node.database.tables import RefusalRow, StudyRow, utc_now
from dicom_node.settings import read_settings
from dicom_node.studies.finding import PAGE
from dicom_node.web.app import panel_app
from tests.support.canary import CANARIES, TEXT, leaks
from tests.support.named_study import name_study
from tests.support.panel_client import log_in
from tests.support.viewer_port import served
from tests.support.waiting import ANSWER_S

DOE = StudyIdentity(
    patient_name="DOE^John",
    patient_id="P-4711",
    birth_date="1970-01-31",
    sex="M",
    accession_number="ACC-9",
    study_date="2026-02-03",
    study_time="10:15",
    description="Brain with contrast",
    modality="MR",
)


@pytest.fixture
def stranger(database: Database, tmp_path: Path) -> Iterator[httpx.Client]:
    app = panel_app(read_settings(environment={"GLIONODE_NODE_FOLDER": str(tmp_path)}), database)
    with served(app) as url, httpx.Client(base_url=url, timeout=ANSWER_S) as client:
        yield client


@pytest.fixture
def client(stranger: httpx.Client, database: Database) -> httpx.Client:
    log_in(stranger, database)
    return stranger


def _names(page: str) -> list[str]:
    return [unescape(name) for name in re.findall(r'<a href="/studies/key\d+">(.*?)</a>', page)]


def test_a_study_is_shown_with_all_by_which_a_person_recognises_it(client: httpx.Client, database: Database) -> None:
    name_study(database, 1, DOE, patients=2)
    page = client.post("/studies", data={"text": "john doe"})
    assert page.status_code == 200
    assert _names(page.text) == ["DOE, John"]
    for shown in ("P-4711", "1970-01-31", "ACC-9", "2026-02-03 10:15 · MR", "Brain with contrast", "2 patients"):
        assert shown in page.text
    assert ":8041/open/key1" in page.text
    assert 'value="john doe"' in page.text
    one = client.get("/studies/key1").text
    for shown in ("<h1>DOE, John</h1>", "P-4711", "1970-01-31", "ACC-9", "Brain with contrast", "2 patients"):
        assert shown in one
    assert "<title>Study key1 · GlioNode</title>" in one  # the browser's history keeps titles


def test_nobody_finds_a_patient_without_logging_in(stranger: httpx.Client, database: Database) -> None:
    name_study(database, 1, DOE)
    answer = stranger.post("/studies", data={"text": "doe"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/login")
    assert "DOE" not in answer.text


def test_a_search_stands_in_no_address_and_browsers_do_not_remember_it(client: httpx.Client) -> None:
    page = client.post("/studies", data={"text": "doe"})
    assert str(page.url).endswith("/studies")
    assert page.headers["cache-control"] == "no-store"
    form = page.text.split('role="search"')[0].rpartition("<form")[2]
    assert 'method="post"' in form
    assert re.search(r'<input id="text"[^>]*autocomplete="off"', page.text)
    assert "doe" not in "".join(re.findall(r'(?:href|action|src)="([^"]*)"', page.text))


def test_an_address_with_a_search_finds_nothing(client: httpx.Client, database: Database) -> None:
    name_study(database, 1, DOE)
    name_study(database, 2, StudyIdentity(patient_name="ROE^Jane"))
    assert sorted(_names(client.get("/studies?text=doe").text)) == ["DOE, John", "ROE, Jane"]


def test_pages_are_turned_by_buttons_that_keep_the_search(client: httpx.Client, database: Database) -> None:
    for number in range(PAGE + 2):
        at = utc_now() - timedelta(minutes=number)
        name_study(database, number, StudyIdentity(patient_name=f"DOE^John{number}"), received_at=at)
    first = client.post("/studies", data={"text": "doe", "order": "received", "state": "delivered"}).text
    assert len(_names(first)) == PAGE
    assert 'value="2">Next' in first
    assert "Previous" not in first
    pager = dict(re.findall(r'<input type="hidden" name="(\w+)" value="(.*?)">', first))
    assert pager == {"text": "doe", "first": "", "last": "", "state": "delivered", "order": "received"}
    second = client.post("/studies", data=pager | {"page": "2"}).text
    assert _names(second) == ["DOE, John50", "DOE, John51"]
    assert 'value="1">Previous' in second
    assert "Next" not in second


def test_markup_in_a_header_is_text(client: httpx.Client, database: Database) -> None:
    evil = "<script>alert(1)</script>\"'><img src=x>"
    name_study(database, 1, StudyIdentity(patient_name=evil, patient_id=evil, description=evil, accession_number=evil))
    for page in (client.get("/studies").text, client.post("/studies", data={"text": evil}).text):
        assert "alert(1)" in page
        assert "<script>alert" not in page
        assert "<img src=x" not in page
    assert "<script>alert" not in client.get("/studies/key1").text


@pytest.mark.parametrize(
    ("form", "sentence"),
    [
        ({"text": "a" * 201}, "Search for at most 200 characters."),
        ({"first": "yesterday"}, "Enter a date such as 2026-12-31."),
        ({"state": "lost"}, "Choose one of these states."),
        ({"order": "random"}, "Choose one of these orders."),
        ({"page": "-1"}, "There is no such page."),
        ({"page": "9" * 5000}, "There is no such page."),
    ],
)
def test_what_cannot_be_searched_for_is_said_beside_its_field(
    client: httpx.Client, form: dict[str, str], sentence: str
) -> None:
    answer = client.post("/studies", data=form)
    assert answer.status_code == 422
    assert sentence in answer.text
    assert answer.text.count('class="problem"') == 1


def test_a_text_with_nul_is_refused(client: httpx.Client) -> None:
    answer = client.post("/studies", data={"text": "doe\0"})
    assert (answer.status_code, answer.text) == (400, "This request contains a NUL character.\n")


def test_a_search_that_finds_nothing_says_what_to_try(client: httpx.Client, database: Database) -> None:
    name_study(database, 1, DOE)
    page = client.post("/studies", data={"text": "nobody"}).text
    assert "No study matches" in page
    assert "Only the beginning of a word is found" in page
    assert "missing from this search" not in page
    with database.session() as session:
        session.add(StudyRow(study_uid="1.3", key="key3"))
    assert "One study is missing from this search" in client.post("/studies", data={"text": "nobody"}).text
    assert _names(client.get("/studies").text) == ["Not read yet", "DOE, John"]


def test_refusals_stand_on_the_first_page_and_not_among_what_was_found(
    client: httpx.Client, database: Database
) -> None:
    name_study(database, 1, DOE, state=StudyState.FAILED)
    with database.session() as session:
        session.add(RefusalRow(calling_ae="NOBODY", code="calling_ae_title", reason="unknown calling AE title"))
    assert "unknown calling AE title" in client.get("/studies").text
    assert "unknown calling AE title" not in client.post("/studies", data={"state": "failed"}).text


def test_no_log_contains_what_was_searched_for_or_found(
    client: httpx.Client, database: Database, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    identity = StudyIdentity(
        patient_name=CANARIES["PatientName"],
        patient_id=CANARIES["PatientID"],
        accession_number=CANARIES["AccessionNumber"],
        description=CANARIES["StudyDescription"],
    )
    name_study(database, 1, identity)
    with capture_logs() as logs, caplog.at_level(logging.DEBUG):
        found = client.post("/studies", data={"text": CANARIES["PatientName"]})
        refused = client.post("/studies", data={"text": TEXT * 2, "first": TEXT, "state": TEXT, "page": TEXT})
    assert (found.status_code, refused.status_code) == (200, 422)
    assert leaks(found.content) != []
    own = [record.getMessage() for record in caplog.records if not record.name.startswith(("httpx", "httpcore"))]
    assert leaks(str(logs), *own, *capfd.readouterr()) == []
    assert leaks(str(found.headers), str(found.url)) == []
