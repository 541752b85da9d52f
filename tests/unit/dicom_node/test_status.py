"""What `glionode status` shows of the books."""

import json
from dataclasses import asdict
from datetime import timedelta

import pytest

from dicom_node.database.engine import Database
from dicom_node.database.tables import (
    DecisionRow,
    DeliveryRow,
    InstanceRow,
    RefusalRow,
    ResultRow,
    RunRow,
    StudyRow,
    utc_now,
)
from dicom_node.studies.status import REFUSALS_SHOWN, read_status, read_study_status, status_lines


def _instance(number: int, *, current: bool) -> InstanceRow:
    return InstanceRow(
        sop_instance_uid=f"1.1.{number}",
        study_uid="1.1",
        series_uid="1.1.0",
        sop_class_uid="1.2",
        transfer_syntax_uid="1.3",
        patient_key="p",
        sha256=f"{number}{current}",
        path=f"{number}{current}",
        calling_ae="SENDER",
        current=current,
    )


def _run(run_id: str, revision: int) -> RunRow:
    summary = {"sequences": {"T1CE": "series 4"}, "volumes_ml": {"WT": 12.3456}, "reference": "T1CE"}
    return RunRow(
        run_id=run_id,
        study_uid="1.1",
        revision=revision,
        manifest_sha256="0",
        ready_at=utc_now(),
        step="deliver",
        summary=summary if revision == 2 else {},
    )


@pytest.fixture
def database(books: Database) -> Database:
    """Hold each on SQLite and on PostgreSQL, which knows types that the other does not care for."""
    return books


@pytest.fixture
def filled(database: Database) -> Database:
    """Return books with one study of two revisions."""
    with database.session() as session:
        session.add(StudyRow(study_uid="1.1", key="key", state="undelivered", reason="PACS: no", current_run="new"))
        session.flush()
        session.add_all([_instance(1, current=False), _instance(1, current=True), _instance(2, current=True)])
        session.add_all([_run("old", 1), _run("new", 2)])
        session.flush()
        for run_id in ("old", "new"):
            for ordinal, code in ((2, "second"), (1, "first")):
                row = DecisionRow(
                    run_id=run_id, ordinal=ordinal, code=code, subject="series 4", reason=f"{run_id} {code}"
                )
                session.add(row)
            result = {"sop_instance_uid": f"9.{run_id}", "series_uid": "9", "sop_class_uid": "1.2", "sha256": "0"}
            session.add(ResultRow(run_id=run_id, study_uid="1.1", kind="SR", path=f"results/{run_id}", **result))
        session.flush()
        session.add(
            DeliveryRow(
                run_id="new", sop_instance_uid="9.new", destination="PACS", state="refused", status=0xA700, reason="no"
            )
        )
    return database


def test_a_study_shows_its_newest_run_only(filled: Database) -> None:
    (study,) = read_status(filled).studies
    assert (study.state, study.reason, study.step, study.revision) == ("undelivered", "PACS: no", "deliver", 2)
    assert study.instances == 2
    assert [(each.code, each.subject, each.reason) for each in study.decisions] == [
        ("first", "series 4", "new first"),
        ("second", "series 4", "new second"),
    ]
    assert study.results == (("SR", "9.new", "results/new"),)
    assert study.deliveries == (("9.new", "PACS", "refused", 0xA700, "no"),)


def test_a_study_without_a_run_is_shown(database: Database) -> None:
    with database.session() as session:
        session.add(StudyRow(study_uid="1.1", key="key"))
    (study,) = read_status(database).studies
    assert (study.state, study.revision, study.instances, study.decisions) == ("receiving", 0, 0, ())


def test_the_newest_study_comes_first_and_the_rest_can_be_left_out(database: Database) -> None:
    with database.session() as session:
        for number in range(3):
            at = utc_now() + timedelta(seconds=number)
            session.add(StudyRow(study_uid=f"1.{number}", key="key", last_received_at=at))
    assert [study.study_uid for study in read_status(database).studies] == ["1.2", "1.1", "1.0"]
    assert [study.study_uid for study in read_status(database, limit=1).studies] == ["1.2"]


def test_the_newest_refusals_are_shown(database: Database) -> None:
    with database.session() as session:
        for number in range(REFUSALS_SHOWN + 5):
            session.add(RefusalRow(calling_ae="X", code="calling_ae_title", reason=f"reason {number}"))
            session.flush()
    shown = read_status(database).refusals
    assert len(shown) == REFUSALS_SHOWN
    assert shown[0].reason == f"reason {REFUSALS_SHOWN + 4}"
    assert (shown[0].count, shown[0].first_at) == (1, shown[0].at)


