"""What people think of a result is kept with it, shown on its page, and given to those who train models."""

import csv
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from structlog.testing import capture_logs

from dicom_node.database.engine import Database, open_database
from dicom_node.database.states import RunState, Verdict
from dicom_node.database.tables import RunRow, StudyRow
from dicom_node.invalid_entry import InvalidEntryError
from dicom_node.settings import read_settings
from dicom_node.studies.opinions import MOST_COMMENT, add_opinion, all_opinions, opinions_of
from tests.support.held_study import hold_run
from tests.support.panel_client import logged_in


@pytest.fixture
def held(database: Database) -> Database:
    hold_run(database, RunState.DELIVERED)
    with database.session() as session:
        session.get_one(RunRow, "run").summary = {"volumes_ml": {"WT": 41.2}, "flags": ["low_agreement"]}
    return database


@pytest.fixture
def client(held: Database, tmp_path: Path) -> Iterator[httpx.Client]:
    with logged_in(held, tmp_path) as opened:
        yield opened


def test_an_opinion_is_kept_with_the_result_it_is_of(held: Database) -> None:
    add_opinion(held, "abc", "agree", "", "panel")
    with held.session() as session:
        facts = {"revision": 2, "manifest_sha256": "1", "state": RunState.DELIVERED}
        session.add(RunRow(run_id="later", study_uid="1.2", ready_at=session.get_one(RunRow, "run").ready_at, **facts))
        session.flush()
        session.get_one(StudyRow, "1.2").current_run = "later"
    add_opinion(held, "abc", "disagree", "  The cavity is counted.  ", "panel")
    newest, first = opinions_of(held, "abc")
    assert (newest.verdict, newest.comment, newest.revision) == (Verdict.DISAGREE, "The cavity is counted.", 2)
    assert (first.verdict, first.comment, first.revision, first.study) == (Verdict.AGREE, "", 1, "abc")
    assert (first.volumes_ml, first.flags) == ({"WT": 41.2}, ("low_agreement",))
    assert opinions_of(held, "other") == []
    assert len(all_opinions(held)) == 2


@pytest.mark.parametrize(
    ("verdict", "comment", "said"),
    [
        ("maybe", "", "Choose agree, disagree or edited."),
        ("", "", "Choose agree, disagree or edited."),
        ("agree", "a" * (MOST_COMMENT + 1), "A comment may have at most 2000 characters."),
    ],
)
def test_what_cannot_be_kept_is_refused(held: Database, verdict: str, comment: str, said: str) -> None:
    with pytest.raises(InvalidEntryError) as refused:
        add_opinion(held, "abc", verdict, comment, "panel")
    assert [problem.sentence for problem in refused.value.problems] == [said]
    assert all_opinions(held) == []


def test_there_is_nothing_to_judge_without_a_result(held: Database) -> None:
    with held.session() as session:
        session.get_one(StudyRow, "1.2").current_run = None
    for key in ("abc", "absent"):
        with pytest.raises(InvalidEntryError, match="no result yet"):
            add_opinion(held, key, "agree", "", "panel")


def test_a_person_judges_a_result_on_its_page(client: httpx.Client) -> None:
    page = client.get("/studies/abc").text
    assert all(f'value="{verdict}"' in page for verdict in Verdict)
    comment = "<b>Seen</b> by SECRET-NAME"
    with capture_logs() as logs:
        kept = client.post("/studies/abc/opinion", data={"verdict": "edited", "comment": comment})
    assert (kept.status_code, kept.headers["location"]) == (303, "/studies/abc#opinions")
    assert "SECRET-NAME" not in str(logs)
    page = client.get("/studies/abc").text
    assert "<strong>edited</strong>: &lt;b&gt;Seen&lt;/b&gt; by SECRET-NAME" in page
    refused = client.post("/studies/abc/opinion", data={"comment": "no verdict"})
    assert refused.status_code == 422
    assert "Choose agree, disagree or edited." in refused.text
    client.post("/logout")
    assert client.post("/studies/abc/opinion", data={"verdict": "agree"}).headers["location"] == "/login"


def test_opinions_are_exported_as_a_table(tmp_path: Path) -> None:
    node, table = tmp_path / "node", tmp_path / "opinions.csv"
    environment = {"GLIONODE_NODE_FOLDER": str(node)}
    database = open_database(read_settings(environment=environment).database_url)
    hold_run(database, RunState.DELIVERED)
    with database.session() as session:
        session.get_one(RunRow, "run").summary = {"volumes_ml": {"WT": 41.2}, "flags": ["low_agreement"]}
    add_opinion(database, "abc", "disagree", "=1+1", "panel")
    database.engine.dispose()
    command = [sys.executable, "-m", "dicom_node.cli", "export", "--opinions", str(table), "--json"]
    done = subprocess.run(
        command, env=os.environ | environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"opinions": 1, "file": str(table)}
    with table.open(encoding="utf-8") as file:
        (row,) = csv.DictReader(file)
    assert (row["study"], row["revision"], row["verdict"], row["comment"]) == ("abc", "1", "disagree", "'=1+1")
    assert (row["WT_ml"], row["ET_ml"], row["flags"]) == ("41.2", "", "low_agreement")
    both = subprocess.run(
        command[:4], env=os.environ | environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert both.returncode == 2
    assert "give either --training OUT or --opinions CSV" in both.stderr
