"""The pages of one study's series and of the site rules, over a real port."""

import re
from collections.abc import Iterator
from html import unescape
from pathlib import Path

import httpx
import pytest
from structlog.testing import capture_logs

from conversion.decision import Evidence
from conversion.reading import dicom_files, read_study
from conversion.recognition.recognise import Recognition
from conversion.recognition.site_rules import SiteRule
from dicom_node.database.engine import Database
from dicom_node.database.tables import DecisionRow, RunRow, StudyRow, utc_now
from dicom_node.rules.site_rules import import_rules, parse_rules, site_rules
from dicom_node.runs.recognised import record_recognitions
from dicom_node.settings import read_settings
from dicom_node.web.app import panel_app
from tests.support.held_study import hold_small_study
from tests.support.panel_client import new_login_link
from tests.support.viewer_port import served
from tests.support.waiting import ANSWER_S

KEY = "a1b2c3d4"
PRIVATE = "<b>Doe John</b> [T1*]"  # a site may write anything into a description
RULE = {"name": "After contrast", "kind": "T2", "description": "flair*", "manufacturer": "glionode*"}
FLAIR_IS_T2 = SiteRule(**RULE)


@pytest.fixture
def stranger(database: Database, tmp_path: Path) -> Iterator[httpx.Client]:
    settings = read_settings(environment={"GLIONODE_NODE_FOLDER": str(tmp_path)})
    with served(panel_app(settings, database)) as url, httpx.Client(base_url=url, timeout=ANSWER_S) as client:
        yield client


@pytest.fixture
def client(stranger: httpx.Client, database: Database) -> httpx.Client:
    """Someone who is logged in."""
    link = new_login_link(database, str(stranger.base_url))
    assert stranger.post("/login", data={"token": httpx.URL(link).params["token"]}).status_code == 303
    return stranger


@pytest.fixture
def study_uid(database: Database, tmp_path: Path) -> str:
    return hold_small_study(database, tmp_path, KEY, ["T1", "FLAIR"])


def _process(database: Database, folder: Path, study_uid: str) -> None:
    """Put a run into the books that took the first series for T2 and left the second open."""
    study = read_study(dicom_files(folder / "inbox" / KEY))
    evidence = (
        Evidence(source="pixels", kind="T2", weight=2.5, says="bright ventricles <here>"),
        Evidence(source="timing", kind="T1", weight=-4.0, says="TE 90 ms is too long"),
    )
    with database.session() as session:
        run = RunRow(run_id="r", study_uid=study_uid, revision=1, manifest_sha256="0", ready_at=utc_now())
        run.summary = {"sequences": {"T2": "series 1"}}
        session.add(run)
        session.get_one(StudyRow, study_uid).current_run = "r"
        session.flush()
        for ordinal, (subject, reason) in enumerate((("series 1", "taken for T2"), ("series 9", "a picture"))):
            session.add(DecisionRow(run_id="r", ordinal=ordinal, code="role", subject=subject, reason=reason))
    kinds = (("T2", 0.93, ()), ("unknown", 0.55, ("an echo time",)))
    record_recognitions(
        database,
        "r",
        [
            Recognition(
                series=series,
                kind=kind,
                confidence=confidence,
                weighting="T2",
                weighting_confidence=confidence,
                after_contrast=0.1,
                evidence=evidence,
                needs=needs,
            )
            for series, (kind, confidence, needs) in zip(study.series, kinds, strict=True)
        ],
    )


def _cards(page: str) -> list[str]:
    """Return what is shown of each series, without markup."""
    texts = (re.sub(r"<[^>]+>", " ", card) for card in page.split('<section class="card series"')[1:])
    return [re.sub(r"\s+", " ", unescape(text)) for text in texts]


@pytest.mark.parametrize("path", ["/rules", "/rules/export", f"/studies/{KEY}"])
def test_no_page_is_shown_without_a_session(stranger: httpx.Client, path: str) -> None:
    answer = stranger.get(path)
    assert (answer.status_code, answer.headers["location"]) == (303, "/login")


@pytest.mark.parametrize("path", ["/rules", "/rules/preview", "/rules/remove", "/rules/move"])
def test_nothing_is_changed_without_a_session_or_from_another_page(
    stranger: httpx.Client, database: Database, path: str
) -> None:
    import_rules(database, [FLAIR_IS_T2])
    data = {**RULE, "place": "1"}
    assert stranger.post(path, data=data).headers["location"] == "/login"
    assert stranger.post(path, data=data, headers={"origin": "http://evil.example"}).status_code == 403
    assert site_rules(database) == (FLAIR_IS_T2,)


