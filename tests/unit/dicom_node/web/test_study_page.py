"""The series of a study as its page shows them: by the newest run or by headers, with rules and decisions."""

from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from structlog.testing import capture_logs

from conversion.decision import Decision, Evidence
from conversion.recognition.recognise import Recognition
from conversion.recognition.site_rules import SiteRule
from dicom_node.database.engine import Database
from dicom_node.database.states import UserRole
from dicom_node.database.tables import RecognitionRow, RunRow, StudyRow, utc_now
from dicom_node.rules.site_rules import import_rules
from dicom_node.runs.recognised import record_recognitions
from dicom_node.settings import read_settings
from dicom_node.studies.status import StudyStatus, read_study_status
from dicom_node.studies.stored_study import stored_study
from dicom_node.web.app import panel_app
from dicom_node.web.study_page import show_study
from tests.support.held_study import hold_small_study
from tests.support.panel_client import log_in
from tests.support.viewer_port import served
from tests.support.waiting import ANSWER_S

T1, FLAIR = "series 1", "series 2"


@pytest.fixture
def study_uid(database: Database, tmp_path: Path) -> str:
    return hold_small_study(database, tmp_path, "page", ["T1", "FLAIR"])


def _status(database: Database, *decisions: Decision, **sequences: str) -> StudyStatus:
    found = read_study_status(database, "page")
    assert found is not None
    return replace(found, decisions=decisions, summary={"sequences": sequences})


def _record_as(database: Database, folder: Path, study_uid: str, *kinds: str) -> None:
    """Let a run have taken the first series for these kinds."""
    with database.session() as session:
        facts = {"revision": 1, "manifest_sha256": "0", "ready_at": utc_now()}
        session.add(RunRow(run_id="run", study_uid=study_uid, **facts))
        session.get_one(StudyRow, study_uid).current_run = "run"
    series = stored_study(database, folder, study_uid).series
    known = Recognition(
        series=series[0],
        kind="",
        confidence=0.75,
        weighting="T2",
        weighting_confidence=0.75,
        after_contrast=0.5,
        evidence=(Evidence(source="pixels", kind="T2", weight=2.5, says="bright ventricles"),),
        needs=(),
    )
    taken = [replace(known, series=one, kind=kind) for one, kind in zip(series, kinds, strict=False)]
    record_recognitions(database, "run", taken)


@pytest.mark.usefixtures("study_uid")
def test_before_a_run_series_are_recognised_by_their_headers(database: Database, tmp_path: Path) -> None:
    shown = show_study(database, tmp_path, _status(database))
    assert [(one.series.name, one.recognised.kind, one.recorded, one.role) for one in shown.series] == [
        (T1, "T1", False, ""),
        (FLAIR, "FLAIR", False, ""),
    ]
    assert (shown.problem, shown.decisions) == ("", ())
    assert shown.series[1].patterns["description"] == "FLAIR"


def test_what_the_newest_run_recognised_is_shown_and_the_rest_by_headers(
    database: Database, tmp_path: Path, study_uid: str
) -> None:
    _record_as(database, tmp_path, study_uid, "T2")
    first, second = show_study(database, tmp_path, _status(database, T2=T1)).series
    assert (first.recognised.kind, first.recognised.confidence, first.recorded, first.role) == ("T2", 0.75, True, "T2")
    assert [one.says for one in first.recognised.evidence] == ["bright ventricles"]
    assert (second.recognised.kind, second.recorded, second.role) == ("FLAIR", False, "")


def test_each_decision_stands_with_its_series_or_with_the_study(
    database: Database, tmp_path: Path, study_uid: str
) -> None:
    own_uid = str(stored_study(database, tmp_path, study_uid).series[0].series_uid)
    of_first = Decision(code="role", subject=T1, reason="used as T1", series_uid=own_uid)
    of_any = Decision(code="role", subject=T1, reason="not used")
    again = replace(of_any, code="other")
    of_another = replace(of_first, series_uid="1.9", reason="of a series with the same number")
    of_study = Decision(code="late", subject="the study", reason="came late")
    shown = show_study(database, tmp_path, _status(database, of_first, of_any, again, of_another, of_study))
    assert [one.decisions for one in shown.series] == [("used as T1", "not used"), ()]
    assert shown.decisions == (of_another, of_study)


@pytest.mark.usefixtures("study_uid")
def test_the_first_rule_that_fits_a_series_is_shown_with_it(database: Database, tmp_path: Path) -> None:
    rules = [SiteRule(name="A", kind="T2", description="flair"), SiteRule(name="B", kind="PD", manufacturer="glio*")]
    import_rules(database, rules)
    shown = show_study(database, tmp_path, _status(database))
    assert [one.rule and one.rule.name for one in shown.series] == ["B", "A"]
    assert [one.recognised.kind for one in shown.series] == ["PD", "T2"]


@pytest.mark.usefixtures("study_uid")
def test_a_study_whose_files_are_damaged_says_why_and_keeps_its_decisions(database: Database, tmp_path: Path) -> None:
    for path in (tmp_path / "inbox" / "page").iterdir():
        path.write_bytes(b"damaged")
    decision = Decision(code="late", subject=T1, reason="came late")
    shown = show_study(database, tmp_path, _status(database, decision))
    assert (shown.series, shown.decisions) == ((), (decision,))
    assert shown.problem == "no readable DICOM image among the files (not a DICOM file)"


def test_an_unforeseen_error_is_a_sentence_and_logged_by_the_key_of_the_study(
    database: Database, tmp_path: Path, study_uid: str
) -> None:
    _record_as(database, tmp_path, study_uid, "T2")
    with database.session() as session:
        session.query(RecognitionRow).update({"evidence": [{"colour": "red"}]})
    with capture_logs() as logs:
        shown = show_study(database, tmp_path, _status(database))
    assert shown.series == ()
    assert shown.problem == ("a file cannot be read as DICOM (TypeError). Send the study again, or without the file.")
    assert [(log["event"], log["study"]) for log in logs] == [("study_page_unreadable", "page")]
    assert study_uid not in str(logs)


def test_of_two_series_with_one_number_only_the_chosen_one_has_the_role(database: Database, tmp_path: Path) -> None:
    uid = hold_small_study(database, tmp_path, "twice", ["T1", "FLAIR"], attributes={"SeriesNumber": 4})
    own_uid = stored_study(database, tmp_path, uid).series[1].series_uid
    chosen = Decision(code="role", subject="series 4", reason="used as FLAIR", series_uid=own_uid)
    found = read_study_status(database, "twice")
    assert found is not None
    status = replace(found, decisions=(chosen,), summary={"sequences": {"FLAIR": "series 4"}})
    shown = show_study(database, tmp_path, status).series
    assert {one.series.series_uid == own_uid: one.role for one in shown} == {True: "FLAIR", False: ""}


@pytest.mark.usefixtures("study_uid")
@pytest.mark.parametrize("viewer_open", [False, True])
@pytest.mark.parametrize("role", UserRole)
def test_the_page_leads_to_the_tools_of_ohif_those_who_may_store(
    database: Database, tmp_path: Path, role: UserRole, *, viewer_open: bool
) -> None:
    environment = {"GLIONODE_NODE_FOLDER": str(tmp_path), "GLIONODE_VIEWER_OPEN": str(viewer_open).lower()}
    with (
        served(panel_app(read_settings(environment=environment), database)) as url,
        httpx.Client(base_url=url, timeout=ANSWER_S) as client,
    ):
        log_in(client, database, role)
        page = client.get("/studies/page").text
    assert "/open/page" in page
    assert ("/correct/page" in page) == (role is not UserRole.VIEWER and not viewer_open)