def test_the_text_says_everything_a_person_needs(filled: Database) -> None:
    with filled.session() as session:
        first = utc_now() - timedelta(days=2)
        known = {"calling_ae": "", "code": "calling_ae_title", "reason": "not known here"}
        session.add(RefusalRow(**known, first_at=first, count=7))
    status = read_status(filled)
    assert status_lines(status) == [
        "1.1  undelivered  2 instances  revision 2",
        "    reason: PACS: no",
        "    T1CE = series 4",
        "    WT 12.35 ml",
        "    series 4: new first",
        "    series 4: new second",
        "    PACS: refused no",
        f"refused {status.refusals[0].at} from ?: not known here (7 times since {first.isoformat(timespec='seconds')})",
    ]


def test_a_study_without_a_tumour_says_so_instead_of_zeros(filled: Database) -> None:
    with filled.session() as session:
        run = session.get_one(RunRow, "new")
        run.summary = run.summary | {
            "volumes_ml": {"WT": 0.0},
            "no_tumour": "No tumour found. Smaller ones may be missed",
        }
    lines = status_lines(read_status(filled))
    assert "    No tumour found. Smaller ones may be missed" in lines
    assert not any("ml" in line for line in lines)


def test_an_empty_node_says_what_to_do(database: Database) -> None:
    assert status_lines(read_status(database)) == [
        "no studies yet: send one to the node's AE title, or try `glionode demo`"
    ]


def test_the_status_is_a_json_document(filled: Database) -> None:
    evidence = {"source": "timing", "kind": "T1", "weight": 4.5, "says": "TR 500 ms, TE 10 ms"}
    with filled.session() as session:
        row = DecisionRow(run_id="new", ordinal=3, code="role", subject="series 4", reason="T1", series_uid="1.4")
        row.evidence = [evidence]
        session.add(row)
    again = json.loads(json.dumps(asdict(read_status(filled))))
    first, *_, last = again["studies"][0]["decisions"]
    assert first == {
        "code": "first",
        "subject": "series 4",
        "reason": "new first",
        "series_uid": "",
        "evidence": [],
    }
    assert (last["series_uid"], last["evidence"]) == ("1.4", [evidence])
    assert again["studies"][0]["summary"]["volumes_ml"] == {"WT": 12.3456}
    assert again["refusals"] == []


def test_every_study_is_read_and_what_is_left_out_is_counted(database: Database) -> None:
    now = utc_now()
    with database.session() as session:
        for number in range(1203):
            at = now - timedelta(seconds=number)
            session.add(StudyRow(study_uid=f"1.{number}", key=f"{number}", last_received_at=at))
        session.add_all(RefusalRow(code="x", reason="x", calling_ae=f"X{n}") for n in range(REFUSALS_SHOWN + 2))
    every = read_status(database, limit=None)
    assert [study.study_uid for study in every.studies] == [f"1.{number}" for number in range(1203)]
    assert (every.more_studies, every.more_refusals) == (0, 2)
    assert status_lines(every)[-1] == "and 2 older refusals"
    newest = read_status(database)
    assert (len(newest.studies), newest.more_studies) == (100, 1103)
    assert "and 1103 older studies" in status_lines(newest)


def test_volumes_are_told_with_their_intervals_and_flags_by_name(filled: Database) -> None:
    with filled.session() as session:
        run = session.get_one(RunRow, "new")
        volumes, intervals = {"WT": 12.3456, "ET": 0.0}, {"WT": [10.0, 15.005]}
        run.summary = run.summary | {"volumes_ml": volumes, "intervals_ml": intervals, "flags": ["a", "b"]}
    lines = status_lines(read_status(filled))
    assert "    WT 12.35 ml (10.00 to 15.01), ET 0.00 ml" in lines
    assert "    flags: a, b" in lines


def test_what_a_study_waits_for_is_told_and_why_it_was_ready(filled: Database) -> None:
    with filled.session() as session:
        session.get_one(StudyRow, "1.1").awaited = ["T2: nothing received yet", "FLAIR: 3 of 4 slices"]
        session.get_one(RunRow, "new").ready_because = "nothing arrived for 60 s"
    status = read_status(filled)
    assert status.studies[0].ready_because == "nothing arrived for 60 s"
    assert [line for line in status_lines(status) if "awaited" in line] == [
        "    awaited: T2: nothing received yet",
        "    awaited: FLAIR: 3 of 4 slices",
    ]


def test_one_study_is_read_by_its_key(filled: Database) -> None:
    found = read_study_status(filled, "key")
    assert found == read_status(filled).studies[0]
    assert read_study_status(filled, "1.1") is None