def test_a_study_is_found_from_the_list_by_its_key(client: httpx.Client, study_uid: str) -> None:
    assert f'href="/studies/{KEY}"' in client.get("/studies").text
    assert client.get(f"/studies/{KEY}").status_code == 200
    assert client.get(f"/studies/{study_uid}").status_code == 404
    assert client.get("/studies/none").status_code == 404


def test_before_a_run_series_are_shown_by_their_headers(client: httpx.Client, study_uid: str) -> None:
    assert study_uid
    first, second = _cards(client.get(f"/studies/{KEY}").text)
    assert "series 1 10 images · T1 · GlioNode tests" in first
    assert "by headers and current rules only" in first
    assert "TR 560 ms, TE 11 ms: short repetition, short echo for T1" in first
    assert "FLAIR 100 %" in second
    assert "long inversion, long echo for FLAIR" in second


def test_after_a_run_its_kinds_confidence_evidence_and_decisions_are_shown(
    client: httpx.Client, database: Database, tmp_path: Path, study_uid: str
) -> None:
    _process(database, tmp_path, study_uid)
    page = client.get(f"/studies/{KEY}").text
    first, second = _cards(page)
    for shown in ("used as T2", "T2 93 %", "taken for T2", "of the newest run"):
        assert shown in first
    assert "pixels bright ventricles <here> for T2 +2.5" in first
    assert "timing TE 90 ms is too long against T1 \N{MINUS SIGN}4.0" in first
    assert "not sure 55 %" in second
    assert "What would help: an echo time." in second
    assert "used as" not in second
    assert 'value="0.930"' in page
    assert "&lt;here&gt;" in page
    assert ">a picture <a " in page.split("Other decisions")[1]


def test_a_study_without_mr_says_so(client: httpx.Client, database: Database, tmp_path: Path) -> None:
    hold_small_study(database, tmp_path, KEY, ["T1"], attributes={"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7"})
    page = client.get(f"/studies/{KEY}").text
    assert "Its series cannot be shown: no MR image series in the study" in page


def test_a_correction_begins_with_patterns_that_fit_the_series(
    client: httpx.Client, database: Database, tmp_path: Path
) -> None:
    hold_small_study(
        database, tmp_path, KEY, ["T1"], attributes={"SeriesDescription": PRIVATE, "ProtocolName": "brain?"}
    )
    import_rules(database, [SiteRule(name="Rule 1", kind="T2", description="none")])
    form = client.get(f"/studies/{KEY}").text.split('class="correction"')[1]
    values = {key: unescape(value) for key, value in re.findall(r'name="(\w+)" value="([^"]*)"', form)}
    assert values == {
        "name": "Rule 2",
        "description": "<b>Doe John</b> [[]T1[*]]",
        "protocol": "brain[?]",
        "manufacturer": "GlioNode tests",
        "station": "",
        "technique": "",
        "study": KEY,
    }
    preview = client.post("/rules/preview", data={**values, "kind": "FLAIR"}).text
    assert "1 series" in preview
    assert "&lt;b&gt;Doe John&lt;/b&gt; [T1*]</td>" in preview


def test_a_preview_shows_what_would_change_and_saves_nothing(
    client: httpx.Client, database: Database, study_uid: str
) -> None:
    assert study_uid
    answer = client.post("/rules/preview", data={**RULE, "study": KEY})
    row = re.sub(r"<[^>]+>", " ", answer.text.split("<tbody>")[1].split("</tbody>")[0]).split()
    assert row == [KEY, "series", "2", "FLAIR", "FLAIR", "T2"]
    assert 'formaction="/rules"' in answer.text
    assert "<option selected>T2</option>" in answer.text
    assert site_rules(database) == ()


def test_a_preview_is_against_the_rules_there_are(client: httpx.Client, database: Database, study_uid: str) -> None:
    assert study_uid
    known = client.post("/rules/preview", data={**RULE, "kind": "FLAIR"}).text
    assert "all are of that kind already" in known
    assert "<tbody>" not in known
    assert "<strong>no series</strong>" in client.post("/rules/preview", data={**RULE, "station": "x"}).text
    import_rules(database, [SiteRule(name="First", kind="PD", description="flair*")])
    row = client.post("/rules/preview", data=RULE).text.split("<tbody>")[1].split("</tbody>")[0]
    assert re.findall(r"<span[^>]*>([^<]+)</span>", row) == ["PD", "T2"]


def test_a_saved_rule_is_said_on_the_page_of_its_study(
    client: httpx.Client, database: Database, study_uid: str
) -> None:
    answer = client.post("/rules", data={**RULE, "study": KEY})
    assert (answer.status_code, answer.headers["location"]) == (303, f"/studies/{KEY}?saved=1")
    assert site_rules(database) == (FLAIR_IS_T2,)
    page = client.get(answer.headers["location"]).text
    assert "The rule is saved." in page
    assert "The site rule After contrast sets the kind to T2" in _cards(page)[1]
    assert study_uid not in answer.headers["location"]


@pytest.mark.parametrize("study", ["", "//evil.example", "../peers", "a b", "é"])
def test_a_rule_of_no_study_leads_to_the_rules(client: httpx.Client, study: str) -> None:
    assert client.post("/rules", data={**RULE, "study": study}).headers["location"] == "/rules"


@pytest.mark.parametrize("path", ["/rules", "/rules/preview"])
def test_what_is_wrong_stands_beside_what_was_entered(client: httpx.Client, database: Database, path: str) -> None:
    answer = client.post(path, data={"name": "", "kind": "T1C", "station": '"><script>', "study": KEY})
    assert answer.status_code == 422
    assert 'value="&#34;&gt;&lt;script&gt;"' in answer.text
    assert 'id="name-problem"' in answer.text
    assert "Choose what these series are." in answer.text
    assert "formaction" not in answer.text
    assert site_rules(database) == ()


def test_a_name_that_is_taken_is_told(client: httpx.Client, database: Database) -> None:
    import_rules(database, [FLAIR_IS_T2])
    answer = client.post("/rules", data={**RULE, "kind": "T1"})
    assert answer.status_code == 422
    assert "called &#39;After contrast&#39; exists already" in answer.text
    assert site_rules(database) == (FLAIR_IS_T2,)


def test_rules_are_listed_moved_exported_and_removed(client: httpx.Client, database: Database) -> None:
    assert "No rules yet" in client.get("/rules").text
    others = [SiteRule(name=f"R {n} <&>", kind="DWI", technique=f"ep{n}*") for n in range(2)]
    import_rules(database, [*others, FLAIR_IS_T2])
    page = client.get("/rules").text
    assert page.index("R 0 &lt;&amp;&gt;") < page.index("R 1 &lt;&amp;&gt;") < page.index("After contrast")
    assert "<code>ep1*</code>" in page
    exported = client.get("/rules/export")
    assert exported.headers["content-type"].startswith("application/toml")
    assert parse_rules(exported.text, "export") == site_rules(database)
    assert client.post("/rules/move", data={"name": "After contrast", "place": "2"}).headers["location"] == "/rules"
    assert [rule.name for rule in site_rules(database)] == ["R 0 <&>", "After contrast", "R 1 <&>"]
    assert client.post("/rules/remove", data={"name": "R 0 <&>"}).headers["location"] == "/rules"
    assert [rule.name for rule in site_rules(database)] == ["After contrast", "R 1 <&>"]


@pytest.mark.parametrize("path", ["/rules/remove", "/rules/move"])
def test_a_rule_that_is_gone_is_said_to_be_gone(client: httpx.Client, path: str) -> None:
    answer = client.post(path, data={"name": "Ghost"})
    assert answer.status_code == 404
    assert "No site rule is called &#39;Ghost&#39;." in answer.text


def test_descriptions_and_uids_stay_out_of_the_log(client: httpx.Client, database: Database, tmp_path: Path) -> None:
    uid = hold_small_study(database, tmp_path, KEY, ["T1"], attributes={"SeriesDescription": PRIVATE})
    with capture_logs() as logs:
        assert "Doe John" in client.get(f"/studies/{KEY}").text
        data = {"name": "Doe", "kind": "T2", "description": "*Doe*", "study": KEY}
        client.post("/rules/preview", data=data)
        client.post("/rules", data=data)
        client.post("/rules/move", data={"name": "Doe", "place": "1"})
        client.post("/rules/remove", data={"name": "Doe"})
    assert [entry["event"] for entry in logs] == ["site_rule_added", "site_rule_moved", "site_rule_removed"]
    assert not any("Doe" in str(entry) or uid in str(entry) for entry in logs)
